package compare

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// longest is the largest time that is told apart; longer ones count as it. Three significant figures are kept.
const longest = time.Hour

// Histogram records latencies. Safe for concurrent use.
type Histogram struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
}

// NewHistogram returns an empty one.
func NewHistogram() *Histogram {
	return &Histogram{h: hdrhistogram.New(1, int64(longest/time.Microsecond), 3)}
}

// Record adds a latency, kept in microseconds. Negative ones, by which two clock readings can differ, count as zero.
func (h *Histogram) Record(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = h.h.RecordValue(int64(min(max(d, 0), longest) / time.Microsecond)) // it is in range
}

// Quantile returns the latency that a share of all did not exceed, and zero when there are none.
func (h *Histogram) Quantile(share float64) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Duration(h.h.ValueAtQuantile(share*100)) * time.Microsecond
}

// curve are the shares of Latency.Curve.
var curve = []float64{0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.98, 0.985, 0.99, 0.995, 0.999, 0.9995, 0.9999, 1}

// Latency returns the distribution, or nil when nothing was recorded.
func (h *Histogram) Latency() *Latency {
	h.mu.Lock()
	n := h.h.TotalCount()
	h.mu.Unlock()
	if n == 0 {
		return nil
	}
	l := &Latency{Count: n, P50: h.Quantile(0.5), P90: h.Quantile(0.9), P99: h.Quantile(0.99), P999: h.Quantile(0.999), Max: h.Quantile(1)}
	for _, share := range curve {
		l.Curve = append(l.Curve, Quantile{At: share, Took: h.Quantile(share)})
	}
	return l
}
