package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Read implements driver.Driver. Records of one run share their payload bytes.
func (e *Engine) Read(ctx context.Context, id driver.ID, index int, from uint64, max, maxBytes int, dst []tandem.Record) ([]tandem.Record, error) {
	if err := e.reading(); err != nil {
		return dst, err
	}
	defer e.life.RUnlock()
	e.mu.RLock()
	p, err := e.partition(id, index)
	if err != nil {
		e.mu.RUnlock()
		return dst, err
	}
	r := reader{part: p, end: p.synced.Offset + 1, max: max, maxBytes: maxBytes, dst: dst}
	if from < p.start.Removed {
		from = p.start.Removed
	}
	empty := p.synced.Seq == p.start.Seq
	e.mu.RUnlock()
	if empty || from >= r.end || max <= 0 {
		return dst, nil
	}
	if err := e.eachRun(ctx, p, from, r.end, r.run); err != nil {
		return r.dst, tandem.Wrap(fmt.Sprintf("read %s/%d/%d", p.topic.name, index, from), err)
	}
	return r.dst, nil
}

// eachRun calls fn for the runs of a partition that hold offsets from <= offset < end, until it returns false. Key and
// value are valid only during the call, and the first run may begin before from.
func (e *Engine) eachRun(ctx context.Context, p *partition, from, end uint64, fn func(from, first uint64, run []byte) (bool, error)) error {
	segments := e.segments.from(from)
	if len(segments) == 0 {
		return nil
	}
	it, err := e.db.NewIterWithContext(ctx, &pebble.IterOptions{
		LowerBound: segmentFrom(spaceRuns, segments[0].ID),
		UpperBound: segmentFrom(spaceRuns, segments[len(segments)-1].ID+1),
	})
	if err != nil {
		return err
	}
	err = scanRuns(ctx, it, segments, p, from, end, fn)
	return errors.Join(err, it.Error(), it.Close())
}

func scanRuns(ctx context.Context, it *pebble.Iterator, segments []segment, p *partition, from, end uint64, fn func(from, first uint64, run []byte) (bool, error)) error {
	for i := 0; i < len(segments) && segments[i].First < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		k := runKey{segments[i].ID, p.topic.slot, p.index, from}
		ok := false
		if i == 0 && from < math.MaxUint64 {
			// The run that holds from may begin before it.
			k.offset = from + 1
			if it.SeekLT(k.bytes()) {
				if at, valid := parseRunKey(it.Key()); valid && at.samePartition(k) {
					h, err := parseRunHeader(it.Value())
					if err != nil {
						return fmt.Errorf("run at %d: %w", at.offset, err)
					}
					ok = at.offset+uint64(h.span) >= from
				}
			}
			k.offset = from
		}
		if !ok {
			ok = it.SeekGE(k.bytes())
		}
		for ; ok; ok = it.Next() {
			at, valid := parseRunKey(it.Key())
			if !valid {
				return fmt.Errorf("key %x: %w", it.Key(), errRun)
			}
			if !at.samePartition(k) {
				// Skip segments in which nobody has anything.
				for i+1 < len(segments) && segments[i+1].ID < at.segment {
					i++
				}
				break
			}
			if at.offset >= end {
				return nil
			}
			more, err := fn(from, at.offset, it.Value())
			if err != nil {
				return fmt.Errorf("run at %d: %w", at.offset, err)
			}
			if !more {
				return nil
			}
		}
		if !ok {
			return nil
		}
		i++
	}
	return nil
}

// reader collects records.
type reader struct {
	part          *partition
	end           uint64
	max, maxBytes int
	dst           []tandem.Record
	count, bytes  int
}

// run takes what it may of a run: it finds which records those are, copies them in one piece, and decodes them.
func (r *reader) run(from, first uint64, run []byte) (more bool, err error) {
	scan, _, err := newRunIter(first, run)
	if err != nil {
		return false, err
	}
	var take runIter
	n, begin := 0, 0
	more = true
	for {
		before := scan
		if !scan.next() {
			break
		}
		if scan.offset < from {
			continue
		}
		if scan.offset >= r.end || r.count+n == r.max || r.count+n > 0 && r.bytes+len(scan.record) > r.maxBytes {
			scan, more = before, false
			break
		}
		if n == 0 {
			take, begin = before, len(run)-len(before.rest)
		}
		n++
		r.bytes += len(scan.record)
	}
	if scan.err != nil {
		return false, scan.err
	}
	if n == 0 {
		return more, nil
	}
	take.rest = append([]byte(nil), run[begin:len(run)-len(scan.rest)]...)
	take.left = uint32(n)
	for take.next() {
		r.dst = append(r.dst, tandem.Record{})
		rec := &r.dst[len(r.dst)-1]
		if err := decodeRecord(take.record, &rec.Event); err != nil {
			r.dst = r.dst[:len(r.dst)-1]
			return false, fmt.Errorf("event at %d: %w", take.offset, err)
		}
		rec.Seq = take.seq
		rec.Position = tandem.Position{Topic: r.part.topic.name, Partition: int(r.part.index), Offset: take.offset}
	}
	r.count += n
	return more && r.count < r.max, take.err
}
