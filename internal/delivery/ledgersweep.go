package delivery

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

const (
	// sweepEvery is how often ledgers are cut to their age and size.
	sweepEvery = 10 * time.Second
	// sweepChunk is how many records one commit of a sweep removes, and sweepChunks how many such commits one sweep makes for a
	// subscription.
	sweepChunk  = 4096
	sweepChunks = 16
)

// keepLedgers cuts the ledgers to their age and size until the Manager stops.
func (m *Manager) keepLedgers() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for _, s := range m.sorted() {
				if err := s.sweepLedger(m.ctx); err != nil && m.ctx.Err() == nil {
					m.opts.Logger.Warn("delivery: old records of the ledger cannot be removed; tried again", "subscription", s.name, "error", err)
				}
			}
		case <-m.ctx.Done():
			return
		}
	}
}

// sweepLedger removes what is too old or too much, oldest first.
func (s *subscription) sweepLedger(ctx context.Context) error {
	for range sweepChunks {
		s.mu.Lock()
		start, due := s.ledger.oldest(time.Now())
		due = due && !s.halted && s.cancel != nil
		fence, h, off := s.fence, s.ledger.horizon, s.ledger.off
		s.mu.Unlock()
		if !due {
			return nil
		}
		// The horizon is stored with the first removal: from then on nobody looks at what is left of the segment. Without a ledger there is
		// none, since what happens now would be missing behind it.
		value := jsonValue(h)
		if off {
			value = nil
		}
		tx := eventlog.Tx{Fence: &fence, State: []driver.StateOp{{Key: s.key(keyHorizon), Value: value}}}
		err := s.m.log.ScanState(ctx, s.ledgerKey(start, ""), func(key string, _ []byte) bool {
			tx.State = append(tx.State, driver.StateOp{Key: strings.Clone(key)})
			return len(tx.State) < sweepChunk
		})
		if err != nil {
			return err
		}
		last := len(tx.State) < sweepChunk
		if last {
			tx.State = append(tx.State, driver.StateOp{Key: s.key(kindSegment) + segmentName(start)})
		}
		if _, err := s.m.log.Commit(ctx, &tx); err != nil {
			return err
		}
		if last {
			s.mu.Lock()
			s.ledger.removing = slices.DeleteFunc(s.ledger.removing, func(o uint64) bool { return o == start })
			s.mu.Unlock()
			if err := s.sweepVersions(ctx, fence, h.Since); err != nil {
				return err
			}
		}
	}
	return nil
}

// oldest returns the segment that is to be removed, and takes it out of those that are looked at.
func (l *ledger) oldest(now time.Time) (start uint64, ok bool) {
	if len(l.removing) > 0 {
		return l.removing[0], true
	}
	if len(l.segments) == 0 {
		return 0, false
	}
	first, total := &l.segments[0], uint64(0)
	for i := range l.segments {
		total += l.segments[i].bytes
	}
	end := time.Unix(int64(first.start), 0).Add(l.span())
	if len(l.segments) > 1 {
		end = time.Unix(int64(l.segments[1].start), 0)
	}
	tooOld := now.Sub(end) > l.age
	tooMuch := total > uint64(l.bytes) && len(l.segments) > 1
	start = first.start
	waits := func(o outcome) bool { return o.row != nil && o.seg == start }
	if !tooOld && !tooMuch || slices.ContainsFunc(l.pending, waits) || slices.ContainsFunc(l.flying, waits) {
		return 0, false
	}
	l.segments = slices.Delete(l.segments, 0, 1)
	l.removing = append(l.removing, start)
	if end.After(l.horizon.Since) {
		l.horizon.Since = end.UTC()
	}
	l.horizon.Whole = false
	return start, true
}

func newLedger(o *Options) ledger {
	return ledger{off: o.LedgerBytes < 0 || o.LedgerAge < 0, age: o.LedgerAge, bytes: o.LedgerBytes}
}

// ledger brings back what is known of the ledger.
func (l *loader) ledger() {
	s := l.s
	led := newLedger(&s.m.opts)
	found, cut := false, false // a record that cannot be read cuts the ledger: it explains deliveries, and must not stop them
	l.scan(keyHorizon, func(_ string, value []byte) error {
		found = true
		if err := parseJSON(value, &led.horizon, &led.horizon.Version); err != nil {
			l.damaged(keyHorizon, err)
			led.horizon, cut = horizon{Version: formatVersion}, true
		}
		return nil
	})
	l.scan(kindSegment, func(rest string, value []byte) error {
		g, err := parseSegment(rest, value)
		if err != nil {
			l.damaged(kindSegment+rest, err)
			for i := range led.segments {
				led.removing = append(led.removing, led.segments[i].start)
			}
			led.segments, cut = nil, true
			if start, err := strconv.ParseUint(rest, 16, 64); err == nil {
				led.removing = append(led.removing, start)
			}
			return nil
		}
		if cut && len(led.segments) == 0 {
			led.horizon.Since = time.Unix(int64(g.start), 0).UTC()
		}
		if g.start < unixSeconds(led.horizon.Since) && !led.horizon.Whole {
			led.removing = append(led.removing, g.start)
		} else {
			led.segments = append(led.segments, g)
		}
		return nil
	})
	if cut {
		if led.horizon.Whole = false; len(led.segments) == 0 {
			led.horizon.Since = time.Now().UTC()
		}
	}
	fresh := true
	l.scan(kindAt, func(string, []byte) error {
		fresh = false
		return nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ledger = led
	switch {
	case led.off && found:
		s.put(s.key(keyHorizon), nil) // what happens meanwhile is not recorded
	case !led.off && cut:
		s.put(s.key(keyHorizon), jsonValue(s.ledger.horizon))
	case !led.off && !found:
		s.ledger.horizon = horizon{Version: formatVersion, Since: time.Now().UTC(), Whole: fresh}
		s.put(s.key(keyHorizon), jsonValue(s.ledger.horizon))
	}
}

func (l *loader) damaged(record string, err error) {
	l.s.m.opts.Logger.Error("delivery: a record of the ledger is damaged; what is older is removed", "subscription", l.s.name, "record", record, "error", err)
}

// stored forgets what the group had that was stored now.
func (l *ledger) stored() {
	clear(l.flying)
	l.flying = l.flying[:0]
}

// takeBack undoes what a group was to store that goes back whole. Runs begin anew, since what was added to them is not there.
func (l *ledger) takeBack(g *group) {
	own := l.flying[:g.outcomes]
	for i := range own {
		if e := &own[i]; e.row != nil && e.row.State == tandem.DeliveryExpired {
			if seg := l.find(e.seg); seg != nil {
				seg.expired -= max(1, e.row.Count)
			}
		}
	}
	for i, e := range l.flying[g.outcomes:] {
		if e.row != nil {
			g.answered[i].d.rowAt = e.row.replaces
		}
	}
	l.pending = append(slices.Clone(own), l.pending...)
	l.stored()
	l.open = openRuns{}
}
