package eventlog

import (
	"context"
	"math"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// all is a horizon behind everything.
const all = math.MaxUint64

// seek resolves where a new reader starts.
func (r *Reader) seek(ctx context.Context, start tandem.Start) error {
	l := r.log
	// As in Read, the horizon comes before the topics. The ends that a part sees are then not behind it.
	horizon := l.horizon.Load()
	if start.Cursor != "" {
		at, err := parseCursor(start.Cursor)
		if err != nil {
			return err
		}
		r.started = true
		return r.resume(ctx, start.Cursor, at, horizon)
	}
	if err := r.refresh(all, nil); err != nil {
		return err
	}
	r.begin()
	switch {
	case start.Earliest:
		return r.earliest(ctx, horizon)
	case start.Time != "":
		t, ok := tandem.ParseTime(start.Time)
		if !ok {
			return tandem.Errorf(tandem.CodeInvalid, "%q is not an RFC 3339 time", start.Time).WithField("from", "must be earliest, latest or an RFC 3339 time")
		}
		return r.startAt(ctx, horizon, func(p *part, _ driver.Bounds) (uint64, error) {
			return l.drv.OffsetAt(ctx, p.topic.ID, p.index, t)
		})
	}
	r.pos = horizon - 1
	for _, p := range r.parts {
		p.next = p.end()
	}
	return nil
}

// begin marks the topics there are as known: others appear.
func (r *Reader) begin() {
	r.started = true
	r.names = map[uint32]bool{}
	for _, p := range r.parts {
		r.names[nameHash(p.topic.Name)] = true
	}
}

func (r *Reader) earliest(ctx context.Context, horizon uint64) error {
	return r.startAt(ctx, horizon, func(_ *part, b driver.Bounds) (uint64, error) { return b.Start, nil })
}

// startAt places each part where at says. With TotalOrder the reader's number is before the first event there is.
func (r *Reader) startAt(ctx context.Context, horizon uint64, at func(*part, driver.Bounds) (uint64, error)) error {
	r.pos = horizon - 1
	for _, p := range r.parts {
		b, err := r.log.drv.Bounds(ctx, p.topic.ID, p.index)
		if err == nil {
			p.next, err = at(p, b)
		}
		if tandem.CodeOf(err) == tandem.CodeNotFound {
			continue // deleted meanwhile
		}
		if err != nil {
			return err
		}
		if p.next < b.End && p.next > 0 {
			r.pos = min(r.pos, p.next-1)
		}
	}
	return nil
}

// future reports whether a vector is beyond the end of a partition. The engine is asked where it is beyond what was told: a receipt may come
// before that.
func (l *Log) future(ctx context.Context, vector []vectorTopic) bool {
	for i := range vector {
		l.topics.mu.RLock()
		t := l.topics.byID[vector[i].id]
		l.topics.mu.RUnlock()
		for p, next := range vector[i].next {
			if t == nil || p >= len(t.live.ends) || next <= t.live.ends[p].Load() {
				continue
			}
			if b, err := l.drv.Bounds(ctx, t.ID, p); err == nil && next > b.End {
				return true
			}
		}
	}
	return false
}

// resume places the reader after a cursor, or, if that belongs to another log, at the earliest event with a gap.
func (r *Reader) resume(ctx context.Context, c tandem.Cursor, at place, horizon uint64) error {
	l := r.log
	reason := tandem.GapForeign
	if at.logID != l.info.LogID && l.migrated(at.logID) {
		ok, why, err := r.resumeMigrated(ctx, c, at, horizon)
		if ok || err != nil {
			return err
		}
		reason = why
	}
	// A number that was not given yet: the log was restored from an older copy, or its identity was copied.
	future := l.info.TotalOrder && at.future(horizon) || !l.info.TotalOrder && l.future(ctx, at.vector)
	if at.logID != l.info.LogID || (at.kind == kindVector) == l.info.TotalOrder || future {
		r.started = false
		if err := r.refresh(all, nil); err != nil {
			return err
		}
		r.begin()
		if err := r.earliest(ctx, horizon); err != nil {
			return err
		}
		r.gap = &tandem.Gap{Reason: reason, From: c}
		return nil
	}
	r.pos = at.number
	r.names = map[uint32]bool{}
	places := make(map[driver.ID]*vectorTopic, len(at.vector))
	for i := range at.vector {
		v := &at.vector[i]
		places[v.id] = v
		r.names[v.name] = true
	}
	defer func() {
		if r.gap != nil {
			r.gap.From = c
		}
	}()
	if l.info.TotalOrder {
		err := r.refresh(horizon, nil) // notes the topics that were recreated since
		r.resumeHeads(at.heads)
		return err
	}
	for _, t := range l.topics.match(r.sel) {
		if v := places[t.ID]; v != nil {
			for i := range t.live.ends {
				p := &part{topic: t, index: i}
				if i < len(v.next) {
					p.next = v.next[i]
				}
				r.parts = append(r.parts, p)
			}
		}
	}
	return r.refresh(all, nil) // the others appeared since: they are read from their start
}
