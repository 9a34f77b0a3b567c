package wait

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"sync"
	"time"
)

// Board is told by a webhook: it is the service that the subscription delivers to, at POST /events, on behalf of all who look at it. Each of
// them sees the notice when its delivery came.
type Board struct {
	line *Line

	mu      sync.Mutex // guards what follows
	waiting map[string]chan Notice
	seen    map[string]bool
	repeats int64
}

// NewBoard returns a board that counts on line. Its handler is to be served on a listener that Count wrapped.
func NewBoard(line *Line) *Board {
	return &Board{line: line, waiting: map[string]chan Notice{}, seen: map[string]bool{}}
}

// Repeats is how many deliveries told what was known.
func (b *Board) Repeats() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.repeats
}

// Wait looks at the board before it places the order.
func (b *Board) Wait(ctx context.Context, order string, place Place) (n Notice, err error) {
	told := make(chan Notice, 1)
	b.mu.Lock()
	b.waiting[order] = told
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.waiting, order)
		b.mu.Unlock()
	}()
	if _, err := place(ctx); err != nil {
		return n, err
	}
	select {
	case n := <-told:
		return n, nil
	case <-ctx.Done():
		return n, context.Cause(ctx)
	}
}

// ServeHTTP takes a delivery.
func (b *Board) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.line.Requests.Add(1)
	var e event
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBytes)).Decode(&e); err != nil || e.Type != "order.ready" {
		http.Error(w, "send an order.ready in application/cloudevents+json", http.StatusBadRequest)
		return
	}
	known := time.Now()
	b.mu.Lock()
	if b.seen[e.Subject] {
		b.repeats++
	} else if told := b.waiting[e.Subject]; told != nil {
		told <- Notice{Ready: e.Data.At, Known: known} // has room: the first one alone is sent
	}
	b.seen[e.Subject] = true
	b.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// Count returns a listener that counts the bytes of its connections on line.
func (l *Line) Count(inner net.Listener) net.Listener { return &listenerOf{inner, l} }

type listenerOf struct {
	net.Listener
	line *Line
}

func (l *listenerOf) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &counted{c, l.line}, nil
}
