package eventlog

import (
	"context"
	"slices"

	"github.com/tandem-hybrid/tandem"
)

// rotate collects a page where offsets count within partitions: in order within each, and each gets its turn.
func (r *Reader) rotate(ctx context.Context, w *page) error {
	r.last = lastPage{before: r.places()}
	active := 0
	for _, p := range r.parts {
		if p.active() {
			active++
		}
	}
	if active == 0 {
		return r.endRotation(w)
	}
	ahead, share := readAhead(active, w), bufferBytes/active
	for range len(r.parts) {
		p := r.parts[r.turn%len(r.parts)]
		if p.buf == nil && p.next < p.end() {
			if err := r.readAhead(ctx, p, ahead, share); err != nil {
				return err
			}
			if r.gap != nil && len(w.events) > 0 {
				r.more = true // the gap begins the next page
				break
			}
		}
		if r.gap != nil && w.gap == nil {
			w.gap = r.tell(0)
			r.last.before = r.places()
		}
		for p.buf != nil && !w.full() {
			p.look(r.log, w)
		}
		if w.full() {
			r.more = true
			break
		}
		r.more = r.more || p.active()
		r.turn++
	}
	return r.endRotation(w)
}

func (r *Reader) endRotation(w *page) error {
	if r.gap != nil && len(w.events) == 0 && w.gap == nil {
		w.gap = r.tell(0)
		r.last.before = r.places()
	}
	if r.turn >= len(r.parts) {
		r.turn = 0
	}
	r.last.events = w.events
	return nil
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
