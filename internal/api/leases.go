package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

// leases returns the room, or why there is none.
func (a *API) leases(c *call) (Leases, error) {
	if a.opts.Leases == nil {
		return nil, notSupported("pulling")
	}
	_, err := c.query()
	return a.opts.Leases, err
}

func (a *API) pull(c *call) error {
	leases, err := a.leases(c)
	if err != nil {
		return err
	}
	var ask tandem.PullRequest
	if err := a.body(c, &ask, true); err != nil {
		return err
	}
	bad := faults{text: "the request to pull is invalid"}
	if ask.Max < 0 || ask.Max > tandem.MaxBatchSize {
		bad.add("/max", "must be from 1 to %d", tandem.MaxBatchSize)
	}
	bad.within("/wait", ask.Wait, tandem.MaxPullWait)
	bad.within("/visibility", ask.Visibility, tandem.MaxVisibility)
	if bad.err != nil {
		return bad.err
	}
	ctx, cancel := context.WithCancel(c.signed())
	defer cancel()
	defer context.AfterFunc(a.draining, cancel)()
	got, err := leases.Pull(ctx, c.arg, ask)
	if err != nil && a.draining.Err() != nil && c.r.Context().Err() == nil {
		return tandem.Errorf(tandem.CodeUnavailable, "the server is stopping")
	}
	if err != nil {
		return err
	}
	c.w.Header().Set("Cache-Control", "no-store")
	return c.writeLeases(got)
}

// writeLeases answers with leases. Their events are written as they are stored: package json would take the white space out of
// their data.
func (c *call) writeLeases(leases []tandem.Lease) error {
	body := []byte(`{"leases":[`)
	for i := range leases {
		l := &leases[i]
		head, err := json.Marshal(leaseHead{l.Token, l.Until, l.Attempt, l.MaxAttempts, l.ID, l.Event.Position})
		if err != nil {
			return tandem.Wrap("write a lease", err)
		}
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, bytes.TrimSuffix(head, []byte{'}'})...)
		body = append(body, `,"event":`...)
		body = tandem.AppendEventJSON(body, &l.Event.Event)
		body = append(body, '}')
	}
	body = append(body, "]}\n"...)
	httpx.WriteRawJSON(&c.w, http.StatusOK, body)
	return nil
}

// leaseHead is a lease without its event.
type leaseHead struct {
	Token       string          `json:"lease"`
	Until       string          `json:"until"`
	Attempt     int             `json:"attempt"`
	MaxAttempts int             `json:"maxAttempts"`
	ID          string          `json:"deliveryId"`
	Position    tandem.Position `json:"position"`
}

func (a *API) ack(c *call) error {
	var args struct {
		Leases []string `json:"leases"`
	}
	return a.answerLeases(c, &args, func(leases Leases, bad *faults) ([]tandem.LeaseResult, error) {
		if bad.tokens(args.Leases); bad.err != nil {
			return nil, bad.err
		}
		return leases.Ack(c.r.Context(), c.arg, args.Leases)
	})
}

func (a *API) nack(c *call) error {
	var args struct {
		Leases []string         `json:"leases"`
		Delay  *tandem.Duration `json:"delay"` // absent means the backoff
	}
	return a.answerLeases(c, &args, func(leases Leases, bad *faults) ([]tandem.LeaseResult, error) {
		delay := tandem.Duration(-1)
		if args.Delay != nil {
			delay = *args.Delay
			bad.within("/delay", delay, tandem.MaxVisibility)
		}
		if bad.tokens(args.Leases); bad.err != nil {
			return nil, bad.err
		}
		return leases.Nack(c.r.Context(), c.arg, args.Leases, time.Duration(delay))
	})
}

func (a *API) extend(c *call) error {
	var args struct {
		Leases     []string        `json:"leases"`
		Visibility tandem.Duration `json:"visibility"`
	}
	return a.answerLeases(c, &args, func(leases Leases, bad *faults) ([]tandem.LeaseResult, error) {
		bad.within("/visibility", args.Visibility, tandem.MaxVisibility)
		if bad.tokens(args.Leases); bad.err != nil {
			return nil, bad.err
		}
		return leases.Extend(c.signed(), c.arg, args.Leases, time.Duration(args.Visibility))
	})
}

// answerLeases reads the body into args, does what is asked and answers with what became of each lease.
func (a *API) answerLeases(c *call, args any, do func(Leases, *faults) ([]tandem.LeaseResult, error)) error {
	leases, err := a.leases(c)
	if err != nil {
		return err
	}
	if err := a.body(c, args, false); err != nil {
		return err
	}
	results, err := do(leases, &faults{text: "the leases cannot be answered"})
	if err != nil {
		return err
	}
	c.w.Header().Set("Cache-Control", "no-store")
	httpx.WriteJSON(&c.w, http.StatusOK, map[string][]tandem.LeaseResult{"results": results})
	return nil
}

// tokens adds what is wrong with the number of tokens; what is wrong with one is its result.
func (f *faults) tokens(tokens []string) {
	if len(tokens) == 0 || len(tokens) > tandem.MaxBatchSize {
		f.add("/leases", "must name 1 to %d leases", tandem.MaxBatchSize)
	}
}

// within adds a duration that is negative, as forever is, or above a limit.
func (f *faults) within(pointer string, d tandem.Duration, limit time.Duration) {
	if d < 0 || time.Duration(d) > limit {
		f.add(pointer, "must be from 0s to %s", limit)
	}
}

// noArguments refuses a body that asks for something, where there is nothing to ask for.
func (a *API) noArguments(c *call) error { return a.body(c, &struct{}{}, true) }

// body reads a JSON body into args; where there may be none, an empty one leaves args as they are.
func (a *API) body(c *call, args any, optional bool) error {
	c.deadline(a.opts.BodyTimeout)
	b, err := httpx.ReadBody(c.r, maxDeclarationBytes)
	if err != nil || optional && len(bytes.TrimSpace(b)) == 0 {
		return err
	}
	return httpx.Strict(b, args)
}
