package positions

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/fleet"
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

func measure(t *testing.T, trials ...compare.Trial) []compare.Cell {
	t.Helper()
	r, err := compare.Run(t.Context(), []compare.Scenario{some{Scenario{}, trials}}, compare.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Findings) != 1 || len(r.Findings[0].Cells) != len(trials) {
		t.Fatalf("%+v", r)
	}
	return r.Findings[0].Cells
}

var tiny = plan{every: 200 * time.Millisecond, duration: 400 * time.Millisecond, start: 10, limit: 20, precision: 0.5, budget: time.Hour}

// with runs fn where a search has started what it needs.
func with(st style, joined int, faults []compare.FaultPlan, fn func(ctx context.Context, s *search) (*compare.Cell, error)) compare.Trial {
	return compare.Trial{Style: st.name, Run: func(ctx context.Context, env *compare.Env) (*compare.Cell, error) {
		tracks, err := load("", 1)
		if err != nil {
			return nil, err
		}
		s := &search{style: st, consumers: joined, plan: tiny, faults: faults, env: env, at: fleet.Positions(tracks)}
		if err := s.start(ctx); err != nil {
			return nil, err
		}
		return fn(ctx, s)
	}}
}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// While nothing fails, every report is stored, and reaches every consumer once, however it is sent. A second number of vehicles is not mixed up
// with the first.
func TestEveryReportArrives(t *testing.T) {
	const n = 30
	all := []style{calls, single, batched, sockets}
	var trials []compare.Trial
	for _, st := range all {
		trials = append(trials, with(st, len(consumers), nil, func(ctx context.Context, s *search) (*compare.Cell, error) {
			if _, err := s.probe(ctx, n/2); err != nil {
				return nil, err
			}
			c, err := s.probe(ctx, n)
			if err != nil {
				return nil, err
			}
			for _, url := range s.sys.URLs[:2] { // the map and surge prices
				if known := get(t, url+"/vehicles"); known != fmt.Sprintln(n) {
					t.Errorf("%s %s: %s knows %s of %d vehicles", st.name, st.sent, url, known, n)
				}
			}
			return c, nil
		}))
	}
	for i, c := range measure(t, trials...) {
		how := strings.TrimSpace(all[i].name + " " + all[i].sent)
		if !reflect.DeepEqual(c.Outcome, reporttest.Whole(2*n)) || c.Load.Units != 2*n {
			t.Errorf("%s: %+v of %d", how, c.Outcome, c.Load.Units)
		}
		if got := *c.PerUnit.Requests; all[i].each && got != 1 || !all[i].each && (got <= 0 || got >= 1) {
			t.Errorf("%s: %g requests a report", how, got)
		}
		if c.Answered != nil && c.Done.Count != 2*n {
			t.Errorf("%s: %d of %d reports are done", how, c.Done.Count, 2*n)
		}
	}
}

// With a consumer down, reports by calls are refused, and half-done; those by events are accepted, and reach it when it is back.
func TestAConsumerIsDown(t *testing.T) {
	const n = 10
	down := []compare.FaultPlan{{Process: "history", Down: true, For: 400 * time.Millisecond}}
	probe := func(ctx context.Context, s *search) (*compare.Cell, error) { return s.probe(ctx, n) }
	cells := measure(t, with(calls, len(consumers), down, probe), with(single, len(consumers), down, probe))
	if o := cells[0].Outcome; o.Refused < n || *o.HalfDone < o.Refused || !strings.Contains(misses(&cells[0]), "were not accepted") && cells[0].NotReachable == "" {
		t.Errorf("by calls: %+v, %s", o, misses(&cells[0]))
	}
	if o := cells[1].Outcome; o.Accepted != 2*n || *o.Lost+*o.Twice+*o.HalfDone != 0 {
		t.Errorf("by events: %+v", cells[1].Outcome)
	}
}

// A consumer that did not keep up is let off what it has not taken.
func TestClear(t *testing.T) {
	measure(t, with(single, 1, nil, func(ctx context.Context, s *search) (*compare.Cell, error) {
		live := s.env.Group.Process(consumers[0].name)
		live.Down()
		r := s.style.open(s.sys, 1)
		defer r.Close()
		for i := range 5 {
			if err := r.Report(ctx, 0, fleet.Report{Unit: fmt.Sprint("old", i), Position: s.at(0, i)}); err != nil {
				return nil, err
			}
		}
		if err := s.clear(ctx); err != nil {
			return nil, err
		}
		live.Start()
		c, err := s.probe(ctx, 5)
		if err != nil {
			return nil, err
		}
		if !reflect.DeepEqual(c.Outcome, reporttest.Whole(10)) {
			t.Errorf("after it was let off: %+v", c.Outcome)
		}
		ledger, err := s.sys.Ledger(ctx)
		for unit := range ledger {
			// One that was on its way may be sent again.
			if strings.HasPrefix(unit, "old") && unit != "old0" {
				t.Errorf("it was sent %s", unit)
			}
		}
		return c, err
	}))
}

// The cell of a search says how many vehicles held and what stopped more, and no other cell does.
func TestSearch(t *testing.T) {
	for i, c := range measure(t, trial(calls, 0, tiny, nil), trial(single, 0, tiny, nil)) {
		held, next := held(&c), compare.Value(c.Also, more)
		why := misses(&c)
		if held > tiny.limit || (held > 0) != (why == "") || next == "" || held == tiny.limit != strings.HasSuffix(next, "more were not asked for") {
			t.Errorf("cell %d holds %d, %q, more: %q", i, held, why, next)
		}
	}
	tooMany := tiny
	tooMany.budget, tooMany.start = 1, 1
	cells := measure(t, trial(calls, 0, tooMany, []compare.FaultPlan{{Process: store, Down: true, For: tiny.duration}}))
	if c := &cells[0]; held(c) != 0 || !strings.HasPrefix(compare.Value(c.Also, more), "1: ") || c.Outcome.Refused == 0 {
		t.Errorf("%+v, %v", c.Outcome, c.Also)
	}
}

func TestMisses(t *testing.T) {
	quick, slow := &compare.Latency{P99: bound - 1}, &compare.Latency{P99: bound}
	for want, c := range map[string]compare.Cell{
		"":                            {Answered: quick, Done: quick, Outcome: compare.Outcome{Refused: 1, Lost: new(int64(1))}},
		"broken off":                  {Answered: quick, BrokenOff: true},
		"why":                         {NotReachable: "why"},
		"2 of 100":                    {Answered: quick, Outcome: compare.Outcome{Refused: 1, Unknown: 1}},
		"p99 of the answer 1.00 s":    {Answered: slow},
		"p99 of the answer of none":   {},
		"2 of 100 reports had not":    {Answered: quick, Done: quick, Outcome: compare.Outcome{Lost: new(int64(1)), HalfDone: new(int64(1))}},
		"p99 until all consumers had": {Answered: quick, Done: slow},
	} {
		c.Load.Units = 100
		if got := misses(&c); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestTrials(t *testing.T) {
	for _, c := range []struct {
		o    compare.Options
		want int
	}{{compare.Options{}, 0}, {compare.Options{Extent: compare.Quick}, 0}, {compare.Options{Extent: compare.Full}, 6}, {compare.Options{Scenarios: []string{Name}}, 6}} {
		if got := (Scenario{}).Trials(c.o); len(got) != c.want {
			t.Errorf("%+v: %d trials, want %d", c.o, len(got), c.want)
		}
	}
	down := []compare.FaultPlan{{Process: store, Down: true}, {Process: compare.Tandem, Down: true}, {Process: "surge", Down: true}}
	for s, want := range map[string]string{"calls": store, "single": compare.Tandem} {
		st := calls
		if s == "single" {
			st = single
		}
		if got := st.faults(down); len(got) != 2 || got[0].Process != want || got[1].Process != "surge" {
			t.Errorf("%s: %v", s, got)
		}
	}
	_, err := (&search{faults: []compare.FaultPlan{{Process: "surge", Slow: 1}}}).run(t.Context(), nil)
	if tandem.CodeOf(err) != tandem.CodeInvalid {
		t.Errorf("a fault that is none here: %v", err)
	}
	if p := planOf(compare.Options{Duration: time.Minute}); p.duration != time.Minute {
		t.Errorf("%+v", p)
	}
}

// cell makes a measured cell.
func cell(s style, joined, n int, bytes float64) compare.Cell {
	return compare.Cell{Style: s.name, Params: s.params(joined, 4*time.Second), Also: []compare.Param{vehicles(n), {Name: more, Value: fmt.Sprint(n+1, ": p99")}}, PerUnit: compare.PerUnit{WireBytes: &bytes}}
}

// The verdict follows the figures, whatever they are.
func TestJudge(t *testing.T) {
	all := len(consumers)
	said := func(v compare.Verdict) string {
		var b strings.Builder
		for _, e := range v.Expected {
			fmt.Fprintf(&b, "%s: %s\n", e.Agreed, e.Figure)
		}
		for _, a := range v.Advice {
			fmt.Fprintf(&b, "%s: %s: %s %s\n", a.Link, a.Style, a.Reason, a.Figure)
		}
		return b.String()
	}
	measured := []compare.Cell{cell(calls, all, 3000, 500), cell(single, all, 9000, 500), cell(batched, all, 80000, 9), cell(sockets, all, 12000, 200),
		cell(calls, 0, 9000, 500), cell(single, 0, 9100, 500)}
	got := said(Scenario{}.Judge(measured))
	for _, want := range []string{"yes: With 3 consumers, 80,000 vehicles can report in batches and 9,000 singly.", "yes: A report and its answer take 200 bytes over a WebSocket and 500 by a call",
		"yes: As 3 consumers join, the largest number of vehicles goes from 9,000 to 3,000 with calls and from 9,100 to 9,000", "event: One intake", "events in batches serve the most",
		"3,000 by calls of a service, 9,000 by events singly, 80,000 by events in batches, 12,000 by events over a WebSocket each."} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	got = said(Scenario{}.Judge([]compare.Cell{cell(calls, all, 9000, 500), cell(single, all, 8000, 500), cell(batched, all, 8000, 9), cell(sockets, all, 7000, 600),
		cell(calls, 0, 9000, 500), cell(single, 0, 9100, 500)}))
	if strings.Count(got, "no: ") != 3 || !strings.Contains(got, "history: either: ") {
		t.Error(got)
	}
	// A number that nothing larger was tried beside is at least that: it is compared only where that suffices.
	open := func(c compare.Cell) compare.Cell {
		c.Also = []compare.Param{c.Also[0], {Name: more, Value: notTried}}
		return c
	}
	for _, c := range []struct {
		one, batch compare.Cell
		want       string
	}{
		{cell(single, all, 1000, 500), open(cell(batched, all, 4000, 9)), "yes: With 3 consumers, at least 4,000 vehicles can report in batches and 1,000 singly."},
		{cell(single, all, 1000, 500), open(cell(batched, all, 3999, 9)), "not measured: With"},
		{open(cell(single, all, 1000, 500)), cell(batched, all, 5000, 9), "not measured: With"},
		{open(cell(single, all, 1000, 500)), cell(batched, all, 900, 9), "no: With"},
		{open(cell(single, all, 1000, 500)), open(cell(batched, all, 9000, 9)), "not measured: With"},
		{cell(single, all, 1000, 500), cell(batched, all, 2000, 9), "partly: With"},
	} {
		if got := said((Scenario{}).Judge([]compare.Cell{c.one, c.batch})); !strings.HasPrefix(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	for _, c := range []struct {
		call, one, batch compare.Cell
		want, not        string
	}{
		{cell(calls, all, 3000, 500), cell(single, all, 9000, 500), open(cell(batched, all, 80000, 9)), "history: event: One intake serves all who want positions. Of the ways to send them, events in batches", "not known"},
		{cell(calls, all, 3000, 500), open(cell(single, all, 9000, 500)), open(cell(batched, all, 80000, 9)), "history: event: One intake serves all who want positions. Vehicles", "serve the most"},
		{open(cell(calls, all, 3000, 500)), cell(single, all, 9000, 500), cell(batched, all, 80000, 9), "history: either: Which of them serves more vehicles is not known", "as many vehicles"},
		{open(cell(calls, all, 9000, 500)), cell(single, all, 8000, 500), cell(batched, all, 9000, 9), "history: either: A service that stores", "not known"},
	} {
		if got := said((Scenario{}).Judge([]compare.Cell{c.call, c.one, c.batch})); !strings.Contains(got, c.want) || strings.Contains(got, c.not) {
			t.Errorf("%q, want %q and not %q", got, c.want, c.not)
		}
	}
	// What did not run, or has no number, is not judged.
	v := Scenario{}.Judge([]compare.Cell{measured[0], measured[2], {Style: sockets.name, Params: sockets.params(all, 4*time.Second)}})
	if got := said(v); strings.Count(got, "not measured: The cells for it did not run.\n") != 3 || len(v.Advice) != 0 {
		t.Error(got)
	}
}

func TestInput(t *testing.T) {
	dir := t.TempDir()
	made, err := load(dir, 1)
	if err != nil || len(made) != 500 {
		t.Errorf("%d tracks are made up, %v", len(made), err)
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte("seconds\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(dir, 1); err == nil {
		t.Error("positions that are none were read")
	}
	path := os.Getenv("TANDEM_POSITIONS")
	if path == "" {
		t.Skip("TANDEM_POSITIONS names no file")
	}
	if tracks, err := load(filepath.Dir(path), 1); err != nil || len(tracks) != 994 {
		t.Errorf("%d tracks, %v", len(tracks), err)
	}
}
