package memlog

import (
	"context"
	"slices"
	"sort"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// find is called with mu held.
func (e *Engine) find(id driver.ID, part int) (*partition, error) {
	if !e.open {
		return nil, errClosed()
	}
	t := e.byID[id]
	if t == nil || part < 0 || part >= len(t.parts) {
		return nil, tandem.Errorf(tandem.CodeNotFound, "no partition %d of topic %d", part, id)
	}
	return &t.parts[part], nil
}

// Read implements driver.Driver. The records share their bytes with the engine: they are read-only.
func (e *Engine) Read(_ context.Context, id driver.ID, part int, from uint64, max, maxBytes int, dst []tandem.Record) ([]tandem.Record, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, err := e.find(id, part)
	if err != nil {
		return dst, err
	}
	i := sort.Search(len(p.records), func(i int) bool { return p.records[i].Position.Offset >= from })
	used := int64(0)
	for n := 0; n < max && i < len(p.records); n, i = n+1, i+1 {
		if used += p.records[i].size; n > 0 && used > int64(maxBytes) {
			break
		}
		dst = append(dst, p.records[i].Record)
	}
	return dst, nil
}

// Bounds implements driver.Driver.
func (e *Engine) Bounds(_ context.Context, id driver.ID, part int) (driver.Bounds, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, err := e.find(id, part)
	if err != nil {
		return driver.Bounds{}, err
	}
	b := driver.Bounds{Start: p.end, End: p.end, EndSeq: p.seq + 1, Removed: p.removed, Bytes: p.bytes}
	b.StartSeq = b.EndSeq - uint64(len(p.records))
	if len(p.records) > 0 {
		b.Start = p.records[0].Position.Offset
	}
	return b, nil
}

// OffsetAt implements driver.Driver.
func (e *Engine) OffsetAt(_ context.Context, id driver.ID, part int, t time.Time) (uint64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, err := e.find(id, part)
	if err != nil {
		return 0, err
	}
	for i := range p.records {
		if !p.records[i].Meta.Accepted.Before(t) {
			return p.records[i].Position.Offset, nil
		}
	}
	return p.end, nil
}

// ScanState implements driver.Driver. It works on a copy of the keys, so fn may call the engine.
func (e *Engine) ScanState(_ context.Context, from, to string, fn func(key string, value []byte) bool) error {
	e.mu.Lock()
	if !e.open {
		e.mu.Unlock()
		return errClosed()
	}
	type entry struct {
		key   string
		value []byte
	}
	var hits []entry
	if to == from+"\x00" { // one key, which is asked for most
		if v, ok := e.state[from]; ok {
			hits = append(hits, entry{from, v})
		}
	} else {
		for k, v := range e.state {
			if k >= from && (to == "" || k < to) {
				hits = append(hits, entry{k, v})
			}
		}
	}
	e.mu.Unlock()
	slices.SortFunc(hits, func(a, b entry) int {
		if a.key < b.key {
			return -1
		}
		return 1
	})
	for _, h := range hits {
		if !fn(h.key, h.value) {
			return nil
		}
	}
	return nil
}
