package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/eventlog/pebblelog"
)

// BenchmarkPullBacklog measures the lease and the acknowledgement of an event that is stored already, in batches of 100: one client, and
// eight that share what there is.
func BenchmarkPullBacklog(b *testing.B) {
	for _, engine := range []string{"memory", "pebble"} {
		for _, clients := range []int{1, 8} {
			b.Run(fmt.Sprintf("%s/clients=%d", engine, clients), func(b *testing.B) {
				log := benchLog(b, engine)
				benchPull(b, log, clients)
			})
		}
	}
}

func benchLog(b *testing.B, engine string) *eventlog.Log {
	b.Helper()
	quiet := slog.New(slog.DiscardHandler)
	var err error
	var log *eventlog.Log
	if engine == "memory" {
		log, err = eventlog.Open(b.Context(), memlog.New(memlog.Options{}), eventlog.Options{Logger: quiet})
	} else {
		eng, openErr := pebblelog.Open(b.TempDir(), pebblelog.Options{FreeBytes: -1, Logger: quiet})
		if openErr != nil {
			b.Fatal(openErr)
		}
		log, err = eventlog.Open(b.Context(), eng, eventlog.Options{Logger: quiet})
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { log.Close() })
	if _, err := log.CreateTopic(b.Context(), tandem.Topic{Name: "orders", Partitions: 8}); err != nil {
		b.Fatal(err)
	}
	return log
}

func benchPull(b *testing.B, log *eventlog.Log, clients int) {
	ctx := context.Background()
	m := New(log, quietOptions(""))
	if err := m.Start(ctx); err != nil {
		b.Fatal(err)
	}
	defer m.Stop(ctx)
	if err := m.Apply(ctx, []tandem.Subscription{pulledSub("s")}); err != nil {
		b.Fatal(err)
	}
	backlog(b, log, b.N)
	left := make(chan int, b.N)
	for i := range b.N {
		left <- i
	}
	close(left)
	b.ReportAllocs()
	b.ResetTimer()
	done := make(chan error, clients)
	for range clients {
		go func() { done <- drainPull(ctx, m, left) }()
	}
	for range clients {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	if st, err := m.Status(ctx, "s"); err != nil || st.Lag != 0 || st.Delivered != uint64(b.N) {
		b.Fatalf("%+v, %v", st, err)
	}
}

// drainPull takes a number out of left for each event, and ends with the last.
func drainPull(ctx context.Context, m *Manager, left chan int) error {
	for len(left) > 0 {
		leases, err := m.Pull(ctx, "s", tandem.PullRequest{Max: 100, Wait: tandem.Duration(10 * time.Millisecond)})
		if err != nil {
			return err
		}
		if len(leases) == 0 {
			continue
		}
		if _, err := m.Ack(ctx, "s", tokensOf(leases)); err != nil {
			return err
		}
		for range leases {
			<-left
		}
	}
	return nil
}

// backlog stores n events of 1,000 keys.
func backlog(b *testing.B, log *eventlog.Log, n int) {
	b.Helper()
	data := make([]byte, 200)
	for i := range data {
		data[i] = 'x'
	}
	payload := []byte(`{"text":"` + string(data) + `"}`)
	batch := make([]tandem.Event, 0, 500)
	for i := range n {
		batch = append(batch, tandem.Event{Source: "/bench", Type: "order.placed", Subject: fmt.Sprintf("k%d", i%1000), Data: payload})
		if len(batch) == cap(batch) || i == n-1 {
			if _, err := log.Append(b.Context(), "orders", batch); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
}
