package server

import (
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// handlers counts the handlers that run. http.Server waits for requests only, and neither for connections that were taken
// over nor, once it closes, for anybody; the log must not close below them.
type handlers struct {
	next http.Handler

	mu   sync.Mutex // guards what follows
	n    int
	over bool          // no handler begins any more
	gone chan struct{} // closed when the last has returned after over
}

// ServeHTTP implements http.Handler.
func (h *handlers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	if h.over {
		h.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	h.n++
	h.mu.Unlock()
	defer h.leave()
	h.next.ServeHTTP(w, r)
}

func (h *handlers) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n--; h.n == 0 && h.over {
		close(h.gone)
	}
}

// stop waits until no handler runs, a moment at most: their contexts are done. Called once.
func (h *handlers) stop() error {
	h.mu.Lock()
	h.over = true
	if h.n == 0 {
		close(h.gone)
	}
	h.mu.Unlock()
	late := time.NewTimer(lastMoment)
	defer late.Stop()
	select {
	case <-h.gone:
		return nil
	case <-late.C:
		return tandem.Errorf(tandem.CodeTimeout, "requests that were cut off are still running")
	}
}

// fresh holds connections on which no request has begun. http.Server.Shutdown waits five seconds for those, since one may
// be about to; a client that connected in advance would make every stop as long.
type fresh struct {
	mu    sync.Mutex // guards conns
	conns map[net.Conn]struct{}
}

// state is the ConnState hook of an http.Server.
func (f *fresh) state(c net.Conn, s http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s != http.StateNew {
		delete(f.conns, c)
		return
	}
	if f.conns == nil {
		f.conns = map[net.Conn]struct{}{}
	}
	f.conns[c] = struct{}{}
}

// close ends those that are left.
func (f *fresh) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		_ = c.Close()
	}
}
