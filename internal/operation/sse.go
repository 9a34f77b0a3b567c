package operation

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// serveStream sends the operation as it is and, if that is not its end, once more when it is final. The id of a message
// is the state in it.
func (o *Operations) serveStream(w http.ResponseWriter, r *http.Request, id string) error {
	op, err := o.Get(r.Context(), id)
	if err != nil {
		return err
	}
	if last := r.Header.Get("Last-Event-ID"); op.State.Final() && last == string(op.State) {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	h := w.Header()
	h.Set("Content-Type", tandem.MediaSSE)
	h.Set("Cache-Control", "no-store")
	s := stream{w: w, rc: http.NewResponseController(w)}
	w.WriteHeader(http.StatusOK)
	defer func() { _ = s.rc.SetWriteDeadline(time.Time{}) }() // package http would leave it on the connection
	if r.Method == http.MethodHead || !s.operation(&op) {
		return nil
	}
	for !op.State.Final() {
		ctx, cancel := context.WithTimeout(r.Context(), heartbeatEvery)
		op, err = o.Wait(ctx, id)
		cancel()
		switch {
		case err != nil || r.Context().Err() != nil || o.drained():
			return nil // a stream that has begun can only break off; EventSource comes back
		case op.State.Final():
			s.operation(&op)
		case !s.write([]byte(":\n\n")):
			return nil
		}
	}
	return nil
}

func (o *Operations) drained() bool {
	select {
	case <-o.draining:
		return true
	default:
		return false
	}
}

type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (s *stream) operation(op *tandem.Operation) bool {
	data, err := json.Marshal(op)
	if err != nil {
		return false
	}
	msg := append([]byte("id: "+string(op.State)+"\ndata: "), data...) // one line: package json writes none in between
	return s.write(append(msg, "\n\n"...))
}

// write sends one message and reports whether the client took it in time.
func (s *stream) write(b []byte) bool {
	_ = s.rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // not every writer has deadlines
	_, err := s.w.Write(b)
	return err == nil && s.rc.Flush() == nil
}
