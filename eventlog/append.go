package eventlog

import (
	"context"
	"errors"
	"strconv"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Tx is what one Commit stores: events over several topics, and state, in one step (if Info().Atomic).
type Tx struct {
	Events []TopicEvent
	State  []driver.StateOp
	Fence  *driver.Fence // optional
}

// TopicEvent is an event for a topic.
type TopicEvent struct {
	Topic string
	Event tandem.Event
	// Links becomes the attribute tandem.AttrLinks of the event, if it is not empty. What the event itself says there is left out by
	// all that stores events: only request chains know it. It does not count against the limits on attributes and on the size of events,
	// but against the engine's own.
	Links string
}

// Append stores events of one topic durably, all or nothing where the engine is Atomic, and returns their receipts in the
// order given. Events of one key keep their order.
//
// It completes events in place: one with an empty ID gets a UUIDv7; one that has an ID is de-duplicated within the
// window of promise 6, and the receipt of a repeat is the first one's. Meta.Accepted is set, and Meta.Key where the
// topic declares a key; an event without a valid W3C trace context begins a trace (Meta.TraceParent). The log keeps no
// reference to events after it returns.
//
// Codes: Invalid (Fields has the pointers, "/INDEX/attribute" if there is more than one event, else "/attribute"),
// TooLarge, NotFound, Conflict (an ID that was stored with other data), Unavailable (sending the same IDs again is safe).
func (l *Log) Append(ctx context.Context, topic string, events []tandem.Event) ([]tandem.Receipt, error) {
	if len(events) == 0 {
		return nil, nil
	}
	t, err := l.publishTopic(ctx, topic)
	if err != nil {
		return nil, tandem.Wrap("append", err)
	}
	b := l.newBatch(len(events))
	defer l.release(b)
	p := l.newPreparer(len(events))
	for i := range events {
		b.add(&p, t, &events[i], "", i)
	}
	if err := p.err(); err != nil {
		return nil, tandem.Wrap("append "+topic, err)
	}
	if err := l.store(ctx, b); err != nil {
		return nil, tandem.Wrap("append "+topic, err)
	}
	return l.receipts(b), nil
}

// Commit is Append over several topics, with state records: replies and their acknowledgement, for example. It returns
// receipts for tx.Events, in their order, and completes them in place. Codes: as Append, Conflict (also a state record
// that had another value), Precondition (a stale Fence).
func (l *Log) Commit(ctx context.Context, tx *Tx) ([]tandem.Receipt, error) {
	b := l.newBatch(len(tx.Events))
	defer l.release(b)
	p := l.newPreparer(len(tx.Events))
	var t *topic
	for i := range tx.Events {
		e := &tx.Events[i]
		if t == nil || t.Name != e.Topic {
			var err error
			if t, err = l.publishTopic(ctx, e.Topic); err != nil {
				return nil, tandem.Wrap("commit", err)
			}
		}
		b.add(&p, t, &e.Event, e.Links, i)
	}
	if err := p.err(); err != nil {
		return nil, tandem.Wrap("commit", err)
	}
	b.State, b.Fence = tx.State, tx.Fence
	if err := l.store(ctx, b); err != nil {
		return nil, tandem.Wrap("commit", err)
	}
	return l.receipts(b), nil
}

// batch is what the engine is given and what the receipts need beside it. Batches are pooled: the engine keeps none.
type batch struct {
	driver.Batch
	topics []*topic // of each record
	bytes  int64
}

// pooledRecords is how many records a pooled batch may hold; longer ones are left to the collector.
const pooledRecords = 1024

func (l *Log) newBatch(n int) *batch {
	b := l.batches.Get().(*batch)
	if cap(b.Records) < n {
		b.Records = make([]driver.Record, 0, n)
		b.topics = make([]*topic, 0, n)
	}
	return b
}

func (l *Log) release(b *batch) {
	if cap(b.Records) > pooledRecords {
		return
	}
	clear(b.Records)
	clear(b.topics)
	*b = batch{Batch: driver.Batch{Records: b.Records[:0]}, topics: b.topics[:0]}
	l.batches.Put(b)
}

// add prepares an event and puts it into the batch; what is wrong with it is left to p.err.
func (b *batch) add(p *preparer, t *topic, ev *tandem.Event, links string, i int) {
	b.Records = append(b.Records, driver.Record{Topic: t.ID, Event: ev})
	b.topics = append(b.topics, t)
	b.bytes += int64(p.prepare(t, ev, links, i, &b.Records[len(b.Records)-1]))
}

// store hands the batch to the engine.
func (l *Log) store(ctx context.Context, b *batch) error {
	if len(b.Records) == 0 && len(b.State) == 0 {
		return nil
	}
	b.Failed = -1
	err := l.append(ctx, &b.Batch)
	l.stats.appended(b, err)
	if err == nil && l.opts.Stored != nil {
		b.tell(l.opts.Stored)
	}
	if err == nil || tandem.CodeOf(err) != tandem.CodeConflict || b.Failed < 0 {
		return err
	}
	var e *tandem.Error
	if errors.As(err, &e) && b.Failed < len(b.Records) && len(e.Fields) == 0 {
		e = &tandem.Error{Code: e.Code, Err: err, Hint: "an id names one event as long as it is remembered (GET /v1/status shows how long): give the other data another id"}
		return e.WithField(pointer(b.Failed, len(b.Records) > 1, "id"), "was used for other data")
	}
	return err
}

func (b *batch) tell(stored func(*tandem.Event, tandem.Position)) {
	for i := range b.Records {
		if r := &b.Records[i]; !r.Duplicate {
			stored(r.Event, tandem.Position{Topic: b.topics[i].Name, Partition: r.Partition, Offset: r.Offset})
		}
	}
}

// receipts has one string for the cursors of all records.
func (l *Log) receipts(b *batch) []tandem.Receipt {
	out := make([]tandem.Receipt, len(b.Records))
	var cursors string
	if l.info.TotalOrder {
		cursors = l.cursors.encodeAll(b.Records)
	}
	for i := range b.Records {
		r := &b.Records[i]
		out[i] = tandem.Receipt{ID: r.Event.ID, Topic: b.topics[i].Name, Partition: r.Partition, Offset: r.Offset}
		switch {
		case r.Duplicate:
			out[i].Duplicate, out[i].Partition = tandem.DuplicateYes, r.Stored
		case r.Dedup && l.info.Dedup == driver.DedupAtDelivery:
			out[i].Duplicate = tandem.DuplicateUnknown
		}
		if l.info.TotalOrder {
			out[i].Cursor = tandem.Cursor(cursors[i*numberCursorLen : (i+1)*numberCursorLen])
		} else {
			out[i].Cursor = l.placeOf(b.topics[i], out[i].Partition, r.Offset)
		}
	}
	return out
}

// pointer names an attribute of the i-th event of a request.
func pointer(i int, many bool, attribute string) string {
	if many {
		return "/" + strconv.Itoa(i) + "/" + attribute
	}
	return "/" + attribute
}
