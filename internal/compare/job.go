package compare

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tandem-hybrid/tandem"
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

// Run carries out a job and returns its cell. When ctx is done before that, the cell is about what was offered until then,
// says so, and has nothing of what would have become of work that was under way. The faults are fitted into the cell
// (FaultPlan.In). Code: Invalid for a fault that this trial has no process or no time for.
func (e *Env) Run(ctx context.Context, job Job) (*Cell, error) {
	faults := make([]FaultPlan, len(job.Faults))
	for i, f := range job.Faults {
		f = f.In(job.Offer.Duration)
		if f.At+f.For > job.Offer.Duration {
			return nil, tandem.Errorf(tandem.CodeInvalid, "fault %s: it would end after %s, and this cell takes %s", f, f.At+f.For, job.Offer.Duration).
				WithHint("choose earlier times, none (the middle third), or a longer --duration")
		}
		faults[i] = f
	}
	l, err := e.load(ctx, job, faults)
	if err != nil {
		return nil, err
	}
	c := &Cell{Warmup: job.Offer.Warmup, MustBeUp: job.MustBeUp}
	// Who breaks a run off wants to read what it found so far.
	reading, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	context.AfterFunc(ctx, func() { time.AfterFunc(brokenOff, cancel) })
	if job.Settle != nil && ctx.Err() == nil {
		if err := job.Settle(ctx); err != nil && ctx.Err() == nil {
			return nil, err
		}
	}
	c.BrokenOff = ctx.Err() != nil
	c.Took = max(0, time.Since(l.zero)) // it can be broken off in its warm-up
	a := &account{zero: l.zero, attempts: l.attempts, unsettled: c.BrokenOff}
	l.meter.Stop(c, a.outcome().Accepted)
	if job.Ledger != nil {
		if a.ledger, err = job.Ledger(reading); err != nil {
			return nil, err
		}
	}
	c.Load, c.NotReachable = job.Offer.load(l.attempts)
	c.Outcome = a.outcome()
	if c.NotReachable == "" {
		c.Answered, c.Done = a.answered(), a.done()
	}
	c.Faults = a.faults(faults)
	c.Samples = a.samples(sampleEvery(job.Offer.Duration), c.Took)
	return c, nil
}

// loaded is what a load left to be read.
type loaded struct {
	zero     time.Time // the beginning of the cell
	attempts []attempt // without the warm-up
	meter    *Meter    // since zero
}

// load offers the load of a job with its faults, and returns when both have ended.
func (e *Env) load(ctx context.Context, job Job, faults []FaultPlan) (*loaded, error) {
	o := job.Offer
	l := &loaded{meter: e.Measure()} // again after a warm-up
	l.zero = time.Now().Add(o.Warmup)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return e.Inject(ctx, l.zero, faults...) })
	if o.Warmup > 0 {
		g.Go(func() error {
			sleepUntil(ctx, l.zero)
			l.meter = e.Measure()
			return nil
		})
	}
	g.Go(func() error {
		for _, a := range offer(ctx, o, l.zero, "u", job.Attempt) {
			if a.due >= 0 {
				l.attempts = append(l.attempts, a)
			}
		}
		return nil
	})
	return l, g.Wait()
}
