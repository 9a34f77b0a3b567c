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
	"github.com/tandem-hybrid/tandem/internal/match"
)

// The bounds of one read of a tail, and of what it has handed over and the writers have not written yet.
const (
	tailEvents  = 1024
	tailBytes   = 1 << 20
	tailBatches = 2
)

// tail reads a selection as it is stored, once for all members that keep up, and encodes each event once for each format.
type tail struct {
	s      *Streams
	key    string
	sel    eventlog.Selection
	filter tandem.Filter // has conditions, or is zero: whoever has costly conditions shares a tail only with those who have the same

	nudge   chan struct{} // asks for the mark to move up although nothing was stored; room for one
	batches chan struct{} // one for each batch that is not written yet
	stop    context.CancelFunc
	places  []placed // by writer, each its own
	members int      // guarded by Streams.mu

	mu     sync.Mutex // guards what follows
	over   bool
	mark   eventlog.Mark // all up to here was handed to the writers
	cursor tandem.Cursor // of mark
	moved  chan struct{} // closed when mark moves or the tail is over
	groups map[string]*group
	index  match.Index[*group]
	using  [formats]int // members by format

	json  []byte              // scratch: one event
	slabs [formats][][]byte   // of a page: its messages, in pieces of about segmentBytes, so that who holds one holds no more than that
	ends  []span              // scratch: of the events of a page
	whole [formats][]*segment // of a page, for groups that get all of it
}

// placed is how far a writer has taken the batches of a tail.
type placed struct {
	batch  uint64 // number of the batch
	cursor tandem.Cursor
}

// group is the members of a tail that have the same filter.
type group struct {
	key    string
	filter tandem.Filter
	entry  *match.Entry[*group] // nil for the one without filter
	using  [formats]int         // members by format, guarded by tail.mu
	lists  [][formats][]*member // by writer, each its own
	hits   []int                // scratch of the tail: the events of the page that match
}

// span is where the message of one event lies in each format, and the place after it.
type span struct {
	slab     [formats]int32
	from, to [formats]int32
	cursor   tandem.Cursor
}

// batch is a page, ready to be written.
type batch struct {
	t     *tail
	n     uint64 // rises from batch to batch of a tail
	parts []part
	end   tandem.Cursor
	left  atomic.Int32 // writers that are not done
}

// part is what the members of a group get in one format.
type part struct {
	g    *group
	f    format
	segs []*segment
}

// done is called by each writer when it has taken a batch.
func (b *batch) done() {
	if b.left.Add(-1) == 0 {
		<-b.t.batches
	}
}

// tailOf returns the tail for a selection and a filter, with one more member. Codes: those of NewReader.
func (s *Streams) tailOf(sel eventlog.Selection, filter tandem.Filter) (*tail, error) {
	key := sel.String()
	if !filter.Conditional() {
		filter = tandem.Filter{}
	} else {
		key += " " + filter.String()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tails[key]
	if t == nil {
		ctx, cancel := context.WithCancel(s.life)
		r, err := s.log.NewReader(ctx, sel, tandem.Start{})
		if err != nil {
			cancel()
			return nil, err
		}
		t = &tail{s: s, key: key, sel: sel, filter: filter, stop: cancel, mark: r.Mark(), cursor: r.Cursor(),
			nudge: make(chan struct{}, 1), batches: make(chan struct{}, tailBatches), moved: make(chan struct{}),
			groups: map[string]*group{}, places: make([]placed, len(s.writers))}
		s.tails[key] = t
		s.running.Add(1)
		go t.run(ctx, r)
	}
	t.members++
	return t, nil
}

// release gives back what tailOf gave.
func (t *tail) release() {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if t.members--; t.members == 0 {
		t.stop()
		t.forgetLocked()
	}
}

func (t *tail) forgetLocked() {
	if t.s.tails[t.key] == t {
		delete(t.s.tails, t.key)
	}
}

// join adds a member to its group.
func (t *tail) join(m *member, filter tandem.Filter) *group {
	key := ""
	if filter.Conditional() {
		filter = tandem.Filter{} // that of the tail
	} else if !filter.IsZero() {
		key = filter.String()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.groups[key]
	if g == nil {
		g = &group{key: key, filter: filter, lists: make([][formats][]*member, len(t.places))}
		t.groups[key] = g
		if key != "" {
			g.entry = t.index.Add(filter, g)
		}
	}
	g.using[m.format]++
	t.using[m.format]++
	return g
}

// leave is the end of join.
func (t *tail) leave(m *member, g *group) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.using[m.format]--
	if g.using[m.format]--; g.using == [formats]int{} {
		delete(t.groups, g.key)
		if g.entry != nil {
			t.index.Remove(g.entry)
		}
	}
}

// attach lets the writers hand m what comes after the mark that it returns, if r is not ahead of that: r is then to be read up to it. Otherwise
// moved is closed when it is worth another try, and nil when the tail is over.
func (t *tail) attach(m *member, r *eventlog.Reader) (mark *eventlog.Mark, moved <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return nil, nil
	}
	if r.Ahead(t.mark) {
		select {
		case t.nudge <- struct{}{}:
		default:
		}
		return nil, t.moved
	}
	if !m.setJoined(t.cursor) {
		return nil, t.moved
	}
	now := t.mark
	return &now, nil
}

// run reads until the last member has left or the log cannot be read. An engine over a network comes back: streams wait for it.
func (t *tail) run(ctx context.Context, r *eventlog.Reader) {
	defer t.s.running.Done()
	defer r.Close()
	watch := t.s.log.Watch(t.sel)
	defer watch.Close()
	failed := 0
	for n := uint64(1); ; {
		select {
		case t.batches <- struct{}{}:
		case <-ctx.Done():
			t.end()
			return
		}
		handed, more, err := t.read(ctx, r, n)
		if err != nil && ctx.Err() == nil && t.s.comesBack(err) {
			<-t.batches
			if failed++; failed == 1 {
				t.s.opts.Logger.Warn("streams wait: reading events failed", "topics", t.sel.String(), "error", err)
			}
			select {
			case <-time.After(retryAfter(failed)):
			case <-ctx.Done():
			}
			continue
		}
		failed = 0
		if err != nil {
			if ctx.Err() == nil {
				t.fail(err)
			}
			t.end()
			return
		}
		if handed {
			n++
		} else {
			<-t.batches
		}
		if more {
			continue
		}
		select {
		case <-watch.C:
		case <-t.nudge:
		case <-ctx.Done():
		}
	}
}

// comesBack reports whether a failure to read is one that the engine recovers from by itself.
func (s *Streams) comesBack(err error) bool {
	return s.log.Info().Remote && tandem.CodeOf(err) == tandem.CodeUnavailable
}

// retryAfter is how long to wait after so many failures in a row.
func retryAfter(failures int) time.Duration {
	return min(100*time.Millisecond<<min(failures, 6), 5*time.Second)
}

// read hands over one page, if there is anything to hand over, and reports whether there may be more to read.
func (t *tail) read(ctx context.Context, r *eventlog.Reader, n uint64) (handed, more bool, err error) {
	select {
	case t.s.tailing <- struct{}{}: // so many at a time, since each needs memory
		defer func() { <-t.s.tailing }()
	case <-ctx.Done():
		return false, false, ctx.Err()
	}
	defer func() {
		if v := recover(); v != nil { // of a condition, for one
			t.s.opts.Logger.Error("reading for streams panicked", "topics", t.sel.String(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = tandem.Errorf(tandem.CodeInternal, "panic")
		}
	}()
	page, err := r.ReadWithin(ctx, t.filter, eventlog.Limits{Events: tailEvents, Bytes: tailBytes, Time: readTime})
	if err != nil {
		return false, false, err
	}
	return t.hand(r, &page, n), len(page.Events) > 0 || page.Gap != nil || r.More(), nil
}

// end wakes whoever waits for the tail.
func (t *tail) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over {
		t.over = true
		close(t.moved)
	}
}

// fail ends all members.
func (t *tail) fail(err error) {
	t.s.opts.Logger.Warn("streams ended: reading events failed", "topics", t.sel.String(), "error", err)
	t.s.mu.Lock()
	t.forgetLocked()
	t.s.mu.Unlock()
	for _, m := range t.s.all() {
		if m.tail == t {
			m.end(reasonUnavailable)
		}
	}
}

// hand gives a page to the writers and moves the mark. It reports whether there was anything to write.
func (t *tail) hand(r *eventlog.Reader, page *tandem.Page, n uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.encode(r, page)
	if b != nil {
		b.n = n
		b.left.Store(int32(len(t.s.writers)))
		for _, w := range t.s.writers {
			w.post(order{kind: orderBatch, batch: b})
		}
	}
	t.mark, t.cursor = r.Mark(), page.Cursor
	close(t.moved)
	t.moved = make(chan struct{})
	return b != nil
}

// encode writes the messages of a page once for each format in use, and picks for each group those that match.
func (t *tail) encode(r *eventlog.Reader, page *tandem.Page) *batch {
	if len(page.Events) == 0 && page.Gap == nil && (t.filter.IsZero() || page.Cursor == t.cursor) {
		return nil // otherwise the writers learn the place, behind what the conditions left out
	}
	b := &batch{t: t, end: page.Cursor}
	if page.Gap != nil {
		t.gap(b, page.Gap)
	}
	t.ends = t.ends[:0]
	defer func() {
		t.slabs, t.whole = [formats][][]byte{}, [formats][]*segment{} // theirs to whom they were handed
		if cap(t.json) > 1<<20 {
			t.json = nil
		}
	}()
	var (
		hit []*group
		e   *tandem.Event
		i   int
	)
	found := func(g *group) {
		if g.filter.Match(e) {
			if len(g.hits) == 0 {
				hit = append(hit, g)
			}
			g.hits = append(g.hits, i)
		}
	}
	for i = range page.Events {
		e = &page.Events[i].Event
		sp := span{cursor: r.CursorAfter(&page.Events[i])}
		t.json = tandem.AppendEventJSON(t.json[:0], e)
		for f := range formats {
			if t.using[f] > 0 {
				t.message(f, &sp, len(page.Events)-i)
			}
		}
		t.ends = append(t.ends, sp)
		t.index.Candidates(e, found)
	}
	for _, g := range hit {
		if len(g.hits) == len(page.Events) {
			t.all(b, g)
		} else {
			t.picked(b, g)
		}
		g.hits = g.hits[:0]
		if cap(g.hits) > 64 {
			g.hits = nil
		}
	}
	if g := t.groups[""]; g != nil && len(page.Events) > 0 {
		t.all(b, g)
	}
	return b // without parts the writers still learn the place
}

// gap tells all members of events that were lost.
func (t *tail) gap(b *batch, g *tandem.Gap) {
	for f := range formats {
		if t.using[f] == 0 {
			continue
		}
		seg := []*segment{{bytes: f.appendGap(nil, g), end: g.To, told: g.To}}
		for _, group := range t.groups {
			if group.using[f] > 0 {
				b.parts = append(b.parts, part{group, f, seg})
			}
		}
	}
}

// message writes the event in t.json as a message of a format. So many events of the page are left, this one included.
func (t *tail) message(f format, sp *span, left int) {
	slabs := t.slabs[f]
	n := len(slabs) - 1
	if n < 0 || len(slabs[n]) >= segmentBytes {
		n++
		slabs = append(slabs, make([]byte, 0, min(segmentBytes+len(t.json), (len(t.json)+64)*left)))
	}
	from := len(slabs[n])
	slabs[n] = f.appendEvent(slabs[n], t.json, sp.cursor)
	sp.slab[f], sp.from[f], sp.to[f] = int32(n), int32(from), int32(len(slabs[n]))
	t.slabs[f] = slabs
}

// all gives a group all of a page.
func (t *tail) all(b *batch, g *group) {
	for f := range formats {
		if g.using[f] == 0 {
			continue
		}
		if t.whole[f] == nil {
			t.whole[f] = t.cut(f, b.end)
		}
		b.parts = append(b.parts, part{g, f, t.whole[f]})
	}
}

// cut makes segments of all of a page, one of each slab.
func (t *tail) cut(f format, end tandem.Cursor) []*segment {
	segs := make([]*segment, 0, len(t.slabs[f]))
	events := 0
	for i := range t.ends {
		events++
		last := i == len(t.ends)-1
		if !last && t.ends[i+1].slab[f] == t.ends[i].slab[f] {
			continue
		}
		seg := &segment{bytes: t.slabs[f][t.ends[i].slab[f]], events: events, end: t.ends[i].cursor, told: t.ends[i].cursor}
		if last {
			seg.end = end
		}
		segs = append(segs, seg)
		events = 0
	}
	return segs
}

// picked gives a group the events of a page that match its filter.
func (t *tail) picked(b *batch, g *group) {
	for f := range formats {
		if g.using[f] == 0 {
			continue
		}
		p := part{g: g, f: f}
		seg := &segment{}
		for at, i := range g.hits {
			sp := &t.ends[i]
			seg.bytes = append(seg.bytes, t.slabs[f][sp.slab[f]][sp.from[f]:sp.to[f]]...)
			seg.events++
			seg.end, seg.told = sp.cursor, sp.cursor
			if last := at == len(g.hits)-1; last || len(seg.bytes) >= segmentBytes {
				if last {
					seg.end = b.end
				}
				p.segs = append(p.segs, seg)
				seg = &segment{}
			}
		}
		b.parts = append(b.parts, p)
	}
}
