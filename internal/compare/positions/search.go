package positions

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/examples/fleet/vehicle"
	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/figure"
	"github.com/tandem-hybrid/tandem/internal/compare/fleet"
	"github.com/tandem-hybrid/tandem/internal/compare/origin"
)

// search looks for the largest number of vehicles. It serves one trial at a time.
type search struct {
	style     style
	consumers int
	plan      plan
	faults    []compare.FaultPlan

	env    *compare.Env
	sys    *origin.System
	at     func(vehicle, n int) vehicle.Position
	probes int
}

// probe is one number of vehicles that was tried.
type probe struct {
	vehicles int
	cell     *compare.Cell
}

// run returns the cell of the largest number that held, which says what stopped the next one; when none held, that of the smallest that was tried.
func (s *search) run(ctx context.Context, env *compare.Env) (*compare.Cell, error) {
	for _, f := range s.faults {
		if !f.Down {
			return nil, tandem.Errorf(tandem.CodeInvalid, "fault %s: what vehicles report goes through no proxy, so that a process can be down and nothing else", f)
		}
	}
	tracks, err := load(env.Options.Inputs, env.Seed)
	if err != nil {
		return nil, err
	}
	s.env, s.at, s.probes = env, fleet.Positions(tracks), 0
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	limit, why := s.plan.limit, "more were not asked for"
	if n, reason := connections(); s.style.each && n < limit {
		limit, why = n, reason
	}
	var held, failed probe
	began := time.Now()
	_, _, err = fleet.Largest(s.plan.start, limit, s.plan.precision, func(n int) (bool, error) {
		c, err := s.probe(ctx, n)
		if err != nil {
			return false, err
		}
		if misses(c) == "" {
			held = probe{n, c}
			return true, nil
		}
		failed = probe{n, c}
		return false, s.clear(ctx)
	}, func() bool {
		return ctx.Err() == nil && (s.probes == 0 || time.Since(began)+s.plan.every+s.plan.duration < s.plan.budget)
	})
	if err != nil {
		return nil, err
	}
	next := compare.Param{Name: more, Value: notTried + ", the time was out"}
	switch {
	case held.cell == nil && failed.cell == nil:
		return nil, context.Cause(ctx)
	case held.cell == nil:
		held = probe{0, failed.cell}
		fallthrough
	case failed.cell != nil:
		next.Value = fmt.Sprintf("%d: %s", failed.vehicles, misses(failed.cell))
	case held.vehicles == limit:
		next.Value = notTried + ", " + why
	}
	held.cell.Also = []compare.Param{vehicles(held.vehicles), next}
	return held.cell, nil
}

// The param more says what became of the next larger number.
const more, notTried = "more", "not tried"

func vehicles(n int) compare.Param { return compare.Param{Name: "vehicles", Value: strconv.Itoa(n)} }

func (s *search) start(ctx context.Context) (err error) {
	var names []string
	for _, c := range consumers[:s.consumers] {
		names = append(names, c.name)
	}
	p := origin.Plan{Consumers: names, Direct: true, Batch: true, Config: config, Options: origin.Options{Type: "vehicle.position", Tell: s.style.tell}}
	if p.Options.Tell != origin.Publish {
		p.Name, p.Store = store, true
	}
	s.sys, err = origin.Start(ctx, s.env, p)
	return err
}

// settling is how long consumers have after the load to take what is left: more means that they do not keep up.
const settling = 5 * time.Second

// probe lets so many vehicles report.
func (s *search) probe(ctx context.Context, n int) (*compare.Cell, error) {
	s.probes++
	prefix := strconv.Itoa(s.probes) + "/" // units of other probes have the same ids
	r := s.style.open(s.sys, n)
	defer r.Close()
	var accepted atomic.Int64 // those of the warm-up, too
	job := compare.Job{
		Offer: compare.Offer{Rate: float64(n) / s.plan.every.Seconds(), Even: true, Warmup: s.plan.every, Duration: s.plan.duration,
			Seed: s.env.Seed, InFlight: max(n, 2000)},
		Faults: s.faults, MustBeUp: s.sys.Up,
		Attempt: func(ctx context.Context, u compare.Unit) compare.Told {
			v := u.Seq % n
			got := told(r.Report(ctx, v, fleet.Report{Unit: prefix + u.ID, Position: s.at(v, u.Seq/n)}))
			if got == compare.Accepted {
				accepted.Add(1)
			}
			return got
		},
	}
	if s.consumers > 0 {
		job.Settle = s.settle
		job.Ledger = func(ctx context.Context) (map[string]compare.Work, error) {
			all, err := s.sys.Ledger(ctx)
			mine := map[string]compare.Work{}
			for unit, w := range all {
				if id, ok := strings.CutPrefix(unit, prefix); ok {
					mine[id] = w
				}
			}
			return mine, err
		}
	}
	c, err := s.env.Run(ctx, job)
	if err != nil {
		return nil, err
	}
	// Only what goes between vehicles and who takes their reports is counted: it is what the styles differ in, and what a vehicle pays for.
	per := func(n int64) *float64 { f := float64(n) / float64(max(accepted.Load(), 1)); return &f }
	c.PerUnit.Requests, c.PerUnit.WireBytes = per(r.Wire().Requests), per(r.Wire().Bytes)
	return c, nil
}

// told is what a vehicle was told.
func told(err error) compare.Told {
	var status *fleet.StatusError
	switch {
	case err == nil:
		return compare.Accepted
	case errors.As(err, &status), errors.Is(err, syscall.ECONNREFUSED):
		return compare.Refused
	}
	return compare.Unknown
}

func (s *search) settle(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, settling)
	defer cancel()
	if err := s.sys.Settle(within, math.MaxInt32); err != nil && within.Err() == nil {
		return err
	}
	return ctx.Err()
}

// misses says why a number of vehicles does not hold, or nothing.
func misses(c *compare.Cell) string {
	late := func(l *compare.Latency) bool { return l == nil || l.P99 >= bound }
	not := c.Outcome.Refused + c.Outcome.Unknown
	undone := compare.Counted(c.Outcome.Lost) + compare.Counted(c.Outcome.HalfDone)
	switch {
	case c.BrokenOff:
		return "broken off"
	case c.NotReachable != "":
		return c.NotReachable
	case not*100 > c.Load.Units:
		return fmt.Sprintf("%d of %d reports were not accepted", not, c.Load.Units)
	case late(c.Answered):
		return fmt.Sprintf("p99 of the answer %s", p99(c.Answered))
	case undone*100 > c.Load.Units:
		return fmt.Sprintf("%d of %d reports had not reached all consumers %s after the end", undone, c.Load.Units, figure.Span(settling))
	case c.Done != nil && late(c.Done):
		return fmt.Sprintf("p99 until all consumers had it %s", p99(c.Done))
	}
	return ""
}

func p99(l *compare.Latency) string {
	if l == nil {
		return "of none"
	}
	return figure.Duration(l.P99)
}

// clear lets consumers off what they did not keep up with, so that the next number begins without it.
func (s *search) clear(ctx context.Context) error {
	if s.sys.API == "" || s.consumers == 0 {
		return nil
	}
	c, err := client.New(s.sys.API, client.Options{})
	if err != nil {
		return err
	}
	for _, name := range consumers[:s.consumers] {
		if _, err := c.Seek(ctx, name.name, tandem.Start{}, false); err != nil {
			return tandem.Wrap("let a consumer off", err)
		}
	}
	return s.settle(ctx)
}
