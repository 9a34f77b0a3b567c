package stream

import (
	"errors"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// What a client has to take in the time of a write: leastBytes, so that one that reads a byte now and then holds nothing for long. Where it
// is not known how much it took, chunkBytes.
const (
	leastBytes = 1 << 10
	chunkBytes = 16 << 10
)

// sink is where a member's bytes go. It is used by one goroutine at a time, which is for the member to see to, but close may come at any time.
type sink interface {
	// try writes what can be written without waiting, which may be nothing.
	try(b []byte) (n int, err error)
	// write writes all of b. It fails when there is no progress for the time of a write.
	write(b []byte) error
	// hurry makes what is written, now and later, fail after so long.
	hurry(d time.Duration)
	// shut says that nothing follows, so that the peer gets all of it and closes.
	shut()
	close()
}

// connSink writes to a connection that was taken over from the server.
type connSink struct {
	net.Conn
	raw     syscall.RawConn // nil where writing cannot be tried
	timeout time.Duration
	end     atomic.Int64 // of all writes, Unix nanoseconds; zero: none
}

func newConnSink(c net.Conn, timeout time.Duration) *connSink {
	s := &connSink{Conn: c, timeout: timeout}
	if sc, ok := c.(syscall.Conn); ok {
		s.raw, _ = sc.SyscallConn()
	}
	_ = c.SetDeadline(time.Time{}) // those of the server were for a request
	if s.raw != nil {
		setUserTimeout(s.raw, timeout)
	}
	return s
}

func (s *connSink) try(b []byte) (int, error) {
	if s.raw == nil {
		return 0, nil
	}
	return tryWrite(s.raw, b)
}

func (s *connSink) write(b []byte) error {
	for len(b) > 0 {
		deadline := time.Now().Add(s.timeout)
		end := s.end.Load()
		if end != 0 {
			deadline = time.Unix(0, end)
		}
		_ = s.SetWriteDeadline(deadline)
		if s.end.Load() != end {
			continue // hurried meanwhile
		}
		n, err := s.Write(b)
		if err != nil && (end != 0 || n < leastBytes || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return err
		}
		b = b[n:]
	}
	_ = s.SetWriteDeadline(time.Time{}) // one that has passed fails what is tried later
	return nil
}

func (s *connSink) hurry(d time.Duration) {
	end := time.Now().Add(d)
	s.end.Store(end.UnixNano())
	_ = s.SetWriteDeadline(end)
}

func (s *connSink) shut() {
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		return
	}
	_ = s.Conn.Close()
}

func (s *connSink) close() { _ = s.Conn.Close() }

// httpSink writes through a server that does not hand over its connections, as with HTTP/2. The handler stays until it is closed.
type httpSink struct {
	out  response
	done chan struct{} // of the handler: closed by close
}

func newHTTPSink(w http.ResponseWriter, timeout time.Duration) *httpSink {
	return &httpSink{out: response{w: w, rc: http.NewResponseController(w), timeout: timeout}, done: make(chan struct{}, 1)}
}

func (s *httpSink) try([]byte) (int, error) { return 0, nil }

func (s *httpSink) write(b []byte) error {
	if err := s.out.write(b); err != nil {
		return err
	}
	return s.out.flush()
}

func (s *httpSink) hurry(d time.Duration) {
	end := time.Now().Add(d)
	s.out.end.Store(&end)
	_ = s.out.rc.SetWriteDeadline(end)
}

func (s *httpSink) shut() { s.close() }

func (s *httpSink) close() {
	select {
	case s.done <- struct{}{}:
	default:
	}
}
