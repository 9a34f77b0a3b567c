package benchstream

import (
	"math/bits"
	"time"
)

// Histogram counts durations in buckets that are at most 3 % wide. Not safe for concurrent use; the zero value is empty.
type Histogram struct {
	counts [1920]uint64
	n      uint64
	max    time.Duration
}

// Add counts d; a negative one, which clocks may give, counts as zero.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	shift := max(bits.Len64(uint64(d))-6, 0)
	h.counts[shift*32+int(d>>shift)]++
	h.n++
	h.max = max(h.max, d)
}

// Count returns how many were added.
func (h *Histogram) Count() uint64 { return h.n }

// Max returns the largest that was added.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile returns a duration that a share q of those added do not exceed, and zero when there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := max(uint64(q*float64(h.n)+0.5), 1)
	var seen uint64
	for i, n := range h.counts {
		if seen += n; n > 0 && seen >= rank {
			return min(upper(i), h.max)
		}
	}
	return h.max
}

// upper is the largest duration of a bucket.
func upper(i int) time.Duration {
	if i < 64 {
		return time.Duration(i)
	}
	shift := i/32 - 1
	return time.Duration(i-shift*32+1)<<shift - 1
}
