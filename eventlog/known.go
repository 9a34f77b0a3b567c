package eventlog

import (
	"context"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// append hands a batch to the engine. Where the engine does not recognise every repeat, those of events that were read already are answered
// here and not stored again, as an engine does that recognises them; the others are found when they are read.
func (l *Log) append(ctx context.Context, b *driver.Batch) error {
	if l.repeats == nil {
		return l.drv.Append(ctx, b)
	}
	known := 0
	for i := range b.Records {
		r := &b.Records[i]
		if r.Duplicate = false; !r.Dedup {
			continue
		}
		conflict, err := l.repeats.known(ctx, r)
		if err != nil {
			return err
		}
		if conflict {
			b.Failed = i
			return tandem.Errorf(tandem.CodeConflict, "event %s of %s was stored with other data", r.Event.ID, r.Event.Source)
		}
		if r.Duplicate {
			known++
		}
	}
	switch {
	case known == 0:
		return l.drv.Append(ctx, b)
	case known == len(b.Records) && len(b.State) == 0 && b.Fence == nil:
		return nil
	}
	rest := driver.Batch{Records: make([]driver.Record, 0, len(b.Records)-known), State: b.State, Fence: b.Fence, Failed: -1}
	at := make([]int, 0, cap(rest.Records)) // where they are in b
	for i := range b.Records {
		if !b.Records[i].Duplicate {
			rest.Records, at = append(rest.Records, b.Records[i]), append(at, i)
		}
	}
	err := l.drv.Append(ctx, &rest)
	for i := range rest.Records {
		b.Records[at[i]] = rest.Records[i]
	}
	switch {
	case rest.Failed >= len(rest.Records):
		b.Failed = rest.Failed + known
	case rest.Failed >= 0:
		b.Failed = at[rest.Failed]
	}
	return err
}

// known fills in the place of the first event if r is a repeat of one that was read and is still there.
func (r *repeats) known(ctx context.Context, rec *driver.Record) (conflict bool, err error) {
	first := driver.Record{Topic: rec.Topic, Identity: rec.Identity}
	if err := r.locate(ctx, &first, rec.Event.Meta.Accepted); err != nil || !first.Duplicate {
		return false, err
	}
	if first.Sum != rec.Sum {
		return true, nil
	}
	rec.Duplicate, rec.Offset, rec.Stored = true, first.Offset, first.Stored
	return false, nil
}
