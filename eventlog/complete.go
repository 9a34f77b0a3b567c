package eventlog

import (
	"context"

	"github.com/tandem-hybrid/tandem"
)

// Complete makes of an event what Commit would store, without storing it, and checks it: the id is given, the key of the topic
// is noted, and the encoding of the data is settled. It returns what tells honest repeats of the event from other data under its id. Codes: as Append, before
// anything is stored.
func (l *Log) Complete(ctx context.Context, e *TopicEvent) (sum uint64, err error) {
	t, err := l.publishTopic(ctx, e.Topic)
	if err != nil {
		return 0, err
	}
	p := l.newPreparer(1)
	b := l.newBatch(1)
	defer l.release(b)
	b.add(&p, t, &e.Event, e.Links, 0)
	if err := p.err(); err != nil {
		return 0, tandem.Wrap("publish "+e.Topic, err)
	}
	return contentSum(&e.Event), nil
}

// ReceiptOf returns the receipt of an event that was read: as that of its publisher, but for Duplicate.
func (l *Log) ReceiptOf(rec *tandem.Record) tandem.Receipt {
	p := rec.Position
	r := tandem.Receipt{ID: rec.ID, Topic: p.Topic, Partition: p.Partition, Offset: p.Offset}
	if l.info.TotalOrder {
		r.Cursor = l.cursors.encode(p.Offset)
	} else if t := l.topics.get(p.Topic); t != nil {
		r.Cursor = l.placeOf(t, p.Partition, p.Offset)
	}
	return r
}
