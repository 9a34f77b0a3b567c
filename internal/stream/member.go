package stream

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/internal/websocket"
)

// patience is how many heartbeats a client of a WebSocket has for its answer: one that reads slowly comes to the ping only behind all that the
// kernels hold for it. One that vanished is found sooner where the kernel tells (setUserTimeout).
const patience = 8

// memberBytes is how much of what others are sent as well may wait for one member before it reads for itself.
const memberBytes = 256 << 10

// member is one open stream. Its writer hands it segments and writes them if that needs no waiting; otherwise, and as long as it is
// behind, its pump has the connection.
type member struct {
	s       *Streams
	w       *writer
	tail    *tail // nil with a window: it always reads for itself
	group   *group
	sink    sink
	format  format
	sel     eventlog.Selection
	filter  tandem.Filter
	slow    tandem.Slow
	ask     tandem.StreamRequest // Publish, Principal and Public
	caller  caller
	remote  string // address and port of the peer
	born    time.Time
	expires time.Time    // zero: never
	heard   atomic.Int64 // Unix nanoseconds
	partial atomic.Int64 // since when a message of the client is not complete; zero: it is

	pumps sync.WaitGroup // there is one at a time

	// Of the writer's goroutine.
	home  int    // in writer.members
	at    int    // in the list of its group, -1: not there
	dirty bool   // in writer.dirty
	since placed // where it was attached

	mu      sync.Mutex // guards what follows
	closed  bool
	pumping bool               // the pump has the connection
	joined  bool               // segments are handed over
	behind  bool               // the pump has to read for it
	lagged  bool               // it was attached before
	lag     time.Time          // when it was detached, if lagged
	warned  bool               // of its age
	ending  string             // reason; set once
	final   []byte             // what is said last; nil: goodbye, with the reason
	quiet   chan struct{}      // closed when out was taken; nil when nobody waits for that
	rest    []byte             // of a message, or several, that was written in part
	out     []byte             // control messages, to be written before queue
	queue   []*segment         // handed over and not written
	held    int                // bytes of rest and queue while the pump has the connection
	start   tandem.Start       // where the pump begins to read
	told    tandem.Cursor      // the place that the client knows, or is being told
	last    time.Time          // of the last write
	asked   time.Time          // of the ping that awaits an answer, if it is later than heard
	writing bool               // the pump is within a write
	sent    uint64             // events
	acked   tandem.Cursor      // by the client
	greeted bool               // the first message was written
	fresh   bool               // it begins at the latest event, and the pump has not begun
	cancel  context.CancelFunc // of a pump that reads; nil
	wake    chan struct{}      // of a pump that reads, and writes what is said when it is woken; nil without one
	window  *window
}

// setJoined is called by the tail when it attaches m.
func (m *member) setJoined(at tandem.Cursor) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.ending != "" {
		return false
	}
	m.joined = true
	m.w.post(order{kind: orderJoin, m: m, cursor: at}) // before the order that close may post
	return true
}

// offer hands over segments. It returns false if m has too much waiting for it: it reads for itself from then on.
func (m *member) offer(segs []*segment) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || !m.joined {
		return false
	}
	n := 0
	for _, seg := range segs {
		n += len(seg.bytes)
	}
	if m.pumping && (m.held+n > memberBytes || m.s.waiting.Load()+int64(n) > m.s.opts.WaitingBytes) {
		from := m.w.place(m)
		if n := len(m.queue); n > 0 {
			from = m.queue[n-1].end
		}
		m.overflow(from)
		return false
	}
	m.queue = append(m.queue, segs...)
	if m.pumping {
		m.hold(n)
	}
	return true
}

// hold counts bytes that wait for m.
func (m *member) hold(n int) {
	m.held += n
	m.s.waiting.Add(int64(n))
}

// drop lets go of what is queued.
func (m *member) drop() {
	if m.pumping {
		n := 0
		for _, seg := range m.queue {
			n += len(seg.bytes)
		}
		m.hold(-n)
	}
	m.queue = nil
}

// overflow makes the pump read from a place on, that behind what is queued. mu is held, by the writer.
func (m *member) overflow(from tandem.Cursor) {
	m.joined = false
	if m.behind { // on the way to where it was attached: nothing of the queue is its turn, and the pump just reads on
		m.drop()
	}
	m.s.lagging.Add(1)
	if !m.lagged {
		m.lagged, m.lag = true, time.Now()
	}
	if !m.behind {
		m.behind, m.start = true, tandem.Start{Cursor: from}
	}
}

// flush writes what waits for an attached member, if nobody else does. It is called by the writer.
func (m *member) flush(w *writer) {
	m.mu.Lock()
	if m.closed || m.pumping || len(m.queue) == 0 {
		m.mu.Unlock()
		return
	}
	b := m.queue[0].bytes
	if len(m.queue) > 1 || len(m.out) > 0 {
		b = append(w.scratch[:0], m.out...)
		for _, seg := range m.queue {
			if len(b) > 0 && len(b)+len(seg.bytes) > scratchBytes {
				break
			}
			b = append(b, seg.bytes...)
		}
		if cap(b) <= 2*scratchBytes {
			w.scratch = b
		}
	}
	n, err := m.sink.try(b)
	if err != nil {
		m.mu.Unlock()
		m.close()
		return
	}
	m.last = w.now
	w.sent += uint64(m.wrote(n))
	if len(m.queue) == 0 && len(m.rest) == 0 && len(m.out) == 0 {
		m.mu.Unlock()
		return
	}
	m.startPump()
	m.trim(w)
	m.mu.Unlock()
}

// trim keeps of the queue what may wait for a client that has just stopped to take it. mu is held, by the writer.
func (m *member) trim(w *writer) {
	from, n, keep := m.told, len(m.rest), 0
	if m.s.waiting.Load() <= m.s.opts.WaitingBytes { // otherwise many stopped at once, and what was begun is enough
		for ; keep < len(m.queue) && n+len(m.queue[keep].bytes) <= memberBytes; keep++ {
			n += len(m.queue[keep].bytes)
			from = m.queue[keep].end
		}
	}
	if keep == len(m.queue) {
		return
	}
	for i := keep; i < len(m.queue); i++ {
		m.hold(-len(m.queue[i].bytes))
		m.queue[i] = nil
	}
	m.queue = m.queue[:keep]
	m.overflow(from)
	w.detach(m)
}

// wrote takes n bytes off out and queue, and returns the number of events that are gone. What was written in part stays as rest.
func (m *member) wrote(n int) (events int) {
	if k := min(n, len(m.out)); k > 0 {
		n -= k
		if m.rest = m.takeOut()[k:]; len(m.rest) > 0 {
			return 0
		}
		m.rest = nil
	} else if len(m.out) > 0 {
		return 0
	}
	took := 0
	for _, seg := range m.queue {
		if n == 0 {
			break
		}
		took++
		events += seg.events
		if seg.told != "" {
			m.told = seg.told
		}
		if n < len(seg.bytes) {
			m.rest = seg.bytes[n:]
			break
		}
		n -= len(seg.bytes)
	}
	m.sent += uint64(events)
	left := copy(m.queue, m.queue[took:])
	clear(m.queue[left:])
	m.queue = m.queue[:left]
	if left == 0 && cap(m.queue) > 4 {
		m.queue = nil
	}
	return events
}

// startPump hands the connection to a goroutine. mu is held.
func (m *member) startPump() {
	m.pumping = true
	n := len(m.rest)
	for _, seg := range m.queue {
		n += len(seg.bytes)
	}
	m.hold(n)
	m.s.running.Add(1)
	m.pumps.Add(1)
	go m.pump()
}

// say sends a control message. It does not wait.
func (m *member) say(b []byte) {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	if m.pumping || len(m.queue) > 0 {
		m.out = append(m.out, b...)
		m.wakeLocked()
		m.mu.Unlock()
		return
	}
	n, err := m.sink.try(b)
	if err != nil {
		m.mu.Unlock()
		m.close()
		return
	}
	if n < len(b) {
		m.rest = append([]byte(nil), b[n:]...)
		m.startPump()
	}
	m.mu.Unlock()
}

// takeOut takes the control messages that wait. mu is held.
func (m *member) takeOut() []byte {
	b := m.out
	m.out = nil
	if m.quiet != nil {
		close(m.quiet)
		m.quiet = nil
	}
	return b
}

func (m *member) wakeLocked() {
	if m.wake != nil {
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
}

// end asks the client to connect again, and closes.
func (m *member) end(reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endLocked(reason)
}

func (m *member) endLocked(reason string) {
	if reason == reasonDraining && !m.closed {
		m.sink.hurry(m.s.opts.linger) // who does not read must not hold up the stop
	}
	if m.closed || m.ending != "" {
		return
	}
	m.ending, m.joined = reason, false
	m.drop() // the client asks for it again
	if m.cancel != nil {
		m.cancel()
	}
	m.wakeLocked()
	if !m.pumping {
		m.startPump()
	}
}

// hangUp closes a WebSocket with a code. Events on their way to the client are dropped.
func (m *member) hangUp(code int, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.ending != "" {
		return
	}
	m.final = websocket.AppendClose(nil, code, reason)
	m.endLocked("closed")
}

// close ends the stream at once. It may be repeated, and is not called with mu held.
func (m *member) close() {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	m.closed, m.joined = true, false
	m.s.waiting.Add(-int64(m.held))
	m.takeOut()
	m.held, m.rest, m.queue = 0, nil, nil
	if m.cancel != nil {
		m.cancel()
	}
	m.wakeLocked()
	m.mu.Unlock()
	m.sink.close()
	m.w.post(order{kind: orderClose, m: m})
	m.s.running.Add(1)
	go func() { // a writer must not wait for a tail that is busy
		defer m.s.running.Done()
		if m.tail != nil {
			m.tail.leave(m, m.group)
			m.tail.release()
		}
		m.s.forget(m)
	}()
}

// recovered is deferred where what others gave us runs: conditions, what clients send, publishing. It ends the stream alone.
func (m *member) recovered() {
	if v := recover(); v != nil {
		m.s.opts.Logger.Error("a stream panicked", "topics", m.sel.String(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		m.close()
	}
}

// look is the writer's look at m from time to time.
func (m *member) look(w *writer) {
	beat := m.s.opts.Heartbeat
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	if since := m.partial.Load(); !m.answers(w.now) || since != 0 && w.now.Sub(time.Unix(0, since)) > 2*m.s.opts.WriteTimeout {
		m.mu.Unlock()
		m.close()
		return
	}
	if m.slow == tandem.SlowDisconnect && m.lagged && w.now.Sub(m.lag) > m.s.opts.WriteTimeout/6 {
		m.endLocked(reasonSlow)
	}
	if !m.expires.IsZero() && m.ending == "" {
		left := m.expires.Sub(w.now)
		if left <= 0 {
			m.endLocked(reasonAge)
		} else if left < beat && !m.warned {
			m.warned = true
			m.out = m.format.appendExpiring(m.out)
		}
	}
	if m.silent(w.now) && len(m.queue) == 0 && (!m.pumping || m.wake != nil) {
		m.last = w.now
		// A page sees no ping: where there are frames of our own, it is told the place, be it the same.
		if place := m.placeLocked(w); place != m.told || m.format == formatTandem && place != "" {
			m.told = place
			m.out = m.format.appendPlace(m.out, place)
		}
		if m.format == formatSSE && len(m.out) == 0 || m.format != formatSSE && m.asked != w.now {
			m.out = m.format.appendBeat(m.out)
		}
	}
	switch {
	case len(m.out) == 0:
	case m.pumping:
		m.wakeLocked()
	default:
		n, err := m.sink.try(m.out)
		if err != nil {
			m.mu.Unlock()
			m.close()
			return
		}
		if m.wrote(n); len(m.out) > 0 || len(m.rest) > 0 {
			m.startPump()
		}
	}
	m.mu.Unlock()
}

// silent reports whether nothing was written for a heartbeat. mu is held.
func (m *member) silent(now time.Time) bool {
	beat := m.s.opts.Heartbeat
	return now.Sub(m.last) > beat-beat/8
}

// answers asks the client of a WebSocket for an answer when it was not heard for a heartbeat, whatever it is sent meanwhile, and
// reports false when it has not given one in time. That time stands still within a write, which has a deadline of its own: a client that reads
// slowly has not seen the ping yet. mu is held, by the writer.
func (m *member) answers(now time.Time) bool {
	if m.format == formatSSE {
		return true
	}
	beat := m.s.opts.Heartbeat
	heard := time.Unix(0, m.heard.Load())
	switch {
	case m.asked.After(heard):
		return m.writing || len(m.out) > 0 || now.Sub(m.asked) <= patience*beat // it may not have gone out yet
	case now.Sub(heard) > beat-beat/8:
		m.asked = now
		m.out = m.format.appendBeat(m.out)
	}
	return true
}

// placeLocked is the place to tell a client that is sent nothing; that which it knows, unless it is attached and nothing waits.
func (m *member) placeLocked(w *writer) tandem.Cursor {
	if m.pumping || !m.joined || m.at < 0 {
		return m.told
	}
	return w.place(m)
}
