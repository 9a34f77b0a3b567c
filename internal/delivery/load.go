package delivery

import (
	"container/heap"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// load brings a subscription back as its records say. Nothing runs yet.
func (s *subscription) load(ctx context.Context) error {
	tried := map[where]effort{}
	l := loader{s: s, ctx: ctx}
	l.ledger() // first: the rest may find what has expired
	l.scan(kindTried, func(rest string, value []byte) error {
		var e effort
		w, err := parseWhere(rest)
		if err == nil {
			err = parseJSON(value, &e, &e.Version)
		}
		tried[w] = e
		return err
	})
	var all []*delivery
	l.scan(kindParked, func(rest string, value []byte) error {
		d, err := parkedDelivery(rest, value)
		all = append(all, d)
		return err
	})
	l.scan(kindWaiting, func(rest string, value []byte) error {
		w, err := parseWhere(rest)
		if err != nil {
			return err
		}
		v, err := parseWaiter(value)
		all = append(all, &delivery{where: w, seq: v.seq, key: v.key, epoch: v.epoch, accepted: time.UnixMilli(v.accepted).UTC(),
			home: homeWaiting, index: -1})
		return err
	})
	l.scan(kindAt, func(rest string, value []byte) error {
		held, err := l.track(rest, value)
		all = append(all, held...)
		return err
	})
	l.scan(keyTally, func(_ string, value []byte) error {
		copies, err := parseTally(value)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.copies = copies
		return err
	})
	l.scan(keyRate, func(_ string, value []byte) error {
		var r redriveRate
		err := parseJSON(value, &r, &r.Version)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pace = newPace(r.Rate)
		return err
	})
	l.scan(keyRun, func(string, []byte) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.careful = maxHeld
		return nil
	})
	if l.err != nil {
		return l.err
	}
	if err := s.readHeld(ctx, all); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rebuild(all, tried)
	s.put(s.key(keyRun), []byte{formatVersion})
	s.after = append(s.after, func() { s.marked = true })
	s.moreRedrives = true
	return nil
}

// loader scans the records of a subscription; the first error sticks.
type loader struct {
	s   *subscription
	ctx context.Context
	err error
}

func (l *loader) scan(kind string, fn func(rest string, value []byte) error) {
	if l.err != nil {
		return
	}
	prefix := l.s.key(kind)
	err := l.s.m.log.ScanState(l.ctx, prefix, func(key string, value []byte) bool {
		if err := fn(key[len(prefix):], value); err != nil {
			l.err = fmt.Errorf("record %s: %w", key, err)
		}
		return l.err == nil
	})
	if l.err == nil {
		l.err = err
	}
}

func parkedDelivery(rest string, value []byte) (*delivery, error) {
	w, err := parseWhere(rest)
	if err != nil {
		return nil, err
	}
	l, rec, err := parseLetter(value)
	if err != nil {
		return nil, err
	}
	d := &delivery{where: w, topicName: l.Topic, seq: l.Seq, accepted: l.Accepted, key: rec.Ordering(), bytes: len(value), epoch: l.Epoch,
		home: homeParked, index: -1}
	d.recall(l.effort)
	return d, nil
}

// track brings back how far a topic was read, and returns what of it was held.
func (l *loader) track(rest string, value []byte) ([]*delivery, error) {
	var id uint64
	if _, err := fmt.Sscanf(rest, "%016x", &id); err != nil {
		return nil, errFormat
	}
	_, parts, err := parseCursors(value)
	if err != nil {
		return nil, err
	}
	info := l.s.m.topics.Load().byID[driver.ID(id)]
	l.s.mu.Lock() // its status may be asked for already
	defer l.s.mu.Unlock()
	if info == nil || info.Partitions != len(parts) {
		for p := range parts { // deleted meanwhile, with what was held
			for _, offset := range parts[p].held {
				l.s.recordLost(where{driver.ID(id), p, offset}, "the topic was deleted before the event was delivered")
			}
		}
		l.s.put(l.s.key(kindAt)+rest, nil)
		return nil, nil
	}
	var held []*delivery
	t := l.s.addTrack(info, &places{})
	for p := range parts {
		pt := &t.parts[p]
		pt.next, pt.seq, pt.moved = parts[p].next, parts[p].seq, parts[p].next
		for _, offset := range parts[p].held {
			held = append(held, &delivery{where: where{t.topic, p, offset}, topicName: t.name, home: homeLog, epoch: l.s.config.Epoch, index: -1})
		}
	}
	return held, nil
}

// readHeld reads again what was in memory. What is not there any more is left without key, to expire when its turn comes.
func (s *subscription) readHeld(ctx context.Context, all []*delivery) error {
	for _, d := range all {
		if d.home != homeLog {
			continue
		}
		rec, err := s.m.readOne(ctx, d.where)
		if err != nil {
			return err
		}
		if rec != nil {
			d.rec, d.key, d.seq, d.accepted, d.bytes = rec, rec.Ordering(), rec.Seq, rec.Meta.Accepted, eventBytes(rec)
		}
	}
	return nil
}

// rebuild puts the deliveries into their lanes, in log order.
func (s *subscription) rebuild(all []*delivery, tried map[where]effort) {
	slices.SortFunc(all, func(a, b *delivery) int { return compareOffset(a, b.offset) })
	now := time.Now()
	for _, d := range all {
		if e, ok := tried[d.where]; ok {
			d.recall(e)
			d.tried = true
			delete(tried, d.where)
		}
		t := s.tracks[d.topic]
		if t != nil {
			d.topicName = t.name
		}
		switch d.home {
		case homeLog:
			if d.rec == nil {
				s.recordOutcome(d, nil, tandem.DeliveryExpired, expiredReason)
				t.dirty = true
				continue
			}
			s.holdDelivery(d, &t.parts[d.part])
		case homeParked:
			s.parked[d] = struct{}{}
			s.parkBytes += int64(d.bytes)
			d.own = true
		case homeWaiting:
			s.waiting++
		}
		s.enqueue(d)
		if d.stage == stageReady && d.due.After(now) {
			d.stage = stageRetrying
			heap.Push(&s.retry, d)
			if d.home == homeLog && !s.pulled() {
				s.request++
				d.request, d.trouble = s.request, true
				s.endpoint.suspects = append(s.endpoint.suspects, d)
			}
		}
	}
	s.dropUnready()
	for w := range tried {
		s.put(s.key(kindTried)+w.String(), nil) // of events that have their outcome
	}
}

// dropUnready takes out of the ready queue what rebuild let wait.
func (s *subscription) dropUnready() {
	ready := s.ready.all()
	s.ready.clear()
	for _, d := range ready {
		if d.stage == stageReady {
			s.ready.push(d)
		}
	}
}
