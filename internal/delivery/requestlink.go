package delivery

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/chain"
	"github.com/tandem-hybrid/tandem/internal/delivery/webhook"
)

// requestLink is a subscription of mode request as a link of chains. What it took is marked, and not delivered when it is read; what
// came into the log another way, or while the mode changed, is delivered as an event.
type requestLink struct {
	s      *subscription
	policy *policy // of the declaration in force when the table was made
}

var _ chain.Link = (*requestLink)(nil)

func isRequest(sub *tandem.Subscription) bool { return sub.Mode == tandem.DeliverRequest }

// checkMode reports what is wrong with the mode of a declaration. Code: Unsupported where there are no chains.
func (m *Manager) checkMode(bad *tandem.Error, sub *tandem.Subscription) error {
	switch {
	case sub.Mode != "" && sub.Mode != tandem.DeliverEvent && sub.Mode != tandem.DeliverRequest:
		bad.WithField("/mode", "%q is not event or request", sub.Mode)
	case !isRequest(sub):
		if sub.Parallel {
			bad.WithField("/parallel", "goes with mode: request")
		}
	case m.opts.Chain == nil && !m.unread:
		return tandem.Errorf(tandem.CodeUnsupported, "mode request is not supported here").WithField("/mode", "must be event")
	case sub.Pull != nil:
		bad.WithField("/mode", "cannot be request beside pull: nobody is called")
	case sub.AMQP != nil:
		bad.WithField("/mode", "cannot be request beside amqp: a broker does not answer")
	case sub.Content == tandem.ContentBatch:
		bad.WithField("/content", "cannot be batch in mode request: events are sent one by one")
	}
	return nil
}

// relink gives the chains the links in force, in declared order: those of the file first, then those of the API by age.
func (m *Manager) relink() {
	m.linking.Lock()
	defer m.linking.Unlock()
	type ordered struct {
		link  *requestLink
		first int
		born  int64
	}
	var all []ordered
	subs := m.sorted()
	m.mu.RLock()
	order := m.order
	m.mu.RUnlock()
	for _, s := range subs {
		s.mu.Lock()
		c := &s.config
		if len(c.Versions) > 0 && isRequest(c.current()) && !c.Orphan && !c.Deleted && c.Until == nil {
			l := &requestLink{s: s, policy: s.policy()}
			s.calls.allow(l.policy.decl.Concurrency)
			at, ok := order[s.name]
			if !ok {
				at = len(order)
			}
			all = append(all, ordered{l, at, c.Born})
		}
		s.mu.Unlock()
	}
	slices.SortStableFunc(all, func(a, b ordered) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.born, b.born), strings.Compare(a.link.s.name, b.link.s.name))
	})
	links := make([]chain.Link, len(all))
	for i := range all {
		links[i] = all[i].link
	}
	m.opts.Chain.Use(links)
}

func (l *requestLink) Name() string { return l.s.name }

func (l *requestLink) Born() int64 { return l.s.birth }

func (l *requestLink) Parallel() bool { return l.policy.decl.Parallel }

func (l *requestLink) Reads(topic string) bool { return matchesTopic(l.policy.decl, topic) }

func (l *requestLink) Matches(ev *tandem.Event) bool { return l.policy.decl.Filter.Match(ev) }

// Call makes one attempt to send an event. Trying again is left to the publisher.
func (l *requestLink) Call(ctx context.Context, rec *tandem.Record) chain.Answer {
	s := l.s
	if !s.calls.take(ctx) {
		const full = "as many requests as its concurrency allows are under way"
		return chain.Answer{Outcome: tandem.LinkTimeout, At: time.Now(), Reason: full, Detail: full}
	}
	defer s.calls.give()
	at := time.Now()
	may := s.admitsRequest(l.policy, at)
	if may.reason != "" {
		return chain.Answer{Outcome: tandem.LinkUnavailable, At: at, Reason: may.reason, Detail: cmp.Or(may.detail, may.reason)}
	}
	j := job{d: &delivery{epoch: may.epoch}, rec: rec, name: s.name, attempt: 1, probe: may.probe, policy: l.policy, decl: l.policy.decl}
	a := l.send(ctx, &j)
	a.At = at
	return a
}

func (l *requestLink) send(ctx context.Context, j *job) chain.Answer {
	s := l.s
	target, err := s.target.get(ctx, s, j.decl)
	if err != nil {
		r := result{verdict: unreachable, detail: "no target: " + err.Error()}
		if ctx.Err() != nil {
			r.verdict = aborted
		}
		s.requestEnded(j, &r)
		return chain.Answer{Outcome: tandem.LinkUnavailable, Reason: "it has no target", Detail: r.detail}
	}
	s.m.enter(j)
	m := j.message()
	m.MaxAttempts, m.Unstored = 1, true
	began := time.Now()
	got := webhook.Send(ctx, target, &m)
	r := s.judge(j, &got)
	if got.Err != nil && !got.Timeout && ctx.Err() != nil {
		r.verdict = aborted
	}
	s.requestEnded(j, &r)
	s.m.left(j, &result{verdict: r.verdict, at: began, status: r.status, took: got.Took})
	return chain.Answer{Outcome: linkOutcome(r.verdict, &got), Reason: l.reasonOf(&r, &got), Detail: r.detail, Status: got.Status, Took: got.Took,
		Replies: r.replies, RetryAfter: r.retryAfter}
}

// linkOutcome is what an attempt means for a chain: "" for success.
func linkOutcome(v verdict, a *webhook.Answer) tandem.LinkOutcome {
	switch {
	case v == delivered:
		return ""
	case a.Timeout:
		return tandem.LinkTimeout
	case v == refused, v == gone, v == failed:
		return tandem.LinkRefused
	}
	return tandem.LinkUnavailable
}

// reasonOf says why an attempt failed, where that is not its status, and without what the service said.
func (l *requestLink) reasonOf(r *result, a *webhook.Answer) string {
	switch {
	case r.verdict == failed && l.policy.judge(a.Status) == delivered:
		return "its reply is invalid"
	case a.Connect:
		return "no connection"
	case a.Timeout:
		return "its time was out"
	case a.Err != nil:
		return "the exchange broke off"
	}
	return ""
}

// requestBreaker is the breaker of a subscription in mode request. Guarded by subscription.mu.
type requestBreaker struct {
	row   int       // failures since the last success
	opens time.Time // when one request is let through; zero: it is open
	times int       // how often it closed since the last success
}

// admission says how a request begins, or why it does not.
type admission struct {
	epoch uint64
	probe bool // it is to show whether the endpoint is well again

	reason string // "": it begins
	detail string // for the ledger, where that differs: it may show what the service said
}

// admitsRequest begins a request, if one may be made now.
func (s *subscription) admitsRequest(p *policy, now time.Time) admission {
	s.mu.Lock()
	defer s.mu.Unlock()
	may := admission{epoch: s.config.Epoch}
	switch g := &s.breaker; {
	case s.cancel == nil || s.draining:
		return admission{reason: "it is not running"}
	case s.paused():
		state, why := s.state()
		return admission{reason: "it is " + state, detail: "it is " + state + ": " + why}
	case s.storeFails:
		return admission{reason: "its outcomes cannot be stored"}
	case p.decl.Service != "" && !s.healthy(p.decl.Service):
		return admission{reason: "its service is unhealthy"}
	case p.decl.Breaker.Failures == 0 || g.opens.IsZero():
	case now.Before(g.opens):
		return admission{reason: "its breaker is open"}
	default:
		may.probe = true
		g.opens = now.Add(p.breakerWait(g.times)) // for the others, until this one shows how it is
	}
	s.sending++
	return may
}

func (s *subscription) healthy(service string) bool {
	ok, _ := s.m.opts.Healthy(service)
	return ok
}

// breakerWait is how long the breaker stays open for the n-th time in a row.
func (p *policy) breakerWait(n int) time.Duration {
	if w := time.Duration(p.decl.Breaker.Wait); w > 0 {
		return w
	}
	return p.probeWait(n, 0)
}

// requestEnded takes the result of a request. One that ended with its chain says nothing of the endpoint: the client chose how long that lasts.
func (s *subscription) requestEnded(j *job, r *result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sending--
	s.counts.add(r)
	if r.verdict == delivered {
		s.delivered++
	} else {
		s.failures++
	}
	p, g := j.policy, &s.breaker
	switch {
	case r.verdict == aborted:
		if j.probe && !g.opens.IsZero() {
			g.opens = time.Now() // the next one is a probe in its place
		}
		return
	case !r.verdict.isFailure():
		*g = requestBreaker{}
		return
	case !j.probe && !g.opens.IsZero():
		return // it began before the breaker opened, which says no more of the endpoint
	}
	g.row++
	if limit := p.decl.Breaker.Failures; limit > 0 && g.row >= limit {
		g.times++
		g.opens = time.Now().Add(p.breakerWait(g.times))
	}
}

// Note implements chain.Link: the ledger has a row for each call, unless too many wait for the log to take them.
func (l *requestLink) Note(c *chain.Called) {
	s := l.s
	a := c.Answer
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ledger.off || s.halted || s.cancel == nil || s.damaged != "" || len(s.ledger.pending) >= maxUncommitted {
		return
	}
	ended := a.At.Add(a.Took)
	if c.Stored {
		if info, ok := s.m.topic(c.Event.Position.Topic); ok {
			w := where{info.ID, c.Event.Position.Partition, c.Event.Position.Offset}
			s.ledger.pending = append(s.ledger.pending, outcome{where: w, epoch: s.config.Epoch, name: info.Name, at: ended.UnixMilli(),
				took: tenths(a.Took), status: uint16(a.Status)})
			s.touch()
		}
		return
	}
	s.recordRequest(c)
}
