package eventlog

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/tandem-hybrid/tandem"
)

// The bounds of what is read of one partition at a time, going back. Where offsets are not dense, a step is longer.
const (
	minChunk = 8 // events
	maxChunk = 4096
	longer   = 8
	shorter  = 4
)

// backward looks for the last events that match, in all partitions of a new reader at once: always next in the one that may hold
// the newest event that was not looked at. An engine reads forward only, so a part of a partition is read from where it is
// supposed to begin. Events are compared by rank: the number with TotalOrder, otherwise the time of acceptance.
type backward struct {
	r       *Reader
	filter  *tandem.Filter
	want    int
	left    int // events that may be looked at
	horizon uint64

	tails []*tail // those with something left, the highest rank first
	hits  []hit   // at most want, the newest first
	seen  []hit   // scratch of one chunk
}

// tail is the end of a partition that was looked at: all events from next on.
type tail struct {
	part  *part
	order int // of the part
	next  uint64
	rank  uint64 // no event before next has a higher one

	started bool
	start   uint64 // of the partition
	seq     uint64 // of the event at next, or a little higher
	chunk   int    // events to look at in the next step
	step    uint64 // offsets to go back for them
}

// hit is an event that matches.
type hit struct {
	part    *part
	order   int
	offset  uint64
	rank    uint64
	matches bool
}

// newestFirst keeps the order within each partition, also for events of the same rank.
func newestFirst(a, b hit) int {
	return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(a.order, b.order), cmp.Compare(b.offset, a.offset))
}

// end is that of a partition when the search began.
func (s *backward) end(p *part) uint64 {
	if s.r.log.info.TotalOrder {
		return min(p.end(), s.horizon)
	}
	return p.end()
}

// search returns the last events that match. None that was not looked at is newer than any of them.
func (s *backward) search(ctx context.Context) ([]hit, error) {
	chunk := min(max(minChunk, 2*s.want/max(1, len(s.r.parts))), maxChunk)
	for i, p := range s.r.parts {
		t := &tail{part: p, order: i, next: p.next, rank: math.MaxUint64, chunk: chunk, step: uint64(chunk)}
		s.moved(t)
		s.tails = append(s.tails, t)
	}
	slices.SortFunc(s.tails, func(a, b *tail) int { return cmp.Compare(b.rank, a.rank) })
	for len(s.tails) > 0 && s.left > 0 && !s.enough() {
		if ctx.Err() != nil {
			return nil, tandem.Errorf(tandem.CodeUnavailable, "not searched to the end: %w", context.Cause(ctx))
		}
		t := s.tails[0]
		err := s.look(ctx, t)
		gone := tandem.CodeOf(err) == tandem.CodeNotFound // deleted meanwhile
		if err != nil && !gone {
			return nil, err
		}
		s.tails = s.tails[1:]
		if !gone && t.next > t.start {
			i, _ := slices.BinarySearchFunc(s.tails, t, func(a, b *tail) int { return cmp.Compare(b.rank, a.rank) })
			s.tails = slices.Insert(s.tails, i, t)
		}
	}
	if len(s.tails) == 0 {
		return s.hits, nil
	}
	first := s.tails[0].rank // older ones are not known to be the last
	return slices.DeleteFunc(s.hits, func(h hit) bool { return h.rank < first }), nil
}

func (s *backward) enough() bool {
	return len(s.hits) == s.want && s.hits[s.want-1].rank >= s.tails[0].rank
}

// moved brings the rank of a tail up to its place.
func (s *backward) moved(t *tail) {
	if s.r.log.info.TotalOrder {
		t.rank = max(t.next, 1) - 1
	}
}

// look goes back one step in a partition.
func (s *backward) look(ctx context.Context, t *tail) error {
	l, p := s.r.log, t.part
	defer s.moved(t)
	if !t.started {
		b, err := l.drv.Bounds(ctx, p.topic.ID, p.index)
		if err != nil {
			return err
		}
		t.started, t.start, t.seq = true, b.Start, b.EndSeq
	}
	t.chunk = min(t.chunk, s.left)
	buf := l.getBuffer()
	defer func() { l.putBuffer(buf) }()
	for t.next > t.start {
		from := t.start
		if t.next-t.start > t.step {
			from = t.next - t.step
		}
		if t.next-from > uint64(t.chunk) { // more than that may lie between
			var err error
			if buf, err = l.read(ctx, p.topic.ID, p.index, from, 1, bufferBytes, buf[:0]); err != nil {
				return err
			}
			if len(buf) == 0 || buf[0].Position.Offset >= t.next {
				t.next = from
				t.lengthen()
				return nil
			}
			if t.seq-buf[0].Seq > uint64(t.chunk) {
				t.step = max(uint64(t.chunk), (t.next-from)/shorter)
				continue
			}
		}
		return s.chunk(ctx, t, from, &buf)
	}
	return nil
}

func (t *tail) lengthen() {
	if t.step < math.MaxUint64/longer {
		t.step *= longer
	}
}

// chunk looks at the events from an offset up to what was looked at.
func (s *backward) chunk(ctx context.Context, t *tail, from uint64, buf *[]tandem.Record) error {
	l, p := s.r.log, t.part
	s.seen = s.seen[:0]
	first := uint64(0)
	for at := from; at < t.next; {
		var err error
		if *buf, err = l.read(ctx, p.topic.ID, p.index, at, int(min(maxAhead, t.next-at)), bufferBytes, (*buf)[:0]); err != nil {
			return err
		}
		if len(*buf) == 0 {
			break
		}
		for i := range *buf {
			if i%16 == 15 && ctx.Err() != nil { // filters may be costly
				return tandem.Errorf(tandem.CodeUnavailable, "looking for the last events was given up: %w", context.Cause(ctx))
			}
			rec := &(*buf)[i]
			if at = rec.Position.Offset + 1; at > t.next {
				break
			}
			if len(s.seen) == 0 {
				first = rec.Seq
			}
			s.seen = append(s.seen, hit{part: p, order: t.order, offset: rec.Position.Offset, rank: s.rank(rec), matches: s.filter.Match(&rec.Event)})
		}
	}
	for _, h := range slices.Backward(s.seen) {
		h.rank = min(h.rank, t.rank) // a clock may have been set back, the order stays
		t.rank = h.rank
		s.hit(h)
	}
	t.next = from
	s.left -= len(s.seen)
	if len(s.seen) > 0 {
		t.seq = first
	}
	sparse := len(s.seen) < t.chunk/2
	t.chunk = min(2*t.chunk, maxChunk)
	if t.step = max(t.step, uint64(t.chunk)); sparse {
		t.lengthen()
	}
	return nil
}

func (s *backward) rank(rec *tandem.Record) uint64 {
	if s.r.log.info.TotalOrder {
		return rec.Position.Offset
	}
	return uint64(max(0, rec.Meta.Accepted.UnixNano()))
}

// hit keeps an event if it matches and is one of the newest.
func (s *backward) hit(h hit) {
	if !h.matches {
		return
	}
	i, _ := slices.BinarySearchFunc(s.hits, h, newestFirst)
	if i >= s.want {
		return
	}
	s.hits = slices.Insert(s.hits[:min(len(s.hits), s.want-1)], i, h)
}
