package stream

import (
	"net/http"
	"sync/atomic"
	"time"
)

// response writes through a server, with a deadline for every piece, so that a client that is slow but reads gets all, and one that does not
// read is let go.
type response struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	end     atomic.Pointer[time.Time] // of all writes; nil: none
}

func (w *response) write(b []byte) error {
	for {
		n := min(len(b), chunkBytes)
		deadline := time.Now().Add(w.timeout)
		if end := w.end.Load(); end != nil {
			deadline = *end
		}
		_ = w.rc.SetWriteDeadline(deadline) // not every writer of a test has one
		if _, err := w.w.Write(b[:n]); err != nil {
			return err
		}
		if b = b[n:]; len(b) == 0 {
			return nil
		}
	}
}

// flush sends what was written. It counts to the deadline of the last piece.
func (w *response) flush() error { return w.rc.Flush() }

// done takes the deadline off the connection, which may serve other requests.
func (w *response) done() { _ = w.rc.SetWriteDeadline(time.Time{}) }
