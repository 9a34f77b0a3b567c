package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

// operation serves the public face of operations.
func (x *exchange) operation(r *http.Request) error {
	x.g.opts.Operations.Serve(x, r, x.params.v[0])
	return nil
}

// begin makes the operation of a service route, if it has one, before the service can cause its event.
func (x *exchange) begin(r *http.Request) (err error) {
	if x.route.Operation == nil {
		return nil
	}
	x.async = httpx.ParsePrefer(r.Header).RespondAsync
	x.op, _, err = x.g.opts.Operations.Begin(r.Context(), x.route.Operation.Spec, x.flow)
	return x.topicGone(err)
}

// abandon forgets an operation that came to nothing.
func (x *exchange) abandon() {
	if x.op.ID != "" {
		x.g.opts.Operations.Abandon(x.op.ID, false)
		x.op.ID = ""
	}
}

// settle makes the operation durable and tells the client of it, in the answer of the service.
func (x *exchange) settle(res *http.Response) {
	if x.op.ID == "" || res.StatusCode >= 400 {
		return
	}
	op := x.op
	x.op.ID = ""
	// Not bound to the client: the service's work is done, and its event may come whether or not somebody still listens.
	if err := x.g.opts.Operations.Confirm(context.WithoutCancel(res.Request.Context()), op.ID); err != nil {
		x.g.opts.Operations.Abandon(op.ID, true)
		x.g.opts.Logger.Warn("an operation could not be stored: the service's answer goes out without it",
			"route", x.route.Match, "flow", x.flow, "error", err)
		return
	}
	x.operationID = op.ID
	success := res.StatusCode >= 200 && res.StatusCode <= 299
	switch {
	case x.async && success && res.StatusCode != http.StatusAccepted:
		res.Header.Set("Preference-Applied", "respond-async")
		x.replace(res, &op)
		fallthrough
	case res.StatusCode == http.StatusAccepted:
		res.Header.Set("Location", x.table.operationPath(op.ID))
		if res.Header.Get("Retry-After") == "" {
			res.Header.Set("Retry-After", "1")
		}
	}
	res.Header.Add("Link", "<"+x.table.operationPath(op.ID)+`>; rel="status"`)
}

// replace puts the operation in the place of the answer's content.
func (x *exchange) replace(res *http.Response, op *tandem.Operation) {
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
	res.Body.Close()
	for name := range res.Header {
		if len(name) > 8 && name[:8] == "Content-" {
			delete(res.Header, name)
		}
	}
	for _, name := range [...]string{"Etag", "Last-Modified", "Accept-Ranges", "Cache-Control", "Expires", "Age"} {
		delete(res.Header, name)
	}
	content, _ := json.Marshal(op) // strings only: cannot fail
	res.Trailer = nil
	res.StatusCode = http.StatusAccepted
	res.Header.Set("Content-Type", "application/json")
	res.Header.Set("Content-Length", strconv.Itoa(len(content)))
	res.ContentLength = int64(len(content))
	res.Body = io.NopCloser(bytes.NewReader(content))
}

// operationPath is where clients find an operation.
func (t *table) operationPath(id string) string { return t.operations + id + t.suffix }
