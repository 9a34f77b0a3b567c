package benchstream

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// RoleHandler is the role of a server that has nothing but a Handler, in a process of its own, without options. It answers
// as Serve does.
const RoleHandler = "handler"

// Handler serves server-sent events as one does with net/http alone: each client has the goroutine of its request, which
// waits for bytes, writes and flushes, and a comment after 15 s of silence.
type Handler struct {
	mu      sync.Mutex                      // guards clients
	clients map[chan []byte]<-chan struct{} // closed when the client is gone
}

// handlerQueue is how many sends a client may be behind before Send waits for it.
const handlerQueue = 16

// Send hands p, which must not be changed afterwards, to all clients.
func (h *Handler) Send(p []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c, gone := range h.clients {
		select {
		case c <- p:
		case <-gone:
		}
	}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	events := make(chan []byte, handlerQueue)
	h.mu.Lock()
	if h.clients == nil {
		h.clients = map[chan []byte]<-chan struct{}{}
	}
	h.clients[events] = r.Context().Done()
	h.mu.Unlock()
	defer h.leave(events)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w).Flush
	beat := time.NewTicker(15 * time.Second)
	defer beat.Stop()
	for err := flush(); err == nil; err = flush() {
		select {
		case <-r.Context().Done():
			return
		case <-beat.C:
			_, err = io.WriteString(w, ":\n\n")
		case p := <-events:
			_, err = w.Write(p)
		}
		if err != nil {
			return
		}
	}
}

func (h *Handler) leave(events chan []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.clients, events)
}

func runHandler(_ []byte, in io.Reader, out *json.Encoder) error {
	l, err := net.Listen("tcp4", "127.0.0.1:0") //nolint:noctx // it does not wait
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: &Handler{}, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(l) }()
	defer func() { _ = srv.Close() }()
	return Serve(l.Addr().String(), in, out)
}
