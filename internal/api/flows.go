package api

import "github.com/tandem-hybrid/tandem"

func (a *API) flows() (Flows, error) {
	if a.opts.Flows == nil {
		return nil, notSupported("the index of flows")
	}
	return a.opts.Flows, nil
}

func (a *API) getFlow(c *call) error {
	flows, err := a.flows()
	if err != nil {
		return err
	}
	if _, err := c.query(); err != nil {
		return err
	}
	return a.document(c, func() (any, string, error) {
		flow, err := flows.Get(c.r.Context(), c.arg)
		return &flow, "", err
	})
}

func (a *API) listFlows(c *call) error {
	flows, err := a.flows()
	if err != nil {
		return err
	}
	values, err := c.query("event", "source", "operation", "trace", "key", "type", "state", "since", "until", "after", "limit")
	if err != nil {
		return err
	}
	q := tandem.FlowQuery{Event: values.Get("event"), Source: values.Get("source"), Operation: values.Get("operation"), Trace: values.Get("trace"),
		Key: values.Get("key"), Type: values.Get("type"), State: values.Get("state")}
	if q.After, q.Limit, err = paging(values); err != nil {
		return err
	}
	bad := faults{text: "the query is invalid"}
	bad.time(values, "since", &q.Since)
	bad.time(values, "until", &q.Until)
	if bad.err != nil {
		return bad.err
	}
	return a.document(c, func() (any, string, error) {
		page, err := flows.List(c.r.Context(), q)
		if err == nil && page.Next != "" {
			c.linkNext(values, page.Next)
		}
		return &page, "", err
	})
}
