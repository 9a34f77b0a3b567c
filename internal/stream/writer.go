package stream

import (
	"net/http"
	"time"
)

// chunkBytes is how much may be written under one deadline.
const chunkBytes = 64 << 10

// writer writes with a deadline for every piece, so that a client that is slow but reads gets all, and one that does not
// read is let go.
type writer struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
}

func (w *writer) write(b []byte) error {
	for {
		n := min(len(b), chunkBytes)
		_ = w.rc.SetWriteDeadline(time.Now().Add(w.timeout)) // not every writer of a test has one
		if _, err := w.w.Write(b[:n]); err != nil {
			return err
		}
		if b = b[n:]; len(b) == 0 {
			return nil
		}
	}
}

// flush sends what was written. It counts to the deadline of the last piece.
func (w *writer) flush() error { return w.rc.Flush() }

// done takes the deadline off the connection, which may serve other requests.
func (w *writer) done() { _ = w.rc.SetWriteDeadline(time.Time{}) }
