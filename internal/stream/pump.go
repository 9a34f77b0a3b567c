package stream

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// The bounds of what a pump reads at once.
const (
	pumpEvents = 256
	pumpBytes  = segmentBytes
	readTime   = 50 * time.Millisecond // filters may be costly, and others wait for the slot
)

// pump writes what waits for m, and reads what it fell behind, until it keeps up again. It has the connection meanwhile.
func (m *member) pump() {
	defer m.s.running.Done()
	defer m.pumps.Done()
	defer m.recovered()
	for {
		m.mu.Lock()
		switch {
		case m.closed:
			m.mu.Unlock()
			return
		case len(m.rest) > 0 || len(m.out) > 0:
			// What was written in part comes before anything else.
			n := len(m.rest)
			b := append(m.rest[:n:n], m.takeOut()...)
			m.rest = nil
			m.mu.Unlock()
			m.send(b, 0, n)
		case len(m.queue) > 0 && !(m.behind && m.joined):
			seg := m.queue[0]
			m.queue[0] = nil
			if m.queue = m.queue[1:]; len(m.queue) == 0 {
				m.queue = nil
			}
			m.told = seg.told
			m.mu.Unlock()
			m.send(seg.bytes, seg.events, len(seg.bytes))
		case m.ending != "":
			b := m.final
			if b == nil {
				b = m.format.appendGoodbye(nil, m.ending, m.s.comeBack(), m.told)
			}
			m.mu.Unlock()
			m.goodbye(b)
			return
		case m.behind:
			m.mu.Unlock()
			m.catchUp()
		default:
			m.pumping = false
			m.hold(-m.held)
			m.mu.Unlock()
			return
		}
	}
}

// send writes bytes, of which so many were held. It closes m and returns false if they cannot be written.
func (m *member) send(b []byte, events, held int) bool {
	began := time.Now()
	m.mu.Lock()
	m.writing = true
	m.mu.Unlock()
	err := m.sink.write(b)
	m.mu.Lock()
	m.writing = false
	if !m.closed {
		m.hold(-held)
	}
	m.last = time.Now()
	if m.asked.After(began) {
		began = m.asked
	}
	m.asked = m.asked.Add(m.last.Sub(began))
	m.sent += uint64(events)
	m.mu.Unlock()
	m.s.sent.Add(uint64(events))
	if err != nil {
		m.close()
	}
	return err == nil
}

// goodbye ends the stream in order. The peer closes the connection when it has read all, or it is closed for it.
func (m *member) goodbye(b []byte) {
	if !m.send(b, 0, 0) {
		return
	}
	m.sink.shut()
	time.AfterFunc(m.s.opts.linger, m.close)
}

// comeBack is when a client is asked to connect again: not all at the same time.
func (s *Streams) comeBack() time.Duration {
	window := s.opts.Retry + time.Duration(s.Open())*time.Second/time.Duration(s.opts.ReconnectRate)
	return s.opts.Retry/2 + rand.N(window)
}

// catchUp reads from the log what m fell behind, until the writers hand it the rest, it ends, or for ever if it has a window.
func (m *member) catchUp() {
	ctx, cancel := context.WithCancel(m.s.life)
	defer cancel()
	m.mu.Lock()
	start := m.start
	m.cancel, m.wake = cancel, make(chan struct{}, 1)
	stop := m.closed || m.ending != ""
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.cancel, m.wake = nil, nil
		m.mu.Unlock()
	}()
	if stop {
		return
	}
	c := &catchUp{m: m, wake: m.wake, placed: time.Now()}
	var err error
	for c.r, err = m.s.log.NewReader(ctx, m.sel, start); err != nil; c.r, err = m.s.log.NewReader(ctx, m.sel, start) {
		if !c.retry(ctx, err) {
			return
		}
	}
	defer c.r.Close()
	if m.window != nil {
		c.watch = m.s.log.Watch(m.sel)
		defer c.watch.Close()
	}
	for c.step(ctx) {
	}
}

// unreadable ends m because the log cannot be read.
func (m *member) unreadable(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // it has ended already
	}
	m.s.opts.Logger.Warn("a stream ended: reading events failed", "topics", m.sel.String(), "error", err)
	m.end(reasonUnavailable)
}

// catchUp is the reading of one pump.
type catchUp struct {
	m      *member
	r      *eventlog.Reader
	wake   <-chan struct{} // something is to be said, or there is room in the window
	watch  *eventlog.Watch // with a window
	to     *eventlog.Mark  // the end: what comes after it is handed over
	placed time.Time       // when the client was last told a place
	failed int             // readings in a row
}

// retry waits until it is worth trying again to read, and writes what is said meanwhile. It ends the stream, and returns false, if it is not.
func (c *catchUp) retry(ctx context.Context, err error) bool {
	if ctx.Err() != nil || !c.m.s.comesBack(err) {
		c.m.unreadable(ctx, err)
		return false
	}
	c.failed++
	t := time.NewTimer(retryAfter(c.failed))
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return true
		case <-c.wake:
			if !c.m.talk() {
				return false
			}
		case <-ctx.Done():
			return false
		}
	}
}

// step reads and writes once. It returns false when there is nothing left to do.
func (c *catchUp) step(ctx context.Context) bool {
	m := c.m
	room := m.room()
	if m.fresh { // it begins where all others are: what comes is handed to it at once, and not read once more
		m.fresh = false
		c.to, _ = m.tail.attach(m, c.r)
	}
	if room > 0 {
		if !c.slot(ctx) {
			return false
		}
		b, events, place, err := c.read(ctx, room)
		if err != nil {
			return c.retry(ctx, err)
		}
		c.failed, m.greeted = 0, true
		m.mu.Lock()
		if len(m.out) > 0 {
			b = append(m.takeOut(), b...) // a pong must not wait for the end
		}
		if place != "" {
			m.told = place
		}
		at := c.r.Cursor()
		m.start = tandem.Start{Cursor: at}
		switch now := time.Now(); {
		case place != "":
			c.placed = now
		case now.Sub(c.placed) > m.s.opts.Heartbeat*7/8: // a long way past events that the filter leaves out
			c.placed, m.told = now, at
			if m.format != formatSSE && len(b) == 0 {
				b = m.format.appendBeat(b)
			}
			b = m.format.appendPlace(b, at)
		}
		m.mu.Unlock()
		if len(b) > 0 {
			if c.r.More() {
				c.r.Forget() // the write may take long
			}
			began := time.Now()
			if !m.send(b, events, 0) {
				return false
			}
			if events > 0 && time.Since(began) > slowSend {
				return true // what was stored meanwhile is better read than waited for
			}
		}
	}
	if ctx.Err() != nil {
		return false
	}
	switch {
	case room > 0 && c.r.More():
		return true
	case m.window != nil:
		return c.wait(ctx)
	case c.to != nil:
		return !m.caughtUp(c)
	}
	for {
		mark, moved := m.tail.attach(m, c.r)
		if c.to = mark; mark != nil {
			return true
		}
		if moved == nil { // the tail has failed, and told those that it knew
			m.end(reasonUnavailable)
			return false
		}
		for waiting := true; waiting; {
			select {
			case <-moved:
				waiting = false
			case <-c.wake:
				if !m.talk() {
					return false
				}
			case <-ctx.Done():
				return false
			}
		}
	}
}

// slot waits for a slot to read, since each reading needs memory: whoever waits gives back what was read ahead. It writes what is said
// meanwhile.
func (c *catchUp) slot(ctx context.Context) bool {
	select {
	case c.m.s.reading <- struct{}{}:
		return true
	default:
		c.r.Forget()
	}
	for {
		select {
		case c.m.s.reading <- struct{}{}:
			return true
		case <-c.wake:
			if !c.m.talk() {
				return false
			}
		case <-ctx.Done():
			return false
		}
	}
}

// talk writes the control messages that wait.
func (m *member) talk() bool {
	m.mu.Lock()
	b := m.takeOut()
	m.mu.Unlock()
	return len(b) == 0 || m.send(b, 0, 0)
}

// slowSend is how long a write takes that had to wait for the client.
const slowSend = 100 * time.Millisecond

// caughtUp reports whether m is where it was attached; otherwise it was detached again meanwhile and has to read on.
func (m *member) caughtUp(c *catchUp) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.joined {
		m.behind, m.lagged = false, false
		return true
	}
	c.to = nil
	return false
}

// wait waits for events, or for room in the window, and writes what is said meanwhile.
func (c *catchUp) wait(ctx context.Context) bool {
	m := c.m
	var events <-chan struct{}
	if m.room() > 0 {
		events = c.watch.C
	}
	select {
	case <-events:
	case <-c.wake:
		m.mu.Lock()
		b := m.takeOut()
		place := c.r.Cursor()
		if len(b) > 0 && place != m.told && events != nil {
			m.told = place
			b = m.format.appendPlace(b, place)
		}
		m.mu.Unlock()
		if len(b) > 0 && !m.send(b, 0, 0) {
			return false
		}
	case <-ctx.Done():
		return false
	}
	return true
}

// read reads and encodes what fits, and gives back the slot. place is the last that the messages tell.
func (c *catchUp) read(ctx context.Context, room int) (b []byte, events int, place tandem.Cursor, err error) {
	m := c.m
	defer func() { <-m.s.reading }()
	if !m.greeted {
		m.mu.Lock()
		if place = m.told; place == "" {
			place = c.r.Cursor()
		} else if m.format == formatSSE {
			place = "" // it has one
		}
		m.mu.Unlock()
		b = m.format.appendHello(b, m.s.opts.Retry, place)
	}
	if m.slow == tandem.SlowConflate {
		return c.conflate(ctx, b, place)
	}
	page, err := c.r.ReadWithin(ctx, m.filter, eventlog.Limits{Events: min(pumpEvents, room), Bytes: pumpBytes, To: c.to, Time: readTime})
	if err != nil {
		return nil, 0, "", err
	}
	if page.Gap != nil {
		b, place = m.format.appendGap(b, page.Gap), page.Gap.To
	}
	var (
		json   []byte
		places []tandem.Cursor
	)
	for i := range page.Events {
		place = c.r.CursorAfter(&page.Events[i])
		json = tandem.AppendEventJSON(json[:0], &page.Events[i].Event)
		b = m.format.appendEvent(b, json, place)
		if m.window != nil {
			places = append(places, place)
		}
	}
	m.spend(places)
	return b, len(page.Events), place, nil
}
