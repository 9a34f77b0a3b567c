package operation

import (
	"container/heap"
	"context"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

const (
	maxCommitAsks  = 64
	maxCommitBytes = 8 << 20 // of results
	maxCommitDue   = 256     // operations whose time is out
	retryEvery     = time.Second
	sweepEvery     = time.Minute
	sweepBatch     = 1000
	// catchUpTime is how long after Start an operation whose time is out waits for its reader to catch up.
	catchUpTime = 30 * time.Second
)

// ask is what the keeper is asked to store in one step.
type ask struct {
	ends    []ending      // each unless the operation has ended before
	confirm *entry        // store that it runs
	drop    string        // remove the record of an abandoned operation
	watch   *watch        // whose cursor moves
	cursor  tandem.Cursor // to here
	done    chan error    // room for one
}

// ending is how an operation is to end.
type ending struct {
	entry *entry
	final *tandem.Operation
}

// ask hands a to the keeper and waits until it is stored.
func (o *Operations) ask(ctx context.Context, a *ask) error {
	a.done = make(chan error, 1)
	select {
	case o.asks <- a:
	case <-ctx.Done():
		return tandem.Errorf(tandem.CodeUnavailable, "the operation's state was not stored: %w", context.Cause(ctx))
	case <-o.closing:
		return errStopped()
	}
	select {
	case err := <-a.done:
		return err
	case <-ctx.Done():
		return tandem.Errorf(tandem.CodeUnavailable, "the operation's state may not be stored: %w", context.Cause(ctx))
	case <-o.life.Done():
		return errStopped()
	}
}

// keep is the keeper: the only one who writes state and who decides how an operation ended.
func (o *Operations) keep(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		wait := time.Duration(0)
		select {
		case a := <-o.asks:
			// A failed commit is told to who asked, and who asked tries again.
			_ = o.settle(ctx, o.gather(a))
		case <-timer.C:
			if due := o.takeDue(time.Now()); len(due) > 0 {
				if err := o.settle(ctx, []*ask{{ends: due, done: make(chan error, 1)}}); err != nil {
					o.opts.Logger.Warn("operations whose time is out could not be ended", "error", err)
					wait = retryEvery
				}
			}
		case <-o.poke:
		case <-sweep.C:
			if err := o.sweep(ctx, time.Now()); err != nil {
				o.opts.Logger.Warn("old operations could not be removed", "error", err)
			}
		case <-ctx.Done():
			return
		}
		o.mu.Lock()
		timer.Reset(max(wait, o.due.next(time.Now())))
		o.mu.Unlock()
	}
}

// gather takes what else is waiting, so that one commit serves many.
func (o *Operations) gather(a *ask) []*ask {
	asks := []*ask{a}
	for size := a.bytes(); len(asks) < maxCommitAsks && size < maxCommitBytes; {
		select {
		case a := <-o.asks:
			asks = append(asks, a)
			size += a.bytes()
		default:
			return asks
		}
	}
	return asks
}

func (a *ask) bytes() (n int) {
	for _, e := range a.ends {
		if e.final.Result != nil {
			n += len(e.final.Result.Data)
		}
	}
	return n
}

// settle stores what is asked in one step, then wakes those who wait.
func (o *Operations) settle(ctx context.Context, asks []*ask) error {
	var tx eventlog.Tx
	ended := map[*entry]*tandem.Operation{}
	err := func() (err error) {
		// Ends first: an operation that has ended in this very commit needs no other record.
		for _, a := range asks {
			for _, end := range a.ends {
				if end.entry.final != nil || ended[end.entry] != nil {
					continue
				}
				ended[end.entry] = end.final
				if tx.State, err = endState(tx.State, end.final); err != nil {
					return err
				}
			}
		}
		for _, a := range asks {
			switch e := a.confirm; {
			case e == nil || e.final != nil || ended[e] != nil:
			default:
				op, err := runState(e)
				if err != nil {
					return err
				}
				tx.State = append(tx.State, op)
			}
			if a.drop != "" {
				tx.State = append(tx.State, driver.StateOp{Key: prefixRun + a.drop})
			}
			if a.watch != nil {
				tx.State = append(tx.State, a.watch.state(a.cursor))
			}
		}
		// Not ctx: a commit under way when Stop is called is finished, not left in doubt.
		_, err = o.log.Commit(context.WithoutCancel(ctx), &tx)
		return err
	}()
	if err == nil {
		o.mu.Lock()
		for e, final := range ended {
			e.final = final
			if o.running[e.op.ID] == e {
				o.forget(e)
			}
			close(e.done)
		}
		o.mu.Unlock()
	}
	for _, a := range asks {
		a.done <- err
	}
	return err
}

// takeDue returns the operations whose time is out.
func (o *Operations) takeDue(now time.Time) (due []ending) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.due.passed(now) {
		if !e.watch.caughtUp.Load() && now.Sub(o.started) < catchUpTime {
			// Its event may have been stored in time, by the process before this one.
			e.deadline = now.Add(100 * time.Millisecond)
			heap.Fix(&o.due, e.heapPos)
			continue
		}
		final := e.op
		final.State = tandem.OperationFailed
		final.Ended = timeText(now)
		final.Problem = tandem.ProblemOf(tandem.Errorf(tandem.CodeTimeout, "no event ended the operation within %s", e.spec.Timeout))
		due = append(due, ending{e, &final})
	}
	return due
}

// sweep removes operations that ended longer ago than Options.Keep.
func (o *Operations) sweep(ctx context.Context, now time.Time) error {
	cutoff := now.Add(-o.opts.Keep)
	for {
		var tx eventlog.Tx
		err := o.log.ScanState(ctx, prefixEnd, func(key string, value []byte) bool {
			if made, ok := madeAt(key[len(prefixEnd):]); ok && made.After(cutoff) {
				return false // all that follow were made later still
			}
			if at, err := recordTime(value); err == nil && at.Before(cutoff) {
				tx.State = append(tx.State, driver.StateOp{Key: key})
			}
			return len(tx.State) < sweepBatch
		})
		if err == nil && len(tx.State) > 0 {
			_, err = o.log.Commit(ctx, &tx)
		}
		if err != nil || len(tx.State) < sweepBatch {
			return err
		}
	}
}
