package delivery

import (
	"context"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/internal/delivery/webhook"
)

// job is one attempt, as the worker needs it without the lock.
type job struct {
	d       *delivery        // only what does not change: its place, epoch and names
	rec     *tandem.Record   // nil to be fetched
	bytes   int              // of the record that it was fetched from
	trace   string           // traceparent of the attempt, if it is a span
	history []tandem.Attempt // of a dead letter, before it was redriven
	row     uint64           // of that: the segment of its row
	name    string
	attempt int
	leased  bool // to a client that pulls, and not sent
	probe   bool // of an endpoint that fails
	limited bool // it must not be made beyond the attempts of the policy
	policy  *policy
	decl    *tandem.Subscription
	home    home

	result result // of what is sent
	single bool   // the next attempt is to be made alone
}

func (s *subscription) newJob(d *delivery) job {
	p := s.policy()
	return job{d: d, rec: d.rec, name: s.name, attempt: d.attempts, probe: s.endpoint.probe == d, limited: s.limited(p, d), policy: p,
		decl: p.decl, home: d.home}
}

// do makes the attempts of one request, without the lock. It returns the target if one was needed and found.
func (s *subscription) do(jobs []job) *webhook.Target {
	live := make([]*job, 0, len(jobs))
	for i := range jobs {
		r, ok := s.prepare(s.ctx, &jobs[i])
		if !ok {
			jobs[i].result = r
			continue
		}
		live = append(live, &jobs[i])
	}
	if len(live) == 0 {
		return nil
	}
	p := live[0].policy
	if p.decl.AMQP != nil {
		s.publish(live)
		return nil
	}
	s.amqp.close() // where the declaration was another one before
	if r, ok := s.unhealthy(live[0]); ok {
		for _, j := range live {
			j.result = r
		}
		return nil
	}
	start := time.Now()
	target, err := s.target.get(s.ctx, s, p.decl)
	if err != nil {
		r := result{verdict: unreachable, at: start, detail: "no target: " + err.Error()}
		if s.ctx.Err() != nil {
			r = result{verdict: aborted, at: start, detail: stoppedDetail}
		}
		for _, j := range live {
			j.result = r
		}
		return nil
	}
	start = time.Now()
	if p.batch > 0 {
		s.sendBatch(target, live)
	} else {
		m := live[0].message()
		a := webhook.Send(s.ctx, target, &m)
		live[0].result = s.judge(live[0], &a)
	}
	for _, j := range live {
		s.throughChain(j, start.Add(target.Timeout))
		j.result.at = start
	}
	return target
}

// unhealthy is the result where no attempt is made, since the service takes no requests: what a connection that cannot be made is, but for the
// count. A probe is sent all the same, since the check itself may be at fault.
func (s *subscription) unhealthy(j *job) (result, bool) {
	if j.probe || j.decl.Service == "" {
		return result{}, false
	}
	ok, reason := s.m.opts.Healthy(j.decl.Service)
	return result{verdict: unreachable, detail: reason}, !ok
}

// throughChain lets the replies to an event go through the request links of their topics, within the time of the attempt.
func (s *subscription) throughChain(j *job, until time.Time) {
	r := &j.result
	if len(r.replies) == 0 {
		return
	}
	ctx, cancel := context.WithDeadline(s.ctx, until)
	defer cancel()
	followed, err := s.m.opts.Chain.Follow(ctx, r.replies)
	switch {
	case err != nil && s.ctx.Err() != nil:
		*r = result{verdict: aborted, took: r.took, detail: stoppedDetail}
	case err != nil:
		r.verdict, r.replies, r.detail = failed, nil, "the reply could not be stored: "+err.Error()
	case followed != nil:
		r.replies, r.followed = followed.Events, followed
	}
}

// prepare reads the event if it is not in memory. It reports whether an attempt is to be made; if not, the result says why.
func (s *subscription) prepare(ctx context.Context, j *job) (result, bool) {
	if j.rec == nil {
		rec, err := s.fetch(ctx, j)
		switch {
		case err != nil:
			s.m.opts.Logger.Warn("delivery: cannot read an event again", "subscription", s.name, "place", j.d.where.String(), "error", err)
			return result{verdict: unread}, false
		case rec == nil:
			return result{verdict: vanished}, false
		}
		j.rec = rec
	}
	switch {
	case j.rec.Meta.Hops > tandem.MaxHops:
		return result{verdict: looped, detail: "the event is more than 32 replies away from its first cause"}, false
	case j.limited && j.attempt > j.policy.attempts:
		return result{verdict: exhausted}, false
	case j.decl.Pull != nil && !j.leased:
		return result{verdict: aborted, at: time.Now(), detail: "not sent, since the subscription is pulled now"}, false
	}
	s.m.enter(j)
	return result{}, true
}

func (j *job) message() webhook.Message {
	return webhook.Message{Record: j.rec, Subscription: j.sender(), Replay: j.replay(), Attempt: j.attempt, MaxAttempts: j.policy.attempts,
		ID: webhookID(j), TraceParent: j.trace}
}

// judge turns an answer into a result.
func (s *subscription) judge(j *job, a *webhook.Answer) result {
	if r, ok := s.noAnswer(a); ok {
		return r
	}
	r := result{verdict: j.policy.judge(a.Status), status: a.Status, took: a.Took}
	switch {
	case r.verdict == delivered && isSuccess(a.Status):
		replies, err := s.m.replies(j, a)
		r.take(replies, err)
	case r.verdict != delivered:
		r.detail = a.Excerpt()
		r.retryAfter, _ = a.RetryAfter(time.Now())
	}
	return r
}

// noAnswer is judge where nothing came back.
func (s *subscription) noAnswer(a *webhook.Answer) (r result, ok bool) {
	switch {
	case a.Err == nil:
		return result{}, false
	case s.ctx.Err() != nil:
		return result{verdict: aborted, took: a.Took, detail: stoppedDetail}, true
	case a.Connect:
		return result{verdict: unreachable, took: a.Took, detail: a.Excerpt()}, true
	}
	return result{verdict: troubled, took: a.Took, detail: a.Excerpt()}, true
}

// take adds the replies of an event that was delivered.
func (r *result) take(replies []eventlog.TopicEvent, err error) {
	if err != nil {
		r.verdict, r.detail = failed, "the reply is invalid: "+err.Error()
		return
	}
	r.replies = replies
}

func isSuccess(status int) bool { return status >= 200 && status < 300 }

// learn takes over what the dead letter of a redrive told.
func (d *delivery) learn(j *job) {
	if d.home != homeRedrive || j.bytes == 0 {
		return
	}
	d.bytes, d.rowAt = j.bytes, j.row
	if len(d.history) == 0 {
		d.recallHistory(j.history) // a redrive carries on with it
	}
}

// webhookID is the same for every attempt to deliver an event to a subscription within an epoch.
func webhookID(j *job) string {
	epoch, _ := j.epochs()
	return "msg_" + tandem.DerivedID(j.sender(), j.rec.Position.Topic, j.rec.Source, j.rec.ID, epoch)
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
	l, rec, err := parseLetter(value)
	j.bytes, j.history, j.row = len(value), l.History, l.Row
	if err != nil { // a damaged copy: the event itself may still be there
		s.m.opts.Logger.Error("delivery: a copy of an event is damaged", "record", key, "error", err)
		return s.m.readOne(ctx, d.where)
	}
	return &rec, nil
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
