package delivery

import (
	"bytes"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// BenchmarkCostOfADelivery takes a backlog of signed events from disk to a transport that answers at once, and reports what a
// delivery costs us: time on the processor, allocations, bytes written to disk, and bytes of state that stay.
func BenchmarkCostOfADelivery(b *testing.B) {
	w := newRelayBed(b)
	opts := quietOptions("http://svc")
	opts.Secrets = func(string) (string, error) { return relaySecret, nil }
	opts.Transport = func(string) http.RoundTripper {
		return roundTrip(func(*http.Request) (*http.Response, error) {
			w.taken.Add(1)
			return status(http.StatusNoContent), nil
		})
	}
	w.startWith(b, opts, w.subscription("s"))
	backlog := func(n int) {
		if err := w.m.Pause(w.ctx, "s"); err != nil {
			b.Fatal(err)
		}
		for at := 0; at < n; at += 500 {
			batch := make([]tandem.Event, min(500, n-at))
			for i := range batch {
				batch[i] = tandem.Event{Source: "/bench", Type: "order.placed", Subject: relayKey(at + i), Data: w.data}
			}
			if _, err := w.log.Append(w.ctx, "orders", batch); err != nil {
				b.Fatal(err)
			}
		}
	}
	deliver := func() {
		if err := w.m.Resume(w.ctx, "s"); err != nil {
			b.Fatal(err)
		}
		w.settle(b, "s")
	}
	backlog(1000)
	deliver()
	backlog(b.N)
	before, kept := w.taken.Load(), w.kept(b)
	cpu, written := processorTime(b), bytesWritten()
	b.ReportAllocs()
	b.ResetTimer()
	deliver()
	b.StopTimer()
	n := float64(b.N)
	if got := w.taken.Load() - before; got != int64(b.N) {
		b.Fatalf("%d deliveries of %d events", got, b.N)
	}
	b.ReportMetric(float64(processorTime(b)-cpu)/n/1000, "cpu-µs/op")
	b.ReportMetric(float64(bytesWritten()-written)/n, "written-B/op")
	b.ReportMetric(float64(w.kept(b)-kept)/n, "kept-B/op")
	b.ReportMetric(n/b.Elapsed().Seconds(), "deliveries/s")
}

// kept is how many bytes of state records there are.
func (w *relayBed) kept(b testing.TB) (n int64) {
	err := w.log.ScanState(w.ctx, "delivery/", func(key string, value []byte) bool {
		n += int64(len(key) + len(value))
		return true
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// processorTime is what this process has used.
func processorTime(b testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// bytesWritten is what this process has given to the file system, 0 where the system does not say.
func bytesWritten() int64 {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(text, []byte("wchar: "))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	n, _ := strconv.ParseInt(string(line), 10, 64)
	return n
}
