package delivery

import "time"

// limited reports whether the attempts of d end. A redrive's always do: its event has been a dead letter before.
func (s *subscription) limited(p *policy, d *delivery) bool {
	return !p.pauses || d.home == homeRedrive
}

// fate is what follows a failed attempt.
type fate uint8

const (
	goesOn fate = iota
	dies
	pauses // the subscription does, before the event
)

// fateOf tells whether the policy gives d, of which an attempt failed, another one.
func (s *subscription) fateOf(d *delivery, now time.Time) fate {
	p := s.policy()
	switch {
	case d.attempts < p.attempts:
		return goesOn
	case s.limited(p, d):
		return dies
	case now.Sub(d.accepted) < p.pauseAfter:
		return goesOn
	}
	return pauses
}

// pausesBefore pauses the subscription before an event that is too old and ended the process with its last attempt. Another
// attempt would end it again before anybody could be told.
func (s *subscription) pausesBefore(p *policy, d *delivery) bool {
	if !d.lost || s.limited(p, d) || d.attempts < p.attempts || time.Since(d.accepted) < p.pauseAfter {
		return false
	}
	d.lost = false // once it is resumed it is tried
	s.endProbe(d)
	s.pauseBefore(d)
	return true
}

// pauseBefore pauses the subscription with d, whose last attempt counts, as what is sent when it is resumed.
func (s *subscription) pauseBefore(d *delivery) {
	s.unretry(d)
	s.makeReady(d)
	s.putEffort(d)
	if d.home != homeLog {
		d.rec = nil
	}
	s.pause("the event " + d.position().String() + " used up its attempts: " + d.detail)
}

// pause stops the subscription until it is resumed.
func (s *subscription) pause(reason string) {
	if s.config.Paused {
		return
	}
	s.config.Paused, s.config.PausedFor, s.config.PausedAt = true, reason, time.Now().UTC()
	s.configDirty = true
	s.hurry()
	s.detachAll()
	s.m.opts.Logger.Warn("delivery: paused", "subscription", s.name, "reason", "an event used up its attempts")
}
