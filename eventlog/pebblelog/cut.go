package pebblelog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// removeBySize cuts topics that are over their size.
func (e *Engine) removeBySize(ctx context.Context) error {
	e.mu.RLock()
	var over []*topic
	for _, t := range e.byID {
		if excess(t) > t.meta.RetentionBytes/16 && t.meta.RetentionBytes > 0 {
			over = append(over, t)
		}
	}
	e.mu.RUnlock()
	slices.SortFunc(over, func(a, b *topic) int { return cmp.Compare(a.id, b.id) })
	for _, t := range over {
		if err := e.cut(ctx, t); err != nil {
			return fmt.Errorf("topic %s: %w", t.name, err)
		}
	}
	return nil
}

// excess is what a topic holds beyond its size. Engine.mu must be held.
func excess(t *topic) int64 {
	held := int64(0)
	for _, p := range t.parts {
		_, bytes := p.held()
		held += int64(bytes)
	}
	return held - t.meta.RetentionBytes
}

// cut removes the oldest events of a topic until it has its size: whole portions first, then a part of one.
func (e *Engine) cut(ctx context.Context, t *topic) error {
	r := e.newRemoval()
	defer r.batch.Close()
	e.mu.RLock()
	over := excess(t)
	e.mu.RUnlock()
	s := r.of(e, t)
	from := slices.MinFunc(s, func(a, b starts) int { return cmp.Compare(a.Removed, b.Removed) }).Removed
	for _, seg := range e.segments.from(max(from, t.born)) {
		if over <= 0 {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		bytes, held, err := e.portionBytes(t, seg, s)
		if err != nil {
			return err
		}
		if seg.Sealed != 0 && bytes > over {
			held = nil
		}
		switch {
		case bytes == 0 && seg.Sealed != 0:
			continue
		case held != nil:
			over -= bytes
			_, err = r.until(e, t, held)
			r.spans = append(r.spans, span{slotsFrom(spaceRuns, seg.ID, t.slot), slotsFrom(spaceRuns, seg.ID, t.slot+1), bytes, false})
			err = errors.Join(err,
				r.batch.DeleteRange(slotsFrom(spaceRuns, seg.ID, t.slot), slotsFrom(spaceRuns, seg.ID, t.slot+1), nil),
				r.batch.Delete(slotsFrom(spacePortion, seg.ID, t.slot), nil))
		default:
			r.spans = append(r.spans, span{slotsFrom(spaceRuns, seg.ID, t.slot), slotsFrom(spaceRuns, seg.ID, t.slot+1), over, false})
			err = e.cutPart(r, t, seg, over)
			over = 0
		}
		if err != nil {
			return err
		}
	}
	if r.batch.Empty() {
		return nil
	}
	if err := r.commit(e); err != nil {
		return err
	}
	return r.giveBack(ctx, e)
}

// portionBytes returns what a topic still has in a sealed segment, and the portion.
func (e *Engine) portionBytes(t *topic, seg segment, s []starts) (bytes int64, held []byte, err error) {
	if seg.Sealed == 0 {
		return 0, nil, nil
	}
	err = e.get(slotsFrom(spacePortion, seg.ID, t.slot), func(b []byte) error {
		held = slices.Clone(b)
		return decodeEnds(b, func(i int, v ends) {
			if i < len(s) && v.Bytes > s[i].Bytes {
				bytes += int64(v.Bytes - s[i].Bytes)
			}
		})
	})
	return bytes, held, err
}

// cutRun is what cutPart notes of a run.
type cutRun struct {
	partition uint16
	first     uint64
	end       starts // as it is when the run is removed
	bytes     int64
}

// cutPart removes the oldest runs of a topic in one segment, of some bytes together. The cut is at one number for all
// partitions. What readers do not see yet stays.
func (e *Engine) cutPart(r *removal, t *topic, seg segment, over int64) error {
	var runs []cutRun
	s := r.of(e, t)
	cum := map[uint16]uint64{}
	synced := e.synced.Load()
	err := e.scanRange(slotsFrom(spaceRuns, seg.ID, t.slot), slotsFrom(spaceRuns, seg.ID, t.slot+1), func(k, v []byte) error {
		at, ok := parseRunKey(k)
		h, err := parseRunHeader(v)
		if err != nil || !ok || int(at.partition) >= len(s) {
			return cmp.Or(err, errRun)
		}
		if at.offset >= synced {
			return nil
		}
		before, ok := cum[at.partition]
		if !ok {
			before = s[at.partition].Bytes
		}
		cum[at.partition] = h.cumBytes
		runs = append(runs, cutRun{at.partition, at.offset, starts{at.offset + uint64(h.span) + 1, h.firstSeq + uint64(h.count) - 1, h.cumBytes}, int64(h.cumBytes - before)})
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(runs, func(a, b cutRun) int { return cmp.Compare(a.first, b.first) })
	last := map[uint16]cutRun{}
	for _, x := range runs {
		if over <= 0 {
			break
		}
		over -= x.bytes
		last[x.partition] = x
	}
	for _, p := range slices.Sorted(maps.Keys(last)) {
		x := last[p]
		s[p] = x.end
		err := r.batch.DeleteRange(runKey{seg.ID, t.slot, p, 0}.bytes(), runKey{seg.ID, t.slot, p, x.first + 1}.bytes(), nil)
		if err != nil {
			return err
		}
	}
	return nil
}
