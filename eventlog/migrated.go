package eventlog

import (
	"context"
	"sync"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/internal/offsetmap"
)

// migrations are the logs whose events were copied into this one, in one step or in several. The maps of offsets stay in the engine's state and
// are read when somebody comes with a cursor of such a log; what stays in memory of each step is its topics, once they were asked for, and 2 MiB.
type migrations struct {
	logs  map[offsetmap.LogID]offsetmap.Log // does not change
	mu    sync.Mutex                        // guards steps
	steps map[offsetmap.LogID]*step
}

// step is the way from one log to the next.
type step struct {
	from   offsetmap.Log
	places *offsetmap.Map
	topics map[uint64]offsetmap.Topic // by incarnation
	next   uint64                     // no event that was copied lies at or after it in the new log
}

// loadMigrations refuses a log that is not whole, and notes where its events came from.
func (l *Log) loadMigrations(ctx context.Context) error {
	value, err := l.State(ctx, offsetmap.RunKey)
	if err != nil {
		return err
	}
	if value != nil {
		run, err := offsetmap.ParseRun(value)
		if err != nil {
			return tandem.Errorf(tandem.CodeInternal, "state record %s: %w", offsetmap.RunKey, err)
		}
		if run.Finished.IsZero() {
			return tandem.Errorf(tandem.CodeConflict, "a migration into this log was begun at %s and is not finished", run.Started.Format("2006-01-02 15:04:05Z07:00")).
				WithHint("run the same tandem migrate again: it goes on where it was")
		}
	}
	l.migrations.steps = map[offsetmap.LogID]*step{}
	l.migrations.logs, err = offsetmap.Logs(ctx, l.drv)
	return err
}

// migrated reports whether events of another log were copied into this one.
func (l *Log) migrated(from [8]byte) bool {
	_, ok := l.migrations.logs[from]
	return ok
}

// stepsFrom returns the steps from another log to this one; none if the map of one of them was removed.
func (l *Log) stepsFrom(ctx context.Context, from offsetmap.LogID) ([]*step, error) {
	m := &l.migrations
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*step
	for range m.logs {
		out, ok := m.logs[from]
		if !ok || out.Forgotten {
			return nil, nil
		}
		s := m.steps[from]
		if s == nil {
			s = &step{from: out, places: offsetmap.New(l.drv, from), topics: map[uint64]offsetmap.Topic{}}
			err := s.places.Topics(ctx, func(id uint64, t offsetmap.Topic) error {
				s.topics[id] = t
				for _, p := range t.Parts {
					s.next = max(s.next, p.Next)
				}
				return nil
			})
			if err != nil {
				return nil, tandem.Wrap("read the map of a migration", err)
			}
			m.steps[from] = s
		}
		if all = append(all, s); out.To == offsetmap.LogID(l.info.LogID) {
			return all, nil
		}
		from = out.To
	}
	return nil, nil
}

// transit is a place on its way from one log to the next.
type transit struct {
	place
	parts  map[uint64][]transitPart // by incarnation; nil before the first step
	names  map[uint32]bool          // hashes of the topics that the cursor knows
	gap    string                   // the reason of what was lost on the way
	future bool                     // the place was never given
}

// transitPart is the place in a partition.
type transitPart struct {
	next   uint64 // offset to read next
	before uint64 // the last event that was read, in the new log; zero when it has none of them
	all    bool   // all that was copied was read
}

func newTransit(at place) *transit {
	tr := &transit{place: at, names: map[uint32]bool{}}
	for i := range at.vector {
		tr.names[at.vector[i].name] = true
	}
	return tr
}

// through takes a place one step further, as far as a selection needs it.
func (tr *transit) through(ctx context.Context, s *step, sel Selection) error {
	if tr.parts == nil && (s.from.TotalOrder != (tr.kind != kindVector) || s.from.TotalOrder && tr.number >= s.from.End) {
		tr.future = true
		return nil
	}
	next := map[uint64][]transitPart{}
	for id := range s.topics {
		t := s.topics[id]
		if !sel.Match(t.Name) {
			continue
		}
		from := tr.topic(id, &t)
		to := make([]transitPart, len(t.Parts))
		for i := range t.Parts {
			if tr.parts == nil && tr.kind == kindVector && from[i] > t.Parts[i].End {
				tr.future = true
				return nil
			}
			if t.Parts[i].Removed > from[i] {
				tr.lose(tandem.GapMigrated)
			}
			p, err := s.places.Place(ctx, id, i, from[i])
			if err != nil {
				return tandem.Wrap("read the map of a migration", err)
			}
			to[i] = transitPart{next: p.Next, before: p.Before, all: !p.Found}
			if !p.Found {
				to[i].next = t.Parts[i].Next
			}
		}
		next[t.To] = to
	}
	tr.parts = next
	return nil
}

// topic returns where a topic of the old log is to be read on: from its start if it appeared after the cursor.
func (tr *transit) topic(id uint64, t *offsetmap.Topic) []uint64 {
	next := make([]uint64, len(t.Parts))
	hash := nameHash(t.Name)
	switch {
	case tr.parts != nil:
		if parts := tr.parts[id]; parts == nil {
			tr.appear(hash)
		} else {
			for i := range min(len(next), len(parts)) {
				next[i] = parts[i].next
			}
		}
	case tr.kind == kindVector:
		for i := range tr.vector {
			if tr.vector[i].id == driver.ID(id) {
				copy(next, tr.vector[i].next)
				return next
			}
		}
		tr.appear(hash)
	case t.Born > tr.number:
		if t.Replaced > tr.number {
			tr.lose(tandem.GapRecreated)
		}
	default:
		tr.names[hash] = true
		for i := range next {
			next[i] = tr.number + 1
		}
		for _, h := range tr.heads {
			if h.topic == driver.ID(id) && h.part < len(next) {
				next[h.part] = max(next[h.part], h.next)
			}
		}
	}
	return next
}

// appear notes a loss if a topic took the place of one that the cursor knows.
func (tr *transit) appear(hash uint32) {
	if tr.names[hash] {
		tr.lose(tandem.GapRecreated)
	}
	tr.names[hash] = true
}

func (tr *transit) lose(reason string) {
	if tr.gap != tandem.GapRecreated {
		tr.gap = reason
	}
}

// resumeMigrated places the reader after a cursor of a log whose events were copied into this one. It reports false when there is no such place:
// the map is gone, or the cursor was never given; reason says which.
func (r *Reader) resumeMigrated(ctx context.Context, c tandem.Cursor, at place, horizon uint64) (ok bool, reason string, err error) {
	l := r.log
	steps, err := l.stepsFrom(ctx, at.logID)
	if err != nil || steps == nil {
		return false, tandem.GapMigrated, err
	}
	tr := newTransit(at)
	for _, s := range steps {
		if err := tr.through(ctx, s, r.sel); err != nil {
			return false, "", err
		}
		if tr.future {
			return false, tandem.GapForeign, nil
		}
	}
	r.started = false
	if err := r.refresh(all, nil); err != nil {
		return false, "", err
	}
	r.begin()
	at2 := make([]transitPart, len(r.parts))
	for i, p := range r.parts {
		if parts := tr.parts[uint64(p.topic.ID)]; p.index < len(parts) {
			at2[i] = parts[p.index]
		} else if p.index == 0 {
			tr.appear(nameHash(p.topic.Name))
		}
		if at2[i].all && l.info.TotalOrder {
			at2[i].next = max(at2[i].next, steps[len(steps)-1].next) // what was appended since lies behind all that was copied
		}
	}
	r.enter(at2, horizon)
	if tr.gap != "" {
		r.gap = &tandem.Gap{Reason: tr.gap, From: c}
	}
	return true, "", nil
}

// enter places the parts. With TotalOrder the reader's number is the one that says the same, if there is one; otherwise some parts have a head
// start, which its cursors name until the others have caught up.
func (r *Reader) enter(at []transitPart, horizon uint64) {
	low, high := horizon, uint64(0)
	for i, p := range r.parts {
		p.next = at[i].next
		if r.log.info.TotalOrder {
			p.next = max(p.next, p.topic.Born+1)
			low, high = min(low, p.next), max(high, at[i].before, p.topic.Born)
		}
	}
	r.pos = low - 1
	if high < low || !r.log.info.TotalOrder {
		return
	}
	for i, p := range r.parts {
		if at[i].before >= low {
			r.headStart(p, p.next)
		}
	}
}

// headStart notes that a part was read up to an offset, though others were not.
func (r *Reader) headStart(p *part, next uint64) {
	if next > r.pos+1 {
		p.next, p.from = next, next
		r.ahead = max(r.ahead, next)
	}
}

// cursorAt is the cursor after a number, with TotalOrder.
func (r *Reader) cursorAt(number uint64) tandem.Cursor {
	if r.ahead <= number+1 {
		return r.log.cursors.encode(number)
	}
	var heads []head
	for _, p := range r.parts {
		if p.from > number+1 {
			heads = append(heads, head{p.topic.ID, p.index, p.from})
		}
	}
	return encodeHeads(r.log.info.LogID, number, heads)
}

// Moved says where an event of another log lies in this one, whose events were copied: for what clients hold that is no cursor. ok is false when
// the log is not known, or the event was not copied.
func (l *Log) Moved(ctx context.Context, from [8]byte, topic driver.ID, partition int, offset uint64) (to driver.ID, at uint64, ok bool, err error) {
	steps, err := l.stepsFrom(ctx, from)
	if err != nil || steps == nil {
		return 0, 0, false, err
	}
	to, at = topic, offset
	for _, s := range steps {
		t, known := s.topics[uint64(to)]
		if !known || partition >= len(t.Parts) {
			return 0, 0, false, nil
		}
		p, err := s.places.Place(ctx, uint64(to), partition, at)
		if err != nil || !p.Exact {
			return 0, 0, false, err
		}
		to, at = driver.ID(t.To), p.Next
	}
	return to, at, true, nil
}

// Identify returns what an engine knows a repeat of an event by, as Append gives it to the engine.
func Identify(topic string, ev *tandem.Event) (identity [16]byte, sum uint64) {
	return tandem.Fingerprint(topic, ev.Source, ev.ID), contentSum(ev)
}

// SizeOf is the number of bytes of an event that count against limits.
func SizeOf(ev *tandem.Event) int { return sizeOf(ev) }
