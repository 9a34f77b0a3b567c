package delivery

import (
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// finish takes the result of an attempt. Called with mu held.
func (s *subscription) finish(d *delivery, r result) {
	probe := s.endProbe(d)
	s.endLease(d)
	s.counts.add(&r)
	if d.stage == stageSettled {
		return // sought over: the outcome belongs to an epoch that is gone
	}
	if !r.at.IsZero() {
		d.note(&r)
	}
	switch r.verdict {
	case delivered:
		if len(r.replies) > 0 {
			d.stage = stageStoring
			s.answered = append(s.answered, answer{d, d.rec, r.replies, r.followed})
			s.hurry()
			return
		}
		s.deliver(d)
	case refused:
		s.failures++
		s.bury(d, "refused")
		s.cleared()
	case looped:
		d.attempts--
		d.status, d.detail, d.took = 0, r.detail, 0
		s.bury(d, "loop")
	case exhausted:
		d.attempts--
		if d.detail == "" {
			d.detail = lostDetail
		}
		s.bury(d, "exhausted")
	case vanished:
		s.recordOutcome(d, d.rec, tandem.DeliveryExpired, expiredReason)
		s.settle(d)
	case gone:
		s.failures++
		s.putBack(d)
		s.disable("the endpoint answered "+strconv.Itoa(r.status), r.detail)
	case aborted:
		s.putBack(d)
	case unread:
		d.attempts--
		s.retryAt(d, time.Now().Add(time.Second))
	default:
		if !r.at.IsZero() {
			s.failures++
		}
		s.fail(d, r, probe)
	}
}

// deliver records that the event was taken.
func (s *subscription) deliver(d *delivery) {
	s.delivered++
	s.recordOutcome(d, d.rec, tandem.DeliveryDelivered, redriven(d))
	s.settle(d)
	s.cleared()
}

// settle records that d has its outcome and lets its key go on.
func (s *subscription) settle(d *delivery) {
	s.drop(d)
	s.uncommitted++
	if s.uncommitted >= maxUncommitted/2 {
		s.hurry()
	}
	s.advance(d)
}

// drop removes the records of d.
func (s *subscription) drop(d *delivery) {
	switch d.home {
	case homeLog:
		s.unhold(d)
		s.touch()
	case homeParked:
		delete(s.parked, d)
		s.parkBytes -= int64(d.bytes)
		s.put(s.key(kindParked)+d.where.String(), nil)
		s.pokeFeed()
	case homeWaiting:
		s.waiting--
		s.put(s.key(kindWaiting)+d.where.String(), nil)
		s.pokeFeed()
	case homeRedrive:
		s.dropRedrive(d)
	}
	if d.tried {
		s.put(s.key(kindTried)+d.where.String(), nil)
	}
	d.stage, d.rec, d.tried = stageSettled, nil, false
}

// bury ends a delivery as a dead letter.
func (s *subscription) bury(d *delivery, reason string) {
	e := s.effort(d)
	s.recordOutcome(d, d.rec, tandem.DeliveryDead, deadReason(d, reason))
	e.Row = d.rowAt
	value := appendLetter(letter{effort: e, Reason: reason, At: time.Now().UTC()}, d.rec)
	id := d.redrive
	if id == "" {
		id = deadID(d.where, d.epoch)
	}
	s.settle(d)
	s.put(s.key(kindDead)+id, value)
	s.countDead(1, len(value))
	s.m.opts.Logger.Warn("delivery: dead", "subscription", s.name, "id", id, "reason", reason, "attempts", d.attempts, "status", d.status)
}

func (s *subscription) countDead(n, bytes int) {
	s.copies.dead += n
	s.copies.bytes += int64(bytes)
	s.put(s.key(keyTally), s.copies.append(nil))
	if n < 0 {
		s.pokeFeed()
	}
}

// countRedriving counts the dead letters that are on their way again.
func (s *subscription) countRedriving(n int) {
	s.copies.redriving += n
	s.put(s.key(keyTally), s.copies.append(nil))
}

// disable stops the subscription for good, until it is resumed. The detail is for the status, not for the log.
func (s *subscription) disable(reason, detail string) {
	if s.config.Disabled != "" {
		return
	}
	s.config.Disabled, s.config.DisabledAt = reason+": "+detail, time.Now().UTC()
	s.configDirty = true
	s.hurry()
	s.detachAll()
	s.m.opts.Logger.Warn("delivery: disabled", "subscription", s.name, "reason", reason)
}

// fail decides what a failed attempt means: for the endpoint, or for the key of d.
func (s *subscription) fail(d *delivery, r result, probe bool) {
	now := time.Now()
	if s.pulled() || r.verdict == lapsed || r.verdict == released {
		s.failPulled(d, r, now)
		return
	}
	e := &s.endpoint
	switch {
	case r.verdict == unreachable:
		s.endpointFails(d, r, now)
		return
	case e.failing && (r.verdict == troubled || e.tripped):
		s.probeFailed(d, r, now)
		return
	case e.failing && probe:
		s.probeAnswered() // in another way: the endpoint is there, and the event is at fault
	}
	// A breaker counts every failure, whatever it says of the endpoint.
	suspicious := r.verdict == troubled || s.policy().decl.Breaker.Failures > 0
	if suspicious && s.suspect(d, r.verdict) {
		if !d.own {
			s.endpointFails(d, r, now)
			return
		}
		s.breakerOpens(d, r, now)
	}
	switch s.fateOf(d, now) {
	case dies:
		s.bury(d, "exhausted")
		return
	case pauses:
		s.pauseBefore(d)
		return
	}
	s.retryAt(d, now.Add(s.policy().wait(d.attempts, r.retryAfter)))
	if !suspicious || d.own || d.home != homeLog {
		s.park(d)
	}
	s.putEffort(d)
	if s.inFlight == 0 && s.ready.len() == 0 {
		s.pokeFeed() // nothing else will tell whose fault it is, and what waits behind d may fill the memory
	}
}

// putBack returns an attempt that does not count: d is a head that may be sent again.
func (s *subscription) putBack(d *delivery) {
	d.uncount(1)
	s.unretry(d)
	s.makeReady(d)
	s.storeBack(d)
}

// storeBack records the attempts of a delivery that was put back.
func (s *subscription) storeBack(d *delivery) {
	switch {
	case d.attempts > 0 || d.probes > 0 || d.home == homeRedrive:
		s.putEffort(d)
	case d.tried:
		d.tried = false
		s.put(s.key(kindTried)+d.where.String(), nil)
	}
	if d.home != homeLog {
		d.rec = nil
	}
}
