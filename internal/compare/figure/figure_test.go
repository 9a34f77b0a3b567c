package figure

import (
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
)

func TestWriting(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Duration(0), ""},
		{Duration(7), "7.00 ns"},
		{Duration(340 * time.Microsecond), "340 µs"},
		{Duration(999_600), "1.00 ms"},
		{Duration(1_237_000), "1.24 ms"},
		{Duration(12_370_000), "12.4 ms"},
		{Duration(999_500_000), "1.00 s"},
		{Duration(124 * time.Second), "124 s"},
		{Duration(754 * time.Second), "12 min 34 s"},
		{Span(0), "0 s"},
		{Span(10 * time.Second), "10 s"},
		{Span(1500 * time.Millisecond), "1.5 s"},
		{Span(182 * time.Second), "3 min 2 s"},
		{Span(2 * time.Hour), "2 h"},
		{Significant(9.996), "10.0"},
		{Significant(99.96), "100"},
		{Significant(12_345), "12,345"},
		{Number(200), "200"},
		{Number(1.5), "1.5"},
		{Number(0), "0"},
		{Count(-1234567), "-1,234,567"},
		{Count(999), "999"},
		{Bytes(740), "740 B"},
		{Bytes(999.6), "1 kB"},
		{Bytes(1_240_000), "1.24 MB"},
		{Percent(1, 0), ""},
		{Percent(0, 5), "0 %"},
		{Percent(5, 5), "100 %"},
		{Percent(1, 3), "33.3 %"},
		{Percent(99_999, 100_000), "99.999 %"},
		{Percent(1, 100_000), "0.001 %"},
		{Percent(1, 1e12), "< 0.00001 %"},
		{Percent(1e12-1, 1e12), "> 99.99999 %"},
	} {
		if c.got != c.want {
			t.Errorf("%q where %q was wanted", c.got, c.want)
		}
	}
}

func param(pairs ...string) (params []compare.Param) {
	for i := 0; i < len(pairs); i += 2 {
		params = append(params, compare.Param{Name: pairs[i], Value: pairs[i+1]})
	}
	return params
}

func TestGroups(t *testing.T) {
	down := []compare.Fault{{Process: "payments", Kind: "down", At: 10 * time.Second, For: 5 * time.Second}}
	for name, c := range map[string]struct {
		cells []compare.Cell
		want  string
	}{
		"conditions and names": {[]compare.Cell{
			{Style: "poll", Params: param("shop", "one", "waiting", "100", "every", "1 s")},
			{Style: "poll", Params: param("shop", "one", "waiting", "100", "every", "10 s")},
			{Style: "sse", Params: param("shop", "one", "waiting", "100")},
			{Style: "sse", Params: param("shop", "one", "waiting", "1")},
		}, "shop one | waiting 100: poll, 1 s; poll, 10 s; sse | waiting 1: sse"},
		"faults": {[]compare.Cell{{Style: "request"}, {Style: "request", Faults: down}, {Style: "event"}, {Style: "event", Faults: down}},
			" | : request; event | payments down from 10 s for 5 s: request; event"},
		"a condition of some": {[]compare.Cell{
			{Style: "request", Params: param("rate", "5/s")}, {Style: "request", Params: param("rate", "5/s", "chain", "3")},
			{Style: "event", Params: param("rate", "5/s")}, {Style: "event", Params: param("rate", "5/s", "chain", "3"), BrokenOff: true},
		}, "rate 5/s | : request; event | chain 3: request; event, broken off"},
		"a condition of the only style that ran so far": {[]compare.Cell{
			{Style: "request", Params: param("rate", "5/s")}, {Style: "event", Params: param("rate", "5/s")}, {Style: "request", Params: param("rate", "5/s", "chain", "3")},
		}, "rate 5/s | : request; event | chain 3: request"},
		"a fault that is named": {[]compare.Cell{{Style: "request", Params: param("fault", "none")}, {Style: "request", Params: param("fault", "down"), Faults: down}},
			" | fault none: request | payments down from 10 s for 5 s: request"},
		"one group": {[]compare.Cell{{Style: "request", Params: param("rate", "5/s")}, {Style: "event", Params: param("rate", "5/s")}},
			" | rate 5/s: request; event"},
	} {
		fixed, groups := Groups(&compare.Finding{Cells: c.cells})
		parts := []string{fixed}
		for _, g := range groups {
			var names []string
			for _, s := range g.Series {
				names = append(names, s.Name)
			}
			parts = append(parts, g.Name+": "+strings.Join(names, "; "))
		}
		if got := strings.Join(parts, " | "); got != c.want {
			t.Errorf("%s: %q where %q was wanted", name, got, c.want)
		}
	}
}

func TestFaults(t *testing.T) {
	f := compare.Fault{Process: "payments", Kind: "slow=500ms", At: 10 * time.Second, For: 5 * time.Second}
	if got := FaultName(f); got != "payments slow (500ms) from 10 s for 5 s" {
		t.Error(got)
	}
	if got := faultEnd(f, true); strings.Contains(got, "0 s") || !strings.Contains(got, "did not succeed") || !strings.Contains(got, "never done") {
		t.Error(got)
	}
	if got := faultEnd(f, false); got != "callers did not succeed as before within the run" {
		t.Errorf("%s, where nothing is known of the work", got)
	}
	soon, late := time.Duration(0), 1200*time.Millisecond
	f.Recovered, f.Drained = &late, &soon
	if got := faultEnd(f, true); got != "callers succeeded as before 1.20 s after the fault ended; no work waited for its end" {
		t.Error(got)
	}
	f.Recovered, f.Drained = &soon, &late
	if got := faultEnd(f, true); got != "callers succeeded as before at once; all work that waited was done 1.20 s after the fault ended" {
		t.Error(got)
	}
}

func TestFaultsOfASeries(t *testing.T) {
	c := compare.Cell{Faults: []compare.Fault{{Process: "payments", Kind: "down"}}}
	if got := Faults(Series{"request", &c}); len(got) != 1 || !strings.HasPrefix(got[0], "request: callers") {
		t.Error(got)
	}
	c.Faults = append(c.Faults, compare.Fault{Process: "stock", Kind: "down", At: time.Second, For: time.Second})
	c.Took = 1500 * time.Millisecond
	for brokenOff, want := range map[bool]int{false: 2, true: 1} {
		if c.BrokenOff = brokenOff; len(Faults(Series{"request", &c})) != want {
			t.Errorf("broken off %t: %q", brokenOff, Faults(Series{"request", &c}))
		}
	}
	if c.NotReachable = "too fast"; Faults(Series{"request", &c}) != nil {
		t.Error("times of a cell that was not reachable")
	}
}

// What is nil, absent or not reachable is empty, and what is zero because nothing of it happened is zero.
func TestColumns(t *testing.T) {
	text := func(columns []Column, c compare.Cell) string {
		var b strings.Builder
		for _, column := range columns {
			v := column.Get(&c)
			b.WriteString(v.Text + v.Note)
			if v.Bad {
				b.WriteString("!")
			}
			b.WriteString("|")
		}
		return b.String()
	}
	l := &compare.Latency{Count: 5, P50: time.Millisecond, P99: time.Second, P50Interval: 10 * time.Microsecond}
	zero, zeroTime := 0.0, time.Duration(0)
	for name, c := range map[string]struct {
		columns []Column
		cell    compare.Cell
		want    string
	}{
		"nothing of time":   {Latencies, compare.Cell{}, "||||||||"},
		"no answers":        {Latencies, compare.Cell{Answered: &compare.Latency{}}, "||||||||"},
		"answers":           {Latencies, compare.Cell{Answered: l}, "1.00 ms± 10.0 µs||1.00 s||||||"},
		"not reachable":     {Latencies, compare.Cell{Answered: l, Done: l, NotReachable: "busy"}, "||||||||"},
		"nothing counted":   {Outcomes, compare.Cell{}, "||||||||"},
		"counted":           {Outcomes, compare.Cell{Outcome: compare.Outcome{Accepted: 3, Refused: 1, Lost: new(int64(2)), Twice: new(int64)}}, "||375.0 %|125.0 %|0|2!|0||"},
		"rate not reached":  {Outcomes, compare.Cell{Load: compare.Load{Rate: 200, Reached: 150, Units: 6000}}, "6,000|200reached 150|||||||"},
		"rate of chance":    {Outcomes, compare.Cell{Load: compare.Load{Rate: 20, Reached: 18.2, Units: 91}}, "91|20|||||||"},
		"rate reached":      {Outcomes, compare.Cell{Load: compare.Load{Rate: 200, Reached: 199.9, Units: 6000}}, "6,000|200|||||||"},
		"no costs":          {Costs, compare.Cell{}, "|||||"},
		"costs nothing":     {Costs, compare.Cell{PerUnit: compare.PerUnit{Requests: &zero, WireBytes: &zero, DiskBytes: &zero, CPU: &zeroTime}}, "0|0 B|0 B|0 µs||"},
		"processes must be": {Costs, compare.Cell{MustBeUp: []string{"tandem", "stock"}}, "||||2tandem, stock|"},
	} {
		want := strings.TrimSuffix(c.want, "|")
		if got := strings.TrimSuffix(text(c.columns, c.cell), "|"); strings.TrimRight(got, "|") != strings.TrimRight(want, "|") {
			t.Errorf("%s: %s where %s was wanted", name, got, c.want)
		}
	}
}
