package pebblelog

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// segment is a stretch of the log: the groups from one number on. Retention removes whole segments where it can.
type segment struct {
	ID     uint32 `json:"id"`
	First  uint64 `json:"first"`            // the number that its first event is at or after
	Opened int64  `json:"opened"`           // latest acceptance when it was opened, in nanoseconds
	Sealed int64  `json:"sealed,omitempty"` // by the clock, in nanoseconds; zero while it is open
	Newest int64  `json:"newest,omitempty"` // latest acceptance
	Bytes  int64  `json:"bytes,omitempty"`  // of records
}

// newestAt is what age counts from: a stamp from the future does not keep a segment for ever.
func (s *segment) newestAt() time.Time { return time.Unix(0, min(s.Newest, s.Sealed)) }

// openSegment is the segment that is written to. The committer owns it.
type openSegment struct {
	segment
	touched []*partition // those with runs in it
}

func (s *openSegment) touch(p *partition) {
	if p.segment != s.ID {
		p.segment = s.ID
		s.touched = append(s.touched, p)
	}
}

func (s *openSegment) grow(bytes int, newest int64) {
	s.Bytes += int64(bytes)
	s.Newest = max(s.Newest, newest)
}

// roll makes sure, before a group is decided, that there is an open segment for its records, and seals one that is large
// or old enough.
func (e *Engine) roll(g *group) error {
	newest := int64(math.MinInt64)
	records := false
	for _, r := range g.requests {
		if len(r.records) > 0 {
			records = true
			newest = max(newest, r.newest)
		}
	}
	if !records {
		return nil
	}
	if newest == math.MinInt64 {
		newest = g.now.UnixNano()
	}
	s := e.segment
	switch {
	case s == nil:
	case s.Bytes >= e.opts.SegmentBytes, newest-s.Opened >= int64(e.span()):
		if err := e.seal(g); err != nil {
			return err
		}
	default:
		return nil
	}
	return e.openSegment(g, newest)
}

func (e *Engine) openSegment(g *group, newest int64) error {
	g.open(e, 4<<10)
	e.segments.next++
	s := &openSegment{segment: segment{ID: e.segments.next, First: e.next, Opened: newest, Newest: math.MinInt64}}
	e.segment = s
	e.addSegment(s.segment)
	return putJSON(g.batch, segmentFrom(spaceSegment, s.ID), s.segment)
}

// seal closes the open segment and writes down where its partitions ended.
func (e *Engine) seal(g *group) error {
	g.open(e, 4<<10)
	s := e.segment
	e.segment = nil
	s.Sealed = g.now.UnixNano()
	sealed := s.segment
	// Retention must not see it before what it will look for is stored.
	g.after = append(g.after, func() { e.replaceSegment(sealed) })
	if err := putJSON(g.batch, segmentFrom(spaceSegment, s.ID), s.segment); err != nil {
		return err
	}
	byTopic := map[*topic][]*partition{}
	for _, p := range s.touched {
		byTopic[p.topic] = append(byTopic[p.topic], p)
	}
	for t, parts := range byTopic {
		if t.dead {
			continue
		}
		if err := g.batch.Set(slotsFrom(spacePortion, s.ID, t.slot), encodeEnds(parts), nil); err != nil {
			return err
		}
		if err := g.batch.Set(topicKey(spaceEnds, t.id), encodeEnds(t.parts), nil); err != nil {
			return err
		}
	}
	return e.putCounters(g.batch)
}

// encodeEnds lists what the committer has written of partitions that hold anything.
func encodeEnds(parts []*partition) []byte {
	var b []byte
	for _, p := range parts {
		if p.next.Seq == 0 {
			continue
		}
		b = binary.AppendUvarint(b, uint64(p.index))
		b = binary.AppendUvarint(b, p.next.Offset)
		b = binary.AppendUvarint(b, p.next.Seq)
		b = binary.AppendUvarint(b, p.next.Bytes)
		b = binary.AppendVarint(b, p.next.Newest)
	}
	return b
}

// decodeEnds calls fn for each partition in b.
func decodeEnds(b []byte, fn func(partition int, e ends)) error {
	c := cursor{b: b}
	for len(c.b) > 0 {
		p := c.uvarint()
		e := ends{Offset: c.uvarint(), Seq: c.uvarint(), Bytes: c.uvarint(), Newest: c.varint()}
		if c.bad || p > math.MaxUint16 {
			return errRecord
		}
		fn(int(p), e)
	}
	return nil
}

func encodeStarts(parts []starts) []byte {
	var b []byte
	for i, s := range parts {
		if s.Removed == 0 {
			continue
		}
		b = binary.AppendUvarint(b, uint64(i))
		b = binary.AppendUvarint(b, s.Removed)
		b = binary.AppendUvarint(b, s.Seq)
		b = binary.AppendUvarint(b, s.Bytes)
	}
	return b
}

func decodeStarts(b []byte, fn func(partition int, s starts)) error {
	c := cursor{b: b}
	for len(c.b) > 0 {
		p := c.uvarint()
		s := starts{Removed: c.uvarint(), Seq: c.uvarint(), Bytes: c.uvarint()}
		if c.bad || p > math.MaxUint16 {
			return errRecord
		}
		fn(int(p), s)
	}
	return nil
}

func putJSON(b *pebble.Batch, key []byte, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.Set(key, value, nil)
}
