package delivery

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// The ledger says what became of each delivery. Its records lie in segments of time, so that the oldest are removed first and together;
// see docs/adr/0011-ledger.md.
//
//	delivery/s/NAME/segment/SEG                 what a segment holds: sizes, and between which offsets (binary)
//	delivery/s/NAME/ledger/SEG/event/PLACE/EPOCH  a delivery that took more than one attempt or was not delivered (JSON)
//	delivery/s/NAME/ledger/SEG/range/EPOCH/END    a range that expired or was sought over, by its end (JSON)
//	delivery/s/NAME/ledger/SEG/request/ID          a call of a request chain that failed (JSON)
//	delivery/s/NAME/ledger/SEG/run/PLACE/EPOCH    deliveries of a partition that took one attempt: the offset of the first, then a few bytes each
//	delivery/s/NAME/horizon                     since when nothing is missing (JSON)
const (
	kindLedger  = "ledger/"
	kindSegment = "segment/"
	keyHorizon  = "horizon"

	ledgerEvent   = "event/"
	ledgerRange   = "range/"
	ledgerRequest = "request/"
	ledgerRun     = "run/"
)

// ledger is what a subscription knows of its ledger. Guarded by subscription.mu.
type ledger struct {
	off      bool
	age      time.Duration
	bytes    int64
	segments []segment // oldest first; the last is written to
	horizon  horizon
	pending  []outcome // for the next group
	flying   []outcome // of the group that is being stored
	open     openRuns
	removing []uint64 // segments that a sweep removes; nobody looks at them
}

// horizon says since when the ledger has every outcome. Whole: that is since the subscription began.
type horizon struct {
	Version int       `json:"v"`
	Since   time.Time `json:"since"`
	Whole   bool      `json:"whole,omitempty"`
}

// outcome is what a delivery ended with, until it is stored.
type outcome struct {
	where
	epoch  uint64
	name   string // of the topic
	at     int64  // Unix milliseconds
	took   uint32 // tenths of a millisecond
	status uint16
	seg    uint64 // of row
	row    *row   // nil: delivered at the first attempt
}

// has reports whether o is the outcome of the event at a place.
func (o *outcome) has(w where) bool {
	if o.row != nil && o.row.isRange {
		return o.where.topic == w.topic && o.part == w.part && o.row.From <= w.offset && w.offset < o.offset
	}
	return o.where == w
}

func segmentName(start uint64) string { return fmt.Sprintf("%010x", start) }

func (s *subscription) ledgerKey(seg uint64, kind string) string {
	return s.key(kindLedger) + segmentName(seg) + "/" + kind
}

func eventKey(w where, epoch uint64) string { return w.String() + "/" + strconv.FormatUint(epoch, 16) }

func rangeKey(epoch uint64, end where) string { return fmt.Sprintf("%016x/", epoch) + end.String() }

// recordOutcome notes the outcome of a delivery for the next group. Called before its records are dropped.
func (s *subscription) recordOutcome(d *delivery, rec *tandem.Record, state, reason string) {
	l := &s.ledger
	if l.off {
		return
	}
	if state == tandem.DeliveryDelivered && d.attempts == 1 && d.probes == 0 && len(d.history) == 0 && d.home != homeRedrive {
		at := d.ended
		if at.IsZero() {
			at = time.Now() // acknowledged by a lease of before a restart
		}
		l.pending = append(l.pending, outcome{where: d.where, epoch: d.epoch, name: d.topicName, at: at.UnixMilli(),
			took: tenths(d.took), status: uint16(d.status)})
		s.touch()
		return
	}
	r := &row{Topic: d.topicName, State: state, Reason: reason, Key: d.key, Attempts: d.attempts, Probes: d.probes, History: slices.Clone(d.history),
		Accepted: d.accepted, replaces: d.rowAt}
	if rec == nil {
		rec = d.about
	}
	if rec != nil {
		r.event(rec)
	}
	if r.Topic == "" {
		r.Topic = s.m.topicName(d.where.topic)
	}
	if state == tandem.DeliveryDead {
		r.DeadLetter = deadID(d.where, d.epoch)
	}
	d.rowAt = s.recordRow(d.where, d.epoch, r)
}

// expiredReason is why a delivery that was known expired.
const expiredReason = "retention removed the event before it was delivered"

// redriven says how a dead letter was delivered after all; "" for other deliveries.
func redriven(d *delivery) string {
	if d.home == homeRedrive {
		return "it was a dead letter, and was redriven"
	}
	return ""
}

// deadReason is the reason of a dead letter in a sentence.
func deadReason(d *delivery, reason string) string {
	switch reason {
	case "exhausted":
		return "its attempts are used up; the last: " + d.detail
	case "refused":
		return "the endpoint refused it: " + d.detail
	}
	return d.detail
}

// recordLost notes that an event expired of which nothing is known but its place.
func (s *subscription) recordLost(w where, reason string) {
	if !s.ledger.off {
		s.recordRow(w, s.config.Epoch, &row{Topic: s.m.topicName(w.topic), State: tandem.DeliveryExpired, Reason: reason})
	}
}

// recordRow notes a row and returns the segment that it goes to.
func (s *subscription) recordRow(w where, epoch uint64, r *row) uint64 {
	now := time.Now()
	r.Version, r.Ended = formatVersion, now.UTC().Round(0)
	seg := s.ledger.current(now)
	s.ledger.pending = append(s.ledger.pending, outcome{where: w, epoch: epoch, name: r.Topic, at: now.UnixMilli(), seg: seg, row: r})
	s.touch()
	return seg
}

// recordRange notes that no event from a place up to an offset will be delivered.
func (s *subscription) recordRange(from where, to, count uint64, topic, state, reason string) {
	if s.ledger.off || to <= from.offset {
		return
	}
	s.recordRow(where{from.topic, from.part, to}, s.config.Epoch, &row{Topic: topic, State: state, Reason: reason, From: from.offset, Count: count, isRange: true})
}

func tenths(d time.Duration) uint32 {
	return uint32(min(max(0, d/(100*time.Microsecond)), 1<<30))
}

// collectLedger turns what is pending into records.
func (s *subscription) collectLedger(ops []driver.StateOp) []driver.StateOp {
	l := &s.ledger
	l.flying, l.pending = l.pending, l.flying[:0]
	if len(l.flying) == 0 {
		return ops
	}
	// The segments are looked up again after each row: there are few rows.
	var touched []uint64
	var runs []*openRun
	var seg *segment
	now := time.Now()
	for i := range l.flying {
		e := &l.flying[i]
		if e.row != nil {
			ops = s.appendRow(ops, e)
			if !slices.Contains(touched, e.seg) {
				touched = append(touched, e.seg)
			}
			continue
		}
		if seg == nil {
			seg = l.find(l.current(now))
		}
		r := s.addToRun(seg, e)
		if !r.touched {
			r.touched = true
			runs = append(runs, r)
		}
	}
	for _, r := range runs {
		r.touched = false
		seg.bytes += uint64(len(r.b) - r.counted)
		r.counted = len(r.b)
		ops = append(ops, driver.StateOp{Key: r.key, Value: r.b[:len(r.b):len(r.b)]})
	}
	if seg != nil && !slices.Contains(touched, seg.start) {
		touched = append(touched, seg.start)
	}
	for _, start := range touched {
		if g := l.find(start); g != nil {
			ops = append(ops, driver.StateOp{Key: s.key(kindSegment) + segmentName(start), Value: g.append(nil)})
		}
	}
	return ops
}

func (s *subscription) appendRow(ops []driver.StateOp, e *outcome) []driver.StateOp {
	seg := s.ledger.find(e.seg)
	key := s.ledgerKey(e.seg, ledgerEvent) + eventKey(e.where, e.epoch)
	switch {
	case e.row.isRange:
		key = s.ledgerKey(e.seg, ledgerRange) + rangeKey(e.epoch, e.where)
	case e.row.isRequest:
		key = s.ledgerKey(e.seg, ledgerRequest) + tandem.NewID()
	}
	value := jsonValue(e.row)
	ops = append(ops, driver.StateOp{Key: key, Value: value})
	if old := e.row.replaces; old != 0 && old != e.seg {
		ops = append(ops, driver.StateOp{Key: s.ledgerKey(old, ledgerEvent) + eventKey(e.where, e.epoch)})
	}
	seg.bytes += uint64(len(key) + len(value))
	seg.at.include(uint64(e.at), uint64(e.at))
	switch {
	case e.row.isRange:
		seg.ranges.include(e.row.From, e.offset-1)
	case !e.row.isRequest:
		seg.events.include(e.offset, e.offset)
	}
	if e.row.State == tandem.DeliveryExpired {
		seg.expired += max(1, e.row.Count)
	}
	return ops
}
