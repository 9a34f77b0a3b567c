package client

import (
	"context"
	"net/http"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Pull leases up to ask.Max events of a subscription that is pulled; it returns none when there are none within ask.Wait. Each
// lease is to be acknowledged before its Until, or the event is handed out again. It is safe to repeat a Pull that failed: leases that
// were lost on the way expire. Codes: NotFound, Invalid (also for one that
// is not pulled), Overloaded.
func (c *Client) Pull(ctx context.Context, name string, ask tandem.PullRequest) ([]tandem.Lease, error) {
	var answer struct {
		Leases []struct {
			tandem.Lease
			Position tandem.Position
		}
	}
	_, err := c.do(ctx, call{method: http.MethodPost, path: subscriptionPath(name) + ":pull", body: jsonBody(ask), repeat: repeatAlways, wait: time.Duration(ask.Wait)}, &answer)
	var leases []tandem.Lease
	for _, l := range answer.Leases {
		l.Event.Position = l.Position
		leases = append(leases, l.Lease)
	}
	return leases, err
}

// Ack says that the events of leases were taken. The result of each, in order, is durable when it says acknowledged. It is safe to
// repeat. Code: NotFound.
func (c *Client) Ack(ctx context.Context, name string, tokens ...string) ([]tandem.LeaseResult, error) {
	return c.answer(ctx, name, ":ack", map[string]any{"leases": tokens})
}

// Nack gives leases back as failed: their events are handed out again after delay, or for a negative one after the backoff of the
// subscription. Code: NotFound.
func (c *Client) Nack(ctx context.Context, name string, delay time.Duration, tokens ...string) ([]tandem.LeaseResult, error) {
	body := map[string]any{"leases": tokens}
	if delay >= 0 {
		body["delay"] = tandem.Duration(delay)
	}
	return c.answer(ctx, name, ":nack", body)
}

// Extend holds leases for this much longer from now, or for zero as long as the subscription says. Code: NotFound.
func (c *Client) Extend(ctx context.Context, name string, visibility time.Duration, tokens ...string) ([]tandem.LeaseResult, error) {
	return c.answer(ctx, name, ":extend", map[string]any{"leases": tokens, "visibility": tandem.Duration(visibility)})
}

func (c *Client) answer(ctx context.Context, name, verb string, body map[string]any) ([]tandem.LeaseResult, error) {
	var answer struct{ Results []tandem.LeaseResult }
	_, err := c.do(ctx, call{method: http.MethodPost, path: subscriptionPath(name) + verb, body: jsonBody(body), repeat: repeatAlways}, &answer)
	return answer.Results, err
}
