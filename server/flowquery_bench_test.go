package server_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	tandemclient "github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/server"
)

// BenchmarkFlowQuery stores a million flows of one event and asks, over HTTP, for one after the other by its id: five subscriptions read the
// topic. It reports how long half of the answers took, and all but one in a hundred, and how long the index took to be built from the log.
func BenchmarkFlowQuery(b *testing.B) {
	const flows, page = 1_000_000, 5000
	opts := server.Options{Data: b.TempDir(), PublicAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0", FreeBytes: -1,
		Services: []tandem.Service{{Name: "shop", URL: "http://127.0.0.1:1"}}, Topics: []tandem.Topic{{Name: "orders", Partitions: 8}}}
	for i := range 5 {
		opts.Subscriptions = append(opts.Subscriptions, tandem.Subscription{Name: fmt.Sprint("s", i), Topics: []string{"orders"}, Service: "shop"})
	}
	drv, err := server.OpenEngine(b.Context(), opts)
	if err != nil {
		b.Fatal(err)
	}
	log, err := eventlog.Open(b.Context(), drv, eventlog.Options{})
	if err == nil {
		_, err = log.CreateTopic(b.Context(), opts.Topics[0])
	}
	var ids []string
	for len(ids) < flows && err == nil {
		events := make([]tandem.Event, page)
		for i := range events {
			id := tandem.NewID()
			ids = append(ids, id)
			events[i] = tandem.Event{ID: id, Source: "/s", Type: "order.placed", Subject: fmt.Sprint(len(ids)), Data: []byte(`{"total":12}`), Meta: tandem.Meta{Flow: id}}
		}
		_, err = log.Append(b.Context(), "orders", events)
	}
	if err == nil {
		err = log.Close()
	}
	if err != nil {
		b.Fatal(err)
	}
	s, err := server.New(opts)
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if err := s.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer s.Stop(b.Context())
	c, err := tandemclient.New("http://"+s.APIAddr(), tandemclient.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for { // until the index is whole
		f, err := c.Flow(b.Context(), ids[0])
		if err != nil && tandem.CodeOf(err) != tandem.CodeNotFound {
			b.Fatal(err)
		}
		if err == nil && len(f.Missing) == 0 {
			break
		}
	}
	built := time.Since(began)
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		id := ids[rand.IntN(len(ids))]
		start := time.Now()
		f, err := c.Flow(b.Context(), id)
		took = append(took, time.Since(start))
		if err != nil || len(f.Nodes) != 6 || len(f.Missing) > 0 {
			b.Fatalf("%+v, %v", f, err)
		}
	}
	slices.Sort(took)
	b.ReportMetric(built.Seconds(), "s-to-build")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
