package compare

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Run runs the trials of scenarios one after another and reports what it found. When ctx is done, the report is about what
// ran until then and says so in Partial; that is no error.
//
// Codes: Invalid for options that no scenario understands; Unavailable when something could not be started. The report is
// valid beside an error as far as the run came.
func Run(ctx context.Context, scenarios []Scenario, o Options) (r Report, err error) {
	o = o.withDefaults()
	r = Report{Version: ReportVersion, Command: o.Invocation, Began: time.Now(), Seed: o.Seed, Repeats: o.Repeat, Machine: thisMachine()}
	defer func() { r.Took = time.Since(r.Began) }()
	plan, err := choose(scenarios, o)
	if err != nil {
		return r, err
	}
	sweep()
	p := newProgress(plan, o)
	for _, s := range plan {
		f := Finding{Scenario: s.about.Name, Title: s.about.Title, Question: s.about.Question, Expected: s.about.Expected}
		for _, t := range s.trials {
			p.next(s.about.Name, t)
			var repeats []*Cell
			for i := range o.Repeat {
				c, err := runTrial(ctx, t, o, i)
				switch {
				case err != nil && ctx.Err() == nil:
					return r, tandem.Wrap(fmt.Sprintf("%s, %s%s", s.about.Name, t.Style, describe(t.Params)), err)
				case err == nil:
					repeats = append(repeats, c)
				}
				if ctx.Err() != nil {
					break
				}
			}
			if len(repeats) > 0 {
				f.Cells = append(f.Cells, merge(repeats))
			}
			if ctx.Err() != nil {
				r.Partial = fmt.Sprintf("broken off in cell %d of %d: %s, %s%s", p.cell, p.cells, s.about.Name, t.Style, describe(t.Params))
				break
			}
		}
		v := s.Judge(slices.DeleteFunc(slices.Clone(f.Cells), func(c Cell) bool { return c.BrokenOff }))
		if v.Expected != nil {
			f.Expected = v.Expected
		}
		r.Findings = append(r.Findings, f)
		r.Advice = append(r.Advice, v.Advice...)
		r.NotMeasured = append(r.NotMeasured, v.NotMeasured...)
		if r.Partial != "" {
			return r, nil
		}
	}
	p.end()
	return r, nil
}

// planned is a scenario of a run.
type planned struct {
	Scenario
	about  About
	trials []Trial
}

// Outline is what a run would do.
type Outline struct {
	Scenarios []About
	Cells     int
	Takes     time.Duration // about
}

// Plan returns what Run would do. Code: Invalid, as of Run.
func Plan(scenarios []Scenario, o Options) (out Outline, err error) {
	plan, err := choose(scenarios, o)
	for _, s := range plan {
		out.Scenarios = append(out.Scenarios, s.about)
		for _, t := range s.trials {
			out.Takes += o.cellTakes(t)
			out.Cells++
		}
	}
	return out, err
}

// overhead is about how long it takes to start and stop what a cell needs.
const overhead = 2 * time.Second

func (o Options) cellTakes(t Trial) time.Duration {
	return (t.Takes + overhead) * time.Duration(max(o.Repeat, 1))
}

// choose picks the scenarios that were asked for, and their trials. Code: Invalid.
func choose(scenarios []Scenario, o Options) (plan []planned, err error) {
	o = o.withDefaults()
	var names []string
	for _, s := range scenarios {
		about := s.About()
		names = append(names, about.Name)
		if len(o.Scenarios) > 0 && !slices.Contains(o.Scenarios, about.Name) {
			continue
		}
		if len(o.Scenarios) > 0 {
			switch {
			case about.NoRate && o.Rate > 0:
				return nil, tandem.Errorf(tandem.CodeInvalid, "%s has no rate that can be chosen", about.Name).WithHint("leave out --rate, or this scenario")
			case about.NoFaults && len(o.Faults) > 0:
				return nil, tandem.Errorf(tandem.CodeInvalid, "%s has no faults", about.Name).WithHint("leave out --fault, or this scenario")
			}
		}
		if trials := s.Trials(o); len(trials) > 0 {
			plan = append(plan, planned{s, about, trials})
		}
	}
	for _, name := range o.Scenarios {
		if !slices.Contains(names, name) {
			return nil, tandem.Errorf(tandem.CodeInvalid, "there is no scenario %q", name).WithHint("there are %s", strings.Join(names, ", "))
		}
	}
	if len(plan) == 0 {
		return nil, tandem.Errorf(tandem.CodeInvalid, "these options leave nothing to run")
	}
	return plan, nil
}

// runTrial runs a trial once, in a directory of its own.
func runTrial(ctx context.Context, t Trial, o Options, repeat int) (*Cell, error) {
	dir, err := newDir()
	if err != nil {
		return nil, tandem.Wrap("make a directory for a cell", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // what cannot be removed is left to the system
	env, err := newEnv(dir, o.Seed+uint64(repeat), o)
	if err != nil {
		return nil, err
	}
	defer env.close()
	c, err := t.Run(ctx, env)
	if err != nil {
		return nil, err
	}
	c.Style, c.Params = t.Style, slices.Clone(t.Params)
	return c, nil
}

func describe(params []Param) string {
	var b strings.Builder
	for _, p := range params {
		fmt.Fprintf(&b, ", %s %s", p.Name, p.Value)
	}
	return b.String()
}

// progress tells how far a run is.
type progress struct {
	tell  func(Progress)
	o     Options
	cell  int
	cells int
	left  time.Duration
}

func newProgress(plan []planned, o Options) *progress {
	p := &progress{tell: o.Progress, o: o}
	if p.tell == nil {
		p.tell = func(Progress) {}
	}
	for _, s := range plan {
		for _, t := range s.trials {
			p.cells++
			p.left += o.cellTakes(t)
		}
	}
	return p
}

func (p *progress) next(scenario string, t Trial) {
	p.cell++
	p.tell(Progress{Scenario: scenario, Style: t.Style, Params: t.Params, Cell: p.cell, Cells: p.cells, Left: p.left})
	p.left -= p.o.cellTakes(t)
}

func (p *progress) end() { p.tell(Progress{Cell: p.cells + 1, Cells: p.cells}) }
