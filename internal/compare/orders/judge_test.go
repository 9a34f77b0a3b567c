package orders

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
)

func cell(style string, perSecond float64, p99 time.Duration, o compare.Outcome) compare.Cell {
	c := compare.Cell{Style: style, Params: []compare.Param{{Name: "rate", Value: rate(perSecond)}}, Outcome: o,
		Load:     compare.Load{Rate: perSecond, Units: o.Accepted + o.Refused + o.Unknown},
		Answered: &compare.Latency{P50: p99 / 2, P99: p99}, Done: &compare.Latency{P50: p99, P99: 2 * p99}}
	if p99 == 0 {
		c.NotReachable, c.Answered, c.Done = "the generator gave up", nil, nil
	}
	return c
}

func faulty(c compare.Cell, process, kind string, drained time.Duration) compare.Cell {
	c.Faults = []compare.Fault{{Process: process, Kind: kind, At: time.Second, For: time.Second, Drained: &drained}}
	c.Params = append(c.Params, compare.Param{Name: "fault", Value: kind})
	return c
}

func TestJudgeLoad(t *testing.T) {
	const ms = time.Millisecond
	all, some := compare.Outcome{Accepted: 100}, compare.Outcome{Accepted: 90, Refused: 10}
	for name, tt := range map[string]struct {
		request, event []compare.Cell
		want           compare.Agreement
	}{
		"events take more": {[]compare.Cell{cell("request", 10, 10*ms, all), cell("request", 20, 10*ms, some)},
			[]compare.Cell{cell("event", 10, 10*ms, all), cell("event", 20, 10*ms, all)}, compare.Yes},
		"both take the same": {[]compare.Cell{cell("request", 10, 10*ms, all), cell("request", 20, 2000*ms, all)},
			[]compare.Cell{cell("event", 10, 10*ms, all), cell("event", 20, 2000*ms, all)}, compare.No},
		"the generator gave up first": {[]compare.Cell{cell("request", 10, 10*ms, all), cell("request", 20, 0, all)},
			[]compare.Cell{cell("event", 10, 10*ms, all), cell("event", 20, 10*ms, all)}, compare.Unmeasured},
		"nothing saturated": {[]compare.Cell{cell("request", 10, 10*ms, all)}, []compare.Cell{cell("event", 10, 10*ms, all)}, compare.Unmeasured},
	} {
		v := Scenario{}.Judge(append(tt.request, tt.event...))
		if got := v.Expected[claimLoad].Agreed; got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestJudgeFaults(t *testing.T) {
	const ms = time.Millisecond
	all, turned := compare.Outcome{Accepted: 100}, compare.Outcome{Accepted: 70, Refused: 20, Unknown: 10, HalfDone: new(int64(12))}
	v := Scenario{}.Judge([]compare.Cell{
		faulty(cell("request", 20, 10*ms, turned), "payments", "down", 0), faulty(cell("event", 20, 10*ms, all), "payments", "down", 700*ms),
		faulty(cell("request", 20, 500*ms, all), "payments", "slow=500ms", 0), faulty(cell("event", 20, 10*ms, all), "payments", "slow=500ms", 0),
	})
	if v.Expected[claimAway].Agreed != "yes" || v.Expected[claimHalf].Agreed != "yes" {
		t.Errorf("%+v", v.Expected)
	}
	links := map[string]compare.Advice{}
	for _, a := range v.Advice {
		if _, ok := links[a.Link]; ok {
			t.Errorf("two advices for %s", a.Link)
		}
		links[a.Link] = a
	}
	a := links["to payments"]
	if a.Style != compare.Event || !strings.Contains(a.Figure, "of 100 callers as requests 30 were turned away") || !strings.Contains(a.Figure, "500 ms") {
		t.Errorf("%+v", a)
	}
	// Where events fare no better, the report says so.
	v = Scenario{}.Judge([]compare.Cell{faulty(cell("request", 20, 10*ms, all), "payments", "down", 0), faulty(cell("event", 20, 10*ms, turned), "payments", "down", 0)})
	if v.Expected[claimAway].Agreed != "no" || v.Advice[0].Style != compare.Request {
		t.Errorf("%+v, %+v", v.Expected[claimAway], v.Advice)
	}
}

func TestJudgeChains(t *testing.T) {
	var cells []compare.Cell
	for _, n := range []int{1, 5} {
		for style, p50 := range map[string]time.Duration{"request": time.Duration(n) * 6 * time.Millisecond, "event": time.Millisecond} {
			c := cell(style, 20, 2*p50, compare.Outcome{Accepted: 100})
			c.Params = append(c.Params, compare.Param{Name: "chain", Value: fmt.Sprint(n)})
			cells = append(cells, c)
		}
	}
	v := Scenario{}.Judge(cells)
	if e := v.Expected[claimChain]; e.Agreed != "yes" || !strings.Contains(e.Figure, "6 ms for each service") && !strings.Contains(e.Figure, "6.00 ms for each service") {
		t.Errorf("%+v", e)
	}
	if v := (Scenario{}).Judge(nil); v.Expected[claimChain].Agreed != "not measured" || len(v.Advice) > 0 {
		t.Errorf("%+v of nothing", v)
	}
}
