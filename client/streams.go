package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tandem-hybrid/tandem"
)

// Streams says who is connected to what: open streams of the server, those of its routes included. It is what the server sees now. Code:
// Invalid (a limit above 1,000).
func (c *Client) Streams(ctx context.Context, q tandem.StreamQuery) (tandem.StreamPresence, error) {
	values := url.Values{"limit": {strconv.Itoa(q.Limit)}}
	if q.Topic != "" {
		values.Set("topic", q.Topic)
	}
	if q.Principal != "" {
		values.Set("principal", q.Principal)
	}
	var p tandem.StreamPresence
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/streams", query: values, repeat: repeatAlways}, &p)
	return p, err
}
