package api

import (
	"context"
	"net/http"
	"slices"
	"strings"

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
	return a.document(c, func() (any, string, error) {
		list := struct {
			DeadLetters []tandem.DeadLetter `json:"deadLetters"`
			Next        string              `json:"next,omitempty"`
		}{}
		if list.DeadLetters, list.Next, err = subs.DeadLetters(c.r.Context(), c.arg, after, limit); err != nil {
			return nil, "", err
		}
		if list.DeadLetters == nil {
			list.DeadLetters = []tandem.DeadLetter{}
		}
		if list.Next != "" {
			c.linkNext(values, list.Next)
		}
		return &list, "", nil
	})
}

func (a *API) getDeadLetter(c *call) error {
	subs, err := a.subscriptions()
	if err != nil {
		return err
	}
	if _, err := c.query(); err != nil {
		return err
	}
	return a.document(c, func() (any, string, error) {
		letter, err := subs.DeadLetter(c.r.Context(), c.arg, c.item)
		return &letter, "", err
	})
}

func (a *API) redriveDeadLetters(c *call) error {
	return a.settle(c, true, Subscriptions.Redrive)
}

func (a *API) discardDeadLetters(c *call) error {
	return a.settle(c, false, Subscriptions.Discard)
}

// selectionDocument says which dead letters are meant.
type selectionDocument struct {
	tandem.DeadLetterSelection
	All bool `json:"all"`
}

var deadReasons = []string{"exhausted", "refused", "loop"}

// check adds what is wrong with a selection. All of them must be said in so many words: an empty body would be too easy a
// way to discard everything.
func (d *selectionDocument) check(bad *faults, redrive bool) {
	some := !d.Filter.IsZero() || d.Reason != "" || !d.Since.IsZero() || !d.Until.IsZero()
	switch {
	case d.All && (some || len(d.IDs) > 0):
		bad.add("/all", "cannot stand beside another choice")
	case d.IDs != nil && some:
		bad.add("/ids", "cannot stand beside another choice")
	case !d.All && !some && len(d.IDs) == 0:
		bad.add("/ids", "must name dead letters, unless filter, reason, since or until choose them or all is true")
	}
	if d.Reason != "" && !slices.Contains(deadReasons, d.Reason) {
		bad.add("/reason", "must be one of %s", strings.Join(deadReasons, ", "))
	}
	if d.Rate < 0 {
		bad.add("/rate", "must not be negative")
	} else if d.Rate > 0 && !redrive {
		bad.add("/rate", "goes with redrive")
	}
}

// settle redrives or discards the dead letters that the body chooses, and answers with their number.
func (a *API) settle(c *call, redrive bool, do func(Subscriptions, context.Context, string, tandem.DeadLetterSelection) (tandem.DeadLetterCount, error)) error {
	subs, err := a.subscriptions()
	if err != nil {
		return err
	}
	if _, err := c.query(); err != nil {
		return err
	}
	var which selectionDocument
	if err := a.body(c, &which, false); err != nil {
		return err
	}
	bad := faults{text: "it is not clear which dead letters are meant"}
	if which.check(&bad, redrive); bad.err != nil {
		return bad.err.WithHint(`send {"ids":["…"]}, {"reason":"exhausted"}, {"filter":{"type":"…"}} or {"all":true}; "dryRun":true only counts`)
	}
	if err := a.bindFilter(&which.Filter); err != nil {
		return err
	}
	n, err := do(subs, c.r.Context(), c.arg, which.DeadLetterSelection)
	if err != nil {
		return err
	}
	httpx.WriteJSON(&c.w, http.StatusOK, &n)
	return nil
}
