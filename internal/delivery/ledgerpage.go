package delivery

import (
	"context"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// readLog adds the rows of events of the topics. It reports whether there is more for another page.
func (a *asking) readLog(ctx context.Context) (more bool, err error) {
	conf := a.s.configuration()
	js, err := a.older.judges(ctx, a.s, &conf)
	if err != nil {
		return false, err
	}
	for _, info := range a.asked(js) {
		for part := range info.Partitions {
			if a.q.Key != "" && part != tandem.Partition(a.q.Key, info.Partitions) || !a.isAfter(where{info.ID, part, 1<<64 - 1}) {
				continue
			}
			if a.at.Topic != info.ID || a.at.Part != part {
				if a.full() {
					return true, nil
				}
				a.looked++ // a partition costs a read even if it is empty
				a.at = place{Query: a.at.Query, Phase: phaseLog, Topic: info.ID, Part: part}
			}
			if more, err := a.readPartition(ctx, info, part, js); more || err != nil {
				return more, err
			}
		}
	}
	return false, nil
}

func (a *asking) readPartition(ctx context.Context, info *eventlog.TopicInfo, part int, js judges) (more bool, err error) {
	var batch []tandem.Record
	for {
		if batch, err = a.m.log.ReadPartition(ctx, info.ID, part, a.at.From, batchEvents, batch[:0]); err != nil || len(batch) == 0 {
			if tandem.CodeOf(err) == tandem.CodeNotFound {
				err = nil // deleted meanwhile
			}
			return false, err
		}
		for i := range batch {
			if a.full() {
				return true, nil
			}
			a.looked++
			rec := &batch[i]
			w := where{info.ID, part, rec.Position.Offset}
			if w.offset != a.at.From {
				a.at.From, a.at.Skip = w.offset, 0
			}
			if a.mayWant(w, info.Name, rec, js) {
				if more, err := a.addStanding(ctx, info.Name, w, rec); more || err != nil {
					return more, err
				}
			}
			a.at.From, a.at.Skip = w.offset+1, 0
		}
	}
}

// mayWant tells cheaply that an event is not asked for.
func (a *asking) mayWant(w where, topic string, rec *tandem.Record, js judges) bool {
	q := a.q
	if q.ID != "" && rec.ID != q.ID || q.Source != "" && rec.Source != q.Source || q.Key != "" && rec.Ordering() != q.Key || q.Flow != "" && rec.Meta.Flow != q.Flow {
		return false
	}
	if q.State != tandem.DeliverySkipped && q.State != tandem.DeliveryUnread {
		return true
	}
	newest := js[len(js)-1].Epoch
	j, ok := js.of(newest, w)
	return !ok || j.selects(topic, rec) == (q.State == tandem.DeliveryUnread)
}

// addStanding adds the rows of one event, as far as there is room.
func (a *asking) addStanding(ctx context.Context, topic string, w where, rec *tandem.Record) (more bool, err error) {
	a.looked += lookupCost
	st, err := a.s.standing(ctx, &a.older, topic, w, rec)
	if err != nil {
		return false, err
	}
	rows := st.rows
	for i := a.at.Skip; i < len(rows); i++ {
		if !a.wants(&rows[i]) {
			continue
		}
		if len(a.page.Deliveries) == a.q.Limit {
			a.at.Skip = i
			return true, nil
		}
		a.add(rows[i])
	}
	return false, nil
}

// readLedger adds outcomes, segment by segment, the newest first.
func (a *asking) readLedger(ctx context.Context) (more bool, err error) {
	a.s.mu.Lock()
	all := append([]segment(nil), a.s.ledger.segments...)
	a.s.mu.Unlock()
	for i := len(all) - 1; i >= 0; i-- {
		g := &all[i]
		if a.at.Seg != 0 && g.start > a.at.Seg {
			continue
		}
		if g.start != a.at.Seg {
			a.at = place{Query: a.at.Query, Phase: phaseLedger, Seg: g.start}
		}
		low, high := time.UnixMilli(int64(g.at.low)), time.UnixMilli(int64(min(g.at.high, 1<<62))+1)
		if g.at.low > g.at.high || !a.q.Since.IsZero() && high.Before(a.q.Since) || !a.q.Until.IsZero() && !low.Before(a.q.Until) {
			continue
		}
		if more, err := a.readSegment(ctx, g.start); more || err != nil {
			return more, err
		}
	}
	return false, nil
}

// outcomeFound is a row of the ledger with its place.
type outcomeFound struct {
	d   tandem.Delivery
	w   where
	run bool
}

func (a *asking) readSegment(ctx context.Context, start uint64) (more bool, err error) {
	// What each row lacks is read after the scan, since the scan holds a view of the log.
	var rows []outcomeFound
	var bad error
	prefix := a.s.ledgerKey(start, "")
	err = a.m.log.ScanStateFrom(ctx, prefix, prefix+a.at.Key, func(key string, value []byte) bool {
		rest := strings.Clone(key[len(prefix):])
		if rest != a.at.Key {
			a.at.Key, a.at.Skip = rest, 0
		}
		if len(a.page.Deliveries)+len(rows) >= a.q.Limit || a.looked >= maxLooked {
			more = true
			return false
		}
		switch kind := rest[:strings.IndexByte(rest, '/')+1]; {
		case kind == ledgerRun && (readsLog(a.q) || a.q.State != "" && a.q.State != tandem.DeliveryDelivered):
			return false
		case kind == ledgerRange && (readsLog(a.q) || a.q.State == tandem.DeliveryDelivered):
			return true
		case kind == ledgerRun:
			rows, more, bad = a.fromRun(rest[len(kind):], value, rows)
		default:
			rows, bad = a.fromRow(kind, rest[len(kind):], value, rows)
		}
		if bad != nil { // the rest can be told even so
			a.m.opts.Logger.Error("delivery: a record of the ledger is damaged", "record", key, "error", bad)
		}
		return !more
	})
	if err != nil {
		return false, err
	}
	return more, a.complete(ctx, rows)
}

// fromRow takes a row of an event or a range.
func (a *asking) fromRow(kind, rest string, value []byte, rows []outcomeFound) ([]outcomeFound, error) {
	a.looked++
	if a.at.Skip > 0 {
		return rows, nil // it was on the page before
	}
	r, err := parseRow(value)
	if err != nil {
		return rows, err
	}
	var w where
	var epoch uint64
	switch kind {
	case ledgerRange:
		w, epoch, err = parseRangeKey(rest)
	case ledgerEvent:
		w, epoch, err = parseEventKey(rest)
	}
	if err != nil {
		return rows, err
	}
	a.at.Skip = 1
	d := r.delivery(a.s.name, w, epoch)
	if kind == ledgerRange {
		d.To, d.Count = w.offset, r.Count
		w.offset, d.Position.Offset = r.From, r.From
	}
	if a.wants(&d) {
		rows = append(rows, outcomeFound{d: d, w: w})
	}
	return rows, nil
}

// fromRun takes deliveries of a run.
func (a *asking) fromRun(rest string, value []byte, rows []outcomeFound) ([]outcomeFound, bool, error) {
	w, epoch, err := parseEventKey(rest)
	if err != nil {
		return rows, false, err
	}
	r, err := readRun(value, w.offset)
	for i := 0; err == nil; i++ {
		var e runEntry
		var ok bool
		if e, ok, err = r.next(); err != nil || !ok {
			break
		}
		if i < a.at.Skip {
			continue
		}
		if len(a.page.Deliveries)+len(rows) >= a.q.Limit {
			return rows, true, nil
		}
		a.looked++
		a.at.Skip = i + 1
		if a.within(time.UnixMilli(e.at)) {
			rows = append(rows, outcomeFound{e.delivery(a.s.name, r.topic, w.part, epoch), where{w.topic, w.part, e.offset}, true})
		}
	}
	return rows, false, err
}

// complete adds rows to the page with what the log says of their events. A query that read the topics has had those that are stored.
func (a *asking) complete(ctx context.Context, rows []outcomeFound) error {
	if len(rows) == 0 {
		return nil
	}
	conf := a.s.configuration()
	js, err := a.older.judges(ctx, a.s, &conf)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.w.topic == 0 {
			a.add(r.d)
			continue
		}
		if r.run || readsLog(a.q) || r.d.ID == "" && r.d.To == 0 {
			rec, err := a.m.readOne(ctx, r.w)
			if err != nil {
				return err
			}
			if rec != nil && readsLog(a.q) {
				continue
			}
			describeEvent(&r.d, rec)
		}
		if j, ok := js.of(r.d.Epoch, r.w); ok {
			r.d.Version = j.number
		}
		a.add(r.d)
	}
	return nil
}
