package delivery

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// batchEvents is how many events one read asks for.
const batchEvents = 256

// reader reads one topic for all subscriptions that are caught up: each partition once, each event decoded once.
type reader struct {
	m       *Manager
	topic   driver.ID
	name    string
	watch   *eventlog.Watch
	kick    chan struct{}
	done    chan struct{}
	parts   []sharedPart
	changes atomic.Uint64         // of subscriptions: an index that was begun at an earlier count must not be used
	ix      atomic.Pointer[index] // nil before the first batch
	apart   apart

	batch []tandem.Record // of the one goroutine
}

// sharedPart is how far a reader has come in one partition.
type sharedPart struct {
	attached atomic.Int32 // subscriptions that it brings events to

	mu  sync.Mutex // held while a batch is read and offered, and to attach; taken before subscription.mu
	pos sync.Mutex // guards next and seq; taken last
	// All subscriptions attached have been offered what lies before next.
	next, seq uint64
}

func (p *sharedPart) place() (next, seq uint64) {
	p.pos.Lock()
	defer p.pos.Unlock()
	return p.next, p.seq
}

func (p *sharedPart) move(next, seq uint64) {
	p.pos.Lock()
	defer p.pos.Unlock()
	p.next, p.seq = next, seq
}

// readerOf returns the reader of a topic and starts it if there is none; nil when the Manager stops.
func (m *Manager) readerOf(t *track) *reader {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.readers[t.topic]; r != nil || m.readers == nil {
		return r
	}
	sel, err := eventlog.Select(t.name)
	if err != nil {
		return nil // not reached: the topic exists
	}
	r := &reader{m: m, topic: t.topic, name: t.name, watch: m.log.Watch(sel), kick: make(chan struct{}, 1),
		done: make(chan struct{}), parts: make([]sharedPart, len(t.parts))}
	m.readers[t.topic] = r
	m.done.Go(r.run)
	return r
}

func (m *Manager) takeReaders() map[driver.ID]*reader {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.readers
	m.readers = nil
	return all
}

// dropReaders ends the readers of topics that are gone.
func (m *Manager) dropReaders(topics *topicTable) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, r := range m.readers {
		if topics.byID[id] == nil {
			delete(m.readers, id)
			r.close()
		}
	}
}

// reindex lets every reader build its index again before the next batch.
func (m *Manager) reindex() {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, r := range m.readers {
		r.changes.Add(1)
	}
}

func (r *reader) close() {
	close(r.done)
	r.watch.Close()
}

func (r *reader) run() {
	for {
		select {
		case <-r.done:
			return
		case <-r.watch.C:
		case <-r.kick:
		}
		for r.round() {
			select {
			case <-r.done:
				return
			default:
			}
		}
	}
}

// round takes one batch of each partition, so that a busy one does not hold back the others. It reports whether there may be more.
func (r *reader) round() (more bool) {
	r.apart.poke()
	for i := range r.parts {
		if r.parts[i].attached.Load() > 0 && r.read(i) {
			more = true
		}
	}
	return more
}

func (r *reader) poke() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// read takes one batch of a partition and offers it. It reports whether there may be more.
func (r *reader) read(part int) bool {
	ctx := context.Background()
	p := &r.parts[part]
	p.mu.Lock()
	defer p.mu.Unlock()
	next, seq := p.place()
	b, err := r.m.log.Bounds(ctx, r.topic, part)
	if tandem.CodeOf(err) == tandem.CodeNotFound || err == nil && b.End <= next {
		return false // a topic that is gone is dropped by refresh
	}
	if err == nil && seq != 0 && b.StartSeq > seq {
		r.detachAll(part) // retention overtook us: each subscription notes for itself what it lost
		return false
	}
	if err == nil {
		r.batch, err = r.m.log.ReadPartition(ctx, r.topic, part, next, batchEvents, r.batch[:0])
	}
	if err != nil {
		r.m.opts.Logger.Warn("delivery: cannot read", "topic", r.name, "partition", part, "error", err)
		r.detachAll(part) // they try again for themselves, and come back
		return false
	}
	if r.m.overtaken(ctx, r.topic, part, seq, r.batch) {
		r.detachAll(part)
		return false
	}
	if len(r.batch) == 0 {
		p.move(b.End, b.EndSeq)
		return false
	}
	// A change while the index is built makes it stale already, so the count is taken before. Whoever changed can attach
	// only after this batch, which holds p.mu.
	ix := r.ix.Load()
	if changes := r.changes.Load(); ix == nil || ix.changes != changes {
		ix = r.buildIndex(changes)
		r.ix.Store(ix)
	}
	ix.batch++
	for i := range r.batch {
		ix.offer(p, &r.batch[i])
	}
	last := &r.batch[len(r.batch)-1]
	p.move(last.Position.Offset+1, last.Seq+1)
	clear(r.batch)
	return true
}

// detachAll lets every subscription read a partition for itself.
func (r *reader) detachAll(part int) {
	for _, s := range r.m.sorted() {
		s.detach(r.topic, part)
	}
}

// overtaken reports whether retention removed events between looking at the bounds of a partition and reading batch from it: it
// does not begin with seq, the first event that was there.
func (m *Manager) overtaken(ctx context.Context, topic driver.ID, part int, seq uint64, batch []tandem.Record) bool {
	if seq == 0 || len(batch) > 0 && batch[0].Seq == seq {
		return false
	}
	b, err := m.log.Bounds(ctx, topic, part)
	return err == nil && b.StartSeq > seq
}

// offer gives a matching event of the shared reader p to the subscription, or parts from the reader when there is no room.
func (s *subscription) offer(p *sharedPart, pt *partTrack, rec *tandem.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pt.shared != p || rec.Position.Offset < pt.next {
		return
	}
	if !s.reading() || !s.room() {
		s.part(pt, rec.Position.Offset, rec.Seq)
		return
	}
	s.admit(pt, rec)
	pt.next, pt.seq = rec.Position.Offset+1, rec.Seq+1
	s.kick()
}

// room reports whether an event can be taken in. Keys that fail give way to others first.
func (s *subscription) room() bool {
	why := s.full()
	if why == inMemory && (s.parkSuspects() || s.leases() && s.makeRoom()) {
		why = s.full()
	}
	return why == ""
}

// part leaves the shared reader: from next on the subscription reads for itself.
func (s *subscription) part(pt *partTrack, next, seq uint64) {
	if pt.shared == nil {
		return
	}
	pt.shared.attached.Add(-1)
	pt.shared = nil
	if next > pt.next {
		pt.next, pt.seq = next, seq
	}
	s.pokeFeed()
}

func (s *subscription) detach(topic driver.ID, part int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tracks[topic]; t != nil {
		pt := &t.parts[part]
		next, seq := pt.place()
		s.part(pt, next, seq)
	}
}

func (s *subscription) detachAll() {
	for _, t := range s.tracks {
		for i := range t.parts {
			pt := &t.parts[i]
			next, seq := pt.place()
			s.part(pt, next, seq)
		}
	}
}

// attach joins the shared reader if pt is as far as it; caughtUp says that pt is at the end of the partition.
func (s *subscription) attach(pt *partTrack, caughtUp bool) bool {
	if over, replay := s.rangeRead(pt); replay {
		return over
	}
	r := s.m.readerOf(pt.track)
	if r == nil {
		return true // the Manager stops
	}
	p := &r.parts[pt.part]
	p.mu.Lock()
	defer p.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if pt.shared != nil || s.tracks[pt.track.topic] != pt.track || !s.reading() {
		return true
	}
	if s.isApart() {
		if r.apart.add(s) {
			r.poke() // as below
		}
		return caughtUp
	}
	next, _ := p.place()
	switch {
	case p.attached.Load() == 0 && caughtUp:
		p.move(pt.next, pt.seq)
	case p.attached.Load() == 0 || pt.next < next:
		return false
	}
	p.attached.Add(1)
	pt.shared = p
	// What was stored since pt's last read has signalled in vain if nobody was attached.
	r.poke()
	return true
}
