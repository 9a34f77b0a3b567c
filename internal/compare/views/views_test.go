package views

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/origin"
	"github.com/tandem-hybrid/tandem/internal/compare/reporttest"
)

// The children of the tests are this program again.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "compare-service" {
		if err := compare.Child(context.Background(), os.Args[2], []compare.Scenario{Scenario{}}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// measure carries out the scenario and returns its finding.
func measure(t *testing.T, o compare.Options) (compare.Report, compare.Finding) {
	t.Helper()
	o.Scenarios = []string{Name}
	r, err := compare.Run(t.Context(), []compare.Scenario{Scenario{}}, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Findings) != 1 || len(r.Findings[0].Expected) != 3 {
		t.Fatalf("%+v", r)
	}
	return r, r.Findings[0]
}

// While nothing fails, every view reaches all three consumers once, in every style, and each style makes the calls that it is known by.
func TestEveryViewIsTold(t *testing.T) {
	_, f := measure(t, compare.Options{Extent: compare.Quick, Rate: 100, Duration: 600 * time.Millisecond})
	if len(f.Cells) != 5 {
		t.Fatalf("%d cells", len(f.Cells))
	}
	for i, s := range []style{nobody, sequence, parallel, durable, accepted} {
		c := &f.Cells[i]
		if c.Style != s.name || find(f.Cells[i:i+1], s, nil) == nil && c.NotReachable == "" || c.Load.Units == 0 {
			t.Errorf("cell %d is %s %v of %d units", i, c.Style, c.Params, c.Load.Units)
		}
		want := reporttest.Whole(c.Load.Units)
		if s.tell == origin.Nobody {
			want = compare.Outcome{Accepted: c.Load.Units}
		}
		if !reflect.DeepEqual(c.Outcome, want) {
			t.Errorf("%s %v: %+v of %d", c.Style, c.Params, c.Outcome, c.Load.Units)
		}
		// One for the page, three for the consumers, one to publish. The warm-up may reach into the cell.
		calls := []float64{1, 4, 4, 5, 5}[i]
		if got := *c.PerUnit.Requests; got < calls-0.5 || got > calls+1 {
			t.Errorf("%s %v: %.2f requests a view, want %g", c.Style, c.Params, got, calls)
		}
		if s.tell == origin.Publish && !slices.Equal(c.Also, []compare.Param{compare.Count(taken, 0), compare.Count(untold, 0)}) {
			t.Errorf("%s: %v", c.Style, c.Params)
		}
		if done := c.Done; i == 0 && done != nil || i > 0 && c.Answered != nil && done.Count != c.Load.Units {
			t.Errorf("%s %v: done %+v of %d", c.Style, c.Params, done, c.Load.Units)
		}
	}
}

// A consumer that is down misses views when it is called, and gets them later when it is delivered to; the page is shown in either case.
func TestAConsumerIsDown(t *testing.T) {
	fault := compare.FaultPlan{Process: "recommendations", Down: true, For: time.Second}
	r, f := measure(t, compare.Options{Rate: 60, Duration: time.Second, Faults: []compare.FaultPlan{fault}})
	if len(f.Cells) != 9 {
		t.Fatalf("%d cells", len(f.Cells))
	}
	for i, s := range []style{sequence, parallel, durable, accepted} {
		c := &f.Cells[5+i]
		if c.Outcome.Accepted != c.Load.Units || len(c.Faults) != 1 || c.Faults[0].Kind != "down" {
			t.Errorf("%v: %+v of %d, %+v", c.Params, c.Outcome, c.Load.Units, c.Faults)
		}
		switch o := c.Outcome; {
		case i < 2 && (*o.HalfDone < o.Accepted/2 || *o.Lost != 0):
			t.Errorf("%s %v: %+v, and one of three consumers was down", s.name, c.Params, o)
		case i >= 2 && (*o.HalfDone != 0 || *o.Lost != 0):
			t.Errorf("%s %v: %+v, and events wait for consumers", s.name, c.Params, o)
		}
	}
	if len(r.NotMeasured) == 0 {
		t.Error("nothing is said of what was not measured")
	}
}

// A view that nobody was told of is not one that was taken and missed.
func TestMissed(t *testing.T) {
	s := &seen{}
	for _, id := range []string{"done", "half", "none"} {
		s.note(compare.Unit{ID: id}, compare.Accepted, true)
	}
	s.note(compare.Unit{ID: "not told"}, compare.Accepted, false)
	s.note(compare.Unit{ID: "told after all"}, compare.Accepted, false)
	s.note(compare.Unit{ID: "refused"}, compare.Refused, false)
	for _, all := range []bool{true, false} {
		s.note(compare.Unit{ID: "warm-up", Warmup: true}, compare.Accepted, all)
	}
	ledger := map[string]compare.Work{"done": {State: compare.Done}, "half": {State: compare.Half}, "told after all": {State: compare.Done}}
	if missed, not := undone(ledger, s.told), undone(ledger, s.untold); missed != 2 || not != 1 || s.shown != 7 {
		t.Errorf("%d missed, %d not told, of %d", missed, not, s.shown)
	}
}

func TestTrials(t *testing.T) {
	tandemDown := []compare.FaultPlan{{Process: compare.Tandem, Down: true}}
	for _, c := range []struct {
		o    compare.Options
		want int
	}{{compare.Options{}, 0}, {compare.Options{Extent: compare.Quick}, 0}, {compare.Options{Extent: compare.Full}, 13},
		{compare.Options{Scenarios: []string{Name}}, 13}, {compare.Options{Scenarios: []string{Name}, Faults: tandemDown}, 7},
		{compare.Options{Extent: compare.Full, Faults: []compare.FaultPlan{{Process: "payments", Down: true}, {Process: "abuse", Down: true}}}, 9}} {
		if got := (Scenario{}).Trials(c.o); len(got) != c.want {
			t.Errorf("%+v: %d trials, want %d", c.o, len(got), c.want)
		}
	}
}

// cell makes a measured cell.
func cell(s style, p50, p99 time.Duration, o compare.Outcome, faults ...compare.FaultPlan) compare.Cell {
	c := compare.Cell{Style: s.name, Params: s.params, Answered: &compare.Latency{P50: p50, P99: p99}, Outcome: o}
	for _, f := range faults {
		c.Faults = append(c.Faults, compare.Fault{Process: f.Process, Kind: f.Kind()})
	}
	return c
}

// The verdict follows the figures, whatever they are.
func TestJudge(t *testing.T) {
	const ms = time.Millisecond
	slow, down, tandemDown := planted[0].fault, planted[1].fault, planted[2].fault
	all := compare.Outcome{Accepted: 100}
	cells := []compare.Cell{
		cell(nobody, 1*ms, 2*ms, all), cell(sequence, 7*ms, 9*ms, all), cell(parallel, 4*ms, 9*ms, all), cell(durable, 3*ms, 9*ms, all), cell(accepted, 2*ms, 9*ms, all),
		cell(sequence, 7*ms, 220*ms, all, slow), cell(durable, 3*ms, 9*ms, all, slow),
		cell(sequence, 7*ms, 9*ms, compare.Outcome{Accepted: 100, HalfDone: new(int64(33))}, down), cell(durable, 3*ms, 9*ms, all, down),
		cell(durable, 3*ms, 9*ms, compare.Outcome{Accepted: 100, Lost: new(int64(30))}, tandemDown), cell(accepted, 2*ms, 9*ms, compare.Outcome{Accepted: 100, Lost: new(int64(31))}, tandemDown),
	}
	cells[len(cells)-2].Also = []compare.Param{{Name: taken, Value: "0"}, {Name: untold, Value: "30"}}
	cells[len(cells)-1].Also = []compare.Param{{Name: taken, Value: "2"}, {Name: untold, Value: "29"}}
	said := func(v compare.Verdict) string {
		var b strings.Builder
		for _, e := range v.Expected {
			fmt.Fprintf(&b, "%s: %s\n", e.Agreed, e.Figure)
		}
		for _, a := range v.Advice {
			fmt.Fprintf(&b, "%s: %s\n", a.Style, a.Figure)
		}
		return b.String()
	}
	v := Scenario{}.Judge(cells)
	for _, want := range []string{"yes: At p50, three calls one after another add 6.00 ms to the page, at the same time 3.00 ms, a durable event 2.00 ms.",
		"When Tandem was killed, 2 views that it had accepted were lost, and 0 that were durable.", "nobody was told of: 29, and 30.", "slow by 200 ms the p99 of the page is 220 ms with calls and 9.00 ms with events",
		"33 of 100 views did not reach all three with calls, and 0 of 100", "event: Added to the page at p50: 6.00 ms", "1.00 ms by an accepted one"} {
		if got := said(v); !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if got := said(v); strings.Count(got, "yes: ") != 3 || strings.Contains(got, "partly") {
		t.Error(got)
	}
	// Calls that are faster than the disk, and faults that do nothing.
	v = Scenario{}.Judge([]compare.Cell{
		cell(nobody, 1*ms, 2*ms, all), cell(sequence, 3*ms, 9*ms, all), cell(parallel, 2*ms, 9*ms, all), cell(durable, 8*ms, 9*ms, all), cell(accepted, 9*ms, 9*ms, all),
		cell(sequence, 3*ms, 9*ms, all, slow), cell(durable, 8*ms, 9*ms, all, slow), cell(sequence, 3*ms, 9*ms, all, down), cell(durable, 8*ms, 9*ms, all, down)})
	if got := said(v); strings.Count(got, "no: ") != 3 || !strings.Contains(got, "either: ") {
		t.Error(got)
	}
	// What did not run is not judged.
	v = Scenario{}.Judge(cells[1:])
	if got := said(v); strings.Count(got, "not measured: The cells for it did not run.\n") != 3 || len(v.Advice) != 0 {
		t.Error(got)
	}
}

func TestInput(t *testing.T) {
	dir := t.TempDir()
	made, err := load(dir, 1)
	again, _ := load("", 1)
	other, _ := load("", 2)
	if err != nil || len(made) != 1000 || !slices.Equal(made, again) || slices.Equal(made, other) {
		t.Errorf("%d views are made up, %v", len(made), err)
	}
	path := filepath.Join(dir, file)
	log := `192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a/b?c=d HTTP/1.1" 200 203023 "http://x/" "Mozilla \"5\""` + "\n" +
		`noise` + "\n" + `2001:db8::1 - bob [17/May/2015:10:05:43 +0000] "POST /b HTTP/1.1" 304 - "-" "-"` + "\n"
	if err := os.WriteFile(path, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	views, err := load(dir, 1)
	if want := []view{{"192.0.2.1", "/a/b?c=d", `Mozilla \"5\"`}, {"2001:db8::1", "/b", "-"}}; err != nil || !slices.Equal(views, want) {
		t.Errorf("%+v, %v", views, err)
	}
	if err := os.WriteFile(path, []byte("noise\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(dir, 1); err == nil {
		t.Error("a log without views was read")
	}
}

// access.log beside the project is read where TANDEM_ACCESS_LOG names it.
func TestRealInput(t *testing.T) {
	path := os.Getenv("TANDEM_ACCESS_LOG")
	if path == "" {
		t.Skip("TANDEM_ACCESS_LOG names no file")
	}
	if views, err := load(filepath.Dir(path), 1); err != nil || len(views) != 10_000 {
		t.Errorf("%d views, %v", len(views), err)
	}
}
