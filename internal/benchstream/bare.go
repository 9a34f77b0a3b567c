package benchstream

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
)

// RoleBare is the role of a Bare server in a process of its own; its options are a BareOptions. It answers as Serve does.
const RoleBare = "bare"

// BareOptions say what a Bare server speaks.
type BareOptions struct {
	WebSocket bool
}

// Bare is the least that a server can do: it holds connections, reads nothing from them after the request, and writes bytes
// that are ready to all of them, from GOMAXPROCS goroutines. Bytes that come while it writes leave with the next write.
type Bare struct {
	opts    BareOptions
	l       net.Listener
	writers []*bareWriter
	done    sync.WaitGroup
}

// bareWriter writes to a share of the connections.
type bareWriter struct {
	mu     sync.Mutex // guards what follows
	more   sync.Cond
	conns  []net.Conn
	buf    []byte
	closed bool
}

// NewBare starts a server on loopback.
func NewBare(opts BareOptions) (*Bare, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0") //nolint:noctx // it does not wait
	if err != nil {
		return nil, err
	}
	b := &Bare{opts: opts, l: l}
	for range runtime.GOMAXPROCS(0) {
		w := &bareWriter{}
		w.more.L = &w.mu
		b.writers = append(b.writers, w)
		b.done.Go(w.run)
	}
	b.done.Go(b.accept)
	return b, nil
}

// Addr is where the server listens, as host:port.
func (b *Bare) Addr() string { return b.l.Addr().String() }

// Send has p written to all connections that are open now, in order. It does not wait, and keeps no reference to p.
func (b *Bare) Send(p []byte) {
	for _, w := range b.writers {
		w.mu.Lock()
		w.buf = append(w.buf, p...)
		w.mu.Unlock()
		w.more.Signal()
	}
}

// Close ends all connections.
func (b *Bare) Close() {
	b.l.Close()
	for _, w := range b.writers {
		w.mu.Lock()
		w.closed = true
		for _, c := range w.conns {
			c.Close()
		}
		w.mu.Unlock()
		w.more.Signal()
	}
	b.done.Wait()
}

func (b *Bare) accept() {
	for i := 0; ; i++ {
		c, err := b.l.Accept()
		if err != nil {
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			c.Close()
			continue
		}
		b.writers[i%len(b.writers)].take(c, b.header(r))
	}
}

func (b *Bare) header(r *http.Request) string {
	if b.opts.WebSocket {
		return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + accepted +
			"\r\nSec-WebSocket-Protocol: " + r.Header.Get("Sec-WebSocket-Protocol") + "\r\n\r\n"
	}
	return "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\r\n"
}

// take adds a connection. A client that has its header is sent whatever Send is called with from then on.
func (w *bareWriter) take(c net.Conn, header string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := io.WriteString(c, header); err != nil || w.closed {
		c.Close()
		return
	}
	w.conns = append(w.conns, c)
}

func (w *bareWriter) run() {
	var buf []byte
	var conns []net.Conn
	for {
		w.mu.Lock()
		for len(w.buf) == 0 && !w.closed {
			w.more.Wait()
		}
		if w.closed {
			w.mu.Unlock()
			return
		}
		buf, w.buf = w.buf, buf[:0]
		conns = append(conns[:0], w.conns...)
		w.mu.Unlock()
		for _, c := range conns {
			_, _ = c.Write(buf) // the client of one that has ended says so
		}
	}
}

func runBare(options []byte, in io.Reader, out *json.Encoder) error {
	var opts BareOptions
	if err := json.Unmarshal(options, &opts); err != nil {
		return err
	}
	b, err := NewBare(opts)
	if err != nil {
		return err
	}
	defer b.Close()
	return Serve(b.Addr(), in, out)
}
