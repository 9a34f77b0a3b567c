package outbox

import (
	"context"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Relay sends in the background what PublishNow did not: rows whose sender failed or died, and rows that others wrote,
// in order per key, in batches. On SQLite it reads the table only when it is woken, when a lease or a wait ends, and every
// Options.Poll; on PostgreSQL often while there are rows, and more and more seldom when there are none.
type Relay struct {
	box    *Outbox
	sender sender
	holder string // names this relay in leases

	mu     sync.Mutex // guards what follows
	cancel context.CancelFunc
	stop   chan struct{}
	done   chan struct{}
}

// NewRelay returns the relay of an Outbox. Any number may run, in any number of processes.
func NewRelay(o *Outbox) *Relay {
	r := &Relay{box: o, holder: tandem.NewID()}
	r.sender = o.sql.relay(r)
	return r
}

// sender takes rows so that nobody else does, and sends them.
type sender interface {
	// round sends some of what is there and returns how long to wait for the next round. When stop is closed it takes no
	// more. An error means that the way to the log, or to the database, is closed for all rows.
	round(ctx context.Context, stop <-chan struct{}) (time.Duration, error)
}

// Start starts the relay and returns. ctx bounds nothing beyond the call: Stop ends the relay. Starting it twice is
// harmless.
func (r *Relay) Start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done != nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.cancel, r.stop, r.done = cancel, make(chan struct{}), make(chan struct{})
	go r.run(run, r.stop, r.done)
	return nil
}

// Stop takes no more rows, lets the batch under way finish until ctx is done, then cancels it, and returns when the
// relay is gone. Rows that it did not finish are free for another.
func (r *Relay) Stop(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil {
		return nil
	}
	close(r.stop)
	var err error
	select {
	case <-r.done:
	case <-ctx.Done():
		err = ctx.Err()
		r.cancel()
		<-r.done
	}
	r.cancel()
	r.cancel, r.stop, r.done = nil, nil, nil
	return err
}

func (r *Relay) run(ctx context.Context, stop, done chan struct{}) {
	defer close(done)
	failures := 0 // of the way there, in a row
	timer := time.NewTimer(0)
	defer timer.Stop()
	wake := r.box.wake
	for {
		select {
		case <-stop:
			return
		case <-wake:
		case <-timer.C:
		}
		wait, err := r.sender.round(ctx, stop)
		wake = r.box.wake
		if err != nil {
			failures++
			wait = r.box.backoff(failures, err)
			// While the way is closed, new rows change nothing: each wake-up would be one more attempt.
			wake = nil
			if ctx.Err() == nil {
				r.box.opts.Logger.WarnContext(ctx, "outbox: the relay will try again", "in", wait, "failures", failures, "error", err)
			}
		} else {
			failures = 0
		}
		timer.Reset(wait)
	}
}
