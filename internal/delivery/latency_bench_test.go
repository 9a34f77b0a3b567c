package delivery

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// BenchmarkPublishToReceive measures how long after a publisher began to send it an event is in the handler of a local endpoint, at
// fixed rates, and the same for the bare relay: signed, in order of 1,000 keys, on disk. An event that is late because the ones
// before it were is counted from when it was due.
func BenchmarkPublishToReceive(b *testing.B) {
	for _, rate := range []int{100, 1000, 5000, 10_000} {
		b.Run(fmt.Sprintf("rate=%d", rate), func(b *testing.B) {
			var late lateness
			w := newRelayBed(b)
			w.sink.Close()
			w.sink = httptest.NewServer(http.HandlerFunc(late.receive))
			b.Cleanup(w.sink.Close)
			floor := newBareRelay(b, w.sink.URL)
			w.start(b, w.subscription("s"))
			ours := func(at time.Time, i int) {
				e := tandem.Event{Source: "/bench", Type: "order.placed", Subject: relayKey(i), Data: dueAt(at)}
				if _, err := w.log.Append(w.ctx, "orders", []tandem.Event{e}); err != nil {
					b.Error(err)
				}
			}
			atRate(rate, time.Second/2, ours)
			w.settle(b, "s")
			var all, bare []time.Duration
			for b.Loop() {
				late.take()
				floor.paced(b, rate, time.Second)
				bare = append(bare, late.take()...)
				atRate(rate, time.Second, ours)
				w.settle(b, "s")
				all = append(all, late.take()...)
			}
			p50, p99 := quantiles(all)
			bare50, bare99 := quantiles(bare)
			b.ReportMetric(p50.Seconds()*1000, "ms-p50")
			b.ReportMetric(p99.Seconds()*1000, "ms-p99")
			b.ReportMetric(bare50.Seconds()*1000, "ms-p50-floor")
			b.ReportMetric(bare99.Seconds()*1000, "ms-p99-floor")
		})
	}
}

// dueAt is the data of an event that was due at a time.
func dueAt(at time.Time) []byte {
	return fmt.Appendf(nil, `{"due":%d,"text":"%0160d"}`, at.UnixNano(), 0)
}

// lateness collects how late events are received.
type lateness struct {
	mu  sync.Mutex
	all []time.Duration
}

// note takes the body of an event that was received now.
func (l *lateness) note(body []byte) {
	now := time.Now()
	_, rest, _ := bytes.Cut(body, []byte(`"due":`))
	number, _, _ := bytes.Cut(rest, []byte(","))
	at, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil {
		return // take has too few
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, now.Sub(time.Unix(0, at)))
}

func (l *lateness) receive(w http.ResponseWriter, r *http.Request) {
	if body, err := io.ReadAll(r.Body); err == nil {
		l.note(body)
	}
	w.WriteHeader(http.StatusNoContent)
}

// take returns what was collected since the last call.
func (l *lateness) take() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := slices.Clone(l.all)
	l.all = l.all[:0]
	return out
}

// atRate calls fn at a rate for some time, from 256 goroutines, with the time at which each call is due.
func atRate(rate int, d time.Duration, fn func(due time.Time, i int)) {
	type call struct {
		due time.Time
		i   int
	}
	calls := make(chan call, rate)
	var group sync.WaitGroup
	for range 256 {
		group.Go(func() {
			for c := range calls {
				fn(c.due, c.i)
			}
		})
	}
	begin := time.Now()
	n := int(d.Seconds() * float64(rate))
	for i := range n {
		due := begin.Add(time.Duration(i) * d / time.Duration(n))
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}
		calls <- call{due, i}
	}
	close(calls)
	group.Wait()
}

// paced lets the relay take events at a rate, and returns when all were posted.
func (f *bareRelay) paced(b testing.TB, rate int, d time.Duration) {
	queue := make(chan []byte, rate)
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
	atRate(rate, d, func(due time.Time, _ int) {
		body := dueAt(due)
		if err := f.file.Append(body); err != nil {
			b.Error(err)
		}
		queue <- body
	})
	close(queue)
	workers.Wait()
}
