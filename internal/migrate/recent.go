package migrate

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

const (
	// recentFor is how far back a repeat of an id may come: a little longer than engines remember ids.
	recentFor = 26 * time.Hour
	// maxRecent is how many ids are kept apart. With more events in that time, those of less time are.
	maxRecent = 2 << 20
)

// recent decides which events the target is to remember by their ids: those of which a repeat may still come. An id that is there twice was
// published twice, with more than the engine's window between, and has to stay there twice, so the second one is stored without.
type recent struct {
	since int64 // Unix milliseconds of acceptance
	ids   map[uint64]struct{}
}

// mark sets Dedup of a record where it should be.
func (r *recent) mark(rec *driver.Record, topic string, assigned bool) {
	if assigned || rec.Event.Meta.Accepted.UnixMilli() < r.since || len(r.ids) >= maxRecent {
		return
	}
	identity, sum := eventlog.Identify(topic, rec.Event)
	if key := binary.LittleEndian.Uint64(identity[:8]); !r.has(key) {
		r.ids[key] = struct{}{}
		rec.Dedup, rec.Identity, rec.Sum = true, identity, sum
	}
}

func (r *recent) has(key uint64) bool {
	_, ok := r.ids[key]
	return ok
}

// recall finds since when ids are kept apart, and those of what was copied already.
func (m *Migration) recall(ctx context.Context) error {
	m.recent = recent{ids: map[uint64]struct{}{}}
	at := m.run.Started.Add(-recentFor)
	for {
		n, err := m.acceptedSince(ctx, at)
		if err != nil {
			return err
		}
		if n <= maxRecent {
			break
		}
		at = at.Add(m.run.Started.Sub(at) / 2)
	}
	m.recent.since = at.UnixMilli()
	var recs []tandem.Record
	for _, t := range m.topics {
		for _, p := range t.parts {
			if p.next == 0 {
				continue
			}
			from, err := m.from.OffsetAt(ctx, t.from.ID, p.index, at)
			for err == nil && from < p.next {
				if recs, err = m.from.Read(ctx, t.from.ID, p.index, from, m.opts.BatchEvents, m.opts.BatchBytes, recs[:0]); err != nil || len(recs) == 0 {
					break
				}
				for i := range recs {
					if recs[i].Position.Offset < p.next {
						m.recent.mark(&driver.Record{Event: &recs[i].Event}, t.from.Name, recs[i].Assigned)
					}
				}
				from = recs[len(recs)-1].Position.Offset + 1
			}
			if err != nil {
				return tandem.Wrap("read the source", err)
			}
		}
	}
	return nil
}

// acceptedSince returns about how many events of the source were accepted since a time.
func (m *Migration) acceptedSince(ctx context.Context, at time.Time) (n uint64, err error) {
	var recs []tandem.Record
	for _, t := range m.topics {
		for _, p := range t.parts {
			from, err := m.from.OffsetAt(ctx, t.from.ID, p.index, at)
			if err == nil && from < p.old.End {
				recs, err = m.from.Read(ctx, t.from.ID, p.index, from, 1, 1, recs[:0])
			} else {
				recs = recs[:0]
			}
			if err != nil {
				return 0, tandem.Wrap("read the source", err)
			}
			if len(recs) > 0 {
				n += p.old.EndSeq - min(recs[0].Seq, p.old.EndSeq)
			}
		}
	}
	return n, nil
}
