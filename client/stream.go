package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/tandem-hybrid/tandem"
)

const (
	streamBase = 250 * time.Millisecond // wait before connecting again, doubled by failures, with full jitter
	streamMax  = 15 * time.Second
	// streamSilence is how long a stream may be silent, heartbeats counted, before the connection is taken for dead.
	streamSilence = time.Minute
)

// Message is one message of a stream: an event, or a gap.
type Message struct {
	Event  tandem.Event  // zero when Gap is set
	Cursor tandem.Cursor // resumes after this message
	// Gap says that events before this place can no longer be read. The stream goes on behind it.
	Gap *tandem.Gap
}

// StreamOptions configure Stream. The zero value works.
type StreamOptions struct {
	// WebSocket uses a WebSocket in place of server-sent events: up to 256 events are sent ahead of the loop, which says how far it
	// is, and the server can tell a slow loop from a dead connection. Where something in between does not pass WebSocket on the
	// stream ends with Unsupported.
	WebSocket bool
	// Interrupted is told why the stream broke and when it connects again. Nil tells nobody.
	Interrupted func(err error, again time.Duration)
	// Progress is told of places behind events that the filter left out, so that a caller who keeps a cursor does not
	// go through them again. It is called from the loop over the stream. Nil tells nobody.
	Progress func(tandem.Cursor)
}

// Stream follows topics: it yields stored events from q.Start on, or the last q.Last, and then new ones as they are stored, each once and in the
// order of the log, until the loop ends or ctx is done. When the connection breaks it resumes behind the last event,
// after a wait with jitter, as often as it takes; once it has been connected only an answer that says that it is of no
// use ends it. A start that is not a cursor is resolved once, at the first connection; if that breaks before the first
// message it is resolved again.
//
// An error is the last thing that it yields. Codes: Invalid, NotFound, Unauthorized, Forbidden, Unsupported; Unavailable when the
// server could not be reached in the beginning; Timeout when ctx is done, with its error as cause.
func (c *Client) Stream(ctx context.Context, q Query, opts StreamOptions) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		if opts.WebSocket && q.Slow != "" { // it has a window: it is sent no more than it takes
			yield(Message{}, tandem.Errorf(tandem.CodeInvalid, "Slow is for server-sent events, not for a WebSocket"))
			return
		}
		s := &stream{c: c, q: q, opts: opts, base: streamBase, yield: yield}
		if err := s.run(ctx); err != nil {
			yield(Message{}, err)
		}
	}
}

// errStopped ends a stream because the caller's loop ended.
var errStopped = errors.New("the loop ended")

type stream struct {
	c         *Client
	q         Query
	opts      StreamOptions
	yield     func(Message, error) bool
	cursor    tandem.Cursor // of the last message; empty before the first
	base      time.Duration
	connected bool // ever
	failures  int  // since the last message
}

func (s *stream) run(ctx context.Context) error {
	for {
		err := s.connect(ctx)
		switch {
		case errors.Is(err, errStopped):
			return nil
		case ctx.Err() != nil:
			return &tandem.Error{Code: tandem.CodeTimeout, Op: "stream", Err: context.Cause(ctx)}
		case !s.mayResume(err):
			return err
		}
		wait := backoff(s.failures, s.base, streamMax)
		var e *tandem.Error
		if errors.As(err, &e) {
			wait += min(e.RetryAfter, retryAfterMax)
		}
		s.failures++
		if s.opts.Interrupted != nil {
			s.opts.Interrupted(err, wait)
		}
		if s.c.sleep(ctx, wait) != nil {
			return &tandem.Error{Code: tandem.CodeTimeout, Op: "stream", Err: context.Cause(ctx)}
		}
	}
}

func (s *stream) mayResume(err error) bool {
	switch tandem.CodeOf(err) {
	case tandem.CodeUnavailable, tandem.CodeOverloaded, tandem.CodeTimeout, tandem.CodeInternal:
		return s.connected || s.failures < s.c.retries
	}
	return false
}

// connect reads one connection to its end.
func (s *stream) connect(ctx context.Context) error {
	q := s.q
	if s.cursor != "" {
		q.Start, q.Last = tandem.Start{Cursor: s.cursor}, 0
	}
	v, err := q.values()
	if err != nil {
		return err
	}
	if q.Slow != "" {
		v.Set("slow", q.Slow)
	}
	if s.opts.WebSocket {
		return s.connectSocket(ctx, v)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(streamSilence, func() { cancel(fmt.Errorf("nothing was heard for %s", streamSilence)) })
	defer silence.Stop()
	r := call{method: http.MethodGet, path: "/v1/events", query: v, header: http.Header{"Accept": {tandem.MediaSSE}}}
	res, err := s.c.send(ctx, r, nil)
	if err != nil {
		return silent(ctx, err)
	}
	defer res.Body.Close()
	s.connected = true
	silence.Stop()
	messages := newSSEReader(watched{res.Body, silence})
	for {
		m, err := messages.next()
		if err != nil {
			return silent(ctx, &tandem.Error{Code: tandem.CodeUnavailable, Op: "stream", Err: err})
		}
		if err := s.take(m); err != nil {
			return err
		}
	}
}

// connectSocket is connect by WebSocket.
func (s *stream) connectSocket(ctx context.Context, query url.Values) error {
	socket, err := s.c.dial(ctx, "/v1/events", query, SocketOptions{Progress: func(at tandem.Cursor) {
		s.cursor, s.failures = at, 0
		if s.opts.Progress != nil {
			s.opts.Progress(at)
		}
	}})
	if err != nil {
		return err
	}
	defer socket.Close()
	s.connected = true
	for {
		m, err := socket.Next(ctx)
		var e *tandem.Error
		if errors.As(err, &e) && e.RetryAfter > 0 { // the server has spread it already
			s.failures = 0
		}
		if err != nil {
			return err
		}
		s.cursor, s.failures = m.Cursor, 0
		if err := s.give(m); err != nil {
			return err
		}
	}
}

// silent names silence as the reason of an error that it caused.
func silent(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return &tandem.Error{Code: tandem.CodeUnavailable, Op: "stream", Err: cause}
	}
	return err
}

// watched sets the alarm of silence while it waits for the server, and only then: a slow loop is not silence.
type watched struct {
	io.Reader
	alarm *time.Timer
}

func (w watched) Read(b []byte) (int, error) {
	w.alarm.Reset(streamSilence)
	n, err := w.Reader.Read(b)
	w.alarm.Stop()
	return n, err
}

// take handles one message.
func (s *stream) take(m message) error {
	if m.retry > 0 {
		s.base = min(m.retry, streamMax)
	}
	if m.hasID && m.id != "" {
		s.cursor = tandem.Cursor(m.id)
	}
	s.failures = 0
	switch m.event {
	case "":
		if len(m.data) == 0 {
			if m.hasID && s.opts.Progress != nil {
				s.opts.Progress(s.cursor)
			}
			return nil
		}
		// The event keeps its bytes; those of the message are used again.
		e, err := tandem.ParseEventJSON(append([]byte(nil), m.data...))
		if err != nil {
			return &tandem.Error{Code: tandem.CodeInvalid, Op: "stream", Err: fmt.Errorf("read an event of the stream: %w", err)}
		}
		return s.give(Message{Event: e, Cursor: s.cursor})
	case "gap":
		var gap tandem.Gap
		if err := json.Unmarshal(m.data, &gap); err != nil {
			return &tandem.Error{Code: tandem.CodeInvalid, Op: "stream", Err: fmt.Errorf("read a gap of the stream: %w", err)}
		}
		return s.give(Message{Gap: &gap, Cursor: s.cursor})
	case "reconnect":
		return tandem.Errorf(tandem.CodeUnavailable, "the server asked to connect again")
	}
	return nil // "expiring", and what later versions add
}

func (s *stream) give(m Message) error {
	if !s.yield(m, nil) {
		return errStopped
	}
	return nil
}
