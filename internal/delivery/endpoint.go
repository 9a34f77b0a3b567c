package delivery

import (
	"slices"
	"strconv"
	"time"
)

// keysForEndpoint is on how many keys attempts must fail, with no success between, for the endpoint to be the cause.
const keysForEndpoint = 3

// probesPerEvent is how often an event is the probe before that of another key is.
const probesPerEvent = 3

// endpoint tells the failure of an endpoint from that of a key. While it is failing nothing is read and only probes are sent:
// the oldest event, and after three failures of it the oldest of another key. Probes do not count.
type endpoint struct {
	failing bool
	reason  string
	since   time.Time
	probe   *delivery // under way
	probeAt time.Time
	// wantsMore lets the reader go on until it brings another key: every head in memory was the probe three times.
	wantsMore bool

	// suspects are the heads whose attempts failed since the last success, each of another key. They stay in memory, before the
	// cursor, until a success shows that they are the cause themselves.
	suspects []*delivery

	row     int    // failures since the last success
	request uint64 // the last of them
	tripped bool   // failing, by the breaker: any failure of a probe keeps it so
	answers bool   // failing, by the checks of its service alone: the last probe was answered
}

// suspect notes a failure that may be the endpoint's and reports whether it is now.
func (s *subscription) suspect(d *delivery, v verdict) bool {
	e := &s.endpoint
	if e.row == 0 || e.request != d.request {
		e.row++ // a batch fails once
		e.request = d.request
	}
	if limit := s.policy().decl.Breaker.Failures; limit > 0 && e.row >= limit {
		e.tripped = true
	}
	if d.own {
		return e.tripped
	}
	d.streak++
	d.trouble = v == troubled
	sameKey := func(o *delivery) bool { return o == d || d.key != "" && o.key == d.key && o.topic == d.topic }
	if i := slices.IndexFunc(e.suspects, sameKey); i >= 0 {
		e.suspects[i] = d
	} else {
		e.suspects = append(e.suspects, d)
	}
	return e.tripped || e.keysInTrouble()
}

// keysInTrouble reports whether enough keys failed as only an endpoint in trouble does. A batch is evidence once, since one event
// may have spoilt it for all.
func (e *endpoint) keysInTrouble() bool {
	var requests [keysForEndpoint]uint64
	n := 0
	for _, d := range e.suspects {
		if d.trouble && !slices.Contains(requests[:n], d.request) {
			requests[n] = d.request
			if n++; n == keysForEndpoint {
				return true
			}
		}
	}
	return false
}

// cleared notes that the endpoint took an event, or refused it for what it is: what failed until now failed by itself.
func (s *subscription) cleared() {
	e := &s.endpoint
	for _, d := range e.suspects {
		d.streak, d.own = 0, true
		if d.stage == stageRetrying && d.home == homeLog {
			s.park(d)
		}
	}
	clear(e.suspects)
	e.suspects, e.row = e.suspects[:0], 0
	if e.failing {
		for _, d := range s.ready.all() {
			d.own = d.own || d.probes >= probesPerEvent // it was the probe in vain, and another was not
		}
		s.probeAnswered()
	}
}

// parkSuspects makes room: the events behind a failing one are what fills the memory. It reports whether any was parked. Their
// attempts go back uncounted all the same if the endpoint turns out to be the cause.
func (s *subscription) parkSuspects() bool {
	parked := false
	for _, d := range s.endpoint.suspects {
		if d.stage == stageRetrying && d.home == homeLog {
			s.park(d)
			parked = true
		}
	}
	return parked
}

// endpointFails stops the reader; what was tried goes back uncounted, d among it.
func (s *subscription) endpointFails(d *delivery, r result, now time.Time) {
	if !s.endpoint.failing {
		s.endpointStops(d, r, now)
		before := max(0, d.streak-1)
		d.uncount(before)
		d.probes += before
		d.streak = 0
	}
	s.probeFailed(d, r, now)
}

// endpointStops stops the reader after a failure of d; what was tried beside it goes back uncounted.
func (s *subscription) endpointStops(d *delivery, r result, now time.Time) {
	e := &s.endpoint
	if e.failing {
		return
	}
	e.failing, e.reason, e.since = true, r.detail, now
	s.detachAll()
	back := e.suspects
	e.suspects = nil
	for _, o := range back {
		if o == d || o.stage == stageSettled {
			continue
		}
		// Those under way are put back by their own result; here go the attempts before it.
		o.uncount(o.streak)
		o.probes += o.streak
		o.streak = 0
		if o.stage != stageRetrying {
			continue
		}
		if o.home == homeLog {
			s.unretry(o)
			s.makeReady(o)
		}
		s.storeBack(o)
	}
	s.m.opts.Logger.Warn("delivery: the endpoint fails", "subscription", s.name, "reason", r.logged())
	p := s.policy()
	if w := time.Duration(p.decl.Breaker.Wait); w > 0 {
		e.probeAt = now.Add(max(w, min(r.retryAfter, p.retryAfter)))
	}
	s.poke()
}

// breakerOpens is endpointFails where others succeeded while d failed: its attempts count, so that it ends, too.
func (s *subscription) breakerOpens(d *delivery, r result, now time.Time) {
	s.endpointStops(d, r, now)
	if s.policy().decl.Breaker.Wait == 0 {
		s.probeAfter(1, r, now)
	}
}

// probeAfter lets the next probe wait as after n that failed.
func (s *subscription) probeAfter(n int, r result, now time.Time) {
	if at := now.Add(s.policy().probeWait(n, r.retryAfter)); at.After(s.endpoint.probeAt) {
		s.endpoint.probeAt = at
	}
}

// logged is what the log may say of a failed attempt: an answer's status, never what its body holds.
func (r *result) logged() string {
	if r.status != 0 {
		return "status " + strconv.Itoa(r.status)
	}
	return r.detail
}

// probeFailed puts an attempt back that failed while the endpoint does, and sets the time of the next probe.
func (s *subscription) probeFailed(d *delivery, r result, now time.Time) {
	e := &s.endpoint
	d.probes++
	e.reason, e.answers = r.detail, false
	s.putBack(d)
	if !e.probeAt.After(now) || s.policy().decl.Breaker.Wait == 0 {
		s.probeAfter((d.probes-1)%probesPerEvent+1+d.probes/probesPerEvent, r, now)
	}
	s.poke()
}

// takeProbe returns the event to probe with, when it is time.
func (s *subscription) takeProbe() *delivery {
	e := &s.endpoint
	if e.probe != nil || time.Now().Before(e.probeAt) {
		return nil
	}
	var best *delivery
	for _, d := range s.ready.all() {
		if d.stage == stageReady && (best == nil || probeBefore(d, best)) {
			best = d
		}
	}
	if best == nil || best.probes >= probesPerEvent {
		s.readMore()
	}
	if best == nil {
		return nil
	}
	s.ready.remove(best)
	e.probe = best
	return best
}

// endProbe reports whether d is the probe, which ends here.
func (s *subscription) endProbe(d *delivery) bool {
	if s.endpoint.probe != d {
		return false
	}
	s.endpoint.probe = nil
	s.poke() // the loop sees to the next
	return true
}

// readMore lets the reader bring another key to probe with.
func (s *subscription) readMore() {
	if !s.endpoint.wantsMore {
		s.endpoint.wantsMore = true
		s.pokeFeed()
	}
}

// probeBefore orders candidates: who was the probe less often (in rounds of three), what was not at fault before, who is older.
func probeBefore(a, b *delivery) bool {
	ra, rb := a.probes/probesPerEvent, b.probes/probesPerEvent
	if ra != rb {
		return ra < rb
	}
	if pa, pb := a.home > homeLog, b.home > homeLog; pa != pb {
		return pb
	}
	return a.older(b) < 0
}

// probeAnswered lets the subscription go on, unless its service is known to be unhealthy: then it goes on with probes, one at a time.
func (s *subscription) probeAnswered() {
	if service := s.policy().decl.Service; service != "" {
		if ok, reason := s.m.opts.Healthy(service); !ok {
			s.endpoint.reason, s.endpoint.tripped, s.endpoint.answers = reason, false, true
			s.probeAfter(1, result{}, time.Now())
			s.poke()
			return
		}
	}
	s.endpointBack()
}

// Recovered says that a service takes requests again: those who wait for it send a probe at once, unless a breaker has them wait; those whose last
// probe was answered go on, since there may be nothing left to probe with.
func (m *Manager) Recovered(service string) {
	for _, s := range m.sorted() {
		s.mu.Lock()
		switch p := s.policy(); {
		case !s.endpoint.failing || p.decl.Service != service:
		case s.endpoint.answers:
			s.endpointBack()
		case p.decl.Breaker.Wait == 0:
			s.endpoint.probeAt = time.Time{}
			s.kick()
			s.poke()
		}
		s.mu.Unlock()
	}
}

// endpointBack lets the subscription go on.
func (s *subscription) endpointBack() {
	e := &s.endpoint
	s.m.opts.Logger.Info("delivery: the endpoint is back", "subscription", s.name, "after", time.Since(e.since))
	e.failing, e.wantsMore, e.reason, e.probeAt, e.row, e.tripped, e.answers = false, false, "", time.Time{}, 0, false, false
	s.pokeFeed()
	s.poke()
}
