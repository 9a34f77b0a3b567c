package delivery

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// BenchmarkPull measures the way of an event from 64 publishers, each waiting for its receipt, to 8 clients that lease up to 100 at a
// time and acknowledge them, each acknowledgement stored before it is answered: in order of 1,000 keys, on disk.
func BenchmarkPull(b *testing.B) {
	w := newRelayBed(b)
	w.start(b, pulledSub("s"))
	ctx, cancel := context.WithCancel(w.ctx)
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for ctx.Err() == nil {
				w.pull(ctx, b)
			}
		})
	}
	defer clients.Wait()
	defer cancel()
	w.round(b, relayEvents/5, "s")
	b.ReportAllocs()
	b.ResetTimer()
	var took time.Duration
	rounds := 0
	for b.Loop() {
		took += w.round(b, relayEvents, "s")
		rounds++
	}
	b.StopTimer()
	b.ReportMetric(float64(relayEvents*rounds)/took.Seconds(), "events/s")
}

// pull leases events once and acknowledges them.
func (w *relayBed) pull(ctx context.Context, b testing.TB) {
	leases, err := w.m.Pull(ctx, "s", tandem.PullRequest{Max: 100, Wait: tandem.Duration(time.Second)})
	if len(leases) == 0 {
		if err != nil && ctx.Err() == nil {
			b.Error(err)
		}
		return
	}
	w.taken.Add(int64(len(leases)))
	if _, err := w.m.Ack(w.ctx, "s", tokensOf(leases)); err != nil {
		b.Error(err)
	}
}
