package pebblelog

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// stall notices that the store stands still. Pebble makes a commit wait for as long as it takes when memtables cannot be
// flushed, on a full volume for example, and a sync may not return. Those who would wait are answered with Unavailable
// then, until the store goes on by itself.
type stall struct {
	applying, syncing atomic.Int64 // since when, in nanoseconds after epoch; zero while nothing is under way
	epoch             time.Time
	begun             atomic.Pointer[chan struct{}] // closed when a stall begins, replaced when it ends
}

// stallAfter is how long a commit may take before the store counts as stalled.
const stallAfter = 10 * time.Second

func (s *stall) init() {
	s.epoch = time.Now().Add(-time.Second) // so that no time is zero
	s.reset()
}

func (s *stall) reset() {
	c := make(chan struct{})
	s.begun.Store(&c)
}

// during notes in since that fn is under way.
func (s *stall) during(since *atomic.Int64, fn func() error) error {
	since.Store(int64(time.Since(s.epoch)))
	defer since.Store(0)
	return fn()
}

// lasted returns how long the older of what is under way has taken.
func (s *stall) lasted() time.Duration {
	now, longest := int64(time.Since(s.epoch)), int64(0)
	for _, since := range []*atomic.Int64{&s.applying, &s.syncing} {
		if v := since.Load(); v != 0 {
			longest = max(longest, now-v)
		}
	}
	return time.Duration(longest)
}

// watch answers for the store while it stands still, until ctx is done.
func (e *Engine) watch(ctx context.Context) {
	tick := time.NewTicker(e.opts.stallAfter / 4)
	defer tick.Stop()
	stalled := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.failure.done:
			return
		case <-tick.C:
		}
		lasted := e.stall.lasted()
		switch now := lasted >= e.opts.stallAfter; {
		case now && !stalled:
			stalled = true
			e.opts.Logger.Error("the store stands still", "for", lasted)
			// Those who wait have been answered before the others are told.
			answer(e.queue.refuse(errStalled()), errStalled())
			close(*e.stall.begun.Load())
		case !now && stalled:
			stalled = false
			e.opts.Logger.Warn("the store goes on")
			e.stall.reset()
			e.queue.refuse(nil)
		}
	}
}

func answer(requests []*request, err error) {
	for _, r := range requests {
		r.err = err
		r.done <- struct{}{}
	}
}

func errStalled() *tandem.Error {
	return tandem.Errorf(tandem.CodeUnavailable, "the store does not go on").WithRetryAfter(10 * time.Second).
		WithHint("look at the volume of the data directory: it may be full or not answer; sending the same ids again is safe")
}
