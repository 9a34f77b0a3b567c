package delivery

import (
	"context"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// maxPullBytes is how much of what is not in memory one call of Pull reads.
const maxPullBytes = 8 << 20

// leaseBatch is what one call of Pull has taken and not handed out yet.
type leaseBatch struct {
	jobs       []job
	visibility time.Duration
	recorded   chan struct{} // closed when the starts are stored; nil if none must be
}

// takeLeases takes what there is for w, or lets it wait at the end of the queue. Codes: Invalid, Overloaded, Unavailable.
func (s *subscription) takeLeases(w *puller, req tandem.PullRequest) (b leaseBatch, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining || s.halted:
		return b, s.ended()
	case !s.pulled():
		return b, notPulled(s.name)
	}
	queued := slices.Contains(s.pullers, w)
	if !queued {
		if len(s.pullers) >= maxPullers {
			return b, tandem.Errorf(tandem.CodeOverloaded, "%d calls wait for events of this subscription already", maxPullers).
				WithHint("let one call ask for more events")
		}
		s.pullers = append(s.pullers, w)
	}
	if s.pullers[0] != w || !s.sends() {
		return b, nil
	}
	defer s.seeRoom()
	if b.visibility = time.Duration(req.Visibility); b.visibility == 0 {
		b.visibility = s.visibility()
	}
	p := s.policy()
	if !s.rateAllows(p) {
		return b, nil
	}
	share := (s.ready.len() + len(s.pullers) - 1) / len(s.pullers)
	n := min(req.Max, share, s.concurrency()-s.inFlight, s.atOnce(p))
	record := false
	for len(b.jobs) < n {
		d := s.ready.pop()
		if d == nil {
			break
		}
		if d.stage != stageReady {
			continue // sought over while it was queued
		}
		if s.pausesBefore(p, d) {
			break
		}
		s.inFlight++
		d.attempts++
		d.stage = stageStarting
		if d.attempts > p.attempts && s.limited(p, d) || d.rec != nil && d.rec.Meta.Hops > tandem.MaxHops {
			s.begun.push(d) // a worker finds out that no attempt is to be made
			continue
		}
		if s.mustRecord(d) {
			s.putEffort(d)
			record = true
		}
		if b.jobs == nil {
			b.jobs = make([]job, 0, n)
		}
		b.jobs = append(b.jobs, s.newJob(d))
		b.jobs[len(b.jobs)-1].leased = true
	}
	if record {
		b.recorded = make(chan struct{})
		s.after = append(s.after, func() { close(b.recorded) })
		s.hurry()
	}
	if len(b.jobs) > 0 {
		s.spend(len(b.jobs))
		s.unqueue(w)
	}
	s.kick()
	return b, nil
}

// handOver makes leases of what was taken, when the starts that must be are stored and what is not in memory is read.
func (s *subscription) handOver(ctx context.Context, b leaseBatch) ([]tandem.Lease, error) {
	if b.recorded != nil {
		if err := s.await(ctx, b.recorded); err != nil {
			s.giveBack(b.jobs)
			return nil, err
		}
	}
	b.jobs = s.readAgain(ctx, b.jobs)
	leases := make([]tandem.Lease, len(b.jobs))
	for i := range b.jobs {
		j := &b.jobs[i]
		leases[i] = tandem.Lease{Attempt: j.attempt, MaxAttempts: j.policy.attempts, ID: webhookID(j), Event: *j.rec}
	}
	until, nonce, err := s.lend(ctx, &b)
	if err != nil {
		return nil, err
	}
	end := until.UTC().Format(time.RFC3339Nano)
	out := leases[:0]
	for i := range b.jobs {
		j := &b.jobs[i]
		if j.d == nil {
			continue // sought over meanwhile
		}
		t := token{s.tag, nonce + uint64(i), j.d.where, j.d.epoch, j.attempt, j.home == homeRedrive}
		leases[i].Token, leases[i].Until = t.String(), end
		out = append(out, leases[i])
	}
	clear(leases[len(out):])
	return out, nil
}

// lend begins the leases. Those of jobs that have been settled meanwhile lose their delivery. The nonce is that of the first job, and
// rises by one for each.
func (s *subscription) lend(ctx context.Context, b *leaseBatch) (until time.Time, nonce uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil || s.draining || s.halted {
		if err == nil {
			err = s.ended()
		}
		s.putBackJobs(b.jobs)
		return until, 0, err
	}
	now := time.Now()
	nonce = s.nonce
	s.nonce += uint64(len(b.jobs))
	lent := make([]*delivery, 0, len(b.jobs))
	for i := range b.jobs {
		d := b.jobs[i].d
		if d.stage == stageSettled {
			s.giveUpStart(d)
			b.jobs[i].d = nil
			continue
		}
		d.learn(&b.jobs[i])
		if d.rec == nil {
			d.about = aboutOf(b.jobs[i].rec)
		}
		d.stage, d.began, d.lease = stageSending, now, lease{nonce: nonce + uint64(i)}
		lent = append(lent, d)
	}
	until = now.Add(b.visibility)
	if len(lent) > 0 {
		s.leased += len(lent)
		s.newHand(lent, until, s.m.opts.Principal(ctx))
	}
	return until, nonce, nil
}

// readAgain reads the events that are not in memory, up to maxPullBytes of them. It returns the jobs that can be handed out; the
// others end here.
func (s *subscription) readAgain(ctx context.Context, jobs []job) []job {
	first := slices.IndexFunc(jobs, func(j job) bool { return j.rec == nil })
	if first < 0 {
		return jobs
	}
	keep := jobs[:first]
	bytes := 0
	for i := first; i < len(jobs); i++ {
		j := &jobs[i]
		if j.rec == nil {
			if bytes >= maxPullBytes {
				s.giveBack(jobs[i : i+1])
				continue
			}
			if r, ok := s.prepare(ctx, j); !ok {
				s.mu.Lock()
				s.inFlight--
				j.result = r
				s.finishJob(j)
				s.checkDrained()
				s.mu.Unlock()
				continue
			}
			bytes += eventBytes(j.rec)
		}
		keep = append(keep, *j)
	}
	return keep
}

// giveBack lets others have what was taken and not handed out.
func (s *subscription) giveBack(jobs []job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putBackJobs(jobs)
}

func (s *subscription) putBackJobs(jobs []job) {
	for i := range jobs {
		d := jobs[i].d
		if d.stage == stageSettled {
			s.giveUpStart(d)
			continue
		}
		s.inFlight--
		d.attempts--
		s.makeReady(d)
		s.storeBack(d)
	}
	s.checkDrained()
	s.kick()
}

// await waits until a group is stored. Codes: Unavailable; NotFound when the subscription is deleted.
func (s *subscription) await(ctx context.Context, stored <-chan struct{}) error {
	select {
	case <-stored:
		return nil
	case <-ctx.Done():
		return tandem.Errorf(tandem.CodeUnavailable, "the log did not store it in time: %w", ctx.Err())
	case <-s.done:
	case <-s.over:
	}
	select {
	case <-stored: // with the last group
		return nil
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended()
}
