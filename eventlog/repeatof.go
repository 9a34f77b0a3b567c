package eventlog

import (
	"context"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// RepeatOf returns the event that the one at a place repeats, where the engine has stored a repeat: readers are given the first alone. conflict: it has
// other data. ok is false for an event that readers are given, where there is none, and where the first is not known any more. Code: Unavailable.
func (l *Log) RepeatOf(ctx context.Context, topic driver.ID, partition int, offset uint64) (first tandem.Position, conflict, ok bool, err error) {
	if l.repeats == nil {
		return first, false, false, nil
	}
	recs, err := l.drv.Read(ctx, topic, partition, offset, 1, pageBytes, nil)
	if err != nil || len(recs) == 0 || recs[0].Position.Offset != offset {
		return first, false, false, err
	}
	rec := recs[0]
	kept, err := l.repeats.drop(ctx, topic, partition, offset, recs)
	if err != nil || kept > 0 {
		return first, false, false, err
	}
	at := driver.Record{Topic: topic, Identity: tandem.Fingerprint(rec.Position.Topic, rec.Source, rec.ID)}
	if err := l.repeats.locate(ctx, &at, rec.Meta.Accepted); err != nil || !at.Duplicate {
		return first, false, false, err
	}
	return tandem.Position{Topic: rec.Position.Topic, Partition: at.Stored, Offset: at.Offset}, at.Sum != contentSum(&rec.Event), true, nil
}
