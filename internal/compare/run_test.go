package compare

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// What is planted in a service appears in the report with the right figures.
func TestPlantedFaultsAreReported(t *testing.T) {
	const units = 200 // u0 to u199
	s := planted{offer: Offer{Rate: 100, Duration: 2 * time.Second, Even: true}, wrong: wrong{Late: 10, Lost: 7, Twice: 11, Half: 13}}
	r, err := Run(t.Context(), []Scenario{s}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := r.Findings[0].Cells[0]
	want := Outcome{Lost: new(int64), Twice: new(int64), HalfDone: new(int64)}
	done := int64(0)
	for n := range units {
		want.Accepted++
		switch {
		case n%7 == 0:
			*want.Lost++
		case n%13 == 0:
			*want.HalfDone++
		case n%11 == 0:
			*want.Twice++
			done++
		default:
			done++
		}
	}
	if !reflect.DeepEqual(c.Outcome, want) || c.Load.Units != units {
		t.Errorf("%s of %d units; want %s of %d", written(c.Outcome), c.Load.Units, written(want), units)
	}
	if c.NotReachable != "" {
		t.Log("this machine is too busy for latencies: " + c.NotReachable)
	} else if c.Answered.Count != units || c.Done.Count != done {
		t.Errorf("%d answered, %d done; want %d, %d", c.Answered.Count, c.Done.Count, units, done)
		// One in ten waits a second, and no other does.
	} else if l := c.Answered; l.P50 >= plantedDelay || quantile(l, 0.8) >= plantedDelay || quantile(l, 0.95) < plantedDelay || l.Max < plantedDelay {
		t.Errorf("%+v; one in ten takes %s", l, plantedDelay)
	}
	var due, accepted, did int64
	for _, sample := range c.Samples {
		due, accepted, did = due+sample.Due, accepted+sample.Accepted, did+*sample.Done
	}
	if due != units || accepted != units || did != done {
		t.Errorf("the samples add up to %d due, %d accepted, %d done", due, accepted, did)
	}
	if last := c.Samples[len(c.Samples)-1]; *last.Backlog != *want.Lost+*want.HalfDone {
		t.Errorf("at the end %d wait, of which %d never will be done", *last.Backlog, *want.Lost+*want.HalfDone)
	}
	if *c.PerUnit.Requests != 1 {
		t.Errorf("%g requests a unit", *c.PerUnit.Requests)
	}
	// A request of some 110 bytes and an answer of some 80, each counted once.
	if *c.PerUnit.WireBytes < 120 || *c.PerUnit.WireBytes > 300 {
		t.Errorf("%g bytes a unit", *c.PerUnit.WireBytes)
	}
	if runtime.GOOS == "linux" && (len(c.Processes) != 1 || c.Processes[0].MemoryBytes < 1<<20) {
		t.Errorf("processes: %+v", c.Processes)
	}
}

func quantile(l *Latency, at float64) time.Duration {
	for _, q := range l.Curve {
		if q.At >= at {
			return q.Took
		}
	}
	return l.Max
}

// A process that is down refuses callers while it is, is another one afterwards, and none is left behind.
func TestDownIsKilledAndStartedAgain(t *testing.T) {
	s := planted{offer: Offer{Rate: 20, Duration: 9 * time.Second, Even: true},
		faults: []FaultPlan{{Process: "worker", Down: true, At: time.Second, For: 3 * time.Second}}}
	var pids []int
	s.pid = func(pid int) { pids = append(pids, pid) }
	c := runPlanted(t, s)
	if len(pids) != 2 || pids[0] == pids[1] || alive(pids[0]) || alive(pids[1]) {
		t.Errorf("processes %v: one was to be killed, and none to be left", pids)
	}
	f := c.Faults[0]
	if c.Outcome.Refused < 20 || c.Outcome.Refused+c.Outcome.Accepted+c.Outcome.Unknown != 180 || *c.Outcome.Lost != 0 {
		t.Errorf("%s", written(c.Outcome))
	}
	if f.Kind != "down" || f.Recovered == nil || f.Drained == nil {
		t.Errorf("%+v", f)
	}
	for _, sample := range c.Samples {
		if in := sample.At >= 2500*time.Millisecond && sample.At < 3500*time.Millisecond; in && sample.Accepted > 0 {
			t.Errorf("%d accepted at %s, when the process was down", sample.Accepted, sample.At)
		}
	}
}

// Calls fail by the share that was planted, and others are slow by the time that was.
func TestSlowAndErrors(t *testing.T) {
	s := planted{offer: Offer{Rate: 100, Duration: 2 * time.Second, Even: true},
		faults: []FaultPlan{{Process: "worker", Error: 0.3, At: 0, For: 2 * time.Second}}}
	c := runPlanted(t, s)
	if c.Outcome.Refused < 36 || c.Outcome.Refused > 84 || c.Outcome.Unknown != 0 { // 60 in the mean; 3.7 deviations
		t.Errorf("%+v of 200 with 30 %% errors", c.Outcome)
	}
	if all := *c.PerUnit.Requests * float64(c.Outcome.Accepted); math.Round(all) != 200 {
		t.Errorf("%g requests, by what each accepted unit cost", all)
	}
	s.faults[0].Error, s.faults[0].Slow = 0, plantedDelay
	if c := runPlanted(t, s); c.NotReachable == "" && (c.Outcome.Accepted != 200 || quantile(c.Answered, 0.1) < plantedDelay) {
		t.Errorf("%+v, %+v with all calls slow", c.Outcome, c.Answered)
	}
}

func runPlanted(t *testing.T, s planted) Cell {
	t.Helper()
	r, err := Run(t.Context(), []Scenario{s}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Findings[0].Cells[0]
}

func TestFaultsThatCannotBe(t *testing.T) {
	for want, faults := range map[string][]FaultPlan{
		"paymets":                {{Process: "paymets", Down: true}},
		"would end after 1h0m1s": {{Process: "worker", Down: true, At: time.Hour, For: time.Second}},
		"overlaps":               {{Process: "worker", Down: true}, {Process: "worker", Slow: time.Second}},
	} {
		s := planted{offer: Offer{Rate: 10, Duration: time.Hour}, faults: faults}
		if _, err := Run(t.Context(), []Scenario{s}, Options{}); tandem.CodeOf(err) != tandem.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestFaultsFor(t *testing.T) {
	faults := []FaultPlan{{Process: "payments", Down: true}, {Process: "accounts", Down: true}, {Process: Tandem, Down: true, At: 2 * time.Second, For: time.Second},
		{Process: "payments", Down: true, At: 2 * time.Second, For: 2 * time.Second}}
	for _, c := range []struct {
		o    Options
		want []FaultPlan
	}{
		{Options{Extent: Full}, []FaultPlan{faults[0], faults[2]}},
		{Options{Extent: Quick}, faults},
		{Options{Extent: Full, Scenarios: []string{"orders"}}, faults},
	} {
		c.o.Faults = faults
		if got := c.o.FaultsFor(3*time.Second, "orders", "payments"); !slices.Equal(got, c.want) {
			t.Errorf("%v, want %v", got, c.want)
		}
	}
}

// still is a scenario in which nobody can choose anything.
type still struct{ planted }

func (still) About() About { return About{Name: "still", NoRate: true, NoFaults: true} }

// A choice that means nothing to a scenario is refused where it was named, and no reason to leave it out of all.
func TestChoicesThatMeanNothing(t *testing.T) {
	named := []string{"still"}
	for want, o := range map[string]Options{
		"still has no rate":   {Scenarios: named, Rate: 5},
		"still has no faults": {Scenarios: named, Faults: []FaultPlan{{Process: "worker", Down: true}}},
	} {
		if _, err := Plan([]Scenario{still{}}, o); tandem.CodeOf(err) != tandem.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		o.Scenarios = nil
		if out, err := Plan([]Scenario{still{}}, o); err != nil || out.Cells != 1 {
			t.Errorf("%+v, %v", out, err)
		}
	}
}

// Ctrl-C gives a report on what ran, which says so, and leaves no process and no directory.
func TestBrokenOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var judged []Cell
	s := planted{offer: Offer{Rate: 100, Duration: 2 * time.Hour, Even: true}, started: func() { time.AfterFunc(time.Second, cancel) },
		faults: []FaultPlan{{Process: "worker", Down: true, At: 500 * time.Millisecond, For: time.Hour}}, judge: func(cells []Cell) { judged = cells }}
	t.Setenv("TMPDIR", t.TempDir())
	var pids []int
	s.pid = func(pid int) { pids = append(pids, pid) }
	r, err := Run(ctx, []Scenario{s}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.Partial, "cell 1 of 1: planted, request, service wrong") {
		t.Errorf("partial: %q", r.Partial)
	}
	c := r.Findings[0].Cells[0]
	if !c.BrokenOff || c.Outcome.Accepted == 0 || c.Load.Units == 0 || c.Took > time.Minute {
		t.Errorf("%+v", c)
	}
	if f := c.Faults[0]; c.Outcome.Lost != nil || c.Outcome.HalfDone != nil || f.Drained != nil || f.Recovered != nil || len(judged) > 0 {
		t.Errorf("%s; %d cells to judge: nothing is known of work that was under way", written(c), len(judged))
	}
	if len(pids) == 0 || pids[0] == 0 {
		t.Errorf("processes %v: one was started", pids)
	}
	for _, pid := range pids {
		if pid != 0 && alive(pid) {
			t.Errorf("process %d was left behind", pid)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "tandem-compare-*")); len(left) > 0 {
		t.Errorf("%v was left behind", left)
	}
}

// Ctrl-C in a warm-up gives a report, too.
func TestBrokenOffInWarmup(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := planted{offer: Offer{Rate: 100, Warmup: time.Hour, Duration: time.Hour, Even: true}, started: cancel}
	r, err := Run(ctx, []Scenario{s}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Findings[0].Cells[0]; !c.BrokenOff || c.Took != 0 || c.Load.Units != 0 || len(c.Samples) > 0 {
		t.Errorf("%s", written(c))
	}
}

// When the parent is killed, no child outlives it, and the next run removes its directory, and none of one that lives.
func TestKilledParentLeavesNothing(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	cmd := exec.CommandContext(t.Context(), self, "compare-forever")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || !alive(child) {
		t.Fatalf("child %q: %v", line, err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for deadline := time.Now().Add(30 * time.Second); alive(child); {
		if time.Now().After(deadline) {
			t.Fatalf("process %d outlives its parent", child)
		}
		time.Sleep(20 * time.Millisecond)
	}
	mine, err := newDir()
	if err != nil {
		t.Fatal(err)
	}
	dirs := func() (all []string) {
		all, _ = filepath.Glob(filepath.Join(os.TempDir(), "tandem-compare-*"))
		return all
	}
	before := dirs()
	if sweep(); len(before) != 2 || !slices.Equal(dirs(), []string{mine}) {
		t.Errorf("%v were there, and %v are left", before, dirs())
	}
}

func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ") // nobody may be there to wait for it
}
