package pebblelog

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Bounds implements driver.Driver.
func (e *Engine) Bounds(ctx context.Context, id driver.ID, index int) (driver.Bounds, error) {
	if err := e.reading(); err != nil {
		return driver.Bounds{}, err
	}
	defer e.life.RUnlock()
	for {
		e.mu.RLock()
		p, err := e.partition(id, index)
		if err != nil {
			e.mu.RUnlock()
			return driver.Bounds{}, err
		}
		b := driver.Bounds{
			Start: p.oldest, End: p.synced.Offset + 1,
			StartSeq: p.start.Seq + 1, EndSeq: p.synced.Seq + 1,
			Removed: p.start.Removed,
		}
		events, bytes := p.held()
		b.Bytes = int64(bytes)
		if events == 0 {
			b.Start = b.End
		}
		known, removed := b.Start != 0, b.Removed
		e.mu.RUnlock()
		if known {
			return b, nil
		}
		// The first look after the partition was opened, filled or cut.
		if err := e.findOldest(ctx, p, removed, b.End); err != nil {
			return driver.Bounds{}, tandem.Wrap("bounds of "+p.topic.name, err)
		}
	}
}

// findOldest looks up the offset of the oldest event, at or after from.
func (e *Engine) findOldest(ctx context.Context, p *partition, from, end uint64) error {
	oldest := uint64(0)
	err := e.eachRun(ctx, p, from, end, func(from, first uint64, run []byte) (bool, error) {
		it, _, err := newRunIter(first, run)
		for err == nil && oldest == 0 && it.next() {
			if it.offset >= from {
				oldest = it.offset
			}
		}
		return oldest == 0, cmp.Or(err, it.err)
	})
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case p.start.Removed != from: // retention was here meanwhile
	case oldest == 0:
		return fmt.Errorf("partition %d holds %d events and none is found", p.index, p.synced.Seq-p.start.Seq)
	default:
		p.oldest = oldest
	}
	return nil
}

// OffsetAt implements driver.Driver. Clocks step, so the search is for the first run to whose end the latest acceptance
// of the partition is at or after t: it holds the first event accepted then.
func (e *Engine) OffsetAt(ctx context.Context, id driver.ID, index int, t time.Time) (uint64, error) {
	if err := e.reading(); err != nil {
		return 0, err
	}
	defer e.life.RUnlock()
	e.mu.RLock()
	p, err := e.partition(id, index)
	if err != nil {
		e.mu.RUnlock()
		return 0, err
	}
	from, end := p.start.Removed, p.synced.Offset+1
	none := p.synced.Seq == p.start.Seq || time.Unix(0, p.synced.Newest).Before(t)
	at := end
	e.mu.RUnlock()
	if none {
		return at, nil
	}
	from, err = e.narrow(ctx, p, from, end, t)
	if err != nil {
		return 0, tandem.Wrap("offset by time in "+p.topic.name, err)
	}
	found := false
	err = e.eachRun(ctx, p, from, end, func(from, first uint64, run []byte) (bool, error) {
		it, h, err := newRunIter(first, run)
		if err != nil || time.Unix(0, h.newest).Before(t) {
			return true, err
		}
		for !found && it.next() {
			c := cursor{b: it.record}
			if h := c.head(); it.offset >= from && it.offset < end && !time.Unix(0, h.accepted).Before(t) {
				at, found = it.offset, true
			}
		}
		return !found, it.err
	})
	return at, tandem.Wrap("offset by time in "+p.topic.name, err)
}

// narrow halves the offsets from <= offset < end until few events lie before the first accepted at or after t.
func (e *Engine) narrow(ctx context.Context, p *partition, from, end uint64, t time.Time) (uint64, error) {
	const few = 4096
	lo, hi := from, end
	for hi-lo > few {
		mid := lo + (hi-lo)/2
		later, found := false, false
		err := e.eachRun(ctx, p, mid, end, func(_, first uint64, run []byte) (bool, error) {
			h, err := parseRunHeader(run)
			found, later = true, !time.Unix(0, h.newest).Before(t)
			return false, err
		})
		if err != nil {
			return 0, err
		}
		if later || !found {
			hi = mid
		} else {
			lo = mid
		}
	}
	return lo, nil
}
