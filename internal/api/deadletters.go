package api

import (
	"context"
	"net/http"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

func (a *API) listDeadLetters(c *call) error {
	subs, err := a.subscriptions()
	if err != nil {
		return err
	}
	values, err := c.query("after", "limit")
	if err != nil {
		return err
	}
	after, limit, err := paging(values)
	if err != nil {
		return err
	}
	list := struct {
		DeadLetters []tandem.DeadLetter `json:"deadLetters"`
		Next        string              `json:"next,omitempty"`
	}{}
	if list.DeadLetters, list.Next, err = subs.DeadLetters(c.r.Context(), c.arg, after, limit); err != nil {
		return err
	}
	if list.DeadLetters == nil {
		list.DeadLetters = []tandem.DeadLetter{}
	}
	if list.Next != "" {
		c.linkNext(values, list.Next)
	}
	c.w.Header().Set("Cache-Control", "no-store")
	httpx.WriteJSON(&c.w, http.StatusOK, &list)
	return nil
}

func (a *API) redriveDeadLetters(c *call) error {
	return a.settle(c, "redriven", Subscriptions.Redrive)
}

func (a *API) discardDeadLetters(c *call) error {
	return a.settle(c, "discarded", Subscriptions.Discard)
}

// settle redrives or discards the dead letters that the body names. All of them must be said in so many words: an empty
// body would be too easy a way to discard everything.
func (a *API) settle(c *call, verb string, do func(Subscriptions, context.Context, string, []string) (int, error)) error {
	subs, err := a.subscriptions()
	if err != nil {
		return err
	}
	if _, err := c.query(); err != nil {
		return err
	}
	var which struct {
		IDs []string `json:"ids"`
		All bool     `json:"all"`
	}
	c.deadline(a.opts.BodyTimeout)
	if err := httpx.DecodeJSON(c.r, maxDeclarationBytes, &which); err != nil {
		return err
	}
	if which.All == (len(which.IDs) > 0) {
		return tandem.Errorf(tandem.CodeInvalid, "the body says neither or both of ids and all").
			WithField("/ids", "must name dead letters unless all is true").WithHint(`send {"ids":["…"]} or {"all":true}`)
	}
	if which.All {
		which.IDs = nil
	}
	n, err := do(subs, c.r.Context(), c.arg, which.IDs)
	if err != nil {
		return err
	}
	httpx.WriteJSON(&c.w, http.StatusOK, map[string]int{verb: n})
	return nil
}
