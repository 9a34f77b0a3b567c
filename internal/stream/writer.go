package stream

import (
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// scratchBytes is the room in which a writer puts together what waits for one member.
const scratchBytes = 256 << 10

// writer hands batches to its share of the members, and looks after them while they are quiet. It never waits for a client: one
// that does not take what it is given gets a goroutine of its own until it has.
type writer struct {
	s     *Streams
	index int
	wake  chan struct{} // room for one

	mu  sync.Mutex // guards box
	box []order

	members []*member // of this writer, attached or not
	dirty   []*member // have something to be written
	scratch []byte
	sent    uint64
	now     time.Time
}

// order is what a writer is asked to do. Orders are taken in the order given.
type order struct {
	kind   orderKind
	batch  *batch
	m      *member
	cursor tandem.Cursor
}

type orderKind uint8

const (
	orderBatch orderKind = iota // hand it to the members
	orderOpen                   // look after m
	orderJoin                   // m gets what comes after cursor
	orderClose                  // m is gone
)

func (w *writer) post(o order) {
	w.mu.Lock()
	w.box = append(w.box, o)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run ends when the streams stop.
func (w *writer) run() {
	defer w.s.writing.Done()
	tick := time.NewTicker(w.s.opts.Heartbeat / 8)
	defer tick.Stop()
	var orders []order
	for {
		select {
		case <-w.wake:
		case <-tick.C:
			w.now = time.Now()
			w.sweep()
			continue
		case <-w.s.stopped:
			return
		}
		w.mu.Lock()
		orders, w.box = w.box, orders[:0]
		w.mu.Unlock()
		w.now = time.Now()
		for i := range orders {
			w.take(&orders[i])
		}
		w.flush()
		for i := range orders {
			if b := orders[i].batch; b != nil {
				b.done()
			}
		}
		clear(orders)
		if cap(orders) > 1024 {
			orders = nil
		}
	}
}

func (w *writer) take(o *order) {
	switch o.kind {
	case orderBatch:
		for i := range o.batch.parts {
			p := &o.batch.parts[i]
			list := &p.g.lists[w.index][p.f]
			for j := 0; j < len(*list); j++ {
				m := (*list)[j]
				if !m.offer(p.segs) {
					w.detach(m) // puts another one in its place
					j--
				} else if !m.dirty {
					m.dirty = true
					w.dirty = append(w.dirty, m)
				}
			}
		}
		o.batch.t.places[w.index] = placed{o.batch.n, o.batch.end}
	case orderOpen:
		o.m.home = len(w.members)
		w.members = append(w.members, o.m)
	case orderJoin:
		m := o.m
		m.since = placed{m.tail.places[w.index].batch, o.cursor}
		list := &m.group.lists[w.index][m.format]
		m.at = len(*list)
		*list = append(*list, m)
	case orderClose:
		w.detach(o.m)
		last := w.members[len(w.members)-1]
		w.members[o.m.home], last.home = last, o.m.home
		w.members[len(w.members)-1] = nil
		w.members = w.members[:len(w.members)-1]
	}
}

// detach takes a member off the list of its group, if it is there.
func (w *writer) detach(m *member) {
	if m.at < 0 {
		return
	}
	list := &m.group.lists[w.index][m.format]
	last := (*list)[len(*list)-1]
	(*list)[m.at], last.at = last, m.at
	(*list)[len(*list)-1] = nil
	*list = (*list)[:len(*list)-1]
	m.at = -1
}

// place is the place up to which an attached member was handed everything.
func (w *writer) place(m *member) tandem.Cursor {
	if p := m.tail.places[w.index]; p.batch > m.since.batch {
		return p.cursor
	}
	return m.since.cursor
}

// flush writes what waits.
func (w *writer) flush() {
	for i, m := range w.dirty {
		m.dirty = false
		w.dirty[i] = nil
		m.flush(w)
	}
	w.dirty = w.dirty[:0]
	if w.sent > 0 {
		w.s.sent.Add(w.sent)
		w.sent = 0
	}
}

// sweep goes over all members: heartbeats, ages, and peers that are silent.
func (w *writer) sweep() {
	for _, m := range w.members {
		m.look(w)
	}
}
