package compare

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

// Job is work for Env.Run: an open-loop load, faults during it, and what became of each unit of work.
type Job struct {
	Offer  Offer
	Faults []FaultPlan
	// Attempt sends one unit of work and returns what the caller was told. It is called from many goroutines.
	Attempt func(ctx context.Context, u Unit) Told
	// Settle waits until all work that was accepted is done, or it is clear that it never will be. Nil waits for nothing.
	Settle func(ctx context.Context) error
	// Ledger reads from the services what they did, by the id of the unit. A unit that is not in it is None. Nil when the
	// effects are not known: then nothing is said of work done, lost, twice or half-done.
	Ledger func(ctx context.Context) (map[string]Work, error)
	// MustBeUp goes into the cell.
	MustBeUp []string
}

// Work is what services did for one unit of work.
type Work struct {
	State State
	Twice bool      // an effect of it happened more than once
	At    time.Time // when the last effect happened, by the wall clock
}

// State is how much of a unit of work was done.
type State uint8

// The states of work.
const (
	None State = iota // no effect happened, or those that did were taken back
	Half              // some effects happened, and nothing is under way that would make up for the others
	Done
)

// brokenOff is how long after Ctrl-C the cell that was running may still settle and be read.
const brokenOff = 5 * time.Second

// Run carries out a job and returns its cell. When ctx is done before the load is, the cell is about what was offered until
// then and says so. The faults are fitted into the cell (FaultPlan.In).
func (e *Env) Run(ctx context.Context, job Job) (*Cell, error) {
	o := job.Offer
	faults := make([]FaultPlan, len(job.Faults))
	for i, f := range job.Faults {
		faults[i] = f.In(o.Duration)
	}
	meter := e.Measure() // again after a warm-up, which does not count
	zero := time.Now().Add(o.Warmup)
	g, faultCtx := errgroup.WithContext(ctx)
	g.Go(func() error { return e.Inject(faultCtx, zero, faults...) })
	if o.Warmup > 0 {
		g.Go(func() error {
			sleepUntil(faultCtx, zero)
			meter = e.Measure()
			return nil
		})
	}
	var attempts []attempt
	g.Go(func() error {
		attempts = offer(faultCtx, o, zero, "u", job.Attempt)
		return nil
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	c := &Cell{Warmup: o.Warmup, MustBeUp: job.MustBeUp, BrokenOff: ctx.Err() != nil}
	if c.BrokenOff {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), brokenOff)
		defer cancel()
	}
	if job.Settle != nil {
		if err := job.Settle(ctx); err != nil && !c.BrokenOff {
			return nil, err
		}
	}
	c.Took = time.Since(zero)
	measured := attempts[:0:0]
	for _, a := range attempts {
		if a.due >= 0 {
			measured = append(measured, a)
		}
	}
	meter.Stop(c, int64(len(measured)))
	c.Load, c.NotReachable = o.load(measured)
	var ledger map[string]Work
	if job.Ledger != nil {
		var err error
		if ledger, err = job.Ledger(ctx); err != nil {
			return nil, err
		}
	}
	a := &account{zero: zero, attempts: measured, ledger: ledger}
	c.Outcome = a.outcome()
	if c.NotReachable == "" {
		c.Answered, c.Done = a.answered(), a.done()
	}
	c.Faults = a.faults(faults)
	c.Samples = a.samples(sampleEvery(o.Duration), c.Took)
	return c, nil
}
