package migrate

import (
	"context"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/internal/offsetmap"
)

// Moved says where things of the source lie in the target, to those who translate state.
type Moved struct {
	m    *Migration
	recs []tandem.Record
}

// From is the identity of the source.
func (v *Moved) From() [8]byte { return v.m.from.Info().LogID }

// Started is when the migration was begun. It is the same in each run.
func (v *Moved) Started() int64 { return v.m.run.Started.UnixMilli() }

// Topics returns the incarnations of the topics that there are, sorted by name.
func (v *Moved) Topics() []driver.ID {
	ids := make([]driver.ID, len(v.m.topics))
	for i, t := range v.m.topics {
		ids[i] = t.from.ID
	}
	return ids
}

// Topic returns a topic of the source and its incarnation in the target; ok is false for one that was deleted.
func (v *Moved) Topic(id driver.ID) (t tandem.Topic, to driver.ID, ok bool) {
	known := v.m.byID[id]
	if known == nil {
		return tandem.Topic{}, 0, false
	}
	return known.from.Topic, known.to.ID, true
}

// Place returns where an event lies: exact is true if there is one at the offset, and it was copied. Otherwise next is the first one behind it, or
// the end of what was copied. Only for topics that there are.
func (v *Moved) Place(ctx context.Context, id driver.ID, part int, offset uint64) (next uint64, exact bool, err error) {
	t := v.m.byID[id]
	if t == nil || part >= len(t.parts) {
		return 0, false, tandem.Errorf(tandem.CodeNotFound, "no partition %d of topic %d", part, id)
	}
	p, err := v.m.places.Place(ctx, uint64(id), part, offset)
	if err != nil {
		return 0, false, err
	}
	if !p.Found {
		return t.parts[part].after(), false, nil
	}
	return p.Next, p.Exact, nil
}

// Gone names an incarnation that is not there, in place of one of the source: for what is known of events that were not copied, so that it is never
// taken for what lies at the same offset of the target.
func (v *Moved) Gone(id driver.ID) driver.ID {
	from := offsetmap.LogID(v.m.from.Info().LogID)
	return driver.ID(xxhash.Sum64String("gone "+from.String()+" "+strconv.FormatUint(uint64(id), 16)) | 1<<63)
}

// First returns the first event of a partition that was copied: its offset and sequence number in the source; seq is zero when the source does not
// have it any more. Without one, offset and seq are those of the end. removed is what the source says of the partition.
func (v *Moved) First(ctx context.Context, id driver.ID, part int) (offset, seq, removed uint64, err error) {
	t := v.m.byID[id]
	if t == nil || part >= len(t.parts) {
		return 0, 0, 0, nil
	}
	p := t.parts[part]
	if p.first == nil {
		p.first = &driver.Record{Offset: p.old.End, Seq: p.old.EndSeq}
		if first, ok, err := v.m.places.First(ctx, uint64(id), part); err != nil {
			return 0, 0, 0, err
		} else if ok {
			p.first.Offset, p.first.Seq = first.From, 0
			if v.recs, err = v.m.from.Read(ctx, id, part, first.From, 1, 1, v.recs[:0]); err != nil {
				return 0, 0, 0, tandem.Wrap("read the source", err)
			}
			if len(v.recs) > 0 && v.recs[0].Position.Offset == first.From {
				p.first.Seq = v.recs[0].Seq
			}
		}
	}
	return p.first.Offset, p.first.Seq, p.old.Removed, nil
}

// Seq returns the sequence number, in the target, of the first event at or after an offset of the target.
func (v *Moved) Seq(ctx context.Context, id driver.ID, part int, next uint64) (uint64, error) {
	t := v.m.byID[id]
	if t == nil {
		return 0, nil
	}
	var err error
	if v.recs, err = v.m.to.Read(ctx, t.to.ID, part, next, 1, 1, v.recs[:0]); err != nil {
		return 0, tandem.Wrap("read the target", err)
	}
	if len(v.recs) > 0 {
		return v.recs[0].Seq, nil
	}
	b, err := v.m.to.Bounds(ctx, t.to.ID, part)
	return b.EndSeq, err
}
