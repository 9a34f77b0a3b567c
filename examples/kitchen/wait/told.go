package wait

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/tandem-hybrid/tandem/internal/websocket"
)

// SSE is told by server-sent events (WHATWG HTML, section 9.2).
type SSE struct{ Line *Line }

// Wait opens the stream before it places the order, so that nothing can be missed in between.
func (s SSE) Wait(ctx context.Context, order string, place Place) (Notice, error) {
	l := listener{line: s.Line, order: order, place: place}
	return l.wait(ctx, l.sse)
}

// WebSocket is told over one (RFC 6455), in the subprotocol tandem.v1.json.
type WebSocket struct{ Line *Line }

// Wait opens the stream before it places the order, as SSE does.
func (s WebSocket) Wait(ctx context.Context, order string, place Place) (Notice, error) {
	l := listener{line: s.Line, order: order, place: place}
	return l.wait(ctx, l.websocket)
}

// listener listens to the stream of one order. After a break it goes on behind the last place that it was told.
type listener struct {
	line    *Line
	order   string
	place   Place
	placed  bool
	refused error // of place: for good
	cursor  string
}

// wait connects until it knows. listen reads one connection, and calls at for each place and take for each event.
func (l *listener) wait(ctx context.Context, listen func(context.Context, *conn) (Notice, bool, error)) (Notice, error) {
	n, err := l.line.insist(ctx, func() (n Notice, known bool, err error) {
		c, err := l.line.dial(ctx)
		if err != nil {
			return n, false, err
		}
		defer c.close()
		n, known, err = listen(ctx, c)
		return n, known || l.refused != nil, err
	})
	if l.refused != nil {
		return n, l.refused
	}
	return n, err
}

// at takes the place that the stream has come to. The first one says that it is open.
func (l *listener) at(ctx context.Context, cursor string) error {
	l.cursor = cursor
	if l.placed {
		return nil
	}
	l.placed = true
	_, l.refused = l.place(ctx)
	return l.refused
}

// take takes an event.
func (l *listener) take(data []byte) (n Notice, known bool, err error) {
	at := time.Now()
	var e event
	if err := json.Unmarshal(data, &e); err != nil {
		return n, false, err
	}
	if e.Type != "order.ready" || e.Subject != l.order {
		return n, false, fmt.Errorf("%s of %s came over the stream of %s", e.Type, e.Subject, l.order)
	}
	return Notice{Ready: e.Data.At, Known: at}, true, nil
}

func (l *listener) target() string {
	t := "/orders/" + url.PathEscape(l.order) + "/events"
	if l.cursor != "" {
		t += "?cursor=" + url.QueryEscape(l.cursor)
	}
	return t
}

func (l *listener) sse(ctx context.Context, c *conn) (n Notice, known bool, err error) {
	res, err := c.get(l.target(), "Accept: text/event-stream\r\n") //nolint:bodyclose // it has no end: the connection is closed
	if err != nil {
		return n, false, err
	}
	if res.StatusCode != http.StatusOK {
		return n, false, fmt.Errorf("the stream was answered with %s", res.Status)
	}
	in := bufio.NewReaderSize(res.Body, 512) // mostly quiet
	for id, data := "", []byte(nil); ; {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return n, false, err
		}
		field, value, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(": "))
		switch string(field) {
		case "id":
			id = string(value)
		case "data":
			data = value
		case "event":
			return n, false, fmt.Errorf("the server says %s", value)
		case "": // the end of a message, or a heartbeat
			if data != nil {
				return l.take(data)
			}
			if id != "" {
				if err := l.at(ctx, id); err != nil {
					return n, false, err
				}
			}
		}
	}
}

func (l *listener) websocket(ctx context.Context, c *conn) (n Notice, known bool, err error) {
	var nonce [16]byte
	rand.Read(nonce[:])
	key := base64.StdEncoding.EncodeToString(nonce[:])
	// Routes take a WebSocket only from a page of their own origin: a program says that it is one.
	res, err := c.get(l.target(), "Origin: http://"+c.line.Addr+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: "+websocket.Version+
		"\r\nSec-WebSocket-Key: "+key+"\r\nSec-WebSocket-Protocol: tandem.v1.json\r\n")
	if err != nil {
		return n, false, err
	}
	res.Body.Close() // of 101 there is none; of another answer nothing is read
	if res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-WebSocket-Accept") != websocket.AcceptKey(key) {
		return n, false, fmt.Errorf("the WebSocket was answered with %s", res.Status)
	}
	parser := websocket.Parser{Client: true}
	buf := make([]byte, readBytes)
	for rest := buf[:0]; ; {
		m, after, ok, err := parser.Next(rest)
		if rest = after; err != nil {
			return n, false, err
		}
		if !ok {
			got, err := c.in.Read(buf)
			if got == 0 {
				return n, false, err
			}
			rest = buf[:got]
			continue
		}
		switch m.Op {
		case websocket.Ping:
			var mask [4]byte
			rand.Read(mask[:])
			if _, err := c.Write(websocket.AppendMasked(nil, websocket.Pong, mask, m.Data)); err != nil {
				return n, false, err
			}
		case websocket.Text:
			var f struct {
				Event     json.RawMessage `json:"event"`
				Cursor    string          `json:"cursor"`
				Reconnect json.RawMessage `json:"reconnect"`
				Gap       json.RawMessage `json:"gap"`
			}
			if err := json.Unmarshal(m.Data, &f); err != nil {
				return n, false, err
			}
			switch {
			case f.Event != nil:
				return l.take(f.Event)
			case f.Cursor != "":
				if err := l.at(ctx, f.Cursor); err != nil {
					return n, false, err
				}
			default:
				return n, false, fmt.Errorf("the server says %s", m.Data)
			}
		case websocket.Close:
			return n, false, fmt.Errorf("the server closed the WebSocket")
		}
	}
}
