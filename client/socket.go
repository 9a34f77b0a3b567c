package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/websocket"
)

const (
	defaultWindow = 256
	maxWindow     = 10_000
	// maxPublishing is how many events of a Socket may be on their way without a receipt.
	maxPublishing = 1024
	// closeWait is how long the end of a connection waits for the other side.
	closeWait = time.Second
)

// SocketOptions configure Dial. The zero value works.
type SocketOptions struct {
	// Window is how many events the server may send ahead of what is acknowledged, at most 10,000; they are held in memory. Zero means 256.
	Window int
	// ManualAck leaves it to Ack to say what is processed. Otherwise Next says so of the messages that it returned before.
	ManualAck bool
	// Progress is told of places behind events that the filter left out, from Next. Nil tells nobody.
	Progress func(tandem.Cursor)
}

// Socket is one connection over which a topic is read and published to (WebSocket, subprotocol tandem.v1.json). It does not
// connect again by itself: to go on after an error, Dial from the cursor of the last message. It must be closed. Publish, Ack
// and Close are safe for concurrent use, and beside Next. They work whether or not messages are taken: the server stops sending
// events at the end of the window.
type Socket struct {
	socket
	opts  SocketOptions
	taken int           // events that Next returned since it acknowledged
	last  tandem.Cursor // of what Next returned
}

// Dial opens a connection to one topic; of q it looks at Start and Filter. ctx bounds the opening alone, as does Options.Timeout. It is not tried again.
// Codes: Invalid (also for an Options.HTTP that does not let go of connections: with a Timeout, or a transport that wraps
// answers), NotFound, Unauthorized, Forbidden, Unavailable, Timeout; Unsupported when what answers, or something in
// between, knows no WebSocket.
func (c *Client) Dial(ctx context.Context, topic string, q Query, opts SocketOptions) (*Socket, error) {
	q.Topics = []string{topic}
	v, err := q.values()
	if err != nil {
		return nil, err
	}
	v.Del("topic") // the path has it
	return c.dial(ctx, eventsPath(topic), v, opts)
}

func (c *Client) dial(ctx context.Context, path string, query url.Values, opts SocketOptions) (*Socket, error) {
	if opts.Window == 0 {
		opts.Window = defaultWindow
	}
	if opts.Window < 1 || opts.Window > maxWindow {
		return nil, tandem.Errorf(tandem.CodeInvalid, "a window of %d events is not one of 1 to %d", opts.Window, maxWindow)
	}
	query.Set("credit", strconv.Itoa(opts.Window))
	conn, err := c.upgrade(ctx, call{method: http.MethodGet, path: path, query: query})
	if err != nil {
		return nil, err
	}
	s := &Socket{opts: opts}
	s.open(conn, opts.Window)
	return s, nil
}

// Next returns the next stored event, or a gap. It waits until there is one, ctx is done or the connection ends; what came
// before the end is returned first. The end is returned again by each call. Codes: Timeout when ctx is done, which does not end
// the connection; Unavailable when it broke or the server ended it, with RetryAfter when that said after what time to dial
// again; Gone after Close; else the code of what the server found wrong. Not safe for concurrent use.
func (s *Socket) Next(ctx context.Context) (Message, error) {
	if !s.opts.ManualAck && 2*s.taken >= s.opts.Window {
		_ = s.sendAck(s.last) // what has ended is told below
		s.taken = 0
	}
	for {
		if ctx.Err() != nil {
			return Message{}, &tandem.Error{Code: tandem.CodeTimeout, Op: "stream", Err: context.Cause(ctx)}
		}
		a, ok, err := s.pop()
		switch {
		case err != nil:
			return Message{}, err
		case !ok:
			select {
			case <-s.arrived:
			case <-s.ended:
			case <-ctx.Done():
			}
		case a.moved:
			if s.opts.Progress != nil {
				s.opts.Progress(a.Cursor)
			}
		default:
			s.last = a.Cursor
			if a.Gap == nil {
				s.taken++
			}
			return a.Message, nil
		}
	}
}

// Ack says that all up to a cursor is processed, which lets the server send as many events more. It is sent behind; of several that wait
// only the last is. Codes: those of Next when the connection has ended.
func (s *Socket) Ack(cursor tandem.Cursor) error { return s.sendAck(cursor) }

// Publish stores an event in the topic and returns its receipt when it is durable. Calls at the same time share the connection
// without waiting for each other, up to 1,024. It does not change or keep the event, and does not send it again. Give it an ID
// of its own, so that it may be sent again.
//
// Codes: those of Client.Publish; Invalid also for an event with Meta.Key, which has no place here. When the connection ends
// before the receipt, Unavailable, and when ctx is done, Timeout: it may have been stored.
func (s *Socket) Publish(ctx context.Context, event tandem.Event) (tandem.Receipt, error) {
	if event.Meta.Key != "" {
		return tandem.Receipt{}, tandem.Errorf(tandem.CodeInvalid, "a key cannot be sent over a socket").
			WithHint("let the subject be the key, or use Client.Publish")
	}
	// What is no JSON would be answered to nobody, or end the connection for all.
	body := tandem.AppendEventJSON(nil, &event)
	if !json.Valid(body) || !utf8.Valid(body) {
		return tandem.Receipt{}, tandem.Errorf(tandem.CodeInvalid, "the event is not JSON in UTF-8").
			WithField("/data", "must be JSON where datacontenttype says so")
	}
	select {
	case s.slots <- struct{}{}:
	case <-s.ended: // sendPublish says why
	case <-ctx.Done():
		return tandem.Receipt{}, &tandem.Error{Code: tandem.CodeTimeout, Op: "publish", Err: context.Cause(ctx)}
	}
	answer, err := s.sendPublish(body)
	if err != nil {
		return tandem.Receipt{}, err
	}
	select {
	case a := <-answer:
		return a.receipt, a.err
	case <-ctx.Done():
		return tandem.Receipt{}, &tandem.Error{Code: tandem.CodeTimeout, Op: "publish", Err: fmt.Errorf("no receipt yet: %w", context.Cause(ctx))}
	}
}

// Close says goodbye to the server, waits for its answer at most a second, and ends the connection. Each Publish that has no receipt by then fails. It
// is safe to repeat.
func (s *Socket) Close() {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.hangUp(websocket.CloseNormal, "")
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	select {
	case <-s.ended:
	case <-timer.C:
	}
	s.end(nil)
	s.running.Wait()
}
