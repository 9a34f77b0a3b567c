package eventlog

import (
	"context"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Mark is the place of a Reader in its selection, by which another Reader of the same selection can end where the first one
// stands: one that was behind can so be joined to one that many share, without a gap and without a repeat. It does not change.
type Mark struct {
	number uint64 // with TotalOrder
	next   map[driver.ID][]uint64
}

// Mark returns the place after all that was read.
func (r *Reader) Mark() Mark {
	if r.log.info.TotalOrder {
		return Mark{number: r.pos}
	}
	m := Mark{next: make(map[driver.ID][]uint64, len(r.lives))}
	for _, p := range r.parts {
		m.next[p.topic.ID] = append(m.next[p.topic.ID], p.place())
	}
	return m
}

// Ahead reports whether r has read something that lies behind m, or has been told of a topic that the mark's reader is still to tell of.
func (r *Reader) Ahead(m Mark) bool {
	_ = r.refresh(r.log.horizon.Load(), &m) // a topic that is gone has no place in later marks; what is wrong with those there are, the next read meets
	if r.log.info.TotalOrder && (r.pos > m.number || r.ahead > m.number+1) {
		return true
	}
	for _, p := range r.parts {
		if !m.knows(p.topic) || !r.log.info.TotalOrder && p.place() > m.end(p) {
			return true
		}
	}
	return false
}

// knows reports whether a topic was there for the mark's reader.
func (m *Mark) knows(t *topic) bool {
	if m.next == nil {
		return t.Born <= m.number
	}
	return m.next[t.ID] != nil
}

// end is how far a part may be read. What the mark's reader did not know yet, it will read from the start.
func (m *Mark) end(p *part) uint64 {
	if next := m.next[p.topic.ID]; p.index < len(next) {
		return next[p.index]
	}
	return 0
}

// end is how far a page may read a part.
func (w *page) end(p *part) uint64 {
	if w.to == nil {
		return p.end()
	}
	return min(p.end(), w.to.end(p))
}

// Limits bound one ReadWithin. The zero value is that of Read.
type Limits struct {
	Events int   // zero means one
	Bytes  int   // of data, after the first event; zero means 4 MiB
	To     *Mark // no event behind it is read; nil means no end
	// Time bounds what filters may cost; zero means no bound. It stops at the first event after it.
	Time time.Duration
}

// ReadWithin is Read within limits. With a mark that the reader is not ahead of, it has read up to exactly that place when
// More is false afterwards, and has the same cursor as the mark's reader.
func (r *Reader) ReadWithin(ctx context.Context, filter tandem.Filter, l Limits) (tandem.Page, error) {
	w := &page{max: max(1, l.Events), maxBytes: l.Bytes, filter: &filter, to: l.To}
	if l.Time > 0 {
		w.until = time.Now().Add(l.Time)
	}
	return r.read(ctx, w)
}

// More reports whether the last read stopped at a bound, so that reading on finds more at once.
func (r *Reader) More() bool { return r.more }

// Forget gives back what was read ahead. It is read again when it is needed: for a reader that has to wait for somebody.
func (r *Reader) Forget() {
	for _, p := range r.parts {
		p.forget(r.log)
	}
}
