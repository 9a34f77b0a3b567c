package delivery

import (
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/delivery/webhook"
)

// Defaults of the retry policy.
const (
	defaultTimeout     = 10 * time.Second
	defaultBackoffBase = time.Second
	defaultBackoffMax  = 10 * time.Minute
	// maxRetryAfter is how far a Retry-After is obeyed.
	maxRetryAfter = time.Hour
	// maxProbeWait keeps the time short in which an endpoint that is back is not noticed.
	maxProbeWait = 30 * time.Second
)

// verdict is what an attempt means.
type verdict uint8

const (
	delivered   verdict = iota
	refused             // never again: the handler does not want this event
	gone                // the endpoint wants no events at all
	failed              // try again; says nothing about other keys
	troubled            // try again; the endpoint may be the cause: timeout, 5xx, 429, a broken exchange
	unreachable         // try again; the endpoint is the cause: nothing could be sent
	aborted             // ended by Stop
	exhausted           // no attempt was made: the attempts are used up
	looped              // no attempt was made: too many hops
	vanished            // no attempt was made: retention has removed the event
	unread              // no attempt was made: the log could not be read
)

// verdictOf is the table of answers.
func verdictOf(a *webhook.Answer) verdict {
	switch {
	case a.Connect:
		return unreachable
	case a.Err != nil:
		return troubled
	case a.Status >= 200 && a.Status < 300:
		return delivered
	case a.Status >= 500, a.Status == http.StatusTooManyRequests:
		return troubled
	}
	switch a.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return refused
	case http.StatusGone:
		return gone
	}
	return failed
}

// backoff returns the wait after the n-th failure, n from 1: base times two to the n-1, capped, with full jitter.
func backoff(b tandem.Backoff, n int) time.Duration {
	base, top := time.Duration(b.Base), time.Duration(b.Max)
	if base <= 0 {
		base = defaultBackoffBase
	}
	if top <= 0 {
		top = defaultBackoffMax
	}
	wait := min(base, top)
	for i := 1; i < n && wait < top; i++ {
		wait = min(top, wait*2)
	}
	return rand.N(wait + 1)
}

// wait returns the time until the next attempt: the backoff, or what the answer asks for if that is longer.
func wait(b tandem.Backoff, n int, retryAfter time.Duration) time.Duration {
	return max(backoff(b, n), min(retryAfter, maxRetryAfter))
}
