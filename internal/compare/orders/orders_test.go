package orders

import (
	"context"
	"fmt"
	"maps"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/compare/reporttest"
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

// some is this scenario with trials of the test's own.
type some struct {
	Scenario
	trials []compare.Trial
}

func (s some) Trials(compare.Options) []compare.Trial { return s.trials }

func run(t *testing.T, trials ...compare.Trial) []compare.Cell {
	t.Helper()
	r, err := compare.Run(t.Context(), []compare.Scenario{some{trials: trials}}, compare.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Findings[0].Cells
}

// The same services take the same orders in both styles, and they end in the same states. With TANDEM_SOAK each order of the sample is placed
// fifty times.
func TestSameStatesInBothStyles(t *testing.T) {
	rate, orders := 20., int64(40) // the sample once
	if os.Getenv("TANDEM_SOAK") != "" {
		rate, orders = 40, 50*orders
	}
	offer := compare.Offer{Rate: rate, Duration: time.Duration(float64(orders) / rate * float64(time.Second)), Even: true}
	states := map[string]map[string]string{}
	var trials []compare.Trial
	for _, style := range styles {
		trial := shopTrial(style, offer, nil)
		inner := trial.Run
		trial.Run = func(ctx context.Context, env *compare.Env) (*compare.Cell, error) {
			c, err := inner(ctx, env)
			if err != nil {
				return nil, err
			}
			all, err := (&ledger{dir: env.ServicesDir()}).readOrders(ctx)
			states[style] = map[string]string{}
			for _, o := range all {
				states[style][o.reference] = o.status
			}
			return c, err
		}
		trials = append(trials, trial)
	}
	for _, c := range run(t, trials...) {
		if want := reporttest.Whole(orders); !reflect.DeepEqual(c.Outcome, want) {
			t.Errorf("%s: %+v, want %+v", c.Style, c.Outcome, want)
		}
		if c.NotReachable == "" && c.Done.Count != orders {
			t.Errorf("%s: %d orders are done", c.Style, c.Done.Count)
		}
	}
	ended := map[string]int{}
	for _, status := range states[compare.Event] {
		ended[status]++
	}
	if ended["confirmed"] == 0 || ended["cancelled"] == 0 || ended["returned"] == 0 || len(ended) != 3 {
		t.Errorf("orders ended %v", ended)
	}
	if !maps.Equal(states[compare.Request], states[compare.Event]) {
		t.Errorf("as requests the orders ended %v,\nas events %v", states[compare.Request], states[compare.Event])
	}
}

// Payments away: as requests callers are refused and goods stay reserved for nobody; as events nobody notices.
func TestPaymentsDown(t *testing.T) {
	offer := compare.Offer{Rate: 20, Duration: 3 * time.Second, Even: true}
	fault := []compare.FaultPlan{{Process: "payments", Down: true, At: 500 * time.Millisecond, For: 2 * time.Second}}
	cells := run(t, shopTrial(compare.Request, offer, fault), shopTrial(compare.Event, offer, fault))
	r, e := cells[0], cells[1]
	if r.Outcome.Refused < 15 || *r.Outcome.HalfDone < 10 || *r.Outcome.Lost != 0 || *r.Outcome.Twice != 0 {
		t.Errorf("as requests %+v", r.Outcome)
	}
	if o := e.Outcome; o.Accepted != 60 || *o.Lost+*o.Twice+*o.HalfDone != 0 || e.Faults[0].Drained == nil || *e.Faults[0].Drained == 0 {
		t.Errorf("as events %+v, want 60 accepted and done; %+v", e.Outcome, e.Faults[0])
	}
	if len(r.MustBeUp) != 6 || len(e.MustBeUp) != 3 {
		t.Errorf("%v must be up as requests, %v as events", r.MustBeUp, e.MustBeUp)
	}
	v := Scenario{}.Judge(cells)
	if v.Expected[claimAway].Agreed != "yes" || v.Expected[claimHalf].Agreed != "yes" || v.Expected[claimChain].Agreed != "not measured" {
		t.Errorf("%+v", v.Expected)
	}
	if len(v.Advice) == 0 || v.Advice[0].Link != "to payments" || v.Advice[0].Style != compare.Event {
		t.Errorf("%+v", v.Advice)
	}
}

// Each service of a chain works for 5 ms. A caller waits for all of them, or for none; the work takes all of it in any case.
func TestChain(t *testing.T) {
	const length = 4
	offer := compare.Offer{Rate: 20, Duration: time.Second, Even: true}
	for _, c := range run(t, chain(compare.Request, length, offer), chain(compare.Event, length, offer)) {
		if want := reporttest.Whole(20); !reflect.DeepEqual(c.Outcome, want) {
			t.Fatalf("%s: %+v, want %+v", c.Style, c.Outcome, want)
		}
		if c.NotReachable != "" {
			continue
		}
		if c.Done.Count != 20 || c.Done.P50 < length*stepWork {
			t.Errorf("%s: done %+v", c.Style, c.Done)
		}
		if c.Style == compare.Request && c.Answered.Curve[0].Took < length*stepWork {
			t.Errorf("as requests one of %d services of %s was answered in %s; %+v; done %+v", length, stepWork, c.Answered.Curve[0].Took, c.Answered, c.Done.Curve)
		}
		// One request of the caller, and one for each service.
		if n := *c.PerUnit.Requests; n < length+1 || n > length+1.5 {
			t.Errorf("%s: %g requests a unit, want %d", c.Style, n, length+1)
		}
	}
}

func TestWork(t *testing.T) {
	told := func(types ...string) map[string]int {
		m := map[string]int{}
		for _, typ := range types {
			m[typ]++
		}
		return m
	}
	for name, tt := range map[string]struct {
		o     order
		state compare.State
		twice bool
	}{
		"confirmed":              {order{status: "confirmed", taken: true, paid: true, messages: told("order.placed", "order.confirmed")}, compare.Done, false},
		"without stock":          {order{status: "confirmed", paid: true, messages: told("order.confirmed")}, compare.Done, false},
		"confirmed and not paid": {order{status: "confirmed", taken: true, messages: told("order.confirmed")}, compare.Half, false},
		"nobody was told":        {order{status: "confirmed", taken: true, paid: true}, compare.Half, false},
		"told twice":             {order{status: "confirmed", paid: true, messages: told("order.confirmed", "order.confirmed")}, compare.Done, true},
		"cancelled":              {order{status: "cancelled", messages: told("order.placed", "order.cancelled")}, compare.Done, false},
		"cancelled with goods":   {order{status: "cancelled", taken: true, messages: told("order.cancelled")}, compare.Half, false},
		"returned":               {order{status: "returned", taken: true, paid: true, messages: told("order.returned")}, compare.Done, false},
		"placed":                 {order{status: "placed"}, compare.None, false},
		"failed":                 {order{status: "failed"}, compare.None, false},
		"failed with goods":      {order{status: "failed", taken: true}, compare.Half, false},
		"failed and paid":        {order{status: "failed", paid: true}, compare.Half, false},
		"failed and told":        {order{status: "failed", messages: told("order.placed")}, compare.Half, false},
		"of nobody":              {order{taken: true}, compare.Half, false},
	} {
		if w := tt.o.work(); w.State != tt.state || w.Twice != tt.twice {
			t.Errorf("%s: %+v", name, w)
		}
	}
}

func TestStepLedgers(t *testing.T) {
	dir := t.TempDir()
	for name, body := range map[string]string{"step-1": "u0 5\nu1 5\nu1 6\nu2 5\n", "step-2": "u0 7\nu1 9\n"} {
		if err := os.WriteFile(stepLedger(dir, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readSteps(dir, []string{"step-1", "step-2"})
	want := map[string]compare.Work{"u0": {State: compare.Done, At: time.Unix(0, 7)}, "u1": {State: compare.Done, Twice: true, At: time.Unix(0, 9)},
		"u2": {State: compare.Half, At: time.Unix(0, 5)}}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %+v", err, got)
	}
}

// All trials of all extents are ones that run: nothing of a plan is left to the moment when it is due.
func TestTrials(t *testing.T) {
	for _, o := range []compare.Options{{}, {Extent: compare.Quick}, {Extent: compare.Full}, {Extent: compare.Full, Rate: 5, Duration: time.Second}} {
		trials := Scenario{}.Trials(o)
		if len(trials) < 2 || len(trials)%2 != 0 {
			t.Errorf("%+v: %d trials", o, len(trials))
		}
		var sum time.Duration
		for _, trial := range trials {
			sum += trial.Takes
			if trial.Run == nil || len(trial.Params) == 0 || trial.Takes <= 0 {
				t.Errorf("%+v", trial)
			}
		}
		if limit := map[compare.Extent]time.Duration{compare.Quick: 20 * time.Second, compare.Default: 100 * time.Second, compare.Full: 15 * time.Minute}[o.Extent]; sum > limit {
			t.Errorf("%+v takes %s, more than its share of %s", o, sum, limit)
		}
	}
}
