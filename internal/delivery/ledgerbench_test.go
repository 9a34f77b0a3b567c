package delivery

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/eventlog/pebblelog"
)

// BenchmarkLedger measures what the ledger costs a delivery that succeeds at the first attempt: on Pebble on disk, with and without, as deliveries a
// second and bytes on disk after compaction; and alone, as time to note an outcome and turn it into a record.
func BenchmarkLedger(b *testing.B) {
	for _, keep := range []bool{false, true} {
		b.Run(map[bool]string{false: "pebble without", true: "pebble with"}[keep], func(b *testing.B) { benchLedger(b, keep) })
	}
	b.Run("alone", benchLedgerAlone)
}

func benchLedger(b *testing.B, keep bool) {
	dir := b.TempDir()
	eng, err := pebblelog.Open(dir, pebblelog.Options{FreeBytes: -1, RetentionEvery: -1})
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	log, err := eventlog.Open(ctx, eng, eventlog.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := log.CreateTopic(ctx, tandem.Topic{Name: "orders", Partitions: 8}); err != nil {
		b.Fatal(err)
	}
	opts := quietOptions("http://svc")
	if !keep {
		opts.LedgerBytes = -1
	}
	var n atomic.Int64
	opts.Transport = func(string) http.RoundTripper {
		return roundTrip(func(*http.Request) (*http.Response, error) {
			n.Add(1)
			return status(http.StatusNoContent), nil
		})
	}
	m := New(log, opts)
	if err := m.Start(ctx); err != nil {
		b.Fatal(err)
	}
	s := sub("s")
	s.Concurrency = 64
	if err := m.Apply(ctx, []tandem.Subscription{s}); err != nil {
		b.Fatal(err)
	}
	if err := m.Pause(ctx, "s"); err != nil {
		b.Fatal(err)
	}
	batch := make([]tandem.Event, 0, 500)
	for i := range b.N {
		batch = append(batch, tandem.Event{Source: "/bench", Type: "order.placed", Subject: fmt.Sprintf("k%d", i%1000), Data: []byte(`{"n":1}`)})
		if len(batch) == cap(batch) || i == b.N-1 {
			if _, err := log.Append(ctx, "orders", batch); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	if err := m.Resume(ctx, "s"); err != nil {
		b.Fatal(err)
	}
	for {
		if st, err := m.Status(ctx, "s"); err != nil || st.Lag == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
	sub, _ := m.find("s")
	if err := m.Stop(ctx); err != nil {
		b.Fatal(err)
	}
	var written uint64
	for _, g := range sub.ledger.segments {
		written += g.bytes
	}
	if err := log.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(written)/float64(b.N), "ledgerB/op")
	b.ReportMetric(float64(stateOnDisk(b, dir))/float64(b.N), "diskB/op")
}

// stateOnDisk returns the size of the state records after compaction.
func stateOnDisk(b *testing.B, dir string) (n uint64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Name() != "CURRENT" && !e.IsDir() {
			return err
		}
		if e.IsDir() {
			if _, err := os.Stat(filepath.Join(path, "OPTIONS-000003")); err != nil && !hasManifest(path) {
				return nil
			}
			db, err := pebble.Open(path, &pebble.Options{Logger: quietPebble{}})
			if err != nil {
				return err
			}
			from, to := []byte{0x10}, []byte{0x11}
			if err := db.Compact(context.Background(), from, to, false); err != nil {
				return err
			}
			if n, err = db.EstimateDiskUsage(from, to); err != nil {
				return err
			}
			if err := db.Close(); err != nil {
				return err
			}
			return filepath.SkipAll
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func hasManifest(dir string) bool {
	all, _ := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
	return len(all) > 0
}

type quietPebble struct{}

func (quietPebble) Infof(string, ...any)  {}
func (quietPebble) Errorf(string, ...any) {}
func (quietPebble) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

func benchLedgerAlone(b *testing.B) {
	ctx := context.Background()
	log, err := eventlog.Open(ctx, memlog.New(memlog.Options{}), eventlog.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	m := New(log, quietOptions("http://svc"))
	s := newSubscription(m, "s", config{})
	s.ledger = newLedger(&m.opts)
	d := &delivery{topicName: "orders", attempts: 1, status: 204, ended: time.Now(), took: 3 * time.Millisecond}
	b.ReportAllocs()
	b.ResetTimer()
	var at [8]uint64
	for i := 0; b.Loop(); i++ {
		d.part = i % 8
		at[d.part]++
		d.offset = uint64(i) ^ 3 // a little out of order
		s.recordOutcome(d, nil, tandem.DeliveryDelivered, "")
		if i%300 == 299 {
			s.collectLedger(nil)
			s.ledger.stored()
		}
	}
}
