package authentication

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

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

// tiny is the scenario with one trial in styles of the test's choice.
type tiny struct {
	Scenario
	trial  trial
	styles []string
}

func (s tiny) Trials(compare.Options) (out []compare.Trial) {
	for _, style := range s.styles {
		t := s.trial
		t.style = style
		out = append(out, compare.Trial{Style: style, Run: t.run})
	}
	return out
}

// run runs a trial in each of some styles.
func run(t *testing.T, of trial, styles ...string) []compare.Cell {
	t.Helper()
	r, err := compare.Run(t.Context(), []compare.Scenario{tiny{trial: of, styles: styles}}, compare.Options{})
	if err != nil || len(r.Findings) != 1 || len(r.Findings[0].Cells) != len(styles) {
		t.Fatalf("%v: %+v", err, r)
	}
	return r.Findings[0].Cells
}

// runBoth runs it as a request and as an event.
func runBoth(t *testing.T, of trial) (asked, told compare.Cell) {
	t.Helper()
	cells := run(t, of, compare.Request, compare.Event)
	return cells[0], cells[1]
}

// Without faults everybody is logged in once, in all styles; a call that stores nothing alone leaves no password behind.
func TestAllStylesLogIn(t *testing.T) {
	for _, c := range run(t, trial{rate: 4, lasts: time.Second, config: config}, styles...) {
		o := c.Outcome
		if o.Accepted != c.Load.Units || o.Accepted == 0 || *o.Lost+*o.Twice+*o.HalfDone+o.Refused+o.Unknown != 0 || nobody(&c) != 0 {
			t.Errorf("%s: %+v of %d, %v", c.Style, o, c.Load.Units, c.Params)
		}
		if c.NotReachable == "" && (c.Answered == nil || c.Done == nil || c.Done.Count != o.Accepted) {
			t.Errorf("%s: %+v, %+v", c.Style, c.Answered, c.Done)
		}
		if stored := compare.Value(c.Also, secretIs) == found; stored != (c.Style != compare.Request) {
			t.Errorf("%s: %v", c.Style, c.Params)
		}
	}
}

// A fault begins before what is measured, and ends with it: long after the last log-in was due, which by the seed is after 582 ms.
const early, lasting = 500 * time.Millisecond, 1350 * time.Millisecond

// Calls that fail refuse who asked, and are made again for an event.
func TestErrorsRefuseOrDelay(t *testing.T) {
	fault := compare.FaultPlan{Process: accountsName, Error: 1, At: -early, For: early + lasting}
	asked, told := runBoth(t, trial{rate: 4, warmup: early, lasts: lasting, config: config, faults: []compare.FaultPlan{fault}})
	if o := asked.Outcome; o.Refused != asked.Load.Units || o.Refused == 0 {
		t.Errorf("as a request: %+v of %d", o, asked.Load.Units)
	}
	if o := told.Outcome; o.Accepted != told.Load.Units || o.Accepted == 0 || told.Answered != nil && told.Answered.P50 < 500*time.Millisecond {
		t.Errorf("as an event: %+v of %d, %+v", o, told.Load.Units, told.Answered)
	}
}

// Who is told that the event is stored has no session; one is opened later, for nobody.
func TestSessionsForNobodyAreCounted(t *testing.T) {
	fault := compare.FaultPlan{Process: accountsName, Slow: 2 * time.Second, At: -early, For: early + lasting}
	impatient := bytes.Replace(config, []byte("timeout: 10s}\n\nsub"), []byte("timeout: 100ms}\n\nsub"), 1)
	asked, told := runBoth(t, trial{rate: 4, warmup: early, lasts: lasting, config: impatient, faults: []compare.FaultPlan{fault}})
	if o := asked.Outcome; o.Accepted != asked.Load.Units || nobody(&asked) != 0 || asked.Answered != nil && asked.Answered.P50 < 2*time.Second {
		t.Errorf("as a request: %+v, %v, %+v", o, asked.Params, asked.Answered)
	}
	if o := told.Outcome; o.Unknown != told.Load.Units || o.Unknown == 0 || nobody(&told) != int(o.Unknown) {
		t.Errorf("as an event: %+v, %v", o, told.Params)
	}
}

// made is a made-up cell.
func made(style, rate string, accepted, unknown int64, p50 time.Duration, also []compare.Param, params ...compare.Param) compare.Cell {
	c := compare.Cell{Style: style, Params: append([]compare.Param{{Name: "rate", Value: rate}}, params...), Also: also,
		Outcome: compare.Outcome{Accepted: accepted, Unknown: unknown}}
	if p50 > 0 {
		c.Answered = &compare.Latency{Count: accepted, P50: p50, P99: 2 * p50}
	}
	return c
}

// The verdict follows the figures: when they turn, so does it.
func TestTheVerdictFollowsTheFigures(t *testing.T) {
	const ms = time.Millisecond
	cells := func(turned bool) []compare.Cell {
		fast, slow, more, less := 30*ms, 60*ms, int64(90), int64(60)
		clear, nobody := []compare.Param{{Name: secretIs, Value: found}}, []compare.Param{{Name: forNobody, Value: "40"}}
		if turned {
			fast, slow, more, less, clear, nobody = slow, fast, less, more, nil, nil
		}
		down, away := compare.Param{Name: "fault", Value: "accounts:down"}, compare.Param{Name: "fault", Value: "tandem:down"}
		list := []compare.Cell{
			made(compare.Request, "10/s", 100, 0, fast, nil), made(compare.Event, "10/s", 100, 0, slow, clear),
			made(compare.Request, "160/s", more, 0, ms, nil), made(compare.Event, "160/s", less, 40, ms, nobody),
			made(compare.Request, "10/s", more, 0, ms, nil, away), made(compare.Event, "10/s", more, 0, ms, nil, away),
			made(compare.Request, "10/s", less, 0, ms, nil, down), made(compare.Event, "10/s", more, 0, ms, nil, down),
		}
		list[4].Faults = []compare.Fault{{Process: compare.Tandem, Kind: "down"}}
		list[6].Faults = []compare.Fault{{Process: accountsName, Kind: "down"}}
		return list
	}
	for turned, want := range map[bool]compare.Agreement{false: compare.Yes, true: compare.No} {
		v := Scenario{}.Judge(cells(turned))
		for _, e := range v.Expected {
			if e.Agreed != want || e.Figure == "" || e.Source == "" {
				t.Errorf("turned %v: %+v, want %s", turned, e, want)
			}
		}
		style, count := compare.Request, 2
		if turned {
			style, count = "either", 1
		}
		if len(v.Advice) != count || v.Advice[0].Style != style {
			t.Errorf("turned %v: %+v", turned, v.Advice)
		}
	}
	if v := (Scenario{}).Judge(nil); len(v.Advice) != 0 || v.Expected[0].Agreed != compare.Unmeasured {
		t.Errorf("nothing ran: %+v", v)
	}
}

func TestTrialsOfEachExtent(t *testing.T) {
	named := []string{name}
	for _, c := range []struct {
		o    compare.Options
		want int
	}{
		{compare.Options{}, 0},
		{compare.Options{Extent: compare.Full}, 18},
		{compare.Options{Scenarios: named}, 18},
		{compare.Options{Scenarios: named, Extent: compare.Quick}, 6},
		{compare.Options{Extent: compare.Full, Faults: []compare.FaultPlan{{Process: "payments", Down: true}, {Process: compare.Tandem, Down: true}}}, 12},
		{compare.Options{Scenarios: named, Rate: 5, Faults: []compare.FaultPlan{{Process: accountsName, Down: true}}}, 6},
	} {
		if trials := (Scenario{}).Trials(c.o); len(trials) != c.want {
			t.Errorf("%+v: %d trials, want %d", c.o, len(trials), c.want)
		}
	}
}

func TestTheLedgerKnowsWhatHappenedTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), ledgerFile)
	lines := `{"unit":"u1","at":"2026-01-31T09:30:00Z"}
{"unit":"u2","at":"2026-01-31T09:30:01Z"}
{"unit":"u1","at":"2026-01-31T09:30:02Z"}
`
	if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	work, err := readLedger(path)
	if err != nil || len(work) != 2 || !work["u1"].Twice || work["u2"].Twice || work["u1"].State != compare.Done || work["u1"].At.Second() != 2 {
		t.Errorf("%+v, %v", work, err)
	}
}
