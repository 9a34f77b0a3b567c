package eventlog

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/idindex"
)

// read is how all events are read. Where the engine does not recognise every repeat, they are left out here: no reader is given an
// event whose id came before, and all readers agree which one that is. An offset may so be skipped, as offsets may.
func (l *Log) read(ctx context.Context, topic driver.ID, partition int, from uint64, max, maxBytes int, dst []tandem.Record) ([]tandem.Record, error) {
	n := len(dst)
	for {
		var err error
		if dst, err = l.drv.Read(ctx, topic, partition, from, max, maxBytes, dst); err != nil || len(dst) == n || l.repeats == nil {
			return dst, err
		}
		last := dst[len(dst)-1].Position.Offset
		kept, err := l.repeats.drop(ctx, topic, partition, from, dst[n:])
		if err != nil || kept > 0 {
			return dst[:n+kept], err
		}
		dst, from = dst[:n], last+1
	}
}

// repeats finds the repeats among the events that are read. Each partition is looked at once, in order, by whoever reads furthest.
type repeats struct {
	log *Log
	ids *idindex.Index

	mu    sync.Mutex
	parts map[partKey]*judged
	told  time.Time // when a conflict was logged last
	since int       // conflicts that were not logged since
}

type partKey struct {
	topic     driver.ID
	partition int
}

// judged is what was found lately in one partition: of the offsets from <= offset < to all but dropped are kept.
type judged struct {
	turn chan struct{} // holds one token: whoever has it may look at more

	mu       sync.Mutex
	from, to uint64
	dropped  []uint64 // in order, at most droppedKept
}

const (
	droppedKept = 1024
	lookEvents  = 1000    // read at once to catch up
	lookBytes   = 4 << 20 //
	conflictLog = time.Minute
)

func openRepeats(l *Log) (*repeats, error) {
	ids, err := idindex.Open(l.opts.Dir, l.info.LogID, idindex.Options{Now: l.opts.Now})
	if err != nil {
		return nil, err
	}
	return &repeats{log: l, ids: ids, parts: map[partKey]*judged{}}, nil
}

func (r *repeats) close() error { return r.ids.Close() }

func (r *repeats) part(topic driver.ID, partition int) *judged {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := partKey{topic, partition}
	j := r.parts[k]
	if j == nil {
		j = &judged{turn: make(chan struct{}, 1)}
		j.turn <- struct{}{}
		r.parts[k] = j
	}
	return j
}

// forget drops what is known of a topic that was deleted.
func (r *repeats) forget(topic driver.ID) error {
	r.mu.Lock()
	for k := range r.parts {
		if k.topic == topic {
			delete(r.parts, k)
		}
	}
	r.mu.Unlock()
	return r.ids.Forget(topic)
}

// drop moves the records that are no repeats to the front and returns how many they are. The records were read from an offset on.
func (r *repeats) drop(ctx context.Context, topic driver.ID, partition int, from uint64, recs []tandem.Record) (int, error) {
	j := r.part(topic, partition)
	if kept, ok := j.drop(recs); ok {
		return kept, nil
	}
	select {
	case <-j.turn:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	defer func() { j.turn <- struct{}{} }()
	if kept, ok := j.drop(recs); ok {
		return kept, nil
	}
	if err := r.catchUp(ctx, topic, partition, from); err != nil {
		return 0, err
	}
	dropped, err := r.look(topic, partition, recs)
	if err != nil {
		return 0, err
	}
	j.note(from, recs[len(recs)-1].Position.Offset+1, dropped)
	return keep(recs, dropped), nil
}

// catchUp looks at the events before from that nobody has read yet, as far back as ids are remembered.
func (r *repeats) catchUp(ctx context.Context, topic driver.ID, partition int, from uint64) error {
	next, known := r.ids.Next(topic, partition)
	if known && next >= from {
		return nil
	}
	w, drv := r.ids.Window(), r.log.drv
	start, err := drv.OffsetAt(ctx, topic, partition, r.log.opts.Now().Add(-w.Keep))
	if err != nil {
		return err
	}
	b, err := drv.Bounds(ctx, topic, partition)
	if err != nil {
		return err
	}
	if most := uint64(w.Max); b.End > most {
		start = max(start, b.End-most)
	}
	next = max(next, start)
	var buf []tandem.Record
	for next < from {
		if buf, err = drv.Read(ctx, topic, partition, next, lookEvents, lookBytes, buf[:0]); err != nil || len(buf) == 0 {
			return err
		}
		n := slices.IndexFunc(buf, func(rec tandem.Record) bool { return rec.Position.Offset >= from })
		if n < 0 {
			n = len(buf)
		}
		if n == 0 {
			return nil
		}
		if _, err := r.look(topic, partition, buf[:n]); err != nil {
			return err
		}
		next = buf[n-1].Position.Offset + 1
	}
	return nil
}

// look judges records and returns the offsets of those that are repeats.
func (r *repeats) look(topic driver.ID, partition int, recs []tandem.Record) (dropped []uint64, err error) {
	entries := make([]idindex.Entry, 0, len(recs))
	for i := range recs {
		rec := &recs[i]
		if rec.Assigned {
			continue
		}
		entries = append(entries, idindex.Entry{Identity: tandem.Fingerprint(rec.Position.Topic, rec.Source, rec.ID), Sum: contentSum(&rec.Event),
			Accepted: rec.Meta.Accepted, Offset: rec.Position.Offset})
	}
	seen, _ := r.ids.Next(topic, partition)
	if err := r.ids.Look(topic, partition, recs[len(recs)-1].Position.Offset+1, entries); err != nil {
		return nil, tandem.Errorf(tandem.CodeUnavailable, "look for repeats: %w", err)
	}
	for i := range entries {
		e := &entries[i]
		if e.Verdict == idindex.First {
			continue
		}
		dropped = append(dropped, e.Offset)
		if e.Offset < seen {
			continue // it was counted then
		}
		if r.log.stats.repeats.Add(1); e.Verdict == idindex.Conflict {
			r.log.stats.conflicts.Add(1)
			r.tell(recs, e.Offset)
		}
	}
	return dropped, nil
}

// tell logs a conflict, not more than one a minute: whoever sends one may send many.
func (r *repeats) tell(recs []tandem.Record, offset uint64) {
	r.mu.Lock()
	now := time.Now()
	if now.Sub(r.told) < conflictLog {
		r.since++
		r.mu.Unlock()
		return
	}
	more := r.since
	r.told, r.since = now, 0
	r.mu.Unlock()
	i := slices.IndexFunc(recs, func(rec tandem.Record) bool { return rec.Position.Offset == offset })
	r.log.opts.Logger.Warn("an event is given to nobody: its id was used for other data", "flow", recs[i].Meta.Flow, "position", recs[i].Position.String(),
		"id", recs[i].ID, "source", recs[i].Source, "more since the last of these lines", more)
}

// drop is repeats.drop where all of the records were looked at lately.
func (j *judged) drop(recs []tandem.Record) (kept int, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if recs[0].Position.Offset < j.from || recs[len(recs)-1].Position.Offset >= j.to {
		return 0, false
	}
	i, _ := slices.BinarySearch(j.dropped, recs[0].Position.Offset)
	return keep(recs, j.dropped[i:]), true
}

// note remembers what was found from <= offset < to. It begins anew where that does not join what it had.
func (j *judged) note(from, to uint64, dropped []uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.to == 0 || from > j.to:
		j.from, j.to, j.dropped = from, to, nil
	case to <= j.to || from < j.from:
		return // a part, or what lies before it
	default:
		i, _ := slices.BinarySearch(dropped, j.to)
		dropped, j.to = dropped[i:], to
	}
	j.dropped = append(j.dropped, dropped...)
	if over := len(j.dropped) - droppedKept; over > 0 {
		j.from = j.dropped[over-1] + 1
		j.dropped = slices.Delete(j.dropped, 0, over)
	}
}

// keep moves the records that are not dropped to the front and returns how many they are. Dropped is in order.
func keep(recs []tandem.Record, dropped []uint64) int {
	if len(dropped) == 0 {
		return len(recs)
	}
	n := 0
	for i := range recs {
		for len(dropped) > 0 && dropped[0] < recs[i].Position.Offset {
			dropped = dropped[1:]
		}
		if len(dropped) > 0 && dropped[0] == recs[i].Position.Offset {
			continue
		}
		recs[n] = recs[i]
		n++
	}
	return n
}
