package delivery

import (
	"time"

	"github.com/tandem-hybrid/tandem"
)

// rateSlack is how far sending may run ahead of the rate, so that a high rate does not need a timer for each event.
const rateSlack = 50 * time.Millisecond

// maxPause keeps the wait of a rate, which an endpoint may name as low as it likes, within time.Duration.
const maxPause = 365 * 24 * time.Hour

// bucket is that of a subscription's rate. Attempts take from it, whether they are the first of their event or not.
type bucket struct {
	rate float64
	next time.Time // when what was sent until now is due by the rate
}

// rate returns how many events a second may be sent: the lower of what is declared and what the endpoint allows; zero means any.
func (s *subscription) rate(p *policy) float64 {
	if s.allowed > 0 && (p.rate == 0 || s.allowed < p.rate) {
		return s.allowed
	}
	return p.rate
}

// rateAllows reports whether the rate lets an event be sent now. The loop looks again when it does.
func (s *subscription) rateAllows(p *policy) bool {
	rate := s.rate(p)
	if rate != s.bucket.rate {
		s.bucket = bucket{rate: rate} // what was spent at another rate is forgotten
	}
	if rate == 0 || time.Until(s.bucket.next) <= rateSlack {
		return true
	}
	s.lookAgain(s.bucket.next.Add(-rateSlack / 2))
	return false
}

// atOnce is how many events may be sent together: what the rate lets go in a second.
func (s *subscription) atOnce(p *policy) int {
	if rate := s.rate(p); rate > 0 {
		return max(1, int(rate))
	}
	return tandem.MaxBatchSize
}

// spend takes what n events cost, after rateAllows.
func (s *subscription) spend(n int) {
	b := &s.bucket
	if b.rate == 0 {
		return
	}
	if now := time.Now(); b.next.Before(now) {
		b.next = now
	}
	b.next = b.next.Add(time.Duration(min(float64(n)/b.rate, maxPause.Seconds()) * float64(time.Second)))
}
