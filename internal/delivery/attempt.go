package delivery

import (
	"container/heap"
	"context"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/internal/delivery/webhook"
)

// maxUncommitted is how many outcomes may wait to be stored before nothing more is sent: it bounds what is repeated after a
// crash when the disk is slow.
const maxUncommitted = 2048

// maxAnswered is how many answers with replies may wait for the group after the one that is being stored: each may have a MiB.
const maxAnswered = 256

// result is what became of an attempt.
type result struct {
	verdict    verdict
	status     int
	detail     string
	took       time.Duration
	retryAfter time.Duration
	replies    []eventlog.TopicEvent
}

// kick starts as many workers as there is work for. Called with mu held whenever something may have become ready.
func (s *subscription) kick() {
	for s.workers < s.sending+s.takeable() {
		s.workers++
		s.group.Go(s.work)
	}
}

// takeable is about how many deliveries take would return now; it may be too high.
func (s *subscription) takeable() int {
	n := s.begun.len()
	if !s.sends() {
		return n
	}
	if s.endpoint.failing {
		if s.ready.len() > 0 && s.endpoint.probe == nil && !time.Now().Before(s.endpoint.probeAt) {
			n++
		}
		return n
	}
	return n + min(s.ready.len(), max(0, s.concurrency()-s.inFlight))
}

// sends reports whether attempts may begin.
func (s *subscription) sends() bool {
	return !s.draining && !s.paused() && !s.storeFails && s.uncommitted < maxUncommitted && len(s.answered)+len(s.alone) < maxAnswered
}

// work sends until nothing is ready.
func (s *subscription) work() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		d := s.take()
		if d == nil {
			s.workers--
			s.checkDrained()
			return
		}
		d.stage = stageSending
		s.sending++
		j := job{d: d, rec: d.rec, name: s.name, attempt: d.attempts, max: s.attempts(), decl: s.config.current(), home: d.home, target: &s.target}
		s.mu.Unlock()
		r := s.do(&j)
		s.mu.Lock()
		s.sending--
		s.inFlight--
		if d.stage != stageSettled {
			d.rec = j.rec
			if d.home == homeRedrive && j.bytes > 0 {
				d.bytes = j.bytes
			}
		}
		s.finish(d, r)
		s.checkDrained()
		s.kick()
	}
}

// take returns the next delivery to attempt, with its slot in flight taken, nil when there is none.
func (s *subscription) take() *delivery {
	for {
		if d := s.begun.pop(); d != nil {
			if d.stage != stageSettled {
				return d
			}
			s.giveUpStart(d)
			continue
		}
		if !s.sends() {
			return nil
		}
		var d *delivery
		if s.endpoint.failing {
			d = s.takeProbe()
		} else if s.inFlight < s.concurrency() {
			d = s.ready.pop()
		}
		if d == nil {
			return nil
		}
		if d.stage != stageReady {
			continue // settled or sought over while it was queued
		}
		s.inFlight++
		d.attempts++
		if d.attempts > s.attempts() || !s.mustRecord(d) {
			return d
		}
		s.recordStart(d)
	}
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
		Detail: d.detail, Took: d.took.Milliseconds()}
	if s.endpoint.probe == d {
		e.Attempts--
		e.Probes++
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

// job is one attempt, as the worker needs it without the lock.
type job struct {
	d       *delivery      // only what does not change: its place, epoch and names
	rec     *tandem.Record // nil to be fetched
	bytes   int            // of the record that it was fetched from
	name    string
	attempt int
	max     int
	decl    *tandem.Subscription
	home    home
	target  *targetCache
}

// do makes one attempt, without the lock.
func (s *subscription) do(j *job) result {
	ctx := s.ctx
	if j.rec == nil {
		rec, err := s.fetch(ctx, j)
		switch {
		case err != nil:
			s.m.opts.Logger.Warn("delivery: cannot read an event again", "subscription", s.name, "place", j.d.where.String(), "error", err)
			return result{verdict: unread}
		case rec == nil:
			return result{verdict: vanished}
		}
		j.rec = rec
	}
	switch {
	case j.rec.Meta.Hops > tandem.MaxHops:
		return result{verdict: looped, detail: "the event is more than 32 replies away from its first cause"}
	case j.attempt > j.max:
		return result{verdict: exhausted}
	}
	target, err := j.target.get(s.m, j.decl)
	if err != nil {
		return result{verdict: unreachable, detail: "no target: " + err.Error()}
	}
	a := webhook.Send(ctx, target, &webhook.Message{Record: j.rec, Subscription: j.name, Attempt: j.attempt, MaxAttempts: j.max,
		ID: webhookID(j)})
	return s.judge(j, &a)
}

// judge turns an answer into a result.
func (s *subscription) judge(j *job, a *webhook.Answer) result {
	r := result{verdict: verdictOf(a), status: a.Status, took: a.Took}
	if a.Err != nil && s.ctx.Err() != nil {
		return result{verdict: aborted}
	}
	if r.verdict == delivered {
		replies, err := s.m.replies(j, a)
		if err == nil {
			r.replies = replies
			return r
		}
		r.verdict, r.detail = failed, "the reply is invalid: "+err.Error()
		return r
	}
	r.detail = a.Excerpt()
	if a.Header != nil {
		r.retryAfter, _ = a.RetryAfter(time.Now())
	}
	return r
}

// webhookID is the same for every attempt to deliver an event to a subscription within an epoch.
func webhookID(j *job) string {
	return "msg_" + tandem.DerivedID(j.name, j.rec.Position.Topic, j.rec.Source, j.rec.ID, epochText(j.d.epoch))
}

// fetch reads an event that is not in memory: nil when retention has removed it.
func (s *subscription) fetch(ctx context.Context, j *job) (*tandem.Record, error) {
	d := j.d
	var key string
	switch j.home {
	case homeParked:
		key = s.key(kindParked) + d.where.String()
	case homeRedrive:
		key = s.key(kindDead) + d.redrive
	default:
		return s.m.readOne(ctx, d.where)
	}
	value, err := s.m.log.State(ctx, key)
	if err != nil || value == nil {
		return nil, err
	}
	_, rec, err := parseLetter(value)
	j.bytes = len(value)
	return &rec, err
}

// readOne reads one event from the log, nil when it is not there any more.
func (m *Manager) readOne(ctx context.Context, w where) (*tandem.Record, error) {
	recs, err := m.log.ReadPartition(ctx, w.topic, w.part, w.offset, 1, nil)
	if tandem.CodeOf(err) == tandem.CodeNotFound {
		return nil, nil
	}
	if err != nil || len(recs) == 0 || recs[0].Position.Offset != w.offset {
		return nil, err
	}
	return &recs[0], nil
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
