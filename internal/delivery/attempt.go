package delivery

import (
	"container/heap"
	"time"

	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/internal/chain"
)

// maxUncommitted is how many outcomes may wait to be stored before nothing more is sent: it bounds what is repeated after a
// crash when the disk is slow.
const maxUncommitted = 2048

// maxAnswered is how many answers with replies may wait for the group after the one that is being stored: each may have a MiB.
const maxAnswered = 256

// result is what became of an attempt.
type result struct {
	verdict    verdict
	at         time.Time // of its start; zero when no attempt was made
	status     int
	detail     string
	took       time.Duration
	retryAfter time.Duration
	replies    []eventlog.TopicEvent
	followed   *chain.Followed // replies among it, where they went through request links
}

// kick starts as many workers as there is work for. Called with mu held whenever something may have become ready.
func (s *subscription) kick() {
	s.wakePuller()
	for s.workers < s.requests+s.takeable() {
		s.workers++
		s.group.Go(s.work)
	}
}

// takeable is about how many requests take would return now; it may be too high.
func (s *subscription) takeable() int {
	p := s.policy()
	room := p.concurrency - s.requests
	n := min(room, s.requestsFor(p, s.begun.len(), s.begun.peek()))
	free := p.concurrency - s.toSend()
	if p.batch > 0 {
		free = room - n
	}
	if !s.sends() || s.pulled() {
		return n
	}
	if s.endpoint.failing {
		if s.ready.len() > 0 && s.endpoint.probe == nil && !time.Now().Before(s.endpoint.probeAt) {
			n++
		}
		return n
	}
	if free > 0 && s.nextSize(p) > 0 {
		n += min(free, s.requestsFor(p, s.ready.len(), s.ready.peek()))
	}
	return n
}

// toSend is how many deliveries in flight are sent, or about to be. Leases of before the subscription was sent hold nothing back.
func (s *subscription) toSend() int { return s.inFlight - s.leased }

// sends reports whether attempts may begin.
func (s *subscription) sends() bool {
	return !s.draining && !s.paused() && !s.storeFails && s.uncommitted < maxUncommitted && len(s.answered)+len(s.alone) < maxAnswered
}

// work sends until nothing is ready.
func (s *subscription) work() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var deliveries []*delivery
	var jobs []job
	for {
		deliveries = s.take(deliveries[:0])
		s.seeRoom()
		if len(deliveries) == 0 {
			s.workers--
			s.checkDrained()
			return
		}
		jobs = jobs[:0]
		s.request++
		for _, d := range deliveries {
			d.stage, d.request = stageSending, s.request
			jobs = append(jobs, s.newJob(d))
		}
		if s.policy().batch > 0 {
			s.batchAt = time.Now()
		}
		s.requests++
		s.sending += len(jobs)
		s.mu.Unlock()
		target := s.do(jobs)
		s.mu.Lock()
		s.requests--
		s.sending -= len(jobs)
		s.inFlight -= len(jobs)
		if target != nil {
			s.allowed = target.AllowedRate
		}
		s.finishAll(jobs)
		clear(jobs)
		s.checkDrained()
		s.kick()
	}
}

// finishAll takes the results of one request. Failures come first: what was delivered beside them tells whose they are.
func (s *subscription) finishAll(jobs []job) {
	for i := range jobs {
		if j := &jobs[i]; j.result.verdict.isFailure() {
			s.finishJob(j)
		}
	}
	for i := range jobs {
		if j := &jobs[i]; !j.result.verdict.isFailure() {
			s.finishJob(j)
		}
	}
}

func (s *subscription) finishJob(j *job) {
	d := j.d
	if d.stage != stageSettled {
		d.rec = j.rec
		d.single = d.single || j.single
		d.learn(j)
	}
	s.m.left(j, &j.result)
	s.finish(d, j.result)
}

// take returns the deliveries of the next request, with their place in flight taken, none when there is nothing to send.
func (s *subscription) take(into []*delivery) []*delivery {
	p := s.policy()
	if s.requests >= p.concurrency {
		return into
	}
	if into = s.takeBegun(p, into); len(into) > 0 {
		return into
	}
	for len(into) == 0 && s.sends() && !s.pulled() {
		var first *delivery
		n := 1
		if s.endpoint.failing {
			if s.rateAllows(p) {
				first = s.takeProbe()
			}
		} else if s.toSend() < p.concurrency*max(1, p.batch) {
			if n = s.nextSize(p); n > 0 {
				first = s.ready.pop()
			}
		}
		if first == nil {
			break
		}
		into = s.takeReady(p, into, first, n)
	}
	return into
}

// takeBegun takes deliveries whose start is recorded.
func (s *subscription) takeBegun(p *policy, into []*delivery) []*delivery {
	bytes := 0
	for s.begun.len() > 0 {
		d := s.begun.peek()
		if d.stage != stageSettled && !s.fits(p, len(into), bytes, d) {
			break
		}
		s.begun.pop()
		if d.stage == stageSettled {
			s.giveUpStart(d)
			continue
		}
		into = append(into, d)
		bytes += d.bytes
		if s.goesAlone(p, d) {
			break
		}
	}
	return into
}

// takeReady begins the attempts of first and, for a batch, of up to n-1 more. Those whose start must be recorded come back by
// takeBegun; what is taken together is recorded together.
func (s *subscription) takeReady(p *policy, into []*delivery, first *delivery, n int) []*delivery {
	taken, bytes := 0, 0
	for d := first; d != nil; {
		// Otherwise it was settled or sought over while it was queued.
		if d.stage == stageReady && !s.pausesBefore(p, d) {
			taken++
			bytes += d.bytes
			s.inFlight++
			d.attempts++
			if d.attempts > p.attempts && s.limited(p, d) || !s.mustRecord(d) {
				into = append(into, d)
			} else {
				s.recordStart(d)
			}
		}
		// A redrive goes alone, so that only live ones can join.
		if more := s.ready.live.peek(); more == nil || taken >= n || s.goesAlone(p, d) || !s.fits(p, taken, bytes, more) {
			break
		}
		d = s.ready.live.pop()
	}
	s.spend(taken)
	return into
}

// mustRecord reports whether the start of an attempt is recorded before it: from the second on, so that an event that ends the
// process ends dead, and for the first after a crash that may have been its doing, or while a crash would not be noticed.
func (s *subscription) mustRecord(d *delivery) bool {
	if d.attempts == 1 && d.probes == 0 && (s.careful > 0 || !s.marked) {
		s.careful = max(0, s.careful-1)
		return true
	}
	return d.attempts > 1 || d.probes > 0 || d.home == homeRedrive
}

// recordStart lets the attempt begin when its start is stored.
func (s *subscription) recordStart(d *delivery) {
	d.stage = stageStarting
	s.putEffort(d)
	s.hurry()
	s.after = append(s.after, func() {
		if d.stage == stageSettled {
			s.giveUpStart(d)
			return
		}
		s.begun.push(d)
	})
}

// giveUpStart frees the slot of an attempt whose delivery got its outcome, or was sought over, before it was sent.
func (s *subscription) giveUpStart(d *delivery) {
	s.inFlight--
	s.endProbe(d)
	s.checkDrained()
}

// effort returns what is recorded of the attempts for d. A probe's start does not count.
func (s *subscription) effort(d *delivery) effort {
	e := effort{Version: formatVersion, Epoch: d.epoch, Attempts: d.attempts, Probes: d.probes, Due: d.due, Status: d.status,
		Detail: d.detail, Took: d.took.Milliseconds(), History: d.history}
	if s.endpoint.probe == d {
		e.Attempts--
		e.Probes++
	}
	if d.stage == stageStarting {
		number := d.attempts
		if s.endpoint.probe == d {
			number = 0
		}
		e.Open, e.Status, e.Detail, e.Took, e.History = true, 0, lostDetail, 0, d.withStart(number)
	}
	return e
}

func (s *subscription) putEffort(d *delivery) {
	value := jsonValue(s.effort(d))
	if d.home == homeRedrive {
		s.put(s.key(kindRedrive)+d.redrive, value)
		return
	}
	d.tried = true
	s.put(s.key(kindTried)+d.where.String(), value)
	if t := s.tracks[d.topic]; t != nil && d.home == homeLog {
		t.dirty = true // a start believes the record only if the cursor holds the event
	}
}

// retryAt lets d wait for its next attempt.
func (s *subscription) retryAt(d *delivery, at time.Time) {
	d.due, d.stage = at, stageRetrying
	heap.Push(&s.retry, d)
	if s.retry[0] == d {
		s.poke()
	}
}

func (s *subscription) unretry(d *delivery) {
	if d.index >= 0 {
		heap.Remove(&s.retry, d.index)
	}
	d.due = time.Time{}
}

// releaseDue makes ready what is due and returns when the next is.
func (s *subscription) releaseDue(now time.Time) (next time.Time) {
	for len(s.retry) > 0 {
		d := s.retry[0]
		if d.due.After(now) {
			return d.due
		}
		heap.Pop(&s.retry)
		s.makeReady(d)
	}
	return time.Time{}
}
