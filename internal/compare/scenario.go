package compare

import (
	"context"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem/internal/process"
)

// Scenario is one question, asked in several styles. It lives in a package of its own below this one.
type Scenario interface {
	// About says what is asked and what is written about it, before anything runs.
	About() About
	// Trials are the cells to run, in order. They are chosen by the extent of the run and what the user set in o.
	Trials(o Options) []Trial
	// Services are the services that the scenario brings, by kind, beside those of the examples. They run in children.
	Services() map[string]process.Opener
	// Judge says what the cells mean. It is called once, with the cells that ran to their end, which after Ctrl-C are not all.
	Judge(cells []Cell) Verdict
}

// About is what a scenario says before it runs.
type About struct {
	Name     string // as in --scenario
	Title    string
	Question string
	Expected []Expectation // without Agreed and Figure
	// What a user can choose, and means nothing to this scenario.
	NoRate, NoFaults bool
}

// Verdict is what a scenario says after it ran.
type Verdict struct {
	Expected    []Expectation // those of About, with Agreed and Figure
	Advice      []Advice
	NotMeasured []string
}

// Trial is a cell to be run.
type Trial struct {
	Style  string
	Params []Param
	Takes  time.Duration // about, without starting and stopping
	// Run starts what it needs in env, which is new and its own, and measures. Env.Run does most of it. The cell it returns
	// needs no Style and no Params, which are those of the trial.
	Run func(ctx context.Context, env *Env) (*Cell, error)
}

// Extent is how much of a scenario runs.
type Extent int

// The extents, from 30 seconds in all over three minutes to about 40.
const (
	Default Extent = iota
	Quick
	Full
)

// Options is what is run. The zero value is the default run.
type Options struct {
	Extent Extent
	// Scenarios are names to run. Empty means those that have trials for the extent.
	Scenarios []string
	// Rate is units of work a second, Duration how long each cell offers load. Zero leaves both to the scenario.
	Rate     float64
	Duration time.Duration
	// Faults replace those that a scenario has of its own.
	Faults []FaultPlan
	// Seed decides arrivals, inputs and whom a fault of a share hits. Zero means 25.
	Seed uint64
	// Repeat is how often each cell runs. Zero means once.
	Repeat int
	// Inputs is a directory of real inputs, such as orders.csv. Empty, or a file that is not there: input is generated.
	Inputs string
	// Command starts a child, as process.NewGroup takes it. Empty means this binary with the argument "compare-service".
	Command []string
	// Progress, when set, is told what happens, from one goroutine at a time.
	Progress func(Progress)
	// Invocation is the command line that repeats the run, for the report.
	Invocation string
}

// Progress is how far a run is.
type Progress struct {
	Scenario string
	Style    string
	Params   []Param
	Cell     int // the cell that begins now, from 1; Cells+1 at the end
	Cells    int
	Left     time.Duration // about
}

func (o Options) withDefaults() Options {
	if o.Seed == 0 {
		o.Seed = 25
	}
	if o.Repeat <= 0 {
		o.Repeat = 1
	}
	return o
}

// FaultsFor returns the faults that the user asked for. In a whole run it leaves out those of processes that other scenarios have, and those that do
// not fit into cells of a duration; otherwise one that does not fit is an error of Env.Run.
func (o Options) FaultsFor(duration time.Duration, processes ...string) (faults []FaultPlan) {
	for _, f := range o.Faults {
		in := f.In(duration)
		known := f.Process == Tandem || slices.Contains(processes, f.Process)
		if o.Extent != Full || len(o.Scenarios) > 0 || known && in.At+in.For <= duration {
			faults = append(faults, f)
		}
	}
	return faults
}

// LoadOr returns the rate and the duration that the user asked for, or those of the scenario.
func (o Options) LoadOr(rate float64, duration time.Duration) (float64, time.Duration) {
	if o.Rate > 0 {
		rate = o.Rate
	}
	if o.Duration > 0 {
		duration = o.Duration
	}
	return rate, duration
}
