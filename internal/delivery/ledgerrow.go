package delivery

import (
	"time"

	"github.com/tandem-hybrid/tandem"
)

// row is the value of an event or range record of the ledger.
type row struct {
	Version  int       `json:"v"`
	State    string    `json:"state"`
	Reason   string    `json:"reason,omitempty"`
	Topic    string    `json:"topic"`
	Ended    time.Time `json:"ended"`
	Accepted time.Time `json:"accepted,omitzero"`

	ID         string           `json:"id,omitempty"`
	Source     string           `json:"source,omitempty"`
	Type       string           `json:"type,omitempty"`
	Key        string           `json:"key,omitempty"`
	Attempts   int              `json:"attempts,omitempty"`
	Probes     int              `json:"probes,omitempty"`
	History    []tandem.Attempt `json:"history,omitempty"`
	DeadLetter string           `json:"deadLetter,omitempty"`

	// Of a range: its first offset, and how many events; zero when that is not known. The key has the offset after its last.
	From  uint64 `json:"from,omitempty"`
	Count uint64 `json:"count,omitempty"`

	Flow string `json:"flow,omitempty"`

	replaces  uint64 // the segment of the row that this one takes the place of
	isRange   bool
	isRequest bool // of a chain that failed: it has no place
}

// event takes over what names an event.
func (r *row) event(rec *tandem.Record) {
	r.Topic, r.ID, r.Source, r.Type, r.Key, r.Accepted, r.Flow = rec.Position.Topic, rec.ID, rec.Source, rec.Type, rec.Ordering(), rec.Meta.Accepted, rec.Meta.Flow
}

// aboutOf returns as much of an event as a row tells.
func aboutOf(rec *tandem.Record) *tandem.Record {
	about := *rec
	about.Data, about.Extensions = nil, nil
	return &about
}

// discardedRow is the row of a dead letter that is discarded.
func discardedRow(l *letter, rec *tandem.Record) *row {
	r := &row{State: tandem.DeliveryDiscarded, Reason: "by request; it was a dead letter: " + l.Reason, Attempts: l.Attempts, Probes: l.Probes,
		History: l.History, replaces: l.Row}
	r.event(rec)
	return r
}

func parseRow(value []byte) (*row, error) {
	r := &row{}
	return r, parseJSON(value, r, &r.Version)
}

// delivery returns r as a row of the contract.
func (r *row) delivery(name string, w where, epoch uint64) tandem.Delivery {
	d := tandem.Delivery{Subscription: name, Epoch: epoch, Position: tandem.Position{Topic: r.Topic, Partition: w.part, Offset: w.offset},
		ID: r.ID, Source: r.Source, Type: r.Type, Key: r.Key, State: r.State, Reason: r.Reason, Attempts: r.Attempts, Probes: r.Probes,
		History: r.History, DeadLetter: r.DeadLetter, Accepted: rfc3339(r.Accepted), Ended: rfc3339(r.Ended), Flow: r.Flow}
	if w.topic == 0 {
		d.Position, d.Topic = tandem.Position{}, r.Topic
	}
	return d
}

// delivery returns a delivery of a run as a row of the contract. It has nothing of the event: see describeEvent.
func (e *runEntry) delivery(name, topic string, part int, epoch uint64) tandem.Delivery {
	at := time.UnixMilli(e.at).UTC()
	took := time.Duration(e.took) * 100 * time.Microsecond
	return tandem.Delivery{Subscription: name, Epoch: epoch, Position: tandem.Position{Topic: topic, Partition: part, Offset: e.offset},
		State: tandem.DeliveryDelivered, Attempts: 1, Ended: rfc3339(at),
		History: []tandem.Attempt{{Number: 1, At: at.Add(-took), Took: tandem.Duration(took), Status: int(e.status)}}}
}

// describeEvent adds to a row what its event says; rec may be nil.
func describeEvent(d *tandem.Delivery, rec *tandem.Record) {
	if rec == nil {
		return
	}
	d.ID, d.Source, d.Type, d.Key, d.Flow, d.Accepted = rec.ID, rec.Source, rec.Type, rec.Ordering(), rec.Meta.Flow, rfc3339(rec.Meta.Accepted)
	if len(d.History) == 1 && d.History[0].Wait == 0 {
		if wait := d.History[0].At.Sub(rec.Meta.Accepted); wait > 0 {
			d.History[0].Wait = tandem.Duration(wait.Round(time.Millisecond))
		}
	}
}

func rfc3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
