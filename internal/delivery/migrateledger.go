package delivery

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// sum returns what is known of a segment so far.
func (t *translation) sum(start uint64) *segment {
	g := t.sums[start]
	if g == nil {
		fresh := newSegment(start)
		g = &fresh
		t.sums[start] = g
	}
	return g
}

// ledgerPut writes a record of the ledger.
func (t *translation) ledgerPut(start uint64, rest string, value []byte) error {
	key := t.key(kindLedger) + segmentName(start) + "/" + rest
	t.sum(start).bytes += uint64(len(key) + len(value))
	return t.put(key, value)
}

// ledgerRecord translates a row, a range or a run.
func (t *translation) ledgerRecord(rest string, value []byte) error {
	name, rest, _ := strings.Cut(rest, "/")
	start, err := strconv.ParseUint(name, 16, 64)
	if err != nil {
		return errFormat
	}
	kind, rest, _ := strings.Cut(rest, "/")
	switch kind + "/" {
	case ledgerEvent:
		return t.row(start, rest, value)
	case ledgerRange:
		return t.rangeRow(start, rest, value)
	case ledgerRequest: // it has no place
		return t.ledgerPut(start, ledgerRequest+rest, value)
	case ledgerRun:
		return t.run(start, rest, value)
	}
	return errFormat
}

func (t *translation) row(start uint64, rest string, value []byte) error {
	old, epoch, err := parseEventKey(rest)
	if err != nil {
		return err
	}
	r, err := parseRow(value)
	if err != nil {
		return err
	}
	w, _, err := t.where(old)
	if err != nil {
		return err
	}
	if r.DeadLetter != "" {
		if at, letterEpoch, ok := parseDeadID(r.DeadLetter); ok && at == old {
			r.DeadLetter = deadID(w, letterEpoch)
		}
	}
	t.sum(start).events.include(w.offset, w.offset)
	return t.ledgerPut(start, ledgerEvent+eventKey(w, epoch), jsonValue(r))
}

// rangeRow translates a range to what of it was copied; if that is nothing, it stays what it was, of events that are gone.
func (t *translation) rangeRow(start uint64, rest string, value []byte) error {
	end, epoch, err := parseRangeKey(rest)
	if err != nil {
		return err
	}
	r, err := parseRow(value)
	if err != nil {
		return err
	}
	w := where{t.to.Gone(end.topic), end.part, end.offset}
	if _, id, ok := t.to.Topic(end.topic); ok {
		first, _, err := t.to.Place(t.ctx, end.topic, end.part, r.From)
		if err != nil {
			return err
		}
		after, _, err := t.to.Place(t.ctx, end.topic, end.part, end.offset)
		if err != nil {
			return err
		}
		if first < after {
			r.From, w = first, where{id, end.part, after}
		}
	}
	t.sum(start).ranges.include(r.From, w.offset-1)
	return t.ledgerPut(start, ledgerRange+rangeKey(epoch, w), jsonValue(r))
}

// movedRun is a run of the new log.
type movedRun struct {
	first where
	last  runEntry
	b     []byte
}

// run translates the deliveries of a run. Those of a run lie in one block of offsets, so that one becomes several where the blocks are others now.
func (t *translation) run(start uint64, rest string, value []byte) error {
	old, epoch, err := parseEventKey(rest)
	if err != nil {
		return err
	}
	r, err := readRun(value, old.offset)
	if err != nil {
		return err
	}
	var runs []*movedRun
	g := t.sum(start)
	for {
		e, ok, err := r.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		w, _, err := t.where(where{old.topic, old.part, e.offset})
		if err != nil {
			return err
		}
		e.offset = w.offset
		i := slices.IndexFunc(runs, func(m *movedRun) bool {
			return m.first.topic == w.topic && m.first.offset>>runBlock == w.offset>>runBlock
		})
		if i < 0 {
			m := &movedRun{first: w, last: runEntry{offset: w.offset, at: e.at}}
			m.b = append(m.b, formatVersion)
			m.b = binary.AppendUvarint(m.b, uint64(len(r.topic)))
			m.b = append(m.b, r.topic...)
			m.b = binary.AppendVarint(m.b, e.at)
			i, runs = len(runs), append(runs, m)
		}
		runs[i].b = appendRunEntry(runs[i].b, &runs[i].last, e)
		g.events.include(w.offset, w.offset)
	}
	for _, m := range runs {
		if err := t.ledgerPut(start, ledgerRun+eventKey(m.first, epoch), m.b); err != nil {
			return err
		}
	}
	return nil
}

// segment writes what the translated records of a segment are. They came before it, in order of keys.
func (t *translation) segment(rest string, value []byte) error {
	g, err := parseSegment(rest, value)
	if err != nil {
		return t.put(t.key(kindSegment)+rest, value) // the next start cuts the ledger there
	}
	sum := t.sum(g.start)
	delete(t.sums, g.start)
	g.bytes, g.events, g.ranges = sum.bytes, sum.events, sum.ranges
	g.expired += sum.expired
	g.at.include(sum.at.low, sum.at.high)
	return t.put(t.key(kindSegment)+segmentName(g.start), g.append(nil))
}

// expired records that an event, or with end all from it up to there, was removed by retention before it was copied.
func (t *translation) expired(w where, epoch, end, count uint64, topic string) error {
	if !t.ledger {
		return nil
	}
	at := time.UnixMilli(t.to.Started()).UTC()
	r := row{Version: formatVersion, State: tandem.DeliveryExpired, Reason: expiredReason, Topic: topic, Ended: at}
	w.topic = t.to.Gone(w.topic)
	g := t.sum(t.lastSeg)
	g.at.include(uint64(at.UnixMilli()), uint64(at.UnixMilli()))
	g.expired += max(1, count)
	if end == 0 {
		g.events.include(w.offset, w.offset)
		return t.ledgerPut(t.lastSeg, ledgerEvent+eventKey(w, epoch), jsonValue(r))
	}
	r.Reason, r.From, r.Count = "retention removed the events before they were read", w.offset, count
	g.ranges.include(w.offset, end-1)
	return t.ledgerPut(t.lastSeg, ledgerRange+rangeKey(epoch, where{w.topic, w.part, end}), jsonValue(r))
}
