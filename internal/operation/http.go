package operation

import (
	"context"
	"net/http"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

const (
	// maxWait caps wait= and Prefer: wait, below what proxies cut off.
	maxWait        = time.Minute
	heartbeatEvery = 15 * time.Second
	writeTimeout   = 10 * time.Second // of one message to a client of a stream
)

// Serve answers a request for an operation.
//
// GET gives its JSON with an ETag, which If-None-Match may name: 304 says that it is running still. wait=DURATION, or Prefer:
// wait=SECONDS (RFC 7240), holds the answer until the operation is final or the time, at most a minute, is over; where the answer did not wait,
// Retry-After advises when to ask again. With Accept: text/event-stream it is sent at once and again when it is
// final, which ends the stream; an EventSource that comes back with that Last-Event-ID is told by 204 to stay away. DELETE
// cancels. Who may do so was decided before.
func (o *Operations) Serve(w http.ResponseWriter, r *http.Request, id string) {
	var err error
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		err = o.serveGet(w, r, id)
	case http.MethodDelete:
		var op tandem.Operation
		if op, err = o.Cancel(r.Context(), id); err == nil {
			writeOperation(w, r, &op)
		}
	default:
		w.Header().Set("Allow", "GET, HEAD, DELETE")
		err = tandem.Errorf(tandem.CodeMethod, "an operation takes GET, HEAD and DELETE")
	}
	if err != nil {
		if tandem.CodeOf(err) == tandem.CodeInternal {
			o.opts.Logger.Error("an operation could not be served", "operation", id, "error", err)
		}
		httpx.WriteProblem(w, err)
	}
}

func (o *Operations) serveGet(w http.ResponseWriter, r *http.Request, id string) error {
	w.Header().Set("Vary", "Accept")
	if httpx.Accept(r.Header, "application/json", tandem.MediaSSE) == tandem.MediaSSE {
		return o.serveStream(w, r, id)
	}
	wait, err := waitOf(w, r)
	if err != nil {
		return err
	}
	op, err := o.Get(r.Context(), id)
	waited := err == nil && wait > 0 && !op.State.Final()
	if waited {
		// A write timeout of the server was meant for answers that do not wait.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
		ctx, cancel := context.WithTimeout(r.Context(), wait)
		op, err = o.Wait(ctx, id)
		cancel()
	}
	if err != nil {
		return err
	}
	if !op.State.Final() && (!waited || o.drained()) {
		httpx.SetRetryAfter(w.Header(), again(&op, time.Now()))
	}
	writeOperation(w, r, &op)
	return nil
}

// The bounds of what Retry-After advises for an operation that runs.
const (
	minAgain = time.Second
	maxAgain = 30 * time.Second
)

// again is how long a client should leave a running operation alone: a tenth of its age, so that its end is known at most so much later, and
// not beyond its time.
func again(op *tandem.Operation, now time.Time) time.Duration {
	created, _ := tandem.ParseTime(op.Created)
	d := min(now.Sub(created)/10, maxAgain)
	if expires, ok := tandem.ParseTime(op.Expires); ok {
		d = min(d, expires.Sub(now))
	}
	return max(d, minAgain)
}

func waitOf(w http.ResponseWriter, r *http.Request) (time.Duration, error) {
	if s := r.URL.Query().Get("wait"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 {
			return 0, tandem.Errorf(tandem.CodeInvalid, "the query is wrong").WithField("wait", "%q is not a duration such as 5s", s)
		}
		return min(d, maxWait), nil
	}
	p := httpx.ParsePrefer(r.Header)
	if !p.HasWait || p.Wait == 0 {
		return 0, nil
	}
	wait := min(p.Wait, maxWait)
	httpx.SetWaited(w.Header(), wait)
	return wait, nil
}

// etagOf is the version of an operation: it holds over restarts, and costs less than the operation.
func etagOf(op *tandem.Operation) string { return `"` + string(op.State) + `"` }

func writeOperation(w http.ResponseWriter, r *http.Request, op *tandem.Operation) {
	if !httpx.NotModified(w, r, etagOf(op), httpx.CacheRevalidate) { // nothing but the state ever changes, and it does so once
		httpx.WriteJSON(w, http.StatusOK, op)
	}
}
