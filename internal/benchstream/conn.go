package benchstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"
)

// stage is how far a client is.
type stage uint8

const (
	idle     stage = iota // until due
	dialling              // for the loop
	waiting               // for the header of the answer
	reading
)

// conn is one client, over all its connections.
type conn struct {
	l      *load
	fd     int // of the loop, -1 for none
	stage  stage
	slow   bool
	part   []byte  // of a message, or of the header, that has not ended
	chunks *chunks // of the answer, nil if it is not chunked
	next   uint64  // events so far; with Verify, the number that must come next
	cursor []byte

	due     int64         // Monotonic of the next attempt, zero when it is under way
	retry   time.Duration // what the server said last
	told    bool          // it was the advice to come back
	refused bool          // by an answer
	ended   bool          // and not tried again yet
}

// request returns what a client sends first.
func (c *conn) request() []byte {
	o := &c.l.opts
	path := o.Path
	if o.WebSocket && len(c.cursor) > 0 {
		u, err := url.Parse(path)
		if err != nil {
			c.l.fail("path: %v", err)
			return nil
		}
		q := u.Query()
		q.Del("from")
		q.Set("cursor", string(c.cursor))
		path = u.Path + "?" + q.Encode()
	}
	b := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n", path, o.Addr)
	if o.WebSocket {
		b = fmt.Appendf(b, "Connection: Upgrade\r\nUpgrade: websocket\r\nOrigin: http://%s\r\nSec-WebSocket-Version: 13\r\n"+
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\n", o.Addr, o.Protocol)
	} else {
		b = append(b, "Accept: text/event-stream\r\n"...)
		if len(c.cursor) > 0 {
			b = fmt.Appendf(b, "Last-Event-ID: %s\r\n", c.cursor)
		}
	}
	return append(b, "\r\n"...)
}

// accepted answers the key of request (RFC 6455, section 1.3, has this very pair).
const accepted = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

// errEnd says that the server ended the stream as it should.
var errEnd = errors.New("the server ended the stream")

// take takes bytes of the connection: the first len(c.part) are what was left of the last time, the rest is new. It returns
// what is to be sent, and an error when the connection is of no more use. b is changed, and not kept.
func (c *conn) take(b []byte) (reply []byte, err error) {
	old := len(c.part)
	c.l.r.Bytes += uint64(len(b) - old)
	if c.stage == waiting {
		i := bytes.Index(b, []byte("\r\n\r\n"))
		if i < 0 {
			return nil, c.rest(b)
		}
		if err := c.header(b[:i+2]); err != nil {
			return nil, err
		}
		b, old = b[i+4:], 0
	}
	var end error
	if c.chunks != nil {
		var n int
		n, end = c.chunks.decode(b[old:])
		b = b[:old+n]
	}
	if c.l.opts.WebSocket {
		b, reply, err = c.frames(b)
	} else {
		b, err = c.messages(b)
	}
	return reply, errors.Join(err, end, c.rest(b))
}

// rest keeps what has not ended.
func (c *conn) rest(b []byte) error {
	if len(b) > 1<<20 {
		return fmt.Errorf("a message of more than 1 MiB: %.100q", b)
	}
	if cap(c.part) > 16<<10 && len(b) < 4<<10 {
		c.part = nil
	}
	c.part = append(c.part[:0], b...)
	return nil
}

// header takes the header of the answer.
func (c *conn) header(h []byte) error {
	_, status, _ := bytes.Cut(h[:bytes.IndexByte(h, '\r')], []byte(" "))
	field := func(name string) string {
		for line := range bytes.Lines(h) {
			if n, v, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(n, []byte(name)) {
				return string(bytes.TrimSpace(v))
			}
		}
		return ""
	}
	want := "200"
	if c.l.opts.WebSocket {
		want = "101"
	}
	switch code := string(status[:min(3, len(status))]); code {
	case want:
	case "429", "503":
		c.refused = true
		seconds, _ := strconv.Atoi(field("Retry-After"))
		c.retry = spread(time.Duration(max(seconds, 1)) * time.Second)
		return fmt.Errorf("answered %s", status)
	default:
		c.l.r.Unsupported = code == "501"
		c.l.fail("answered %s", status)
		return io.EOF
	}
	if c.l.opts.WebSocket && (field("Sec-WebSocket-Accept") != accepted || field("Sec-WebSocket-Protocol") != c.l.opts.Protocol) {
		c.l.fail("a handshake that is none: %q", h)
		return io.EOF
	}
	if field("Transfer-Encoding") == "chunked" {
		c.chunks = &chunks{}
	}
	c.l.opened(c)
	return nil
}

// chunks decodes a chunked body (RFC 9112, section 7.1) without trailers, in place.
type chunks struct {
	left int // bytes of data and of the line end behind it
	size int // of the chunk whose size is being read
}

func (c *chunks) decode(b []byte) (n int, err error) {
	for i := 0; i < len(b); {
		if c.left > 0 {
			m := min(c.left, len(b)-i)
			n += copy(b[n:], b[i:i+min(m, max(c.left-2, 0))])
			c.left -= m
			i += m
			continue
		}
		switch d := b[i]; {
		case d >= '0' && d <= '9':
			c.size = c.size<<4 | int(d-'0')
		case d >= 'a' && d <= 'f':
			c.size = c.size<<4 | int(d-'a'+10)
		case d == '\n' && c.size == 0:
			return n, errEnd
		case d == '\n':
			c.left, c.size = c.size+2, 0
		case d != '\r':
			return n, fmt.Errorf("%q in the size of a chunk", d)
		}
		i++
	}
	return n, nil
}
