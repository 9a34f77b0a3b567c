package delivery

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-hybrid/tandem"
)

const (
	// maxLabels bounds the series: the first subscriptions by name have their own, the rest is summed as otherLabel, which none can be named.
	maxLabels  = 200
	otherLabel = "_other"
)

// attemptSeconds are the bounds of the histogram of attempts.
var attemptSeconds = [...]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// resultNames are the results that attempts are counted by; those without a name are none.
var resultNames = [...]string{delivered: "delivered", refused: "refused", gone: "disabled", failed: "failed", troubled: "troubled",
	unreachable: "unreachable", aborted: "aborted", lapsed: "lapsed", released: "released"}

// attemptCounts are the attempts of a subscription since the process started.
type attemptCounts struct {
	results [len(resultNames)]uint64
	within  [len(attemptSeconds) + 1]uint64 // by bound, the last without one
	seconds float64
}

func (c *attemptCounts) add(r *result) {
	if r.at.IsZero() || int(r.verdict) >= len(c.results) {
		return
	}
	c.results[r.verdict]++
	took := r.took.Seconds()
	i, _ := slices.BinarySearch(attemptSeconds[:], took)
	c.within[i]++
	c.seconds += took
}

// collector shows what the subscriptions do as metrics: the same numbers as Status, and the attempts.
type collector struct {
	m        *Manager
	gauges   []gauge
	attempts *prometheus.Desc
	seconds  *prometheus.Desc
	state    *prometheus.Desc
}

// gauge is one number of a status.
type gauge struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	most  bool // of several subscriptions the largest, not the sum
	value func(*tandem.SubscriptionStatus) float64
}

func newCollector(m *Manager) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tandem_subscription_"+name, help, append([]string{"subscription"}, labels...), nil)
	}
	c := &collector{m: m,
		attempts: desc("attempts_total", "Attempts that ended, by result.", "result"),
		seconds:  desc("attempt_seconds", "Time of an attempt, or of a lease until it ended."),
		state:    desc("state", "1 for the state of the subscription; how many have it, where several are summed.", "state"),
	}
	add := func(name, help string, kind prometheus.ValueType, value func(*tandem.SubscriptionStatus) float64) {
		c.gauges = append(c.gauges, gauge{desc(name, help), kind, name == "lag_seconds", value})
	}
	const now, total = prometheus.GaugeValue, prometheus.CounterValue
	add("lag_events", "Stored events without outcome, before filtering.", now, func(s *tandem.SubscriptionStatus) float64 { return float64(s.Lag) })
	add("lag_seconds", "Age of the oldest of them.", now, func(s *tandem.SubscriptionStatus) float64 { return s.LagSeconds })
	add("in_flight", "Attempts under way, or leases held.", now, func(s *tandem.SubscriptionStatus) float64 { return float64(s.InFlight) })
	add("retrying", "Deliveries that wait for their next attempt.", now, func(s *tandem.SubscriptionStatus) float64 { return float64(s.Retrying) })
	add("parked_keys", "Keys held back by a failing event.", now, func(s *tandem.SubscriptionStatus) float64 { return float64(s.ParkedKeys) })
	add("waiting_events", "Events held back behind those.", now, func(s *tandem.SubscriptionStatus) float64 { return float64(s.Waiting) })
	add("dead_letters", "Dead letters.", now, func(s *tandem.SubscriptionStatus) float64 { return float64(s.Dead) })
	add("redriving", "Dead letters on their way again.", now, func(s *tandem.SubscriptionStatus) float64 { return float64(s.Redriving) })
	add("expired_events", "Events that retention overtook, as far as the ledger goes back.", now, func(s *tandem.SubscriptionStatus) float64 { return float64(s.Expired) })
	add("delivered_total", "Deliveries that were taken.", total, func(s *tandem.SubscriptionStatus) float64 { return float64(s.Delivered) })
	add("failed_total", "Attempts that failed.", total, func(s *tandem.SubscriptionStatus) float64 { return float64(s.Failed) })
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, g := range c.gauges {
		out <- g.desc
	}
	out <- c.attempts
	out <- c.seconds
	out <- c.state
	c.m.brokers.Describe(out)
}

// collectTime bounds how long metrics read the log.
const collectTime = 5 * time.Second

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTime)
	defer cancel()
	c.m.brokers.Collect(out)
	others := newSums(c, otherLabel)
	for i, s := range c.m.sorted() {
		st, _, _ := c.m.statusOf(ctx, s)
		sums := others
		if i < maxLabels {
			sums = newSums(c, s.name)
		}
		sums.add(&st, s.attemptCounts())
		if i < maxLabels {
			sums.send(out)
		}
	}
	if others.subscriptions > 0 {
		others.send(out)
	}
}

func (s *subscription) attemptCounts() attemptCounts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// sums are the numbers of one label.
type sums struct {
	c             *collector
	label         string
	subscriptions int
	gauges        []float64
	counts        attemptCounts
	states        map[string]int
}

func newSums(c *collector, label string) *sums {
	return &sums{c: c, label: label, gauges: make([]float64, len(c.gauges)), states: map[string]int{}}
}

func (s *sums) add(st *tandem.SubscriptionStatus, counts attemptCounts) {
	s.subscriptions++
	for i, g := range s.c.gauges {
		if v := g.value(st); g.most {
			s.gauges[i] = max(s.gauges[i], v)
		} else {
			s.gauges[i] += v
		}
	}
	for i, n := range counts.results {
		s.counts.results[i] += n
	}
	for i, n := range counts.within {
		s.counts.within[i] += n
	}
	s.counts.seconds += counts.seconds
	s.states[cmp.Or(st.State, "running")]++
}

func (s *sums) send(out chan<- prometheus.Metric) {
	for i, g := range s.c.gauges {
		out <- prometheus.MustNewConstMetric(g.desc, g.kind, s.gauges[i], s.label)
	}
	for i, n := range s.counts.results {
		out <- prometheus.MustNewConstMetric(s.c.attempts, prometheus.CounterValue, float64(n), s.label, resultNames[i])
	}
	buckets, count := make(map[float64]uint64, len(attemptSeconds)), uint64(0)
	for i, n := range s.counts.within {
		if count += n; i < len(attemptSeconds) {
			buckets[attemptSeconds[i]] = count
		}
	}
	out <- prometheus.MustNewConstHistogram(s.c.seconds, count, s.counts.seconds, buckets, s.label)
	for state, n := range s.states {
		out <- prometheus.MustNewConstMetric(s.c.state, prometheus.GaugeValue, float64(n), s.label, state)
	}
}
