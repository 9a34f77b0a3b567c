package fanout

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/consumer"
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

// some is the scenario with trials of the test's choice.
type some struct {
	compare.Scenario
	trials []compare.Trial
}

func (s some) Trials(compare.Options) []compare.Trial { return s.trials }

func measure(t *testing.T, o compare.Options, trials ...compare.Trial) []compare.Cell {
	t.Helper()
	r, err := compare.Run(t.Context(), []compare.Scenario{some{Scenario{}, trials}}, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Findings) != 1 || len(r.Findings[0].Cells) != len(trials) {
		t.Fatalf("%+v", r)
	}
	return r.Findings[0].Cells
}

// While nothing fails, every change reaches every service once; a call to each, or one to publish and a delivery to each.
func TestEveryServiceIsTold(t *testing.T) {
	const n = 4
	o := compare.Options{Rate: 60, Duration: 500 * time.Millisecond}
	for i, c := range measure(t, o, trial(sequence, n, nil, o), trial(parallel, n, nil, o), trial(links, n, nil, o), trial(event, n, nil, o)) {
		if !reflect.DeepEqual(c.Outcome, reporttest.Whole(c.Load.Units)) || c.Load.Units == 0 {
			t.Errorf("%v: %+v of %d", c.Params, c.Outcome, c.Load.Units)
		}
		calls, up := []float64{1 + n, 1 + n, 1 + 1 + n, 1 + 1 + n}[i], []int{1 + n, 1 + n, 2 + n, 2}[i]
		if got := *c.PerUnit.Requests; got < calls-0.5 || got > calls+1.5 {
			t.Errorf("%v: %.2f requests a change, want %g", c.Params, got, calls)
		}
		if len(c.MustBeUp) != up {
			t.Errorf("%v: %v must be up", c.Params, c.MustBeUp)
		}
		if c.Answered != nil && c.Done.Count != c.Load.Units {
			t.Errorf("%v: %d of %d are done", c.Params, c.Done.Count, c.Load.Units)
		}
	}
}

// One of the services is dead all the time. Calls are refused, and leave those before it (one after another) or all others (at the same time) told
// of a change that is none; events are accepted, and reach it when it is back.
func TestOneServiceIsDead(t *testing.T) {
	const n = 4
	o := compare.Options{Rate: 40, Duration: time.Second}
	dead := []compare.FaultPlan{{Process: interested(n)[1], Down: true, For: o.Duration}}
	for i, c := range measure(t, o, trial(sequence, n, dead, o), trial(parallel, n, dead, o), trial(links, n, dead, o), trial(event, n, dead, o)) {
		switch out := c.Outcome; {
		case i < 3 && (out.Refused < c.Load.Units/2 || *out.HalfDone < out.Refused || *out.Lost != 0):
			t.Errorf("%v: %+v of %d", c.Params, out, c.Load.Units)
		case i == 3 && (out.Accepted != c.Load.Units || *out.Lost+*out.Twice+*out.HalfDone != 0):
			t.Errorf("%v: %+v of %d", c.Params, out, c.Load.Units)
		}
	}
}

// One of ten services, or with TANDEM_SOAK of fifty, is dead and stays so: published changes reach all others.
func TestEventsReachTheOthers(t *testing.T) {
	const changed = 20
	n := 10
	if os.Getenv("TANDEM_SOAK") != "" {
		n = most
	}
	dead := interested(n)[n/2]
	measure(t, compare.Options{}, compare.Trial{Style: event.name, Run: func(ctx context.Context, env *compare.Env) (*compare.Cell, error) {
		sys, err := start(ctx, env, event, n, "")
		if err != nil {
			return nil, err
		}
		env.Group.Process(dead).Down()
		if err := changes(ctx, env.Client, sys.Origin, changed); err != nil {
			return nil, err
		}
		var others consumer.Crowd
		for _, name := range interested(n) {
			if name != dead {
				others.URLs = append(others.URLs, "http://"+env.Group.Process(name).Addr)
			}
		}
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			ledger, err := others.Ledger(ctx)
			if err != nil {
				return nil, err
			}
			done := 0
			for _, w := range ledger {
				if w.State == compare.Done && !w.Twice {
					done++
				}
			}
			switch {
			case done == changed && len(others.URLs) == n-1:
				return &compare.Cell{}, nil
			case time.Now().After(deadline):
				return nil, fmt.Errorf("%d of %d changes reached all of %d services", done, changed, len(others.URLs))
			}
		}
	}})
}

// A service that is added later learns all that was before from events, and nothing from calls; of what happens next it is told by both.
func TestAServiceIsAddedLater(t *testing.T) {
	const before = 150
	cells := measure(t, compare.Options{}, later(parallel, before), later(event, before))
	if o := cells[0].Outcome; o.Accepted != before || *o.Lost != before || *o.Twice != 0 || cells[0].Done != nil {
		t.Errorf("by calls: %+v, done %+v", cells[0].Outcome, cells[0].Done)
	}
	if o := cells[1].Outcome; o.Accepted != before || *o.Lost+*o.Twice != 0 || cells[1].Done == nil || cells[1].Done.Count != before {
		t.Errorf("by events: %+v, done %+v", cells[1].Outcome, cells[1].Done)
	}
}

func TestTrials(t *testing.T) {
	one := []string{Name}
	tandemDown := []compare.FaultPlan{{Process: compare.Tandem, Down: true}}
	for _, c := range []struct {
		o    compare.Options
		want int
	}{{compare.Options{}, 0}, {compare.Options{Extent: compare.Quick}, 0}, {compare.Options{Extent: compare.Full}, 6*4 + 4 + 2}, {compare.Options{Scenarios: one}, 6*4 + 4 + 2},
		{compare.Options{Scenarios: one, Extent: compare.Quick}, 2*4 + 4 + 2}, {compare.Options{Scenarios: one, Faults: tandemDown}, 6*4 + 2 + 2},
		{compare.Options{Extent: compare.Full, Faults: []compare.FaultPlan{{Process: "payments", Down: true}, {Process: owner, Down: true}}}, 6*4 + 4 + 2}} {
		if got := (Scenario{}).Trials(c.o); len(got) != c.want {
			t.Errorf("%+v: %d trials, want %d", c.o, len(got), c.want)
		}
	}
	kinds := Scenario{}.Services()
	for _, name := range append(interested(most), owner, late) {
		if kinds[name] == nil {
			t.Errorf("nobody opens %s", name)
		}
	}
}

// cell makes a measured cell.
func cell(s style, n int, p50, p99 time.Duration, o compare.Outcome, faults ...compare.Fault) compare.Cell {
	return compare.Cell{Style: s.name, Params: s.params(n, 0), Load: compare.Load{Units: 100},
		Answered: &compare.Latency{P50: p50, P99: p99}, Outcome: o, Faults: faults}
}

// The verdict follows the figures, whatever they are.
func TestJudge(t *testing.T) {
	const ms = time.Millisecond
	down := compare.Fault{Process: interested(50)[25], Kind: "down", At: 2 * time.Second, For: time.Second}
	away := compare.Fault{Process: owner, Kind: "down"}
	all := compare.Outcome{Accepted: 100}
	measured := []compare.Cell{
		cell(sequence, 50, 60*ms, 90*ms, all), cell(sequence, 1, 2*ms, 9*ms, all), cell(parallel, 1, 2*ms, 9*ms, all), cell(parallel, 50, 20*ms, 90*ms, all),
		cell(event, 1, 3*ms, 9*ms, all), cell(event, 50, 4*ms, 9*ms, all), cell(links, 50, 25*ms, 90*ms, all),
		cell(sequence, 50, 60*ms, 90*ms, all, away), cell(parallel, 50, 60*ms, 90*ms, all, away), cell(event, 50, 4*ms, 9*ms, all, away),
		cell(sequence, 50, 60*ms, 90*ms, compare.Outcome{Accepted: 67, Refused: 33, HalfDone: new(int64(33))}, down),
		cell(parallel, 50, 60*ms, 90*ms, compare.Outcome{Accepted: 66, Refused: 34, HalfDone: new(int64(34))}, down), cell(event, 50, 4*ms, 9*ms, all, down),
		{Style: parallel.name, Params: parallel.params(1, 100), Outcome: compare.Outcome{Accepted: 100, Lost: new(int64(100))}},
		{Style: event.name, Params: event.params(1, 100), Outcome: all, Took: 300 * ms},
	}
	said := func(v compare.Verdict) string {
		var b strings.Builder
		for _, e := range v.Expected {
			fmt.Fprintf(&b, "%s: %s\n", e.Agreed, e.Figure)
		}
		for _, a := range v.Advice {
			fmt.Fprintf(&b, "%s: %s: %s\n", a.Link, a.Style, a.Figure)
		}
		return b.String()
	}
	got := said(Scenario{}.Judge(measured))
	for _, want := range []string{"yes: From 1 to 50 services, the p50 of the answer grows from 2.00 ms to 60.0 ms by calls one after another, and from 3.00 ms to 4.00 ms by an event.",
		"yes: By calls at the same time, p50 grows from 2.00 ms to 20.0 ms and p99 from 9.00 ms to 90.0 ms.", "yes: With one of 50 services down (interested-26 down from 2 s for 1 s), 33 of 100",
		"at the same time 34 and 34; of 100 published, 0 were refused and 0 did not reach all.", "yes: A service that was added after 100 changes learned 100 of them from events, in 300 ms, and 0",
		"change -> 1 service: either: Answered at p50 after 2.00 ms by calls one after another, 2.00 ms at the same time, 3.00 ms by an event.",
		"change -> 50 services: event: Answered at p50 after 60.0 ms by calls one after another, 20.0 ms at the same time, 25.0 ms by request links, 4.00 ms by an event.", "change -> a service added later: event: "} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	// Events that grow with the services as calls do, lose, and are not kept.
	got = said(Scenario{}.Judge([]compare.Cell{
		cell(sequence, 1, 2*ms, 9*ms, all), cell(sequence, 50, 60*ms, 90*ms, all), cell(parallel, 1, 2*ms, 9*ms, all), cell(parallel, 50, 2*ms, 9*ms, all),
		cell(event, 1, 3*ms, 9*ms, all), cell(event, 50, 300*ms, 900*ms, all),
		cell(sequence, 50, 60*ms, 90*ms, all, down), cell(parallel, 50, 60*ms, 90*ms, all, down), cell(event, 50, 4*ms, 9*ms, compare.Outcome{Accepted: 99, HalfDone: new(int64(1))}, down),
		{Style: parallel.name, Params: parallel.params(1, 100), Outcome: compare.Outcome{Accepted: 100, Lost: new(int64(100))}},
		{Style: event.name, Params: event.params(1, 100), Outcome: compare.Outcome{Accepted: 100, Lost: new(int64(1))}},
	}))
	if strings.Count(got, "no: ") != 4 || strings.Contains(got, "50 services: event") {
		t.Error(got)
	}
	// What did not run is not judged.
	v := Scenario{}.Judge(measured[:1])
	if got := said(v); strings.Count(got, "not measured: The cells for it did not run.\n") != 4 || len(v.Advice) != 0 {
		t.Error(got)
	}
}
