package eventlog

import (
	"context"

	"github.com/tandem-hybrid/tandem"
)

// The bounds of one read ahead, in events.
const (
	minAhead = 8
	maxAhead = 256
)

// readAhead is how many events to ask the engine for at once, when so many partitions have some.
func readAhead(partitions int, w *page) int {
	n := maxAhead
	if w.filter.IsZero() && w.max < n {
		n = w.max
	}
	return max(minAhead, n/partitions)
}

// merge collects a page in order of numbers. It stops at the horizon: beyond it, a number that is smaller than one
// already readable could still appear in another partition.
func (r *Reader) merge(ctx context.Context, w *page, horizon uint64) error {
	h := r.active()
	ahead, share := readAhead(max(1, len(h)), w), bufferBytes/max(1, len(h))
	for len(h) > 0 && h[0].place() < horizon {
		p := h[0]
		if p.buf == nil {
			err := r.readAhead(ctx, p, ahead, share)
			if err != nil {
				return err
			}
		} else {
			if w.gap == nil && r.gap != nil && len(w.events) == 0 {
				w.gap = r.tell(p.place() - 1)
			}
			if w.full() || r.gap != nil {
				r.more = true
				return nil
			}
			r.pos = p.look(r.log, w)
		}
		if !p.active() {
			h = h.pop()
			continue
		}
		if h.down(0); h[0] != p && r.held() > bufferBytes {
			p.forget(r.log) // now that its place is known, it is read again when its turn comes
		}
	}
	if r.gap != nil && (len(w.events) > 0 || w.gap != nil) {
		r.more = true // the gap begins the next page
		return nil
	}
	r.pos = max(r.pos, horizon-1)
	if r.gap != nil {
		w.gap = r.tell(r.pos)
	}
	return nil
}

// readAhead fills a part and notes what was lost.
func (r *Reader) readAhead(ctx context.Context, p *part, events, bytes int) error {
	was := p.next
	lost, err := p.fill(ctx, r.log, events, bytes)
	if lost {
		r.lose(tandem.GapRetention, p, was)
	}
	if tandem.CodeOf(err) == tandem.CodeNotFound {
		p.next = max(p.next, p.end()) // the topic was deleted meanwhile, and the next refresh drops it
		return nil
	}
	return err
}

// tell ends the gap that was noted: reading goes on after number to.
func (r *Reader) tell(to uint64) *tandem.Gap {
	g := r.gap
	r.gap = nil
	if r.log.info.TotalOrder {
		r.pos = max(r.pos, to)
	}
	g.To = r.Cursor()
	return g
}

func (r *Reader) held() int {
	n := 0
	for _, p := range r.heap {
		n += p.held
	}
	return n
}

// partHeap has the part with the smallest place at its head.
type partHeap []*part

// active returns the parts with something to read as a heap.
func (r *Reader) active() partHeap {
	h := r.heap[:0]
	first := 0
	for _, live := range r.lives {
		parts := r.parts[first : first+len(live.ends)]
		first += len(live.ends)
		if live.top.Load() <= r.pos+1 {
			continue // all of this topic was read
		}
		for _, p := range parts {
			if p.buf == nil {
				p.next = max(p.next, r.pos+1) // what lies before was read, or is not there
			}
			if p.active() {
				h = append(h, p)
			}
		}
	}
	r.heap = h
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
	return h
}

func (h partHeap) down(i int) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(h); c++ {
			if h[c].place() < h[least].place() {
				least = c
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

func (h partHeap) pop() partHeap {
	n := len(h) - 1
	h[0] = h[n]
	h = h[:n]
	h.down(0)
	return h
}
