package api

import "github.com/tandem-hybrid/tandem"

// explain answers why an event arrived or did not. That there is no such event is an answer, too.
func (a *API) explain(c *call) error {
	flows, err := a.flows()
	if err != nil {
		return err
	}
	values, err := c.query("event", "source", "position", "subscription")
	if err != nil {
		return err
	}
	q := tandem.ExplainQuery{Event: values.Get("event"), Source: values.Get("source"), Subscription: values.Get("subscription")}
	if v := values.Get("position"); v != "" {
		p, err := tandem.ParsePosition(v)
		if err != nil {
			return tandem.Errorf(tandem.CodeInvalid, "the query is invalid").WithField("position", "must be topic/partition/offset")
		}
		q.Position = &p
	}
	return a.document(c, func() (any, string, error) {
		out, err := flows.Explain(c.r.Context(), q)
		return &out, "", err
	})
}
