package compare

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/process"
)

// Inject carries out faults at their times after zero, and returns when all have ended. When ctx is done it ends them
// early, so that whatever was down is up again. Code: Invalid, at once, for a process that this trial has not, and
// for two faults of one process at the same time.
func (e *Env) Inject(ctx context.Context, zero time.Time, faults ...FaultPlan) error {
	for i, f := range faults {
		if e.proxies.before(f.process()) == nil {
			return tandem.Errorf(tandem.CodeInvalid, "fault %s: nothing that runs here is called %s", f, f.Process)
		}
		for _, g := range faults[:i] {
			if f.Process == g.Process && f.At < g.At+g.For && g.At < f.At+f.For {
				return tandem.Errorf(tandem.CodeInvalid, "fault %s: it overlaps with %s, and a process has one at a time", f, g).
					WithHint("give them times that do not overlap, such as %s:%s@%s+%s", f.Process, f.Kind(), g.At+g.For, f.For)
			}
		}
	}
	errs := make([]error, len(faults))
	var wg sync.WaitGroup
	for i, f := range faults {
		wg.Go(func() {
			if !sleepUntil(ctx, zero.Add(f.At)) {
				return
			}
			end := e.begin(ctx, f)
			sleepUntil(ctx, zero.Add(f.At+f.For))
			errs[i] = end()
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (f FaultPlan) process() string {
	if f.Process == Tandem {
		return process.Server
	}
	return f.Process
}

// begin begins a fault and returns what ends it. A process that this run did not start is cut off instead of killed: its
// connections are refused.
func (e *Env) begin(ctx context.Context, f FaultPlan) (end func() error) {
	p := e.proxies.before(f.process())
	if !f.Down {
		p.fault(f.Slow, f.Error)
		return func() error { p.fault(0, 0); return nil }
	}
	child := e.Group.Process(f.process())
	if child != nil {
		child.Down()
	}
	p.down()
	return func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if child != nil {
			child.Start()
			if err := answers(ctx, p.target); err != nil {
				return tandem.Wrap("start "+f.Process+" again", err)
			}
		}
		return p.up(ctx)
	}
}
