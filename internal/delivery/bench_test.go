package delivery

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// BenchmarkDeliver measures one delivery of an event that is stored already: to a transport that answers at once, and to a real
// endpoint on this machine, which takes its part of the processor.
func BenchmarkDeliver(b *testing.B) {
	b.Run("transport", func(b *testing.B) {
		opts := quietOptions("http://svc")
		var n atomic.Int64
		opts.Transport = func(string) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				n.Add(1)
				return status(http.StatusNoContent), nil
			})
		}
		benchDeliver(b, opts, &n, 0)
	})
	b.Run("http", func(b *testing.B) {
		var n atomic.Int64
		sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			n.Add(1)
			w.WriteHeader(http.StatusNoContent)
		}))
		defer sink.Close()
		benchDeliver(b, quietOptions(sink.URL), &n, 0)
	})
	b.Run("beside 1000 others", func(b *testing.B) {
		opts := quietOptions("http://svc")
		var n atomic.Int64
		opts.Transport = func(string) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				n.Add(1)
				return status(http.StatusNoContent), nil
			})
		}
		benchDeliver(b, opts, &n, 1000)
	})
}

func benchDeliver(b *testing.B, opts Options, n *atomic.Int64, others int) {
	log := openLog(b)
	ctx := context.Background()
	m := New(log, opts)
	if err := m.Start(ctx); err != nil {
		b.Fatal(err)
	}
	defer m.Stop(ctx)
	s := sub("s")
	s.Concurrency = 64
	subs := []tandem.Subscription{s}
	for i := range others {
		o := sub(fmt.Sprintf("other%d", i))
		o.Filter, _ = tandem.ParseFilter([]byte(fmt.Sprintf(`{"type":"other%d"}`, i)))
		subs = append(subs, o)
	}
	if err := m.Apply(ctx, subs); err != nil {
		b.Fatal(err)
	}
	if err := m.Pause(ctx, "s"); err != nil {
		b.Fatal(err)
	}
	data := make([]byte, 200)
	for i := range data {
		data[i] = 'x'
	}
	payload := []byte(`{"text":"` + string(data) + `"}`)
	batch := make([]tandem.Event, 0, 500)
	for i := range b.N {
		batch = append(batch, tandem.Event{Source: "/bench", Type: "order.placed", Subject: fmt.Sprintf("k%d", i%1000), Data: payload})
		if len(batch) == cap(batch) || i == b.N-1 {
			if _, err := log.Append(ctx, "orders", batch); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	done := make(chan struct{})
	b.ReportAllocs()
	b.ResetTimer()
	if err := m.Resume(ctx, "s"); err != nil {
		b.Fatal(err)
	}
	go func() {
		for {
			st, err := m.Status(ctx, "s")
			if err != nil || st.Lag == 0 {
				close(done)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	<-done
	b.StopTimer()
	if got := n.Load(); got < int64(b.N) {
		b.Fatalf("%d of %d delivered", got, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
}
