// Package otlp sends spans to an OpenTelemetry collector, over OTLP/HTTP in the JSON encoding (OTLP 1.x; ids are hexadecimal there).
//
// Add never waits: spans wait in a queue, and are dropped and counted while it is full, or when the collector refuses them. A collector
// that is away, or asks for patience, is tried again with growing waits. Stop sends what waits.
package otlp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	queueSpans   = 16384
	batchSpans   = 512
	every        = time.Second // while fewer than batchSpans wait
	sendTimeout  = 10 * time.Second
	firstWait    = time.Second
	lastWait     = 30 * time.Second
	maxErrorBody = 300
)

// Options configure an Exporter.
type Options struct {
	URL     string       // of the collector, without /v1/traces
	Service string       // service.name of the resource
	Version string       // service.version
	Client  *http.Client // nil means one of its own
	Logger  *slog.Logger // nil means slog.Default
}

// Exporter sends spans. Its methods are safe for concurrent use.
type Exporter struct {
	opts Options

	mu      sync.Mutex // guards waiting
	waiting []Span
	full    chan struct{} // a batch waits; room for one

	life   context.Context
	cancel context.CancelFunc
	done   chan struct{}
	away   bool // the goroutine's: it was logged that the collector takes nothing

	sent, dropped atomic.Uint64
}

// New returns an Exporter that runs until Stop.
func New(opts Options) *Exporter {
	if opts.Client == nil {
		opts.Client = &http.Client{Timeout: sendTimeout, Transport: http.DefaultTransport.(*http.Transport).Clone()}
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	opts.URL = strings.TrimSuffix(opts.URL, "/") + "/v1/traces"
	e := &Exporter{opts: opts, full: make(chan struct{}, 1), done: make(chan struct{})}
	e.life, e.cancel = context.WithCancel(context.Background())
	go e.run()
	return e
}

// Add queues a span.
func (e *Exporter) Add(s Span) {
	e.mu.Lock()
	n := len(e.waiting)
	if n < queueSpans {
		e.waiting = append(e.waiting, s)
	}
	e.mu.Unlock()
	if n == queueSpans {
		e.dropped.Add(1)
	}
	if n+1 >= batchSpans {
		select {
		case e.full <- struct{}{}:
		default:
		}
	}
}

// Stop sends what waits, until ctx is done. It may be repeated.
func (e *Exporter) Stop(ctx context.Context) error {
	e.cancel()
	<-e.done
	defer e.opts.Client.CloseIdleConnections()
	for batch := e.take(); len(batch) > 0; batch = e.take() {
		if _, err := e.send(ctx, batch); err != nil {
			e.dropped.Add(uint64(len(batch)))
			return nil // nobody can be told more than the log was
		}
	}
	return nil
}

func (e *Exporter) take() []Span {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := min(len(e.waiting), batchSpans)
	batch := e.waiting[:n:n]
	if e.waiting = e.waiting[n:]; len(e.waiting) == 0 {
		e.waiting = nil
	}
	return batch
}

func (e *Exporter) run() {
	defer close(e.done)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-e.life.Done():
			return
		case <-tick.C:
		case <-e.full:
		}
		for batch := e.take(); len(batch) > 0; batch = e.take() {
			e.deliver(batch)
			if e.life.Err() != nil {
				return
			}
		}
	}
}

// deliver sends a batch, as often as it takes. When it is stopped meanwhile the batch waits again.
func (e *Exporter) deliver(batch []Span) {
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		again, err := e.send(e.life, batch)
		switch {
		case err == nil:
			if e.away {
				e.away = false
				e.opts.Logger.Info("traces: the collector takes spans again")
			}
			return
		case e.life.Err() != nil:
			e.giveBack(batch)
			return
		case !again:
			e.dropped.Add(uint64(len(batch)))
			e.opts.Logger.Warn("traces: the collector refused spans", "spans", len(batch), "error", err)
			return
		}
		if !e.away {
			e.away = true
			e.opts.Logger.Warn("traces: the collector takes nothing; trying on", "error", err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-e.life.Done():
		}
		timer.Stop()
	}
}

func (e *Exporter) giveBack(batch []Span) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting = append(batch, e.waiting...)
}

// send makes one request; again says that the same may succeed later (OTLP, section Failures).
func (e *Exporter) send(ctx context.Context, batch []Span) (again bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.opts.URL, bytes.NewReader(e.encode(batch)))
	if err != nil {
		return false, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Tandem/"+e.opts.Version)
	res, err := e.opts.Client.Do(r)
	if err != nil {
		return true, err
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	if res.StatusCode/100 == 2 {
		e.sent.Add(uint64(len(batch)))
		return false, nil
	}
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		again = true
	}
	return again, fmt.Errorf("%s: %q", res.Status, body)
}

var (
	sentDesc    = prometheus.NewDesc("tandem_traces_sent_total", "Spans that the collector took.", nil, nil)
	droppedDesc = prometheus.NewDesc("tandem_traces_dropped_total", "Spans that were dropped: the queue was full, or the collector refused them.", nil, nil)
)

// Describe implements prometheus.Collector.
func (e *Exporter) Describe(out chan<- *prometheus.Desc) {
	out <- sentDesc
	out <- droppedDesc
}

// Collect implements prometheus.Collector.
func (e *Exporter) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.MustNewConstMetric(sentDesc, prometheus.CounterValue, float64(e.sent.Load()))
	out <- prometheus.MustNewConstMetric(droppedDesc, prometheus.CounterValue, float64(e.dropped.Load()))
}
