package pebblelog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// removeByAge removes expired segments, and what expired topics have in others.
func (e *Engine) removeByAge(ctx context.Context) error {
	now := e.opts.Now()
	for _, s := range e.segments.all() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.Sealed == 0 {
			break
		}
		if e.due(s, now) {
			if err := e.expire(ctx, s, now); err != nil {
				return fmt.Errorf("segment %d: %w", s.ID, err)
			}
		}
	}
	return nil
}

// portion is what a topic had stored by the end of a segment.
type portion struct {
	slot slot
	ends []byte
}

// due reports whether anything can expire in a segment; what was found out lasts until a declaration changes.
func (e *Engine) due(s segment, now time.Time) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	d, ok := e.dues[s.ID]
	return !ok || d.generation != e.generation || !d.never && now.After(d.at)
}

// due says when a segment has to be looked at again.
type due struct {
	generation uint64
	never      bool
	at         time.Time
}

// expire removes what has expired of a segment: all of it in one range if nothing else is left, otherwise a range for
// each stretch of topics between those that stay.
func (e *Engine) expire(ctx context.Context, s segment, now time.Time) error {
	next := due{never: true}
	r := e.newRemoval()
	defer r.batch.Close()
	removed := int64(0)
	var gone []portion // since the last topic that stays
	stays := false
	flush := func(all bool) error {
		if len(gone) == 0 {
			return nil
		}
		from, to := gone[0].slot, gone[len(gone)-1].slot+1
		gone = gone[:0]
		if all {
			return nil
		}
		return errors.Join(
			r.batch.DeleteRange(slotsFrom(spaceRuns, s.ID, from), slotsFrom(spaceRuns, s.ID, to), nil),
			r.batch.DeleteRange(slotsFrom(spacePortion, s.ID, from), slotsFrom(spacePortion, s.ID, to), nil))
	}
	e.mu.RLock()
	next.generation = e.generation
	e.mu.RUnlock()
	err := e.scanRange(segmentFrom(spacePortion, s.ID), segmentFrom(spacePortion, s.ID+1), func(k, v []byte) error {
		p := portion{slot: slot(binary.BigEndian.Uint64(k[5:])), ends: v}
		e.mu.RLock()
		t := e.bySlot[p.slot]
		keep := time.Duration(0)
		if t != nil {
			keep = time.Duration(t.meta.Retention)
		}
		e.mu.RUnlock()
		if t != nil && (keep <= 0 || now.Sub(s.newestAt()) <= keep) {
			stays = true
			if keep > 0 {
				at := s.newestAt().Add(keep)
				if next.never || at.Before(next.at) {
					next.never, next.at = false, at
				}
			}
			return flush(false)
		}
		gone = append(gone, portion{slot: p.slot})
		if t == nil {
			return nil
		}
		bytes, err := r.until(e, t, v)
		removed += bytes
		return err
	})
	if err == nil {
		err = flush(!stays)
	}
	if err != nil {
		return err
	}
	if !stays {
		err = errors.Join(
			r.batch.DeleteRange(segmentFrom(spaceRuns, s.ID), segmentFrom(spaceRuns, s.ID+1), nil),
			r.batch.DeleteRange(segmentFrom(spacePortion, s.ID), segmentFrom(spacePortion, s.ID+1), nil),
			r.batch.Delete(segmentFrom(spaceSegment, s.ID), nil))
	}
	if err == nil && !r.batch.Empty() {
		err = r.commit(e)
	}
	if err != nil {
		return err
	}
	e.mu.Lock()
	if stays {
		e.dues[s.ID] = next
	} else {
		delete(e.dues, s.ID)
		e.segments.set(slices.DeleteFunc(slices.Clone(e.segments.all()), func(x segment) bool { return x.ID == s.ID }))
	}
	e.mu.Unlock()
	// All of the segment in one go: many small gaps are worth one compaction, one of them is not.
	r.spans = []span{{segmentFrom(spaceRuns, s.ID), segmentFrom(spaceRuns, s.ID+1), removed, !stays}}
	return r.giveBack(ctx, e)
}
