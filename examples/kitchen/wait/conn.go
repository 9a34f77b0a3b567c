package wait

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

const (
	dialTimeout  = 10 * time.Second
	writeTimeout = 10 * time.Second
	// silence is how long a server may send nothing at all: three heartbeats of a stream, or a long poll and some.
	silence   = 45 * time.Second
	readBytes = 2 << 10 // many connections wait at the same time
)

// conn is one connection of somebody who waits.
type conn struct {
	line *Line
	net.Conn
	in   *bufio.Reader
	stop func() bool
}

// dial connects. ctx ends the connection, too.
func (l *Line) dial(ctx context.Context) (*conn, error) {
	raw, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", l.Addr)
	if err != nil {
		return nil, err
	}
	c := &conn{line: l, Conn: &counted{raw, l}}
	c.in = bufio.NewReaderSize(c, readBytes)
	c.stop = context.AfterFunc(ctx, func() { raw.Close() })
	return c, nil
}

// Read bounds how long the server is silent.
func (c *conn) Read(p []byte) (int, error) {
	_ = c.SetReadDeadline(time.Now().Add(silence)) // fails with the read
	return c.Conn.Read(p)
}

// Write bounds how long the server takes nothing.
func (c *conn) Write(p []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(writeTimeout)) // fails with the write
	return c.Conn.Write(p)
}

func (c *conn) close() {
	c.stop()
	c.Conn.Close()
}

// get sends a request and returns the head of its answer. header is lines that end with CR LF.
func (c *conn) get(target, header string) (*http.Response, error) {
	c.line.Requests.Add(1)
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", target, c.line.Addr, header); err != nil {
		return nil, err
	}
	return http.ReadResponse(c.in, nil)
}

// counted is a connection whose bytes are counted.
type counted struct {
	net.Conn
	line *Line
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.line.Bytes.Add(int64(n))
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.line.Bytes.Add(int64(n))
	return n, err
}
