package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Operation returns an operation. With wait above zero the server answers when the operation has ended, or when the time
// is out with the state that it then has. Code: NotFound.
func (c *Client) Operation(ctx context.Context, id string, wait time.Duration) (tandem.Operation, error) {
	r := call{method: http.MethodGet, path: operationPath(id), query: url.Values{}, repeat: repeatAlways, wait: wait}
	if wait > 0 {
		r.query.Set("wait", wait.String())
	}
	var op tandem.Operation
	_, err := c.do(ctx, r, &op)
	return op, err
}

// CancelOperation ends an operation as cancelled and returns it. Work under way is not undone. Codes: NotFound, Conflict
// when it has ended otherwise.
func (c *Client) CancelOperation(ctx context.Context, id string) (tandem.Operation, error) {
	var op tandem.Operation
	_, err := c.do(ctx, call{method: http.MethodDelete, path: operationPath(id)}, &op)
	return op, err
}

// Reload makes the server read its configuration file again: all of it takes effect, or none. Codes: Conflict when there
// is no file, Invalid with the faults of the file.
func (c *Client) Reload(ctx context.Context) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/v1/config:reload"}, nil)
	return err
}

func operationPath(id string) string { return "/v1/operations/" + url.PathEscape(id) }
