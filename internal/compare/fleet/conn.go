package fleet

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// dialTimeout bounds one connection.
const dialTimeout = 10 * time.Second

// dial makes a connection that is counted once it is open.
func (w *wire) dial(ctx context.Context, addr string) (*counted, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &counted{Conn: conn, wire: w}, nil
}

type counted struct {
	net.Conn
	wire *wire
	open atomic.Bool // what opens it is not counted: it is needed once for any number of reports
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.count(n)
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.count(n)
	return n, err
}

func (c *counted) count(n int) {
	if c.open.Load() {
		c.wire.bytes.Add(int64(n))
	}
}

// caller is the connection of one client over HTTP/1.1. Between two calls it holds nothing but the connection: there are many of them, and each
// calls now and then. Not safe for concurrent use.
type caller struct {
	addr string
	wire *wire
	conn net.Conn // nil before the first call, and after one that failed
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4<<10) }}

// post sends one request and reads the answer. An answer other than 2xx is an error.
func (c *caller) post(ctx context.Context, path, contentType string, body []byte) (err error) {
	if c.conn == nil {
		conn, err := c.wire.dial(ctx, c.addr)
		if err != nil {
			return err
		}
		conn.open.Store(true)
		c.conn = conn
	}
	conn := c.conn
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	again := false // the connection can carry another call
	defer func() {
		if !stop() || !again {
			conn.Close()
			c.conn = nil
		}
	}()
	c.wire.requests.Add(1)
	request := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", path, c.addr, contentType, len(body))
	if _, err := conn.Write(append(request, body...)); err != nil {
		return err
	}
	in := readers.Get().(*bufio.Reader)
	in.Reset(conn)
	defer func() {
		in.Reset(nil)
		readers.Put(in)
	}()
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	said, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return err
	}
	again = !res.Close && in.Buffered() == 0
	if res.StatusCode >= 300 {
		return &StatusError{res.StatusCode, fmt.Sprintf("%s: %.200s", res.Status, said)}
	}
	return nil
}

func (c *caller) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// StatusError is an answer that says that a report was not stored.
type StatusError struct {
	Status int
	Text   string
}

func (e *StatusError) Error() string { return e.Text }
