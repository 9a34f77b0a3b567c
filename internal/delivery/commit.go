package delivery

import (
	"context"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/internal/chain"
)

const (
	// groupTime is how long outcomes gather before they are stored together. With the time of the sync it stays below 20 ms on
	// a disk that syncs in 10.
	groupTime = 10 * time.Millisecond
	// Between attempts to store a group that could not be stored.
	storeRetry    = 100 * time.Millisecond
	storeRetryMax = 5 * time.Second
)

// group is what one Commit of a subscription stores.
type group struct {
	tx       eventlog.Tx
	base     []driver.StateOp // of tx.State: what is stored even if the replies are refused
	config   bool             // the configuration is among it
	answered []answer
	after    []func()
	outcomes int  // of ledger.flying: those that do not belong to answered
	news     int  // one more than the index in tx.Events of what operators are told; zero: nothing
	told     news // before that
}

// answer is a delivery whose reply events are stored together with its outcome.
type answer struct {
	d       *delivery
	rec     *tandem.Record
	replies []eventlog.TopicEvent
	// followed is nil unless the replies went through request links.
	followed *chain.Followed
}

// loop commits and keeps the time of retries and probes.
func (s *subscription) loop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	pause := storeRetry
	for {
		s.mu.Lock()
		if s.halted {
			s.mu.Unlock()
			<-s.done
			return
		}
		now := time.Now()
		next := s.releaseDue(now)
		if end := s.expireLeases(now); !end.IsZero() {
			next = earlier(next, end)
		}
		s.endReplay()
		turns, at := s.turns(now)
		if !at.IsZero() {
			next = earlier(next, at)
			s.letGo(turns)
		}
		if e := &s.endpoint; e.failing && e.probe == nil {
			if e.probeAt.After(now) {
				next = earlier(next, e.probeAt)
			} else if s.ready.len() == 0 {
				s.readMore() // there is nothing to probe with
			}
		}
		if s.lookAt.After(now) {
			next = earlier(next, s.lookAt)
		} else {
			s.lookAt = time.Time{}
		}
		if state, _, at := s.toTell(now); state != "" {
			s.touch()
		} else if !at.IsZero() {
			next = earlier(next, at)
		}
		commit := s.dirty && (s.urgent || !s.commitAt.After(now))
		if s.dirty && !commit {
			next = earlier(next, s.commitAt)
		}
		if s.storeFails {
			commit, next = false, now.Add(pause)
		}
		s.kick()
		retry, fetch := s.storeFails, turns > 0 && len(s.pace.queue) == 0
		s.mu.Unlock()
		if commit {
			_ = s.flush(context.Background()) // an error is logged, and the next round sees it
			continue
		}
		if fetch {
			s.readPaced(context.Background())
			continue
		}
		if next.IsZero() {
			next = now.Add(time.Hour)
		}
		timer.Reset(max(0, next.Sub(now)))
		select {
		case <-s.done:
			return
		case <-s.wake:
			if !retry {
				continue
			}
			select { // what could not be stored is tried again in its time, whatever else happens
			case <-timer.C:
			case <-s.done:
				return
			}
		case <-timer.C:
		}
		if retry {
			if s.flush(context.Background()) == nil {
				pause = storeRetry
			} else {
				pause = min(2*pause, storeRetryMax)
			}
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// flush stores what there is to store. On an error it is kept and goes first the next time.
func (s *subscription) flush(ctx context.Context) error {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	return s.flushLocked(ctx)
}

func (s *subscription) flushLocked(ctx context.Context) error {
	if s.stuck != nil {
		if _, err := s.store(ctx, s.stuck); err != nil {
			return err
		}
	}
	for {
		g := s.snapshot()
		if g == nil {
			return nil
		}
		// A group with a refused reply goes back whole: the next one has what it was to store.
		if refused, err := s.store(ctx, g); err != nil || !refused {
			return err
		}
	}
}

// snapshot takes what is to be stored; nil when there is nothing.
func (s *subscription) snapshot() *group {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty || s.halted {
		return nil
	}
	g := &group{base: s.takeOps(), config: s.configDirty}
	g.answered, s.answered = s.answered, nil
	if len(s.alone) > 0 {
		g.answered, s.answered = s.alone[:1:1], g.answered
		s.alone = s.alone[1:]
	}
	g.outcomes = len(s.ledger.pending)
	for _, a := range g.answered {
		s.recordOutcome(a.d, a.rec, tandem.DeliveryDelivered, redriven(a.d))
		g.tx.Events = append(g.tx.Events, a.replies...)
		s.drop(a.d)
		a.d.stage = stageStoring
	}
	g.after, s.after = s.after, nil
	g.tx.State = append(g.base[:len(g.base):len(g.base)], s.takeOps()...)
	s.collect(&g.tx)
	s.tell(g)
	if len(s.alone)+len(s.answered) > 0 {
		s.hurry()
	}
	return g
}

func (s *subscription) takeOps() []driver.StateOp {
	out := make([]driver.StateOp, 0, len(s.ops)+4)
	for key, value := range s.ops {
		out = append(out, driver.StateOp{Key: key, Value: value})
	}
	clear(s.ops)
	return out
}

// collect adds configuration and cursors that changed.
func (s *subscription) collect(tx *eventlog.Tx) {
	if s.configDirty {
		s.configDirty = false
		tx.State = append(tx.State, driver.StateOp{Key: configPrefix + s.name, Value: jsonValue(&s.config)})
	}
	for _, t := range s.tracks {
		if t.dirty {
			t.dirty = false
			tx.State = append(tx.State, driver.StateOp{Key: s.key(kindAt) + topicHex(t.topic), Value: s.cursors(t)})
		}
	}
	tx.State = s.collectLedger(tx.State)
	fence := s.fence
	tx.Fence = &fence
	s.dirty, s.urgent, s.uncommitted = false, false, 0
}

// cursors encodes how far a topic was read, and what of it is held.
func (s *subscription) cursors(t *track) []byte {
	parts := make([]partCursor, len(t.parts))
	for i := range t.parts {
		pt := &t.parts[i]
		c := &parts[i]
		c.next, c.seq = pt.place()
		pt.moved = c.next
		c.held = make([]uint64, len(pt.held))
		for j, d := range pt.held {
			c.held[j] = d.offset
		}
	}
	return appendCursors(nil, s.config.Epoch, parts)
}

// store commits a group and lets go on what waited for it. refused says that it was taken back for a reply. Called with
// commitMu held.
func (s *subscription) store(ctx context.Context, g *group) (refused bool, err error) {
	s.stuck = g
	receipts, failed := s.commit(ctx, g)
	refused, err = s.committed(g, failed)
	if err == nil {
		tellChains(g, receipts, failed)
	}
	return refused, err
}

// tellChains says what became of replies that went through request links. One that goes back to be stored alone is told then. Called
// without mu, since links are subscriptions, too.
func tellChains(g *group, receipts []tandem.Receipt, failed error) {
	first := 0
	for i := range g.answered {
		a := &g.answered[i]
		switch {
		case a.followed == nil:
		case failed == nil:
			a.followed.Stored(receipts[first : first+len(a.replies)])
		case len(g.answered) == 1:
			a.followed.Failed(failed)
		}
		first += len(a.replies)
	}
}

// committed takes the result of a commit.
func (s *subscription) committed(g *group, err error) (refused bool, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.stuck = nil
		s.stored(g)
	case len(g.answered) > 0 && isContent(err):
		s.stuck = nil
		s.takeBack(g, err)
		return true, nil
	case tandem.CodeOf(err) == tandem.CodePrecondition:
		s.stuck = nil
		s.lose()
	default:
		if !s.storeFails {
			s.m.opts.Logger.Error("delivery: outcomes cannot be stored; nothing more is sent until they are", "subscription", s.name, "error", err)
		}
		s.storeFails = true
		s.poke() // the loop tries again, also if it was not the loop that tried
	}
	return false, err
}

// stored goes on with what waited for g.
func (s *subscription) stored(g *group) {
	if s.storeFails {
		s.storeFails = false
		s.m.opts.Logger.Info("delivery: outcomes can be stored again", "subscription", s.name)
	}
	s.ledger.stored()
	for _, a := range g.answered {
		a.d.stage = stageSettled
		s.delivered++
		s.advance(a.d)
		s.cleared()
	}
	for _, fn := range g.after {
		fn()
	}
	s.kick()
}

// isContent reports whether a Commit failed for what it was to store, so that trying again is useless.
func isContent(err error) bool {
	switch tandem.CodeOf(err) {
	case tandem.CodeInvalid, tandem.CodeTooLarge, tandem.CodeNotFound, tandem.CodeConflict:
		return true
	}
	return false
}

// takeBack undoes a group of which the log refused a reply. One answer alone is a failed attempt; of several each is stored
// alone, so that the refused one is found.
func (s *subscription) takeBack(g *group, err error) {
	for _, op := range g.base {
		if _, newer := s.ops[op.Key]; !newer {
			s.ops[op.Key] = op.Value
		}
	}
	s.configDirty = s.configDirty || g.config
	if g.news > 0 {
		s.told = g.told
	}
	s.after = append(g.after, s.after...)
	for _, t := range s.tracks {
		t.dirty = true
	}
	s.ledger.takeBack(g)
	for _, a := range g.answered {
		s.restore(a)
	}
	if len(g.answered) > 1 {
		s.alone = append(g.answered, s.alone...)
	} else {
		d := g.answered[0].d
		d.amend(replyRefused(err))
		s.finish(d, result{verdict: failed, status: d.status, took: d.took, detail: d.detail})
	}
	s.hurry()
}

// restore undoes drop.
func (s *subscription) restore(a answer) {
	d := a.d
	d.stage, d.rec, d.tried = stageStoring, a.rec, d.home != homeRedrive
	switch d.home {
	case homeLog:
		s.held++
		s.heldBytes += d.bytes
		if t := s.tracks[d.topic]; t != nil {
			t.parts[d.part].hold(d)
		}
	case homeParked:
		s.parked[d] = struct{}{}
		s.parkBytes += int64(d.bytes)
	case homeWaiting:
		s.waiting++
	case homeRedrive:
		s.countDead(1, d.bytes)
		s.countRedriving(1)
	}
}

// lose ends the subscription here: another Manager has taken it over.
func (s *subscription) lose() {
	s.m.opts.Logger.Error("delivery: another process has taken the subscription over", "subscription", s.name)
	s.lost, s.halted = true, true
	s.detachAll()
	s.wakePullers()
	close(s.over)
}

// flushMoved lets the cursor be stored if it moved over events that do not match, and the reader see whether there is room.
func (s *subscription) flushMoved() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.markMoved()
	s.seeRoom()
}

func (s *subscription) markMoved() {
	for _, t := range s.tracks {
		for i := range t.parts {
			if next, _ := t.parts[i].place(); next != t.parts[i].moved {
				t.dirty = true
				s.touch()
			}
		}
	}
}
