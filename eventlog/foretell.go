package eventlog

import (
	"context"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/idindex"
)

// Takes returns nil while events are stored, else what a Commit of some would answer: also below the free-space mark, where Health
// is nil since acknowledgements go on. It is cheap.
func (l *Log) Takes() error {
	if f, ok := l.drv.(driver.Foreteller); ok {
		return f.Takes()
	}
	return l.drv.Health()
}

// Find returns the event that one with this source and id would be a repeat of, as far as that can be told before it is stored, and the
// sum that Complete returned of it; nil if there is none. Code: NotFound for the topic.
func (l *Log) Find(ctx context.Context, topic, source, id string) (*tandem.Record, uint64, error) {
	t, err := l.publishTopic(ctx, topic)
	if err != nil {
		return nil, 0, err
	}
	r := driver.Record{Topic: t.ID, Identity: tandem.Fingerprint(t.Name, source, id)}
	if l.repeats != nil {
		err = l.repeats.locate(ctx, &r, l.accept())
	} else if f, ok := l.drv.(driver.Foreteller); ok {
		err = f.Find(ctx, &r)
	}
	if err != nil || !r.Duplicate {
		return nil, 0, err
	}
	recs, err := l.ReadPartition(ctx, t.ID, r.Stored, r.Offset, 1, nil)
	if err != nil || len(recs) == 0 || recs[0].Position.Offset != r.Offset {
		return nil, 0, err // retention has removed it meanwhile
	}
	return &recs[0], r.Sum, nil
}

// locate fills in a record as driver.Foreteller.Find does, from the events that were read.
func (r *repeats) locate(ctx context.Context, rec *driver.Record, now time.Time) error {
	first, partition, ok, err := r.ids.Find(rec.Topic, rec.Identity)
	if err != nil {
		return tandem.Errorf(tandem.CodeUnavailable, "look for repeats: %w", err)
	}
	if !ok || now.Sub(first.Accepted) > idindex.DefaultKeep {
		return nil
	}
	b, err := r.log.drv.Bounds(ctx, rec.Topic, partition)
	if err != nil || first.Offset < b.Removed {
		return err
	}
	rec.Duplicate, rec.Offset, rec.Stored, rec.Sum = true, first.Offset, partition, first.Sum
	return nil
}
