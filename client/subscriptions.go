package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Subscription is a subscription as a server shows it.
type Subscription struct {
	tandem.Subscription
	Owner  string                     `json:"owner,omitempty"` // file, api, or orphan: an earlier file declared it
	Status *tandem.SubscriptionStatus `json:"status,omitempty"`
	ETag   string                     `json:"-"` // for ifMatch; changes with the status, too; empty in lists
}

// Subscriptions returns all subscriptions by name, with their status.
func (c *Client) Subscriptions(ctx context.Context) ([]Subscription, error) {
	var all []Subscription
	for after := ""; ; {
		var list struct {
			Subscriptions []Subscription
			Next          string
		}
		if err := c.list(ctx, "/v1/subscriptions", nil, after, maxListed, &list); err != nil {
			return nil, err
		}
		all = append(all, list.Subscriptions...)
		if after = list.Next; after == "" {
			return all, nil
		}
	}
}

// Subscription returns one subscription with its status. Code: NotFound.
func (c *Client) Subscription(ctx context.Context, name string) (Subscription, error) {
	return c.subscription(ctx, call{method: http.MethodGet, path: subscriptionPath(name), repeat: repeatAlways})
}

// CreateSubscription makes a subscription. Codes: Precondition when there is one of this name, Conflict when the
// configuration file declares it, Invalid.
func (c *Client) CreateSubscription(ctx context.Context, s tandem.Subscription) (Subscription, error) {
	return c.subscription(ctx, call{method: http.MethodPut, path: subscriptionPath(s.Name), body: jsonBody(s), header: http.Header{"If-None-Match": {"*"}}})
}

// PutSubscription makes a subscription or changes its declaration. With ifMatch it must have this ETag. A changed filter
// holds from the next event. Codes: Precondition, Conflict (the configuration file declares it), Invalid.
func (c *Client) PutSubscription(ctx context.Context, s tandem.Subscription, ifMatch string) (Subscription, error) {
	return c.subscription(ctx, call{method: http.MethodPut, path: subscriptionPath(s.Name), body: jsonBody(s), header: condition(ifMatch), repeat: repeatAlways})
}

// DeleteSubscription removes a subscription with all that it remembers. Codes: NotFound, Conflict.
func (c *Client) DeleteSubscription(ctx context.Context, name string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: subscriptionPath(name)}, nil)
	return err
}

// Pause stops deliveries until Resume; the place is kept. Code: NotFound.
func (c *Client) Pause(ctx context.Context, name string) (tandem.SubscriptionStatus, error) {
	return c.command(ctx, name, ":pause")
}

// Resume goes on after Pause, or after the endpoint disabled the subscription. Code: NotFound.
func (c *Client) Resume(ctx context.Context, name string) (tandem.SubscriptionStatus, error) {
	return c.command(ctx, name, ":resume")
}

// Seek moves a subscription to another place, back or forth, and begins a new epoch. It returns what it does, or with dryRun would do.
// Codes: NotFound, Invalid, Gone (a cursor of another log).
func (c *Client) Seek(ctx context.Context, name string, to tandem.Start, dryRun bool) (tandem.SeekPlan, error) {
	body := startBody(to)
	if dryRun {
		body["dryRun"] = true
	}
	var plan tandem.SeekPlan
	_, err := c.do(ctx, call{method: http.MethodPost, path: subscriptionPath(name) + ":seek", body: jsonBody(body)}, &plan)
	return plan, err
}

// startBody names a place in the body of a request.
func startBody(to tandem.Start) map[string]any {
	switch {
	case to.Cursor != "":
		return map[string]any{"cursor": to.Cursor}
	case to.Earliest:
		return map[string]any{"from": "earliest"}
	case to.Time != "":
		return map[string]any{"from": to.Time}
	}
	return map[string]any{"from": "latest"}
}

// DeadLetters returns dead letters of a subscription after an id, "" for the first ones, and the id to go on after, ""
// at the end. A limit of zero leaves it to the server. Code: NotFound.
func (c *Client) DeadLetters(ctx context.Context, name, after string, limit int) ([]tandem.DeadLetter, string, error) {
	var list struct {
		DeadLetters []tandem.DeadLetter
		Next        string
	}
	err := c.list(ctx, subscriptionPath(name)+"/dead-letters", nil, after, limit, &list)
	return list.DeadLetters, list.Next, err
}

// DeadLetter returns one dead letter. Code: NotFound.
func (c *Client) DeadLetter(ctx context.Context, name, id string) (tandem.DeadLetter, error) {
	var letter tandem.DeadLetter
	_, err := c.do(ctx, call{method: http.MethodGet, path: subscriptionPath(name) + "/dead-letters/" + url.PathEscape(id), repeat: repeatAlways}, &letter)
	return letter, err
}

// Redrive delivers dead letters again, outside the order of their keys; they keep the ids of their events. A selection of nothing means
// all. It returns how many there were. Codes: NotFound, Invalid.
func (c *Client) Redrive(ctx context.Context, name string, which tandem.DeadLetterSelection) (tandem.DeadLetterCount, error) {
	return c.settle(ctx, name, "redrive", which)
}

// Discard gives dead letters up; which is as for Redrive. It returns how many there were. Codes: NotFound, Invalid.
func (c *Client) Discard(ctx context.Context, name string, which tandem.DeadLetterSelection) (tandem.DeadLetterCount, error) {
	return c.settle(ctx, name, "discard", which)
}

func (c *Client) settle(ctx context.Context, name, verb string, which tandem.DeadLetterSelection) (tandem.DeadLetterCount, error) {
	all := which.IDs == nil && which.Filter.IsZero() && which.Reason == "" && which.Since.IsZero() && which.Until.IsZero()
	body := struct {
		tandem.DeadLetterSelection
		All bool `json:"all,omitempty"`
	}{which, all}
	var n tandem.DeadLetterCount
	_, err := c.do(ctx, call{method: http.MethodPost, path: subscriptionPath(name) + "/dead-letters:" + verb, body: jsonBody(body)}, &n)
	return n, err
}

// Test sends a marked test event to the target of a subscription and returns what was sent and what came back. Nothing is
// stored. Codes: NotFound, Invalid (it is pulled).
func (c *Client) Test(ctx context.Context, name string) (tandem.TestExchange, error) {
	var exchange tandem.TestExchange
	_, err := c.do(ctx, call{method: http.MethodPost, path: subscriptionPath(name) + ":test", wait: testWait}, &exchange)
	return exchange, err
}

// testWait is how long a target may take to answer, beyond what a request may take.
const testWait = 2 * time.Minute

// Replay delivers stored events of a subscription again, beside the live ones. It returns the temporary subscription that does:
// its status shows how far it is, and deleting it ends it. Codes: NotFound, Invalid, Conflict (too many at a time, or it is a replay).
func (c *Client) Replay(ctx context.Context, name string, ask tandem.ReplayRequest) (Subscription, error) {
	body := startBody(ask.From)
	if ask.To != "" {
		body["to"] = ask.To
	}
	if !ask.Filter.IsZero() {
		body["filter"] = ask.Filter
	}
	if ask.EvenIfSeen {
		body["evenIfSeen"] = true
	}
	if ask.Rate != 0 {
		body["rate"] = ask.Rate
	}
	return c.subscription(ctx, call{method: http.MethodPost, path: subscriptionPath(name) + ":replay", body: jsonBody(body)})
}

// Deliveries returns a page of the ledger of a subscription: what became of its events, and why. A page may be short, or empty, and
// still have a Next. Code: NotFound.
func (c *Client) Deliveries(ctx context.Context, name string, q tandem.DeliveryQuery) (tandem.DeliveryPage, error) {
	values := url.Values{}
	for _, v := range []struct{ name, value string }{{"event", q.ID}, {"source", q.Source}, {"key", q.Key}, {"flow", q.Flow}, {"state", q.State}} {
		if v.value != "" {
			values.Set(v.name, v.value)
		}
	}
	if q.Position != nil {
		values.Set("position", q.Position.String())
	}
	if !q.Since.IsZero() {
		values.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	if !q.Until.IsZero() {
		values.Set("until", q.Until.UTC().Format(time.RFC3339Nano))
	}
	var page tandem.DeliveryPage
	err := c.list(ctx, subscriptionPath(name)+"/deliveries", values, q.After, q.Limit, &page)
	return page, err
}

func (c *Client) subscription(ctx context.Context, r call) (Subscription, error) {
	var s Subscription
	h, err := c.do(ctx, r, &s)
	s.ETag = h.Get("ETag")
	return s, err
}

func (c *Client) command(ctx context.Context, name, verb string) (tandem.SubscriptionStatus, error) {
	var status tandem.SubscriptionStatus
	_, err := c.do(ctx, call{method: http.MethodPost, path: subscriptionPath(name) + verb, repeat: repeatAlways}, &status)
	return status, err
}

// list gets one page of a list. q, nil for none, says what is listed.
func (c *Client) list(ctx context.Context, path string, q url.Values, after string, limit int, out any) error {
	if q == nil {
		q = url.Values{}
	}
	if after != "" {
		q.Set("after", after)
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	_, err := c.do(ctx, call{method: http.MethodGet, path: path, query: q, repeat: repeatAlways}, out)
	return err
}

func subscriptionPath(name string) string { return "/v1/subscriptions/" + url.PathEscape(name) }
