package pebblelog

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tandem-hybrid/tandem"
)

// retain runs retention now and then, until ctx is done.
func (e *Engine) retain(ctx context.Context) {
	if e.opts.RetentionEvery < 0 {
		return
	}
	tick := time.NewTicker(e.opts.RetentionEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.failure.done:
			return
		case <-tick.C:
		case <-e.retainNow:
		}
		if err := e.RunRetention(ctx); err != nil && ctx.Err() == nil {
			e.opts.Logger.Warn("retention will try again", "error", err)
		}
	}
}

// RunRetention removes what the retention of topics says, by the clock of Options.Now, and returns when that is durable.
// It goes beside appends and reads and waits for neither; readers of what is removed go on with what is left. Events go
// in whole segments, or as all that one topic has in a segment, so by age up to a segment's span late. By size a topic is
// cut when it is a sixteenth over its limit. It works below the free-space mark.
func (e *Engine) RunRetention(ctx context.Context) error {
	e.retaining.Lock()
	defer e.retaining.Unlock()
	if err := e.sealOld(ctx); err != nil {
		return tandem.Wrap("retention", err)
	}
	if err := e.reading(); err != nil {
		return err
	}
	defer e.life.RUnlock()
	e.mu.Lock()
	deleted := removal{spans: e.cleared}
	e.cleared = nil
	e.mu.Unlock()
	return tandem.Wrap("retention", errors.Join(deleted.giveBack(ctx, e), e.removeByAge(ctx), e.removeBySize(ctx)))
}

// sealOld seals the open segment when all it holds is older than the shortest retention.
func (e *Engine) sealOld(ctx context.Context) error {
	shortest := time.Duration(0)
	e.mu.RLock()
	for _, t := range e.byID {
		if r := time.Duration(t.meta.Retention); r > 0 && (shortest == 0 || r < shortest) {
			shortest = r
		}
	}
	e.mu.RUnlock()
	if shortest == 0 {
		return nil
	}
	return e.control(ctx, true, func(g *group) error {
		if s := e.segment; s != nil && g.now.Sub(time.Unix(0, s.Newest)) > shortest {
			return e.seal(g)
		}
		return nil
	})
}

// portion is what a topic had stored by the end of a segment.
type portion struct {
	slot slot
	ends []byte
}

// removal is one durable step of retention.
type removal struct {
	batch  *pebble.Batch
	starts map[*topic][]starts
	spans  []span
}

// span is a range of keys that a removal clears, with the bytes of records that were in it.
type span struct {
	from, to []byte
	bytes    int64
	whole    bool // a whole segment
}

func (e *Engine) newRemoval() *removal {
	return &removal{batch: e.db.NewBatch(), starts: map[*topic][]starts{}}
}

// of returns the starts of a topic as they will be.
func (r *removal) of(e *Engine, t *topic) []starts {
	if s, ok := r.starts[t]; ok {
		return s
	}
	s := make([]starts, len(t.parts))
	e.mu.RLock()
	for i, p := range t.parts {
		s[i] = p.start
	}
	e.mu.RUnlock()
	r.starts[t] = s
	return s
}

// until moves the starts of a topic behind the end of a portion, and returns the bytes that this removes.
func (r *removal) until(e *Engine, t *topic, portion []byte) (bytes int64, err error) {
	s := r.of(e, t)
	err = decodeEnds(portion, func(i int, v ends) {
		if i < len(s) && v.Offset >= s[i].Removed {
			bytes += int64(v.Bytes - s[i].Bytes)
			s[i] = starts{Removed: v.Offset + 1, Seq: v.Seq, Bytes: v.Bytes}
		}
	})
	return bytes, err
}

// commit makes a removal known and then durable. Pebble shows a deletion before its sync returns, and who then finds events
// missing must find them removed, too. What a crash gives back is removed again later.
func (r *removal) commit(e *Engine) error {
	for t, s := range r.starts {
		if err := r.batch.Set(topicKey(spaceStarts, t.id), encodeStarts(s), nil); err != nil {
			return err
		}
	}
	e.mu.Lock()
	for t, s := range r.starts {
		for i, p := range t.parts {
			if p.start != s[i] {
				p.start, p.oldest = s[i], 0
			}
		}
	}
	e.mu.Unlock()
	return e.db.Apply(r.batch, pebble.Sync)
}

// giveBack makes the disk space of what was removed free. The range deletions are the truth, and Pebble compacts them in
// its own time; that may be never in a log that is not written to any more.
func (r *removal) giveBack(ctx context.Context, e *Engine) error {
	const worthIt = 1 << 20 // bytes; below it the files that would be written again are larger
	for _, s := range r.spans {
		var err error
		switch {
		case s.whole:
			err = e.db.Excise(ctx, pebble.KeyRange{Start: s.from, End: s.to})
		case s.bytes >= worthIt:
			err = e.db.Compact(ctx, s.from, s.to, false)
		}
		if err != nil {
			return fmt.Errorf("give disk space back: %w", err)
		}
	}
	return nil
}

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
