package stream

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem/internal/websocket"
)

const (
	silence      = 45 * time.Second // three heartbeats of the server: the connection is dead
	writeTimeout = 30 * time.Second
	readBytes    = 4 << 10
)

// Frame is what the server sends: one of its members, and Cursor with Event.
type Frame struct {
	Event     *Event          `json:"event"`
	Cursor    string          `json:"cursor"`
	Gap       json.RawMessage `json:"gap"`
	Receipt   *Receipt        `json:"receipt"`
	Problem   *Problem        `json:"problem"`
	Reconnect *Reconnect      `json:"reconnect"`
}

// Event is what is looked at of a CloudEvent.
type Event struct {
	ID      string          `json:"id"`
	Subject string          `json:"subject"`
	Data    json.RawMessage `json:"data"`
}

// Receipt says that an event that was published is stored.
type Receipt struct {
	Ref       int  `json:"ref"`
	Duplicate bool `json:"duplicate"`
}

// Problem says why one was not, or, with Ref zero, what was wrong with a frame.
type Problem struct {
	Ref    int    `json:"ref"`
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

func (p *Problem) Error() string { return fmt.Sprintf("%d %s: %s", p.Status, p.Title, p.Detail) }

// ForGood reports whether sending the event again is of no use.
func (p *Problem) ForGood() bool { return p.Status < 500 && p.Status != 429 }

// Reconnect is the last frame of a stream that the server ends.
type Reconnect struct {
	Reason string `json:"reason"`
	After  int    `json:"after"` // milliseconds
}

func (r *Reconnect) Error() string { return "the server asks to connect again: " + r.Reason }

// Wait is how long to wait before that, at most a minute.
func (r *Reconnect) Wait() time.Duration {
	return time.Duration(min(max(r.After, 0), 60_000)) * time.Millisecond
}

// Conn is one connection. One goroutine may call Next while others call Publish; Close is safe for concurrent use.
type Conn struct {
	conn net.Conn

	// Of Next.
	in     *bufio.Reader
	parser websocket.Parser
	buf    [readBytes]byte
	rest   []byte // of buf: read and not parsed

	mu  sync.Mutex // guards what follows: a frame is written whole
	out []byte
}

// Next returns the next frame; pings are answered on the way. An error ends the connection.
func (c *Conn) Next() (f Frame, err error) {
	for {
		m, rest, ok, err := c.parser.Next(c.rest)
		c.rest = rest
		if err != nil {
			return f, err
		}
		if !ok {
			if err := c.read(); err != nil {
				return f, err
			}
			continue
		}
		switch m.Op {
		case websocket.Text:
			return f, json.Unmarshal(m.Data, &f)
		case websocket.Ping:
			if err := c.write(websocket.Pong, m.Data); err != nil {
				return f, err
			}
		case websocket.Close:
			code, reason, err := websocket.ParseClose(m.Data)
			if err != nil {
				return f, err
			}
			return f, &websocket.CloseError{Code: code, Reason: reason}
		}
	}
}

func (c *Conn) read() error {
	_ = c.conn.SetReadDeadline(time.Now().Add(silence)) // fails with the read
	n, err := c.in.Read(c.buf[:])
	c.rest = c.buf[:n]
	if n > 0 {
		return nil
	}
	return err
}

// Publish sends an event, whose type, source, key and subject are the route's. The answer is a frame with ref, which is not zero.
func (c *Conn) Publish(ref int, id string, data any) error {
	type event struct {
		ID   string `json:"id"`
		Data any    `json:"data"`
	}
	type publish struct {
		Ref   int   `json:"ref"`
		Event event `json:"event"`
	}
	body, err := json.Marshal(map[string]publish{"publish": {ref, event{id, data}}})
	if err != nil {
		return err
	}
	return c.write(websocket.Text, body)
}

func (c *Conn) write(op websocket.Op, payload []byte) error {
	var mask [4]byte
	rand.Read(mask[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = websocket.AppendMasked(c.out[:0], op, mask, payload)
	_ = c.conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // fails with the write
	_, err := c.conn.Write(c.out)
	return err
}

// Close ends the connection, with a Close frame unless something is being written.
func (c *Conn) Close() {
	if c.mu.TryLock() {
		b := websocket.AppendMasked(nil, websocket.Close, [4]byte{1, 2, 3, 4}, websocket.AppendClosePayload(nil, websocket.CloseNormal, ""))
		_ = c.conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = c.conn.Write(b) // a courtesy
		c.mu.Unlock()
	}
	c.conn.Close()
}
