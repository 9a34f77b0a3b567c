package pebblelog

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/internal/benchfloor"
)

// BenchmarkAppend appends 200-byte events durably, each writer waiting for its own, and reports the rate as a ratio to a
// bare append-only file with group commit, measured in turns.
func BenchmarkAppend(b *testing.B) {
	for _, topics := range []int{1, 10_000} {
		for _, dedup := range []bool{false, true} {
			for _, writers := range []int{1, 64, 512} {
				ids := map[bool]string{false: "own", true: "client"}[dedup]
				b.Run(fmt.Sprintf("topics=%d/ids=%s/writers=%d", topics, ids, writers), func(b *testing.B) {
					benchmarkAppend(b, topics, writers, dedup)
				})
			}
		}
	}
}

func benchmarkAppend(b *testing.B, topics, writers int, dedup bool) {
	e := open(b, Options{FreeBytes: -1})
	ids := createMany(b, e, topics, 8)
	file, err := benchfloor.OpenFile(filepath.Join(b.TempDir(), "bare"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	payload := make([]byte, 200)
	floor := func(n int) time.Duration {
		return share(writers, n, func(int) error { return file.Append(payload) }, b)
	}
	var id atomic.Uint64
	part := func(n int) time.Duration {
		return share(writers, n, func(i int) error {
			n := id.Add(1)
			ev := event200()
			r := driver.Record{Topic: ids[int(n)%len(ids)], Partition: int(n>>4) % 8, Event: &ev, Dedup: dedup}
			binary.LittleEndian.PutUint64(r.Identity[:], n)
			batch := driver.Batch{Records: []driver.Record{r}}
			return e.Append(context.Background(), &batch)
		}, b)
	}
	n := max(b.N, 8*writers)
	part(min(n, 20000))
	floor(min(n, 20000))
	// In turns, so that both meet the same neighbours on a shared machine.
	var ours, bare time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for range 8 {
		ours += part(n / 8)
		b.StopTimer()
		bare += floor(n / 8)
		b.StartTimer()
	}
	b.StopTimer()
	b.ReportMetric(float64(n)/ours.Seconds(), "events/s")
	b.ReportMetric(float64(n)/bare.Seconds(), "bare/s")
	b.ReportMetric(bare.Seconds()/ours.Seconds(), "ratio")
}

// share runs fn n times over some writers and returns how long that took.
func share(writers, n int, fn func(i int) error, b *testing.B) time.Duration {
	var left atomic.Int64
	left.Store(int64(n))
	start := time.Now()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := fn(w); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

// event200 is an event of 200 bytes: attributes and payload.
func event200() tandem.Event {
	return tandem.Event{
		ID: "0190f3c4-7e2b-7c3d-9f01-23456789abcd", Source: "/orders", Type: "order.placed", Subject: "customer-17",
		Data: payload133, Meta: tandem.Meta{Accepted: time.Unix(1700000000, 0)},
	}
}

var payload133 = []byte(`{"order":"8412","customer":"17","lines":[{"sku":"85123A","qty":6,"price":"2.55"},{"sku":"71053","qty":6,"price":"3.39"}],"total":"35.64"}`)

// createMany makes topics many at a time.
func createMany(b testing.TB, e *Engine, topics, partitions int) []driver.ID {
	ids := make([]driver.ID, topics)
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := w; i < topics; i += 64 {
				t, err := e.CreateTopic(context.Background(), tandem.Topic{Name: fmt.Sprint("t", i), Partitions: partitions, Retention: -1})
				if err != nil {
					b.Error(err)
					return
				}
				ids[i] = t.ID
			}
		})
	}
	wg.Wait()
	return ids
}
