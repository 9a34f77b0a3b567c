package pebblelog

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tandem-hybrid/tandem"
)

// formatVersion is the version of all that is stored. A directory with a newer one is refused.
const formatVersion = 1

// recover reads what the committer and the readers need to know: everything but the open segment was written down when a
// segment was sealed.
func (e *Engine) recover() error {
	if err := e.recoverMeta(); err != nil {
		return err
	}
	if err := e.recoverTopics(); err != nil {
		return err
	}
	if err := e.recoverSegments(); err != nil {
		return err
	}
	for _, t := range e.byID {
		for _, p := range t.parts {
			// Everything may have been removed, and then the newest run is gone, too.
			if p.next.Seq < p.start.Seq {
				p.next = ends{Offset: p.start.Removed - 1, Seq: p.start.Seq, Bytes: p.start.Bytes, Newest: p.next.Newest}
			}
			p.synced = p.next
			if p.next.Seq > 0 {
				e.next = max(e.next, p.next.Offset+1)
			}
		}
	}
	e.synced.Store(e.next)
	return nil
}

func (e *Engine) recoverMeta() error {
	v, closer, err := e.db.Get(keyFormat)
	if errors.Is(err, pebble.ErrNotFound) {
		return e.format()
	}
	if err != nil {
		return err
	}
	version, err := strconv.Atoi(string(v))
	if err := errors.Join(err, closer.Close()); err != nil {
		return fmt.Errorf("format version: %w", err)
	}
	if version > formatVersion {
		return tandem.Errorf(tandem.CodeUnsupported, "the directory has format version %d, this program knows up to %d", version, formatVersion).
			WithHint("a newer version of Tandem has written it; use that version or a newer one")
	}
	id, closer, err := e.db.Get(keyLogID)
	if err != nil {
		return fmt.Errorf("identity of the log: %w", err)
	}
	copy(e.info.LogID[:], id)
	closer.Close()
	var c counters
	if _, err := e.getJSON(keyCounts, &c); err != nil {
		return err
	}
	e.next, e.lastID, e.segments.next = max(c.Next, 1), c.TopicID, c.Segment
	return nil
}

// format makes a new log.
func (e *Engine) format() error {
	e.info.LogID = newLogID()
	b := e.db.NewBatch()
	return errors.Join(
		b.Set(keyFormat, strconv.AppendInt(nil, formatVersion, 10), nil),
		b.Set(keyLogID, e.info.LogID[:], nil),
		e.putCounters(b),
		e.db.Apply(b, pebble.Sync),
	)
}

func (e *Engine) recoverTopics() error {
	err := e.scan(spaceTopic, func(_, v []byte) error {
		var r topicRecord
		if err := json.Unmarshal(v, &r); err != nil {
			return err
		}
		t := newTopic(r)
		e.addTopic(t)
		e.names[t.name] = t
		return nil
	})
	if err != nil {
		return fmt.Errorf("topics: %w", err)
	}
	for id, t := range e.byID {
		err := errors.Join(
			e.get(topicKey(spaceEnds, id), func(b []byte) error {
				return decodeEnds(b, func(i int, v ends) { t.parts[i].next = v })
			}),
			e.get(topicKey(spaceStarts, id), func(b []byte) error {
				return decodeStarts(b, func(i int, v starts) { t.parts[i].start = v })
			}),
		)
		if err != nil {
			return fmt.Errorf("topic %s: %w", t.name, err)
		}
	}
	return e.scan(spaceFence, func(k, v []byte) error {
		var epoch uint64
		if err := json.Unmarshal(v, &epoch); err != nil {
			return fmt.Errorf("fence %q: %w", k[1:], err)
		}
		e.epochs[string(k[1:])] = epoch
		return nil
	})
}

func (e *Engine) recoverSegments() error {
	var list []segment
	err := e.scan(spaceSegment, func(_, v []byte) error {
		var s segment
		if err := json.Unmarshal(v, &s); err != nil {
			return fmt.Errorf("segment: %w", err)
		}
		e.segments.next = max(e.segments.next, s.ID)
		list = append(list, s)
		return nil
	})
	if err != nil {
		return err
	}
	e.segments.set(list)
	if len(list) == 0 || list[len(list)-1].Sealed != 0 {
		return nil
	}
	e.segment = &openSegment{segment: list[len(list)-1]}
	e.segment.Newest = math.MinInt64
	if err := e.recoverOpen(e.segment); err != nil {
		return fmt.Errorf("segment %d: %w", e.segment.ID, err)
	}
	return nil
}

// recoverOpen finds the last run of each partition in the open segment: two seeks for each, however much it holds.
func (e *Engine) recoverOpen(s *openSegment) error {
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: segmentFrom(spaceRuns, s.ID), UpperBound: segmentFrom(spaceRuns, s.ID+1)})
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.First(); ok; {
		first, valid := parseRunKey(it.Key())
		if !valid {
			return fmt.Errorf("key %x: %w", it.Key(), errRun)
		}
		after := runKey{first.segment, first.slot, first.partition, math.MaxUint64}.bytes()
		if !it.SeekLT(after) {
			return errors.Join(errRun, it.Error())
		}
		last, _ := parseRunKey(it.Key())
		h, err := parseRunHeader(it.Value())
		if err != nil {
			return fmt.Errorf("run at %d: %w", last.offset, err)
		}
		if t := e.bySlot[last.slot]; t != nil && int(last.partition) < len(t.parts) {
			p := t.parts[last.partition]
			before := p.next.Bytes
			p.next = ends{Offset: last.offset + uint64(h.span), Seq: h.firstSeq + uint64(h.count) - 1, Bytes: h.cumBytes, Newest: h.newest}
			s.touch(p)
			s.grow(int(p.next.Bytes-before), h.newest)
		}
		e.next = max(e.next, last.offset+uint64(h.span)+1)
		ok = it.SeekGE(after)
	}
	return it.Error()
}

// scan calls fn for the records of a space.
func (e *Engine) scan(sp space, fn func(key, value []byte) error) error {
	return e.scanRange([]byte{byte(sp)}, spaceEnd(sp), fn)
}

func (e *Engine) scanRange(from, to []byte, fn func(key, value []byte) error) error {
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		if err := fn(it.Key(), it.Value()); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return errors.Join(it.Error(), it.Close())
}

// get calls fn with a value if it is there.
func (e *Engine) get(key []byte, fn func(value []byte) error) error {
	v, closer, err := e.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer closer.Close()
	return fn(v)
}
