package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Flow returns a flow as one graph: everything that one cause set off. Code: NotFound.
func (c *Client) Flow(ctx context.Context, id string) (tandem.Flow, error) {
	var f tandem.Flow
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/flows/" + url.PathEscape(id), repeat: repeatAlways}, &f)
	return f, err
}

// Flows returns a page of flows. A page may be short, or empty, and still have a Next. Codes: Invalid, NotFound (what leads to a flow is not
// known).
func (c *Client) Flows(ctx context.Context, q tandem.FlowQuery) (tandem.FlowPage, error) {
	values := url.Values{}
	for _, v := range []struct{ name, value string }{{"event", q.Event}, {"source", q.Source}, {"operation", q.Operation}, {"trace", q.Trace},
		{"key", q.Key}, {"type", q.Type}, {"state", q.State}} {
		if v.value != "" {
			values.Set(v.name, v.value)
		}
	}
	if !q.Since.IsZero() {
		values.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	if !q.Until.IsZero() {
		values.Set("until", q.Until.UTC().Format(time.RFC3339Nano))
	}
	var page tandem.FlowPage
	err := c.list(ctx, "/v1/flows", values, q.After, q.Limit, &page)
	return page, err
}
