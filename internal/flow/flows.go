package flow

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/flowindex"
)

// Ledger says what became of events. internal/delivery has one.
type Ledger interface {
	// DeliveriesAt returns, of every subscription that selects the topic of an event, or once did, how its delivery stands, and the outcomes of
	// earlier epochs.
	DeliveriesAt(ctx context.Context, at tandem.Position) ([]tandem.Delivery, error)
	// FailedCalls returns the calls of request chains of some flows whose event was not stored, made at a time or later, and whether all were looked at.
	FailedCalls(ctx context.Context, since time.Time, of func(flow string) bool) (calls []tandem.Delivery, all bool, err error)
	// Called reports whether an event was stored after a subscription of mode request had taken it in a call.
	Called(rec *tandem.Record, subscription string) bool
	// Explain says of a subscription, or with "" of every one that has to do with the topic, why it got the event at a position or did not.
	Explain(ctx context.Context, at tandem.Position, subscription string) ([]tandem.Reason, error)
	// ExplainCalls returns the calls of request chains that failed, so that an event was not stored.
	ExplainCalls(ctx context.Context, source, id string) ([]tandem.Reason, error)
}

// Operations are what internal/operation gives.
type Operations interface {
	// Get returns an operation. Code: NotFound.
	Get(ctx context.Context, id string) (tandem.Operation, error)
}

// Options configure Flows. The zero value keeps the index in memory and knows neither deliveries nor operations.
type Options struct {
	Dir   string        // of the index; empty: in memory
	Age   time.Duration // how far it goes back; zero means tandem.DefaultFlowAge
	Bytes int64         // how large it may be; zero means tandem.DefaultFlowBytes, negative keeps none

	Ledger     Ledger     // nil: none
	Operations Operations // nil: none

	Metrics *prometheus.Registry // nil: none
	Logger  *slog.Logger         // nil means slog.Default
}

// Flows answers for the flows of a log. All methods are safe for concurrent use.
type Flows struct {
	log      *eventlog.Log
	opts     Options
	index    *flowindex.Index // nil: none is kept
	requests requests

	cancel context.CancelFunc
	done   chan struct{} // closed when the indexer is gone
	asks   chan chan bool
	scan   time.Duration // that the last round took to find partitions; the indexer's

	whole atomic.Int64 // Unix milliseconds: all that was stored by then is in the index
	lost  atomic.Uint64

	mu      sync.Mutex // guards stopped
	stopped bool
}

// Open opens the index. Start builds it. Code: Unavailable.
func Open(log *eventlog.Log, opts Options) (*Flows, error) {
	if opts.Age == 0 {
		opts.Age = tandem.DefaultFlowAge
	}
	if opts.Bytes == 0 {
		opts.Bytes = tandem.DefaultFlowBytes
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	f := &Flows{log: log, opts: opts, asks: make(chan chan bool), done: make(chan struct{})}
	if opts.Bytes < 0 {
		return f, nil
	}
	var err error
	if f.index, err = flowindex.Open(opts.Dir, log.Info().LogID, flowindex.Options{Age: opts.Age, Bytes: opts.Bytes}); err != nil {
		return nil, tandem.Errorf(tandem.CodeUnavailable, "open flows: %w", err).
			WithHint("the index can be removed: it is built anew from the log")
	}
	if opts.Metrics != nil {
		f.register(opts.Metrics)
	}
	return f, nil
}

// Start begins to build the index, where the last process stopped. Called once.
func (f *Flows) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.whole.Store(time.Now().UnixMilli())
	go func() {
		defer close(f.done)
		if f.index != nil {
			f.keep(ctx)
		}
	}()
}

// Stop ends the building and closes the index. Nothing is asked of f any more when it is called. It may be repeated. Code: Timeout (a disk that
// does not take what is written: it is left to itself).
func (f *Flows) Stop(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return nil
	}
	f.stopped = true
	closed := make(chan error, 1)
	go func() {
		if f.cancel != nil {
			f.cancel()
			<-f.done
		}
		if f.index == nil {
			closed <- nil
			return
		}
		closed <- f.index.Close()
	}()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return tandem.Errorf(tandem.CodeTimeout, "the index of flows is still being written")
	}
}

// Status reports how the index stands.
func (f *Flows) Status(ctx context.Context) tandem.FlowIndexStatus {
	if f.index == nil {
		return tandem.FlowIndexStatus{}
	}
	s := tandem.FlowIndexStatus{Kept: true, Lost: f.lost.Load(), Bytes: f.index.Bytes(), Since: f.index.Horizon().Add(time.Minute).Truncate(time.Minute)}
	for _, p := range f.pending() {
		b, err := f.log.Bounds(ctx, p.topic, p.index)
		if err != nil {
			continue // it was deleted, or there is nobody to ask
		}
		at, _ := f.index.Progress(p.topic, p.index)
		s.Behind += b.EndSeq - min(b.EndSeq, max(at.Seq, b.StartSeq))
	}
	if s.Behind > 0 {
		s.Lag = tandem.Duration(max(0, time.Since(time.UnixMilli(f.whole.Load()))))
	}
	return s
}

// part is a partition with events that are not in the index.
type part struct {
	topic driver.ID
	index int
	end   uint64
}

// pending does not ask the index while Ends holds up the log: a write to the index may take long, on a slow or full disk.
func (f *Flows) pending() []part {
	var all []part
	f.log.Ends(func(topic driver.ID, index int, end uint64) { all = append(all, part{topic, index, end}) })
	return slices.DeleteFunc(all, func(p part) bool {
		at, _ := f.index.Progress(p.topic, p.index)
		return at.Next >= p.end
	})
}

func (f *Flows) register(r *prometheus.Registry) {
	gauge := func(name, help string, of func(*tandem.FlowIndexStatus) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			s := f.Status(context.Background())
			return of(&s)
		})
	}
	r.MustRegister(
		gauge("tandem_flow_index_lag_events", "Stored events that are not in the index of flows yet.", func(s *tandem.FlowIndexStatus) float64 { return float64(s.Behind) }),
		gauge("tandem_flow_index_lag_seconds", "How long ago the index of flows had all that was stored; zero while it has.", func(s *tandem.FlowIndexStatus) float64 { return time.Duration(s.Lag).Seconds() }),
		gauge("tandem_flow_index_bytes", "Size of the index of flows, before compression.", func(s *tandem.FlowIndexStatus) float64 { return float64(s.Bytes) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "tandem_flow_index_lost_total",
			Help: "Events that retention removed before they were in the index of flows."}, func() float64 { return float64(f.lost.Load()) }))
}
