package delivery

import (
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// maxProbeWait keeps the time short in which an endpoint that is back is not noticed.
const maxProbeWait = 30 * time.Second

// verdict is what an attempt means.
type verdict uint8

const (
	delivered   verdict = iota
	refused             // never again: the handler does not want this event
	gone                // the endpoint wants no events at all
	failed              // try again; says nothing about other keys
	troubled            // try again; the endpoint may be the cause: timeout, 5xx, 429, a broken exchange
	unreachable         // try again; the endpoint is the cause: nothing could be sent
	aborted             // ended by Stop, or with the chain that a request is part of
	lapsed              // a lease was over before it was acknowledged: try again
	released            // a client gave its lease back: try again
	exhausted           // no attempt was made: the attempts are used up
	looped              // no attempt was made: too many hops
	vanished            // no attempt was made: retention has removed the event
	unread              // no attempt was made: the log could not be read
)

// policy is what a declaration says about attempts, with the defaults put in: worked out once for each declaration.
type policy struct {
	decl        *tandem.Subscription
	attempts    int
	concurrency int
	batch       int // events in a request at most; zero sends single events
	ordered     bool
	rate        float64 // events a second; zero means no limit
	retryAfter  time.Duration
	pauses      bool // once the attempts are used up, for events older than pauseAfter
	pauseAfter  time.Duration
	answers     map[int]verdict // by status, and by class: 4 for 4xx
}

// policy returns that of the current declaration. Called with mu held.
func (s *subscription) policy() *policy {
	if decl := s.config.current(); s.rules == nil || s.rules.decl != decl {
		s.rules = newPolicy(decl)
	}
	return s.rules
}

func newPolicy(decl *tandem.Subscription) *policy {
	p := &policy{
		decl:        decl,
		attempts:    orDefault(decl.Attempts, tandem.DefaultAttempts),
		concurrency: orDefault(decl.Concurrency, defaultConcurrency(decl)),
		ordered:     decl.Ordering != tandem.OrderingNone,
		rate:        decl.Rate,
		retryAfter:  time.Duration(orDefault(decl.RetryAfter, tandem.Duration(tandem.DefaultRetryAfter))),
		pauses:      decl.Exhausted == tandem.ExhaustedPause,
		pauseAfter:  time.Duration(orDefault(decl.PauseAfter, tandem.Duration(tandem.DefaultPauseAfter))),
	}
	if decl.Content == tandem.ContentBatch || decl.AMQP != nil {
		p.batch = orDefault(decl.BatchSize, tandem.DefaultBatchSize)
	}
	if len(decl.Answers) > 0 {
		p.answers = make(map[int]verdict, len(decl.Answers))
		for status, answer := range decl.Answers {
			if n, ok := parseStatus(status); ok { // anything else was refused when it was declared
				p.answers[n] = meant(n, answer)
			}
		}
	}
	return p
}

func defaultConcurrency(decl *tandem.Subscription) int {
	if decl.Pull != nil {
		return tandem.DefaultLeases
	}
	return tandem.DefaultConcurrency
}

func orDefault[T int | tandem.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// parseStatus reads a status from 200 to 599 as itself, and a class such as 4xx as its first digit.
func parseStatus(s string) (n int, ok bool) {
	if len(s) != 3 || s[0] < '2' || s[0] > '5' {
		return 0, false
	}
	if s[1:] == "xx" {
		return int(s[0] - '0'), true
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int(s[i]-'0')
	}
	return n, true
}

// meant is the verdict of a declared answer. Whether a failure may be the endpoint's is not declared: the status says it.
func meant(status int, answer string) verdict {
	switch answer {
	case tandem.AnswerDelivered:
		return delivered
	case tandem.AnswerDead:
		return refused
	case tandem.AnswerDisable:
		return gone
	}
	if status == http.StatusTooManyRequests || status >= 500 || status == 5 {
		return troubled
	}
	return failed
}

// judge is the table of answers: what is declared for a status stands before what is declared for its class, and that before the
// default.
func (p *policy) judge(status int) verdict {
	if p.answers != nil {
		if v, ok := p.answers[status]; ok {
			return v
		}
		if v, ok := p.answers[status/100]; ok {
			if v == failed && status == http.StatusTooManyRequests {
				return troubled
			}
			return v
		}
	}
	switch {
	case status >= 200 && status < 300:
		return delivered
	case status >= 500, status == http.StatusTooManyRequests:
		return troubled
	}
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return refused
	case http.StatusGone:
		return gone
	}
	return failed
}

// isFailure reports whether an attempt was made in vain, for whatever reason.
func (v verdict) isFailure() bool { return v == failed || v == troubled || v == unreachable }

// meaning says in the words of a declaration what an answer means for a delivery.
func (v verdict) meaning() string {
	switch v {
	case delivered:
		return tandem.AnswerDelivered
	case refused:
		return tandem.AnswerDead
	case gone:
		return tandem.AnswerDisable
	}
	return tandem.AnswerRetry
}

// backoff returns the wait after the n-th failure, n from 1.
func backoff(b *tandem.Backoff, n int) time.Duration {
	if len(b.List) > 0 {
		wait := time.Duration(b.List[min(max(n, 1), len(b.List))-1])
		return wait + rand.N(wait/10+1)
	}
	base, top := time.Duration(b.Base), time.Duration(b.Max)
	if base <= 0 {
		base = tandem.DefaultBackoffBase
	}
	if top <= 0 {
		top = tandem.DefaultBackoffMax
	}
	wait := min(base, top)
	for i := 1; i < n && wait < top; i++ {
		wait = min(top, wait*2)
	}
	return rand.N(wait + 1)
}

// wait returns the time until the next attempt: the backoff, or what the answer asks for if that is longer.
func (p *policy) wait(n int, retryAfter time.Duration) time.Duration {
	return max(backoff(&p.decl.Backoff, n), min(retryAfter, p.retryAfter))
}

// probeWait returns the time until the next probe, after the n-th that failed.
func (p *policy) probeWait(n int, retryAfter time.Duration) time.Duration {
	return max(min(backoff(&p.decl.Backoff, n), maxProbeWait), min(retryAfter, p.retryAfter))
}
