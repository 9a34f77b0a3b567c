// Package otlp sends spans to an OpenTelemetry collector, over OTLP/HTTP in the JSON encoding (OTLP 1.x; ids are hexadecimal there).
//
// Add never waits: spans wait in a queue, and are dropped and counted while it is full, or when the collector refuses them. A collector
// that is away, or asks for patience, is tried again with growing waits; that it takes nothing, or not all, is logged once. Stop sends what waits.
package otlp

import (
	"bytes"
	"context"
	"encoding/json"
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
	queueSpans  = 16384
	batchSpans  = 512
	every       = time.Second // while fewer than batchSpans wait
	sendTimeout = 10 * time.Second
	firstWait   = time.Second
	lastWait    = 30 * time.Second
	maxAnswer   = 4 << 10
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

	life    context.Context
	cancel  context.CancelFunc
	done    chan struct{}
	trouble bool // that of the goroutine, then of Stop: it was logged that the collector does not take all

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

// Add queues a span. Of long texts it keeps 500 bytes.
func (e *Exporter) Add(s Span) {
	s.own()
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
			e.giveBack(batch)
			e.mu.Lock()
			defer e.mu.Unlock()
			e.dropped.Add(uint64(len(e.waiting)))
			e.opts.Logger.Warn("traces: spans are lost, since the collector did not take them before the end", "spans", len(e.waiting), "error", err)
			e.waiting = nil
			return nil
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
			return
		case e.life.Err() != nil:
			e.giveBack(batch)
			return
		case !again:
			e.dropped.Add(uint64(len(batch)))
			e.warn("traces: the collector refuses spans", err)
			return
		}
		e.warn("traces: the collector takes nothing; trying on", err)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-e.life.Done():
		}
		timer.Stop()
	}
}

// warn says what is wrong, once until a batch is taken whole.
func (e *Exporter) warn(what string, err error) {
	if !e.trouble {
		e.trouble = true
		e.opts.Logger.Warn(what, "error", err)
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
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if res.StatusCode/100 == 2 {
		e.taken(len(batch), body)
		return false, nil
	}
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		again = true
	}
	return again, fmt.Errorf("%s: %.300q", res.Status, body)
}

// taken counts a batch by what the collector says of it: it may have refused some (OTLP, section Partial Success).
func (e *Exporter) taken(n int, body []byte) {
	var answer struct {
		PartialSuccess struct {
			RejectedSpans json.Number `json:"rejectedSpans"`
			ErrorMessage  string      `json:"errorMessage"`
		} `json:"partialSuccess"`
	}
	_ = json.Unmarshal(body, &answer) // what says nothing took all
	some, _ := answer.PartialSuccess.RejectedSpans.Int64()
	rejected := min(max(int(some), 0), n)
	e.sent.Add(uint64(n - rejected))
	e.dropped.Add(uint64(rejected))
	switch {
	case rejected > 0:
		e.warn("traces: the collector refuses spans", fmt.Errorf("%d of %d: %.300q", rejected, n, answer.PartialSuccess.ErrorMessage))
	case e.trouble:
		e.trouble = false
		e.opts.Logger.Info("traces: the collector takes spans again")
	}
}

var (
	sentDesc    = prometheus.NewDesc("tandem_traces_sent_total", "Spans that the collector took.", nil, nil)
	droppedDesc = prometheus.NewDesc("tandem_traces_dropped_total", "Spans that were dropped: the queue was full, the collector refused them, or the end came.", nil, nil)
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
