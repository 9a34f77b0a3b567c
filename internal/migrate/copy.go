package migrate

import (
	"context"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/internal/offsetmap"
)

const (
	// maxPending is how many pairs are kept until they make a chunk, for all partitions together.
	maxPending = 1 << 20
	// tries is how often the target may fail in a row without an event more.
	tries = 5
	// pauseFirst is how long it is left alone after the first failure; each one after that doubles it.
	pauseFirst = 200 * time.Millisecond
)

// copyEvents copies what is not there yet. While the target is unavailable it tries again for a while, each time from what the target has.
func (m *Migration) copyEvents(ctx context.Context) error {
	pause := pauseFirst
	for failed := 0; ; {
		before := m.copied
		err := m.copyOnce(ctx)
		switch {
		case err == nil || tandem.CodeOf(err) != tandem.CodeUnavailable || ctx.Err() != nil:
			return err
		case m.copied > before:
			failed, pause = 0, pauseFirst
		}
		if failed++; failed == tries {
			return err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
		pause *= 2
	}
}

func (m *Migration) copyOnce(ctx context.Context) error {
	if err := m.resume(ctx); err != nil {
		return err
	}
	g, err := m.newMerge(ctx)
	if err != nil {
		return err
	}
	w := &writer{m: m, events: make([]tandem.Event, 0, m.opts.BatchEvents)}
	for {
		p, rec, err := g.next(ctx)
		if err != nil {
			return err
		}
		if p == nil || w.full(rec) || ctx.Err() != nil {
			if err := w.store(ctx); err != nil {
				return err
			}
		}
		if p == nil || ctx.Err() != nil {
			// What was not written of the map would be found again at the end of the partitions, which takes longer.
			if err := w.writePairs(context.WithoutCancel(ctx)); err != nil {
				return err
			}
			return ctx.Err()
		}
		if err := w.add(p, rec); err != nil {
			return err
		}
	}
}

// writer gathers events into batches.
type writer struct {
	m       *Migration
	events  []tandem.Event // has room for a batch: records point into it
	parts   []*part
	from    []uint64
	records []driver.Record
	bytes   int
	pending int // pairs, of all partitions
	chunks  []driver.StateOp
}

func (w *writer) full(next *tandem.Record) bool {
	return len(w.records) > 0 && (len(w.records) == w.m.opts.BatchEvents || w.bytes+eventlog.SizeOf(&next.Event) > w.m.opts.BatchBytes)
}

// add takes an event in. Code: TooLarge.
func (w *writer) add(p *part, rec *tandem.Record) error {
	size := eventlog.SizeOf(&rec.Event) + len(rec.Event.Meta.TraceParent)
	if limit := w.m.to.Info().MaxEventBytes; limit > 0 && size > limit {
		return tandem.Errorf(tandem.CodeTooLarge, "event %s has %d bytes, and the target takes %d", rec.Position, size, limit).
			WithHint("raise the limit of the target")
	}
	w.events = append(w.events, rec.Event)
	r := driver.Record{Topic: p.topic.to.ID, Partition: p.index, Event: &w.events[len(w.events)-1]}
	w.m.recent.mark(&r, p.topic.from.Name, rec.Assigned)
	w.records, w.parts, w.from, w.bytes = append(w.records, r), append(w.parts, p), append(w.from, rec.Position.Offset), w.bytes+size
	return nil
}

// store appends the batch, with the chunks of batches before it, and notes where its events lie. A batch under way is not cut off.
func (w *writer) store(ctx context.Context) error {
	if len(w.records) == 0 {
		return nil
	}
	b := driver.Batch{Records: w.records, State: w.chunks, Fence: &w.m.fence}
	if err := w.m.to.Append(context.WithoutCancel(ctx), &b); err != nil {
		return tandem.Wrap("store in the target", err)
	}
	w.chunks = nil
	for i := range w.records {
		r, p := &w.records[i], w.parts[i]
		if r.Duplicate && (r.Stored != r.Partition || p.any && r.Offset <= p.last) {
			return tandem.Errorf(tandem.CodeConflict, "the target took event %s/%d/%d for a repeat of one that it has", p.topic.from.Name, p.index, w.from[i]).
				WithHint("was something else published to the target?")
		}
		w.note(p, offsetmap.Pair{From: w.from[i], To: r.Offset})
	}
	clear(w.events)
	w.events, w.records, w.parts, w.from, w.bytes = w.events[:0], w.records[:0], w.parts[:0], w.from[:0], 0
	w.m.progress(StepEvents, w.m.copied, w.m.events)
	if w.pending >= maxPending {
		return w.writePairs(ctx)
	}
	return nil
}

// note adds a pair to the map.
func (w *writer) note(p *part, pair offsetmap.Pair) {
	p.last, p.any = pair.To, true
	w.m.copied++
	w.pending++
	if p.pending = append(p.pending, pair); len(p.pending) == offsetmap.ChunkPairs {
		w.chunk(p)
	}
}

// chunk makes a chunk of what is pending in a partition.
func (w *writer) chunk(p *part) {
	n := len(p.pending)
	last := p.pending[n-1]
	w.chunks = append(w.chunks, driver.StateOp{Key: offsetmap.ChunkKey(w.m.from.Info().LogID, uint64(p.topic.from.ID), p.index, last.From),
		Value: offsetmap.AppendChunk(nil, p.before, p.pending)})
	p.before, p.pending = last.To, nil
	w.pending -= n
}

// writePairs writes all that is pending.
func (w *writer) writePairs(ctx context.Context) error {
	s := stateWriter{m: w.m}
	flush := func() error {
		for _, op := range w.chunks {
			if err := s.put(ctx, op.Key, op.Value); err != nil {
				return err
			}
		}
		w.chunks = nil
		return nil
	}
	for _, t := range w.m.topics {
		for _, p := range t.parts {
			if len(p.pending) > 0 {
				w.chunk(p)
			}
		}
		if err := flush(); err != nil {
			return err
		}
	}
	return s.flush(ctx)
}

func (m *Migration) progress(step Step, done, total uint64) {
	m.opts.Progress(Progress{Step: step, Done: done, Total: max(done, total)})
}
