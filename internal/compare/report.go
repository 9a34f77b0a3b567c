package compare

import (
	"strconv"
	"time"
)

// ReportVersion is the version of the JSON form of a Report. A field may be added without a new version.
const ReportVersion = 1

// Report is what a run found. Its JSON form is what `tandem compare --json FILE` writes; durations are nanoseconds there.
type Report struct {
	Version  int           `json:"version"`
	Command  string        `json:"command"` // repeats the run
	Began    time.Time     `json:"began"`
	Took     time.Duration `json:"took"`
	Partial  string        `json:"partial,omitempty"` // why the run ended before its plan was done
	Seed     uint64        `json:"seed"`
	Repeats  int           `json:"repeats"` // how often each cell ran; with 3 or more there are confidence intervals
	Machine  Machine       `json:"machine"`
	Findings []Finding     `json:"findings"` // one per scenario, in the order of the plan
	Advice   []Advice      `json:"advice"`
	// NotMeasured says in sentences what a reader could believe was measured and was not.
	NotMeasured []string `json:"notMeasured"`
}

// Machine is where the run took place.
type Machine struct {
	OS          string `json:"os"`
	Arch        string `json:"arch"`
	CPU         string `json:"cpu"`
	Cores       int    `json:"cores"`
	MemoryBytes int64  `json:"memoryBytes"`
	Version     string `json:"version"` // of Tandem
	Commit      string `json:"commit"`
}

// Finding is one scenario: a question, what is written about it, and the cells that answer it.
type Finding struct {
	Scenario string        `json:"scenario"` // as in --scenario
	Title    string        `json:"title"`
	Question string        `json:"question"`
	Expected []Expectation `json:"expected"`
	Cells    []Cell        `json:"cells"`
}

// Expectation is what the literature says before the run, and whether the run agreed.
type Expectation struct {
	Claim  string    `json:"claim"`
	Source string    `json:"source"` // author, title, year
	Agreed Agreement `json:"agreed"`
	Figure string    `json:"figure"` // what it rests on, a sentence
}

// Agreement is what a run says of a claim.
type Agreement string

// The agreements.
const (
	Yes        Agreement = "yes"
	Partly     Agreement = "partly"
	No         Agreement = "no"
	Unmeasured Agreement = "not measured"
)

// Agree returns the agreement with a claim of which all, or some, was found to hold.
func Agree(all, some bool) Agreement {
	switch {
	case all:
		return Yes
	case some:
		return Partly
	}
	return No
}

// Unjudged marks all expectations as not measured, since their cells did not run, and returns them.
func Unjudged(expected []Expectation) []Expectation {
	for i := range expected {
		expected[i].Agreed, expected[i].Figure = Unmeasured, "The cells for it did not run."
	}
	return expected
}

// Advice is a recommendation for one link.
type Advice struct {
	Link   string `json:"link"`  // such as "orders -> payments"
	Style  string `json:"style"` // "request", "event", or "either"
	Reason string `json:"reason"`
	Figure string `json:"figure"` // the figure that it rests on, with its cells
}

// Cell is one style under one load. What a scenario does not measure is nil or absent, never zero.
type Cell struct {
	Style  string  `json:"style"` // such as "request", "event", "poll", "sse"
	Params []Param `json:"params"`
	// NotReachable says why this machine could not give the cell the load that it asks for. Such a cell has no latencies.
	NotReachable string        `json:"notReachable,omitempty"`
	BrokenOff    bool          `json:"brokenOff,omitempty"` // it ended before its load was offered
	Warmup       time.Duration `json:"warmup,omitempty"`    // offered before the beginning of the cell, and not counted
	Took         time.Duration `json:"took"`                // from the beginning until all work was done
	Load         Load          `json:"load"`
	Answered     *Latency      `json:"answered,omitempty"` // from the time an accepted attempt was due until the caller had its answer
	Done         *Latency      `json:"done,omitempty"`     // from the same time until all work that it set off was done
	Outcome      Outcome       `json:"outcome"`
	Also         []Param       `json:"also,omitempty"` // what only this scenario measures, such as {"vehicles", "12000"}
	PerUnit      PerUnit       `json:"perUnit"`
	Processes    []Process     `json:"processes"`
	// MustBeUp are the processes without which a caller does not succeed.
	MustBeUp []string `json:"mustBeUp,omitempty"`
	Faults   []Fault  `json:"faults,omitempty"`
	Samples  []Sample `json:"samples,omitempty"` // one per interval, from the beginning of the cell
}

// Param is what sets a cell apart from its neighbours, such as {"rate", "200/s"}.
type Param struct {
	Name  string `json:"name"`
	Value string `json:"value"`

	counted bool
}

// Count is a number of units of work for Cell.Also: it adds up over repeats, as Outcome does.
func Count(name string, n int) Param { return Param{name, strconv.Itoa(n), true} }

// Value returns the value of the parameter of a name, empty without one.
func Value(params []Param, name string) string {
	for _, p := range params {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// Load is what was offered, open loop: attempts are due by the clock, whatever became of earlier ones. A scenario with another
// load has no rate.
type Load struct {
	Rate    float64 `json:"rate,omitempty"`    // units of work a second that were due
	Reached float64 `json:"reached,omitempty"` // that were begun in time, so that the generator kept its promise
	Units   int64   `json:"units"`
}

// Latency is a distribution. Intervals are half widths at 95 %, over repeats; zero with fewer than three repeats.
type Latency struct {
	Count       int64         `json:"count"`
	P50         time.Duration `json:"p50"`
	P90         time.Duration `json:"p90"`
	P99         time.Duration `json:"p99"`
	P999        time.Duration `json:"p999"`
	Max         time.Duration `json:"max"`
	P50Interval time.Duration `json:"p50Interval,omitempty"`
	P99Interval time.Duration `json:"p99Interval,omitempty"`
	Curve       []Quantile    `json:"curve,omitempty"` // for a plot, rising
}

// Quantile says that a share of At of all took no longer than Took.
type Quantile struct {
	At   float64       `json:"at"`
	Took time.Duration `json:"took"`
}

// Outcome counts units of work.
type Outcome struct {
	Accepted int64 `json:"accepted"` // the caller was told that it is or will be done
	Refused  int64 `json:"refused"`  // the caller was told that it is not
	Unknown  int64 `json:"unknown"`  // the caller was told nothing
	// Nil where it is not known what services did, and Lost and HalfDone also where it was not waited for.
	Lost     *int64 `json:"lost,omitempty"`     // accepted, and never done
	Twice    *int64 `json:"twice,omitempty"`    // an effect of it happened more than once
	HalfDone *int64 `json:"halfDone,omitempty"` // some effects happened, others never did
}

// Counted returns what was counted, and zero where nothing was.
func Counted(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

// PerUnit is the cost of one unit of work that was accepted.
type PerUnit struct {
	Requests  *float64       `json:"requests,omitempty"`
	WireBytes *float64       `json:"wireBytes,omitempty"` // HTTP bytes in both directions, headers included
	DiskBytes *float64       `json:"diskBytes,omitempty"`
	CPU       *time.Duration `json:"cpu,omitempty"` // of all processes but the generator
}

// Process is what one process used during a cell.
type Process struct {
	Name        string        `json:"name"`
	CPU         time.Duration `json:"cpu"`
	MemoryBytes int64         `json:"memoryBytes"` // the most that was resident
}

// Fault is what was done to a process during a cell.
type Fault struct {
	Process string        `json:"process"`
	Kind    string        `json:"kind"` // "down", "slow=500ms", "error=30%"
	At      time.Duration `json:"at"`   // since the beginning of the cell
	For     time.Duration `json:"for"`
	// Recovered is how long after the fault's end callers succeeded as before it; nil when they did not within the cell, or none was due after it.
	Recovered *time.Duration `json:"recovered,omitempty"`
	// Drained is how long after the fault's end all work was done that was accepted before it: zero when none waited; nil when some of
	// it never was, or that is not known.
	Drained *time.Duration `json:"drained,omitempty"`
}

// Sample is one interval of a cell.
type Sample struct {
	At       time.Duration `json:"at"` // its beginning
	Due      int64         `json:"due"`
	Accepted int64         `json:"accepted"`
	Refused  int64         `json:"refused"`
	// Nil where it is not known what services did.
	Done    *int64        `json:"done,omitempty"`
	Backlog *int64        `json:"backlog,omitempty"` // accepted and not done, at its end
	P99     time.Duration `json:"p99,omitempty"`     // of the accepted attempts that were due in it; zero without any
}
