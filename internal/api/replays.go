package api

import (
	"net/http"
	"net/url"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

func (a *API) testSubscription(c *call) error {
	if a.opts.Tests == nil {
		return notSupported("a test of a subscription")
	}
	if _, err := c.query(); err != nil {
		return err
	}
	if err := a.noArguments(c); err != nil {
		return err
	}
	exchange, err := a.opts.Tests.Test(c.r.Context(), c.arg)
	if err != nil {
		return err
	}
	c.w.Header().Set("Cache-Control", "no-store")
	httpx.WriteJSON(&c.w, http.StatusOK, &exchange)
	return nil
}

// replayDocument asks for a replay.
type replayDocument struct {
	place
	To         string        `json:"to"`
	Filter     tandem.Filter `json:"filter"`
	EvenIfSeen bool          `json:"evenIfSeen"`
	Rate       float64       `json:"rate"`
}

func (a *API) replaySubscription(c *call) error {
	if a.opts.Replays == nil {
		return notSupported("a replay")
	}
	subs, err := a.subscriptions()
	if err != nil {
		return err
	}
	if _, err := c.query(); err != nil {
		return err
	}
	var doc replayDocument
	if err := a.body(c, &doc, false); err != nil {
		return err
	}
	ask := tandem.ReplayRequest{To: doc.To, Filter: doc.Filter, EvenIfSeen: doc.EvenIfSeen, Rate: doc.Rate}
	if ask.From, err = doc.start(); err != nil {
		return err
	}
	if _, ok := tandem.ParseTime(ask.To); ask.To != "" && !ok {
		return tandem.Errorf(tandem.CodeInvalid, "the replay is invalid").WithField("/to", "must be an RFC 3339 time")
	}
	if ask.Rate < 0 {
		return tandem.Errorf(tandem.CodeInvalid, "the replay is invalid").WithField("/rate", "must not be negative")
	}
	if ask.From == (tandem.Start{}) {
		return tandem.Errorf(tandem.CodeInvalid, "the replay is invalid").WithField("/from", "must be earliest or a time: nothing is stored after latest")
	}
	if err := a.bindFilter(&ask.Filter); err != nil {
		return err
	}
	sub, err := a.opts.Replays.Replay(c.r.Context(), c.arg, ask)
	if err != nil {
		return inBody(err)
	}
	c.arg = sub.Name
	c.w.Header().Set("Location", "/v1/subscriptions/"+url.PathEscape(sub.Name))
	return a.showSubscription(c, subs, http.StatusCreated)
}

// place is where a seek goes, or a replay begins.
type place struct {
	From   string        `json:"from"`
	Cursor tandem.Cursor `json:"cursor"`
}

func (p *place) start() (tandem.Start, error) {
	if (p.From == "") == (p.Cursor == "") {
		return tandem.Start{}, tandem.Errorf(tandem.CodeInvalid, "a place is either a cursor or from").
			WithHint(`send {"from":"earliest"}, {"from":"latest"}, {"from":"2026-01-31T09:30:00Z"} or {"cursor":"…"}`)
	}
	if p.From == "" {
		return tandem.Start{Cursor: p.Cursor}, nil
	}
	start, err := tandem.ParseStart(p.From)
	if err != nil {
		return start, tandem.Errorf(tandem.CodeInvalid, "%s", detail(err)).WithField("/from", "must be earliest, latest or an RFC 3339 time")
	}
	return start, nil
}

// inBody names a cursor that is wrong as the member of a body that it is here: elsewhere it is a parameter.
func inBody(err error) error {
	p := tandem.ProblemOf(err)
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "cursor" {
		return err
	}
	return tandem.Errorf(tandem.CodeOf(err), "%s", p.Detail).WithField("/cursor", "%s", p.Errors[0].Detail).WithHint("%s", p.Hint)
}

// bindFilter compiles the conditions of a filter in a body.
func (a *API) bindFilter(f *tandem.Filter) error {
	bound, err := f.Bind(a.opts.Conditions)
	if err != nil {
		bad := tandem.Errorf(tandem.CodeOf(err), "the filter is invalid")
		fields := tandem.ProblemOf(err).Errors
		for _, field := range fields {
			bad.WithField("/filter"+field.Pointer, "%s", field.Detail)
		}
		if len(fields) == 0 {
			bad.WithField("/filter", "%s", detail(err))
		}
		return bad
	}
	*f = bound
	return nil
}
