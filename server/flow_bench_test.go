package server_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	tandemclient "github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/server"
)

// BenchmarkFlowIndex publishes events and delivers each to one webhook, with the index of flows and without, by turns, and reports the CPU time
// of the process for each event, service and client included, and the ratio.
func BenchmarkFlowIndex(b *testing.B) {
	const rounds = 5
	var spent [2]time.Duration
	for range rounds {
		for i, size := range []int64{-1, 0} {
			spent[i] += flowIndexRound(b, size)
		}
	}
	per := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(rounds*b.N) }
	b.ReportMetric(per(spent[0]), "cpu-ns/event-without")
	b.ReportMetric(per(spent[1]), "cpu-ns/event-with")
	b.ReportMetric(float64(spent[1])/float64(spent[0]), "ratio")
}

func flowIndexRound(b *testing.B, size int64) time.Duration {
	var got atomic.Int64
	all := make(chan struct{})
	svc := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if got.Add(1) == int64(b.N) {
			close(all)
		}
	}))
	defer svc.Close()
	s, err := server.New(server.Options{Data: b.TempDir(), PublicAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0", FreeBytes: -1, FlowBytes: size,
		Services:      []tandem.Service{{Name: "shop", URL: svc.URL}},
		Topics:        []tandem.Topic{{Name: "orders"}},
		Subscriptions: []tandem.Subscription{{Name: "pay", Topics: []string{"orders"}, Service: "shop"}}})
	if err == nil {
		err = s.Start(b.Context())
	}
	if err != nil {
		b.Fatal(err)
	}
	defer s.Stop(b.Context())
	c, err := tandemclient.New("http://"+s.APIAddr(), tandemclient.Options{})
	if err != nil {
		b.Fatal(err)
	}
	before := cpuTime(b)
	work := make(chan int)
	done := make(chan error, 16)
	for range cap(done) {
		go func() {
			var first error
			for n := range work {
				event := tandem.Event{ID: tandem.NewID(), Source: "/s", Type: "order.placed", Subject: fmt.Sprint(n), Data: []byte(`{"total":12}`)}
				if _, err := c.Publish(b.Context(), "orders", event); first == nil {
					first = err
				}
			}
			done <- first
		}()
	}
	for n := range b.N {
		work <- n
	}
	close(work)
	for range cap(done) {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	<-all
	if size == 0 { // the index has them all
		if _, err := c.Flows(b.Context(), tandem.FlowQuery{Limit: 1}); err != nil {
			b.Fatal(err)
		}
	}
	return cpuTime(b) - before
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
