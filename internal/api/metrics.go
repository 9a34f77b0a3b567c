package api

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tandem-hybrid/tandem"
)

// maxTopicLabels bounds the series of a metric by topic. Topics beyond it are counted under otherTopics, which no topic
// can be named.
const (
	maxTopicLabels = 256
	otherTopics    = "(others)"
)

type metrics struct {
	handler  http.Handler
	requests *prometheus.HistogramVec
	problems *prometheus.CounterVec
	events   *prometheus.CounterVec
	bytes    *prometheus.CounterVec

	topics sync.Map // name to *topicCounters, so that a publish looks up no labels
	mu     sync.Mutex
	named  int // topics with labels of their own; guarded by mu
	others *topicCounters
}

type topicCounters struct{ events, bytes prometheus.Counter }

func newMetrics(o *Options) *metrics {
	m := &metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "tandem_api_request_seconds",
			Help:    "Time to answer a request of the API, without streams.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}, []string{"method", "path"}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tandem_api_problems_total",
			Help: "Requests of the API answered with a problem."}, []string{"status"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tandem_published_events_total",
			Help: "Events published through the API and answered with a receipt, repeats included."}, []string{"topic"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tandem_published_bytes_total",
			Help: "Data of those events."}, []string{"topic"}),
	}
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tandem_build_info", Help: "Always 1."}, []string{"version"})
	info.WithLabelValues(o.Version).Set(1)
	for _, c := range []prometheus.Collector{m.requests, m.problems, m.events, m.bytes, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		_ = o.Metrics.Register(c) // Go's own may be there already
	}
	m.others = m.counters(otherTopics)
	m.watch(o)
	m.handler = promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true})
	return m
}

// watch shows what the log and the streams count themselves.
func (m *metrics) watch(o *Options) {
	log := o.Log
	counter := func(name, help string, value func() float64) {
		_ = o.Metrics.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value))
	}
	gauge := func(name, help string, value func() float64) {
		_ = o.Metrics.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	counter("tandem_log_events_total", "Events stored.", func() float64 { return float64(log.Stats().Events) })
	counter("tandem_log_bytes_total", "Payload and attributes stored.", func() float64 { return float64(log.Stats().Bytes) })
	counter("tandem_log_appends_total", "Batches stored.", func() float64 { return float64(log.Stats().Appends) })
	counter("tandem_log_failed_appends_total", "Batches that the engine refused.", func() float64 { return float64(log.Stats().Failed) })
	counter("tandem_log_repeats_total", "Events recognised as repeats.", func() float64 { return float64(log.Stats().Repeats) })
	counter("tandem_log_conflicts_total", "Events that nobody is given: when they were read, their id had been used for other data.", func() float64 { return float64(log.Stats().Conflicts) })
	counter("tandem_log_gaps_total", "Gaps that readers were told of.", func() float64 { return float64(log.Stats().Gaps) })
	counter("tandem_log_dropped_total", "Events of ack=accepted that could not be stored.", func() float64 { return float64(log.Stats().Dropped) })
	gauge("tandem_log_queued_events", "Events of ack=accepted that wait to be stored.", func() float64 { return float64(log.Stats().Queued) })
	gauge("tandem_log_writable", "1 while the log can write.", func() float64 {
		if log.Health() != nil {
			return 0
		}
		return 1
	})
	gauge("tandem_streams_open", "Streams and long polls open.", func() float64 { return float64(o.Streams.Open()) })
	gauge("tandem_streams_waiting_bytes", "Held for clients of streams that do not take it.", func() float64 { return float64(o.Streams.WaitingBytes()) })
	counter("tandem_streams_lagging_total", "Streams that fell behind and were read for from the log.", func() float64 { return float64(o.Streams.Lagging()) })
	counter("tandem_stream_events_total", "Events handed out in pages and streams.", func() float64 { return float64(o.Streams.Sent()) })
}

func (m *metrics) counters(topic string) *topicCounters {
	return &topicCounters{m.events.WithLabelValues(topic), m.bytes.WithLabelValues(topic)}
}

// published counts events that have receipts.
func (m *metrics) published(topic string, events []tandem.Event) {
	n := 0
	for i := range events {
		n += len(events[i].Data)
	}
	t := m.topic(topic)
	t.events.Add(float64(len(events)))
	t.bytes.Add(float64(n))
}

func (m *metrics) topic(name string) *topicCounters {
	if t, ok := m.topics.Load(name); ok {
		return t.(*topicCounters)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if t, ok := m.topics.Load(name); ok {
		return t.(*topicCounters)
	}
	if m.named == maxTopicLabels {
		return m.others
	}
	m.named++
	t := m.counters(name)
	m.topics.Store(name, t)
	return t
}

// answered counts a request that has been answered. Streams last as long as their clients like, so they tell nothing.
func (m *metrics) answered(what *method, c *call) {
	if c.w.Status >= 400 {
		m.problems.WithLabelValues(strconv.Itoa(c.w.Status)).Inc()
	}
	if what != nil && what.seconds != nil && !c.w.Gone && !isStream(c.w.Header()) {
		what.seconds.Observe(time.Since(c.begin).Seconds())
	}
}

func isStream(h http.Header) bool {
	v := h["Content-Type"]
	return len(v) == 1 && v[0] == tandem.MediaSSE
}
