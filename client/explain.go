package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/tandem-hybrid/tandem"
)

// Explain says why an event arrived or did not. That there is no such event, topic or subscription is no error, but a reason. Codes: Invalid,
// Unsupported (an event by its id, and the server keeps no index of flows).
func (c *Client) Explain(ctx context.Context, q tandem.ExplainQuery) (tandem.Explanation, error) {
	values := url.Values{}
	for _, v := range []struct{ name, value string }{{"event", q.Event}, {"source", q.Source}, {"subscription", q.Subscription}} {
		if v.value != "" {
			values.Set(v.name, v.value)
		}
	}
	if q.Position != nil {
		values.Set("position", q.Position.String())
	}
	var out tandem.Explanation
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/explain", query: values, repeat: repeatAlways}, &out)
	return out, err
}
