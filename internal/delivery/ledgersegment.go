package delivery

import (
	"encoding/binary"
	"strconv"
	"time"
)

const (
	// segmentSpan is how long outcomes go into one segment; longer where that would make more than segmentCount of them.
	segmentSpan  = 10 * time.Minute
	segmentCount = 1024
	// segmentParts is into how many segments at least the bytes of a ledger are divided.
	segmentParts = 16
)

// segment is what lies between two times.
type segment struct {
	start   uint64 // Unix seconds; names it
	bytes   uint64 // of keys and values that were written
	expired uint64 // events
	events  span   // of rows and runs
	ranges  span
	at      span // Unix milliseconds of the outcomes
	runs    bool
}

// span is from the least number to the greatest; low above high: none.
type span struct{ low, high uint64 }

func (s *span) include(low, high uint64) { s.low, s.high = min(s.low, low), max(s.high, high) }

func (s *span) has(n uint64) bool { return s.low <= n && n <= s.high }

func newSegment(start uint64) segment {
	none := span{low: 1<<64 - 1}
	return segment{start: start, events: none, ranges: none, at: none}
}

// span returns how long outcomes go into one segment.
func (l *ledger) span() time.Duration { return max(segmentSpan, l.age/segmentCount) }

// current returns the segment to write to.
func (l *ledger) current(now time.Time) uint64 {
	n := len(l.segments)
	at := max(unixSeconds(now), unixSeconds(l.horizon.Since)) // also when the clock went back: what begins before the horizon is removed
	if n > 0 {
		last := &l.segments[n-1]
		if at < last.start+uint64(l.span()/time.Second) && last.bytes < uint64(l.bytes/segmentParts) {
			return last.start
		}
		at = max(at, last.start+1)
	}
	l.segments = append(l.segments, newSegment(at))
	l.open = openRuns{}
	return at
}

func unixSeconds(t time.Time) uint64 { return uint64(max(0, t.Unix())) }

// find returns a segment by its start, nil when it was removed.
func (l *ledger) find(start uint64) *segment {
	for i := len(l.segments) - 1; i >= 0; i-- {
		if l.segments[i].start == start {
			return &l.segments[i]
		}
	}
	return nil
}

// expired returns how many events retention overtook, as far as the ledger goes back.
func (l *ledger) expired() (n uint64) {
	for i := range l.segments {
		n += l.segments[i].expired
	}
	return n
}

// append writes the value of a segment record.
func (g *segment) append(dst []byte) []byte {
	dst = append(dst, formatVersion)
	runs := uint64(0)
	if g.runs {
		runs = 1
	}
	for _, n := range []uint64{g.bytes, g.expired, runs, g.events.low, g.events.high, g.ranges.low, g.ranges.high, g.at.low, g.at.high} {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

func parseSegment(name string, b []byte) (segment, error) {
	start, err := strconv.ParseUint(name, 16, 64)
	if err != nil || len(b) == 0 || b[0] != formatVersion {
		return segment{}, errFormat
	}
	u := uvarints{b: b[1:]}
	g := segment{start: start, bytes: u.next(), expired: u.next(), runs: u.next() == 1, events: span{u.next(), u.next()},
		ranges: span{u.next(), u.next()}, at: span{u.next(), u.next()}}
	if u.bad {
		return segment{}, errFormat
	}
	return g, nil
}
