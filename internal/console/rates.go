package console

import (
	"sync"
	"time"
)

const (
	maxRates = 20_000          // counts that are remembered; beyond it all are forgotten
	rateAge  = time.Minute     // an older count says nothing about now
	rateSpan = 2 * time.Second // between two counts at least
)

// rates works rates out of counts, which is what the API has: from what a page showed before. So the first page that shows a count
// has no rate, and those after it do.
type rates struct {
	mu   sync.Mutex // guards what follows
	seen map[string]counted
}

type counted struct {
	at   time.Time
	n    uint64
	rate float64
}

// of takes a count and returns its rate a second, -1 when it is not known.
func (r *rates) of(name string, n uint64, now time.Time) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	last, ok := r.seen[name]
	age := now.Sub(last.at)
	switch {
	case !ok || age > rateAge || n < last.n: // a count that falls began anew
		if r.seen == nil || len(r.seen) >= maxRates {
			r.seen = map[string]counted{}
		}
		r.seen[name] = counted{now, n, -1}
		return -1
	case age < rateSpan:
		return last.rate
	}
	rate := float64(n-last.n) / age.Seconds()
	r.seen[name] = counted{now, n, rate}
	return rate
}
