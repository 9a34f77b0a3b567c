package eventlog

import (
	"context"
	"slices"

	"github.com/tandem-hybrid/tandem"
)

// rotate collects a page where offsets count within partitions: in order within each, and each gets its turn.
func (r *Reader) rotate(ctx context.Context, w *page) (err error) {
	r.last = lastPage{before: r.places()}
	active := 0
	for _, p := range r.parts {
		if p.place() < w.end(p) {
			active++
		}
	}
	ahead, share := readAhead(max(1, active), w), bufferBytes/max(1, active)
	if err := r.overtaken(ctx, w); err != nil {
		return err
	}
	for turns := 0; active > 0 && turns < len(r.parts); turns++ {
		r.turn %= len(r.parts)
		p := r.parts[r.turn]
		end := w.end(p)
		if p.buf == nil && p.next < end {
			was, noted := p.next, r.gap != nil
			if err = r.readAhead(ctx, p, ahead, share); err != nil {
				break
			}
			if w.to != nil && p.place() > end { // overtaken meanwhile
				p.forget(r.log)
				p.next = end
			}
			if r.gap != nil && !noted && (len(w.events) > 0 || w.gap != nil) {
				// A gap begins a page. The cursor of this one must not lie behind it: who goes on from there finds it again.
				p.forget(r.log)
				p.next, r.gap, r.more = was, nil, true
				break
			}
		}
		if !r.tellFirst(w) || w.full() {
			r.more = true
			break
		}
		for p.buf != nil && p.place() < end && !w.full() {
			p.look(r.log, w)
		}
		r.more = r.more || p.place() < end
		if p.buf == nil || p.place() >= end {
			r.turn++
		}
	}
	r.tellFirst(w)
	r.last.events = w.events
	return err
}

// overtaken looks where retention has overtaken the reader in all partitions at once, so that one loss is one gap.
func (r *Reader) overtaken(ctx context.Context, w *page) error {
	behind := map[*part]uint64{}
	for _, p := range r.parts {
		if p.buf != nil || p.next >= w.end(p) {
			continue
		}
		b, err := r.log.drv.Bounds(ctx, p.topic.ID, p.index)
		if tandem.CodeOf(err) == tandem.CodeNotFound {
			continue // the next refresh drops it
		}
		if err != nil {
			return err
		}
		if b.Removed > p.next {
			behind[p] = min(b.Removed, w.end(p)) // what lies behind a mark is told by its reader
		}
	}
	if len(behind) == 0 {
		return nil
	}
	r.lose(tandem.GapRetention, nil, 0)
	for p, to := range behind {
		p.next = to
	}
	return nil
}

// tellFirst puts a gap that was noted before the first event of the page. It returns false if there is one that has to
// begin the next page.
func (r *Reader) tellFirst(w *page) bool {
	if r.gap == nil {
		return true
	}
	if len(w.events) > 0 || w.gap != nil {
		r.more = true
		return false
	}
	w.gap = r.tell(0)
	r.last.before = r.places()
	return true
}

// places returns the vector of the reader's places. Parts of one topic lie together.
func (r *Reader) places() []vectorTopic {
	var v []vectorTopic
	for _, p := range r.parts {
		if p.index == 0 {
			v = append(v, vectorTopic{name: nameHash(p.topic.Name), id: p.topic.ID, next: make([]uint64, 0, p.topic.Partitions)})
		}
		t := &v[len(v)-1]
		t.next = append(t.next, p.place())
	}
	slices.SortFunc(v, func(a, b vectorTopic) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	return v
}

// lastPage is what CursorAfter needs of the page read last.
type lastPage struct {
	before []vectorTopic   // the places before the page
	events []tandem.Record // of the page
	passed int             // how many of them before counts in
}

// after returns the cursor after one of the events. Asked in order, each event is counted once.
func (lp *lastPage) after(r *Reader, rec *tandem.Record) tandem.Cursor {
	for lp.passed < len(lp.events) {
		e := &lp.events[lp.passed]
		lp.passed++
		for _, p := range r.parts {
			if p.topic.Name != e.Position.Topic || p.index != e.Position.Partition {
				continue
			}
			if i := slices.IndexFunc(lp.before, func(v vectorTopic) bool { return v.id == p.topic.ID }); i >= 0 {
				lp.before[i].next[p.index] = e.Position.Offset + 1
			}
		}
		if e.Position == rec.Position {
			break
		}
	}
	c, err := encodeVector(r.log.info.LogID, lp.before)
	if err != nil {
		return ""
	}
	return c
}
