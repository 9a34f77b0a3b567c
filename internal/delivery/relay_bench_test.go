package delivery

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/pebblelog"
	"github.com/tandem-hybrid/tandem/internal/benchfloor"
	"github.com/tandem-hybrid/tandem/internal/delivery/webhook"
)

const (
	relayEvents  = 20_000 // of one round
	relayWorkers = 64
	relayKeys    = 1000
	relaySecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// BenchmarkPublishToWebhook measures the way of an event from 64 publishers, each waiting for its receipt, to a local endpoint:
// signed, in order of 1,000 keys, outcomes recorded, on disk. The floor is a bare relay: it appends each event to a file with group
// commit and posts the same body with 64 workers, unsigned, and records nothing. Both take turns.
func BenchmarkPublishToWebhook(b *testing.B) {
	w := newRelayBed(b)
	floor := newBareRelay(b, w.sink.URL)
	s := w.subscription("s")
	w.start(b, s)
	floor.round(b, relayEvents/5)
	w.round(b, relayEvents/5, "s")
	var bare, ours time.Duration
	rounds := 0
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		bare += floor.round(b, relayEvents)
		b.StartTimer()
		ours += w.round(b, relayEvents, "s")
		rounds++
	}
	b.StopTimer()
	n := float64(relayEvents * rounds)
	b.ReportMetric(n/ours.Seconds(), "events/s")
	b.ReportMetric(n/bare.Seconds(), "floor/s")
	b.ReportMetric(bare.Seconds()/ours.Seconds(), "ratio")
}

// BenchmarkBatches compares batches of 100 with single requests, both signed and in order of 1,000 keys, from a backlog on disk, and
// both beside the same work of the endpoint: it reads the body and answers. The target is 8 times the rate.
func BenchmarkBatches(b *testing.B) {
	w := newRelayBed(b)
	w.sink.Close()
	w.sink = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.bytes.Add(n)
		rw.WriteHeader(http.StatusNoContent)
	}))
	b.Cleanup(w.sink.Close)
	single, batch := w.subscription("single"), w.subscription("batch")
	batch.Content, batch.BatchSize, batch.Concurrency = tandem.ContentBatch, 100, 8
	w.start(b, single, batch)
	took := map[string]time.Duration{}
	rounds := 0
	for b.Loop() {
		for _, name := range []string{"single", "batch"} {
			if err := w.m.Pause(w.ctx, name); err != nil {
				b.Fatal(err)
			}
		}
		w.publishKeys(b, relayEvents, relayKey)
		for _, name := range []string{"single", "batch"} {
			begin := time.Now()
			if err := w.m.Resume(w.ctx, name); err != nil {
				b.Fatal(err)
			}
			w.settle(b, name)
			took[name] += time.Since(begin)
		}
		rounds++
	}
	n := float64(relayEvents * rounds)
	b.ReportMetric(n/took["batch"].Seconds(), "batched/s")
	b.ReportMetric(n/took["single"].Seconds(), "single/s")
	b.ReportMetric(took["single"].Seconds()/took["batch"].Seconds(), "ratio")
}

// relayBed is a manager over an engine on disk, and an endpoint on loopback.
type relayBed struct {
	ctx   context.Context
	log   *eventlog.Log
	m     *Manager
	sink  *httptest.Server
	taken atomic.Int64
	data  []byte

	published atomic.Int64 // by publishKeys
	bytes     atomic.Int64 // of requests to BenchmarkBatches
}

func newRelayBed(b testing.TB) *relayBed {
	w := &relayBed{ctx: context.Background(), data: fmt.Appendf(nil, `{"text":"%0180d"}`, 0)}
	w.sink = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.taken.Add(1)
		rw.WriteHeader(http.StatusNoContent)
	}))
	b.Cleanup(w.sink.Close)
	quiet := slog.New(slog.DiscardHandler)
	engine, err := pebblelog.Open(filepath.Join(b.TempDir(), "log"), pebblelog.Options{FreeBytes: -1, Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	if w.log, err = eventlog.Open(w.ctx, engine, eventlog.Options{Logger: quiet}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { w.close(b) })
	if _, err := w.log.CreateTopic(w.ctx, tandem.Topic{Name: "orders", Partitions: 8}); err != nil {
		b.Fatal(err)
	}
	return w
}

// sinkHandler makes an endpoint of its own.
func (w *relayBed) sinkHandler(b testing.TB, handle func(w http.ResponseWriter, r *http.Request, e *tandem.Event, body []byte)) {
	w.sink.Close()
	w.sink = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client is gone
		}
		e, err := tandem.ParseEventJSON(body)
		if err != nil {
			b.Error(err)
			return
		}
		handle(rw, r, &e, body)
	}))
	b.Cleanup(w.sink.Close)
}

func (w *relayBed) subscription(name string) tandem.Subscription {
	s := sub(name)
	s.Concurrency, s.Secret = relayWorkers, "env:SECRET"
	return s
}

func (w *relayBed) start(b testing.TB, subs ...tandem.Subscription) {
	opts := quietOptions(w.sink.URL)
	opts.Secrets = func(string) (string, error) { return relaySecret, nil }
	w.startWith(b, opts, subs...)
}

func (w *relayBed) startWith(b testing.TB, opts Options, subs ...tandem.Subscription) {
	w.m = New(w.log, opts)
	if err := w.m.Start(w.ctx); err != nil {
		b.Fatal(err)
	}
	if err := w.m.Apply(w.ctx, subs); err != nil {
		b.Fatal(err)
	}
}

// close ends what runs; what is under way has a moment to finish. Repeating it does nothing.
func (w *relayBed) close(b testing.TB) {
	if w.log == nil {
		return
	}
	short, cancel := ctxAfter(100 * time.Millisecond)
	defer cancel()
	if w.m != nil {
		_ = w.m.Stop(short) // what it could not finish is cancelled
	}
	if err := w.log.Close(); err != nil {
		b.Error(err)
	}
	w.log = nil
}

// round publishes n events and returns how long it took until all had their outcome, and it was stored.
func (w *relayBed) round(b testing.TB, n int, name string) time.Duration {
	begin, before := time.Now(), w.taken.Load()
	spread(n, func(i int) {
		e := tandem.Event{Source: "/bench", Type: "order.placed", Subject: relayKey(i), Data: w.data}
		if _, err := w.log.Append(w.ctx, "orders", []tandem.Event{e}); err != nil {
			b.Error(err)
		}
	})
	w.settle(b, name)
	took := time.Since(begin)
	if got := w.taken.Load() - before; got != int64(n) {
		b.Fatalf("%d deliveries of %d events", got, n)
	}
	return took
}

// settle waits until everything has its outcome, and it is stored.
func (w *relayBed) settle(b testing.TB, name string) {
	s, err := w.m.find(name)
	if err != nil {
		b.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
		st, err := w.m.Status(w.ctx, name)
		if err != nil {
			b.Fatal(err)
		}
		s.mu.Lock()
		stored := !s.dirty
		s.mu.Unlock()
		if st.Lag == 0 && stored {
			return
		}
		if time.Now().After(deadline) {
			b.Fatalf("does not settle: %+v", st)
		}
	}
}

func relayKey(i int) string { return fmt.Sprint("customer-", i%relayKeys) }

// spread calls fn n times from 64 goroutines.
func spread(n int, fn func(i int)) {
	var at atomic.Int64
	var group sync.WaitGroup
	for range relayWorkers {
		group.Go(func() {
			for i := int(at.Add(1)); i <= n; i = int(at.Add(1)) {
				fn(i)
			}
		})
	}
	group.Wait()
}

// bareRelay is the least that takes an event to an endpoint and does not lose it before it was sent.
type bareRelay struct {
	file *benchfloor.File
	url  string
	rt   *http.Transport
	body []byte
}

func newBareRelay(b testing.TB, url string) *bareRelay {
	file, err := benchfloor.OpenFile(filepath.Join(b.TempDir(), "bare"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { file.Close() })
	f := &bareRelay{file: file, url: url, rt: webhook.NewTransport(nil, nil)}
	b.Cleanup(f.rt.CloseIdleConnections)
	f.body = fmt.Appendf(nil, `{"specversion":"1.0","id":"0190f3c4-7e2b-7c3d-9f01-23456789abcd","source":"/bench","type":"order.placed",`+
		`"subject":"customer-17","time":"2026-11-21T07:00:00Z","datacontenttype":"application/json","data":{"text":"%0180d"}}`, 0)
	return f
}

// round takes n events and returns how long it took until all were posted.
func (f *bareRelay) round(b testing.TB, n int) time.Duration {
	begin := time.Now()
	queue := make(chan []byte, n)
	var workers sync.WaitGroup
	for range relayWorkers {
		workers.Go(func() {
			for body := range queue {
				if err := f.post(body); err != nil {
					b.Error(err)
				}
			}
		})
	}
	spread(n, func(int) {
		if err := f.file.Append(f.body); err != nil {
			b.Error(err)
		}
		queue <- f.body
	})
	close(queue)
	workers.Wait()
	return time.Since(begin)
}

func (f *bareRelay) post(body []byte) error {
	req, err := http.NewRequest(http.MethodPost, f.url+"/events", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", tandem.MediaEvent)
	resp, err := f.rt.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
