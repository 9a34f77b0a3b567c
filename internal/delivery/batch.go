package delivery

import (
	"net/http"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem/internal/delivery/webhook"
)

const (
	// maxRequestBytes is what the events of a batch take at most; a single event may be larger.
	maxRequestBytes = 1 << 20
	// batchWait is how long events gather for a batch that is not full, while another one is under way.
	batchWait = 10 * time.Millisecond
)

// requestsFor is how many requests n deliveries make, of which first is the first; it may be too high.
func (s *subscription) requestsFor(p *policy, n int, first *delivery) int {
	if p.batch <= 1 || n == 0 || s.goesAlone(p, first) {
		return n
	}
	return (n + p.batch - 1) / p.batch
}

// goesAlone reports whether d shares a request with no other event: without batches; as the probe; when a batch failed with it, so that
// the cause is found; and where nothing else keeps two events of a key apart.
func (s *subscription) goesAlone(p *policy, d *delivery) bool {
	return p.batch <= 1 || d.single || d.home == homeRedrive || s.endpoint.probe == d || p.ordered && d.lane == nil && d.key != ""
}

// fits reports whether d can join a request with n events. Only heads are ever asked for, so that no two are of one key.
func (s *subscription) fits(p *policy, n, bytes int, d *delivery) bool {
	return n == 0 || n < p.batch && bytes+d.bytes <= maxRequestBytes && !s.goesAlone(p, d)
}

// nextSize is how many events the next request may have at most: zero when it must wait for the rate or, while another is under way,
// for a full batch. The loop looks again when that is over.
func (s *subscription) nextSize(p *policy) int {
	n := s.ready.len()
	if n == 0 || !s.rateAllows(p) {
		return 0
	}
	if p.batch <= 1 {
		return 1
	}
	if n < p.batch && s.requests > 0 && !s.goesAlone(p, s.ready.peek()) {
		if at := s.batchAt.Add(batchWait); at.After(time.Now()) {
			s.lookAgain(at)
			return 0
		}
	}
	return min(p.batch, s.atOnce(p))
}

// lookAgain lets the loop look at what is ready at a time.
func (s *subscription) lookAgain(at time.Time) {
	if s.lookAt.IsZero() || at.Before(s.lookAt) {
		s.lookAt = at
		s.poke()
	}
}

// sendBatch posts events in one request and notes the result of each.
func (s *subscription) sendBatch(target *webhook.Target, jobs []*job) {
	messages := make([]webhook.Message, len(jobs))
	for i, j := range jobs {
		messages[i] = j.message()
	}
	messages[0].TraceParent = s.m.enterBatch(jobs)
	start := time.Now()
	a := webhook.SendBatch(s.ctx, target, messages)
	s.m.leftBatch(jobs, messages[0].TraceParent, start, &a)
	items, each, err := a.Results(len(jobs))
	if each {
		for i, j := range jobs {
			j.result = s.judgeItem(j, &items[i], a.Took)
		}
		return
	}
	r := s.judgeBatch(jobs[0].policy, &a, err, len(jobs))
	for _, j := range jobs {
		j.result = r
		j.single = len(jobs) > 1 && r.verdict.isFailure()
	}
}

// judgeBatch returns the result of all n events of a batch that was answered as a whole.
func (s *subscription) judgeBatch(p *policy, a *webhook.Answer, bad error, n int) result {
	if r, ok := s.noAnswer(a); ok {
		return r
	}
	r := result{verdict: p.judge(a.Status), status: a.Status, took: a.Took}
	switch {
	case r.verdict == delivered && bad != nil:
		r.verdict, r.detail = failed, "the answer is invalid: "+bad.Error()
	case r.verdict != delivered:
		r.detail = a.Excerpt()
		r.retryAfter, _ = a.RetryAfter(time.Now())
	}
	if r.verdict == refused && a.Status == http.StatusRequestEntityTooLarge && n > 1 {
		r.verdict = failed // the request was too large, which says nothing of any event
	}
	return r
}

// judgeItem returns the result of one event of a batch.
func (s *subscription) judgeItem(j *job, item *webhook.ItemResult, took time.Duration) result {
	r := result{verdict: j.policy.judge(item.Status), status: item.Status, took: took}
	switch {
	case r.verdict == delivered && isSuccess(item.Status):
		replies, err := s.m.repliesTo(j, item.Events)
		r.take(replies, err)
	case r.verdict != delivered:
		r.detail, r.retryAfter = itemDetail(item), item.RetryAfter
	}
	return r
}

func itemDetail(item *webhook.ItemResult) string {
	if item.Detail == "" {
		return "status " + strconv.Itoa(item.Status)
	}
	return "status " + strconv.Itoa(item.Status) + ": " + item.Detail
}
