package stream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/internal/httpx"
	"github.com/tandem-hybrid/tandem/internal/websocket"
)

// Serve answers a GET with the events that ask allows: over a WebSocket if the request upgrades, as text/event-stream if it prefers
// that, otherwise with a page of JSON, which wait= holds back until there is an event, or one that If-None-Match does not know of. It reads cursor=, from=, last=, limit=, wait=, slow=, credit=
// and Last-Event-ID from the request and writes problems itself: Invalid, NotFound, Overloaded, Unavailable; while it drains a request for SSE
// is broken off. It takes the connection
// over where that is possible, and returns while the stream goes on.
func (s *Streams) Serve(w http.ResponseWriter, r *http.Request, ask tandem.StreamRequest) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Vary", "Accept, Authorization") // a page is kept for long: not for the next who logs in
	q, err := parseQuery(r)
	if err == nil {
		err = s.serve(w, r, &ask, &q)
	}
	if err == nil || r.Context().Err() != nil {
		return
	}
	if q.sse && errors.Is(err, errDraining) {
		panic(http.ErrAbortHandler) // a stock EventSource comes back after a broken connection, and never after a status
	}
	if tandem.CodeOf(err) == tandem.CodeInternal {
		s.opts.Logger.Error("reading events failed", "topics", ask.Topics, "error", err)
	}
	httpx.WriteProblem(w, q.inRequest(err))
}

func (s *Streams) serve(w http.ResponseWriter, r *http.Request, ask *tandem.StreamRequest, q *query) error {
	sel, err := eventlog.Select(ask.Topics...)
	if err != nil {
		return err
	}
	c := caller{ask.Principal, r.RemoteAddr}
	if host, _, err := net.SplitHostPort(c.address); err == nil {
		c.address = host
	}
	if !q.sse && !q.websocket {
		if err := s.lookBack(r, sel, ask.Filter, q); err != nil {
			return err
		}
		return s.servePage(w, r, sel, ask, q, c)
	}
	if r.Method == http.MethodHead && q.sse {
		s.headSSE(w)
		return nil
	}
	m := &member{s: s, sel: sel, filter: ask.Filter, slow: q.slow, ask: *ask, caller: c, remote: r.RemoteAddr, told: q.start.Cursor,
		at: -1, behind: true, born: time.Now()}
	if m.slow == "" {
		m.slow = ask.Slow
	}
	if s.opts.MaxAge > 0 {
		m.expires = m.born.Add(s.opts.MaxAge - rand.N(s.opts.MaxAge/10+1))
	}
	var hello []byte
	if q.websocket {
		var protocol string
		if protocol, hello, err = websocket.Accept(r, protocolTandem, protocolCloud); err != nil {
			w.Header().Set("Sec-WebSocket-Version", websocket.Version)
			return err
		}
		m.format = formatCloud
		if protocol == protocolTandem {
			m.format = formatTandem
		} else if q.credit > 0 {
			return tandem.Errorf(tandem.CodeInvalid, "the query is invalid").WithField("credit", "is for the subprotocol %s", protocolTandem)
		}
		if q.credit > 0 {
			m.window = newWindow(q.credit)
		}
	}
	// Counted in before it costs anything, so that a flood is refused at once.
	if err := s.enter(c); err != nil {
		return err
	}
	if err = s.seek(r, m, q); err == nil {
		err = s.accept(w, r, m, hello)
	}
	if err != nil {
		s.leave(c)
	}
	return err
}

// lookBack makes last= the place to start from.
func (s *Streams) lookBack(r *http.Request, sel eventlog.Selection, filter tandem.Filter, q *query) (err error) {
	if q.last == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookBackTime)
	defer cancel()
	select {
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
	case <-ctx.Done():
		return tandem.Errorf(tandem.CodeOverloaded, "too many streams are read for").WithRetryAfter(5 * time.Second)
	}
	q.start.Cursor, err = s.log.Last(ctx, sel, filter, q.last)
	return err
}

// lookBackTime is how long the last events may be looked for: a filter may be costly.
const lookBackTime = 5 * time.Second

// seek says where m starts, and what is wrong with that while it can be an answer.
func (s *Streams) seek(r *http.Request, m *member, q *query) error {
	if err := s.lookBack(r, m.sel, m.filter, q); err != nil {
		return err
	}
	probe, err := s.log.NewReader(r.Context(), m.sel, q.start)
	if err != nil {
		return err
	}
	defer probe.Close()
	m.start = q.start
	if q.start == (tandem.Start{}) {
		m.start = tandem.Start{Cursor: probe.Cursor()} // the latest as of now, not as of when it is read
		m.fresh = m.window == nil
	}
	return nil
}

// The subprotocols of WebSocket connections.
const (
	protocolTandem = "tandem.v1.json"
	protocolCloud  = "cloudevents.json"
)

// headSSE sets the header of an answer that is a stream.
func (s *Streams) headSSE(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", tandem.MediaSSE)
	h.Set("X-Accel-Buffering", "no") // proxies of the nginx kind hold a stream back otherwise
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
}

// accept makes m a member and answers. The stream was counted in, and is out again unless there is an error.
func (s *Streams) accept(w http.ResponseWriter, r *http.Request, m *member, hello []byte) (err error) {
	if m.window == nil { // with one it reads for itself
		if m.tail, err = s.tailOf(m.sel, m.filter); err != nil {
			return err
		}
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		if m.format != formatSSE {
			if m.tail != nil {
				m.tail.release()
			}
			return tandem.Errorf(tandem.CodeUnsupported, "a WebSocket needs HTTP/1.1").WithHint("ask for Accept: text/event-stream")
		}
		s.headSSE(w)
		sink := newHTTPSink(w, s.opts.WriteTimeout)
		m.sink = sink
		s.begin(m)
		select {
		case <-r.Context().Done():
		case <-sink.done:
		}
		m.close()
		// The writer may still be within a write to it.
		m.gone()
		sink.out.done()
		return nil
	}
	if a, ok := w.(interface{ Answered(status int) }); ok {
		status := http.StatusOK
		if hello != nil {
			status = http.StatusSwitchingProtocols
		}
		a.Answered(status)
	}
	if hello == nil {
		hello = head(w.Header())
	} else {
		hello = appendHeader(hello[:len(hello)-2], w.Header())
	}
	early := peeked(buffered)
	sink := newConnSink(conn, s.opts.WriteTimeout)
	m.sink = sink
	m.out = hello
	m.heard.Store(m.born.UnixNano())
	s.running.Add(1)
	s.begin(m)
	if m.format == formatSSE {
		go m.listen(sink)
	} else {
		go m.converse(sink, early)
	}
	return nil
}

// begin starts m: its pump reads from its start until it keeps up. Nobody who finds m gets hold of it before it is complete.
func (s *Streams) begin(m *member) {
	m.last = m.born.Add(-rand.N(s.opts.Heartbeat / 2))
	if m.tail != nil {
		m.group = m.tail.join(m, m.filter)
	}
	m.mu.Lock()
	s.mu.Lock()
	m.w = s.writers[s.next%len(s.writers)]
	s.next++
	s.members[m] = struct{}{}
	for _, pattern := range m.ask.Topics {
		s.asked[pattern]++
	}
	closed := s.closed
	s.mu.Unlock()
	m.w.post(order{kind: orderOpen, m: m})
	m.startPump()
	if closed { // by a Drain that did not see it
		m.endLocked(reasonDraining)
	}
	m.mu.Unlock()
}

// head is the header of an answer that ends when the connection does.
func head(h http.Header) []byte {
	h.Set("Content-Type", tandem.MediaSSE)
	h.Set("X-Accel-Buffering", "no") // proxies of the nginx kind hold a stream back otherwise
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Connection", "close")
	return appendHeader([]byte("HTTP/1.1 200 OK\r\n"), h)
}

// appendHeader ends the header of an answer.
func appendHeader(dst []byte, h http.Header) []byte {
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	b := bytes.NewBuffer(dst)
	_ = h.Write(b) // a buffer takes all
	b.WriteString("\r\n")
	return b.Bytes()
}

// peeked is what the client sent behind its request.
func peeked(rw *bufio.ReadWriter) []byte {
	n := rw.Reader.Buffered()
	if n == 0 {
		return nil
	}
	b, _ := rw.Reader.Peek(n)
	return bytes.Clone(b)
}
