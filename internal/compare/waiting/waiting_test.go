package waiting

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/examples/kitchen/cook"
	"github.com/tandem-hybrid/tandem/examples/kitchen/wait"
	"github.com/tandem-hybrid/tandem/internal/compare"
)

// The test binary is its own child, as the real one is.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "compare-service" {
		if err := compare.Child(context.Background(), os.Args[2], []compare.Scenario{Scenario{}}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// tiny is the scenario with trials of the test's choice.
type tiny struct {
	Scenario
	trials []compare.Trial
}

func (s tiny) Trials(compare.Options) []compare.Trial { return s.trials }

// In every way all who wait know, once, and the cell says what that took.
func TestEveryWayIsMeasured(t *testing.T) {
	const n = 12
	var s tiny
	for _, way := range ways {
		if way != poll10s { // as the others, and ten seconds longer
			s.trials = append(s.trials, newTrial(way, n, 300*time.Millisecond))
		}
	}
	s.trials = append(s.trials, newTrial(sse, 1, 0)) // one who waits again and again
	r, err := compare.Run(t.Context(), []compare.Scenario{s}, compare.Options{})
	if err != nil || len(r.Findings) != 1 || len(r.Findings[0].Cells) != len(s.trials) {
		t.Fatalf("%v: %+v", err, r)
	}
	for i, c := range r.Findings[0].Cells {
		units := int64(n)
		if i == len(s.trials)-1 {
			units = leastTimes
		}
		if c.Outcome.Accepted != units || *c.Outcome.Lost != 0 || c.Load.Units != units {
			t.Errorf("%s: %+v, %+v; want %d notices", c.Style, c.Outcome, c.Load, units)
		}
		if i := slices.IndexFunc(c.Processes, func(p compare.Process) bool { return p.Name == compare.Tandem && p.MemoryBytes > 0 }); i < 0 {
			t.Errorf("%s: nothing is known of the server: %+v", c.Style, c.Processes)
		}
		if c.Style == nobody {
			if c.Answered != nil || c.PerUnit.Requests != nil || c.PerUnit.WireBytes != nil {
				t.Errorf("nobody was told something: %+v", c)
			}
			continue
		}
		if c.NotReachable != "" { // this machine is too busy for the load: then there is no latency, and nothing to compare
			if c.Answered != nil {
				t.Errorf("%s: latencies of a load that could not be kept", c.Style)
			}
			continue
		}
		if c.Answered == nil || c.Answered.Count != units || c.Answered.Max <= 0 || c.Answered.Max > c.Took || c.PerUnit.WireBytes == nil || *c.PerUnit.WireBytes < 100 {
			t.Errorf("%s: %+v, %+v", c.Style, c.Answered, c.PerUnit)
			continue
		}
		// What a way costs in requests, but for a webhook that was delivered again.
		requests := *c.PerUnit.Requests * float64(units)
		switch told := interval(wayOf(&c)) == 0; {
		case told && int64(requests+0.5) != units+compare.Counted(c.Outcome.Twice), !told && requests < float64(units):
			t.Errorf("%s: %.1f requests for %d notices", c.Style, requests, units)
		}
	}
}

// A load that could not be kept is said to be one.
func TestPollsThatNeverBeganAreToldOf(t *testing.T) {
	for begun, want := range map[int64]string{95: "", 94: "10 polls a second were due, and this machine, which is client and server, came to 9"} {
		line := &wait.Line{}
		line.Due.Store(100)
		line.Begun.Store(begun)
		if got := notKept(line, 10*time.Second); got != want {
			t.Errorf("%d of 100: %q, want %q", begun, got, want)
		}
	}
}

func TestTrialsOfEachExtent(t *testing.T) {
	for extent, want := range map[compare.Extent]int{compare.Default: 9, compare.Quick: 4, compare.Full: 27} {
		trials := Scenario{}.Trials(compare.Options{Extent: extent})
		var takes time.Duration
		for _, trial := range trials {
			takes += trial.Takes
			// What only some of a style's cells had would set them apart from all others in the report.
			if polls := trial.Style == "poll"; polls != (compare.Value(trial.Params, "every") != "") || len(trial.Params) > 2 {
				t.Errorf("%s has %v", trial.Style, trial.Params)
			}
		}
		if len(trials) != want || extent == compare.Quick && takes > 10*time.Second {
			t.Errorf("extent %d: %d trials that take %s, want %d", extent, len(trials), takes, want)
		}
	}
}

// The kitchen takes no dish for longer than it cooks one.
func TestALongCellIsCutToWhatTheKitchenTakes(t *testing.T) {
	if trials := (Scenario{}).Trials(compare.Options{Duration: time.Hour}); trials[0].Takes > cook.MaxWithin+time.Second {
		t.Errorf("%s", trials[0].Takes)
	}
}

// cell is a made-up one.
func cell(way string, n int, p50 time.Duration, requests, bytes float64, cpu time.Duration) compare.Cell {
	t := newTrial(way, n, 0)
	return compare.Cell{Style: t.Style, Params: t.Params,
		Answered:  &compare.Latency{Count: int64(n), P50: p50, P99: 2 * p50},
		PerUnit:   compare.PerUnit{Requests: &requests, WireBytes: &bytes, CPU: &cpu},
		Processes: []compare.Process{{Name: compare.Tandem, CPU: cpu, MemoryBytes: int64(n) << 10}, {Name: "kitchen"}}}
}

func made() []compare.Cell {
	ms := time.Millisecond
	return []compare.Cell{
		cell(poll100ms, 100, 52*ms, 25, 20_000, 5*ms), cell(poll1s, 100, 480*ms, 3, 2_400, 2*ms), cell(pollETag, 100, 510*ms, 3, 2_000, 2*ms),
		cell(poll10s, 100, 5100*ms, 1.2, 1_000, 2*ms), cell(longPoll, 100, 2*ms, 1, 900, ms), cell(sse, 100, 2*ms, 1, 800, ms),
		cell(webSocket, 100, 2*ms, 1, 750, ms), cell(webhook, 100, 3*ms, 1, 950, ms),
	}
}

// The verdict follows the figures: when they turn, so does it.
func TestTheVerdictFollowsTheFigures(t *testing.T) {
	v := Scenario{}.Judge(made())
	for i, want := range []compare.Agreement{compare.Yes, compare.Yes, compare.Yes, compare.Yes, compare.Yes, compare.Unmeasured} {
		if e := v.Expected[i]; e.Agreed != want || e.Figure == "" || e.Source == "" || e.Claim == "" {
			t.Errorf("%+v, want %s", e, want)
		}
	}
	if len(v.Advice) != 4 || v.Advice[0].Style != "event" || !strings.Contains(v.Advice[0].Figure, "sse: known 2.00 ms after (p99 4.00 ms), 1.0 requests and 800 B per notice") {
		t.Errorf("%+v", v.Advice)
	}
	cells := made()
	turned := map[string]compare.Cell{
		poll1s: cell(poll1s, 100, 900*time.Millisecond, 3, 100, 0), pollETag: cell(pollETag, 100, 500*time.Millisecond, 3, 200, 0),
		sse: cell(sse, 100, time.Second, 1, 800, time.Second), longPoll: cell(longPoll, 100, 3*time.Second, 1, 90, 0),
	}
	for i := range cells {
		if c, ok := turned[wayOf(&cells[i])]; ok {
			cells[i] = c
		}
	}
	cells = append(cells, cell(sse, many, time.Second, 1, 1, 0), cell(poll10s, many, time.Second, 1, 1, 0))
	v = Scenario{}.Judge(cells)
	for i, want := range []compare.Agreement{compare.Partly, compare.No, compare.No, compare.No, compare.No, compare.No} {
		if e := v.Expected[i]; e.Agreed != want {
			t.Errorf("turned: %+v, want %s", e, want)
		}
	}
	if v.Advice[0].Style != "either" {
		t.Errorf("turned: %+v", v.Advice)
	}
	if v := (Scenario{}).Judge(nil); len(v.Advice) != 0 || v.Expected[0].Agreed != compare.Unmeasured {
		t.Errorf("nothing ran: %+v", v)
	}
}
