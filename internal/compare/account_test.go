package compare

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

const ms = time.Millisecond

// madeUp is ten attempts, one every 100 ms, each answered after 10 ms and done after 50, as changed by change.
func madeUp(change func(i int, t *attempt, w *Work)) *account {
	a := &account{zero: time.Unix(1000, 0), ledger: map[string]Work{}}
	for i := range 10 {
		due := time.Duration(i) * 100 * ms
		t := attempt{id: string(rune('a' + i)), due: due, begun: due + 3*ms, answered: due + 10*ms, told: Accepted}
		w := Work{State: Done, At: a.zero.Add(due + 50*ms)}
		if change != nil {
			change(i, &t, &w)
		}
		a.attempts = append(a.attempts, t)
		if w != (Work{}) {
			a.ledger[t.id] = w
		}
	}
	return a
}

func TestOutcome(t *testing.T) {
	a := madeUp(func(i int, t *attempt, w *Work) {
		switch i {
		case 1:
			*w = Work{} // lost
		case 2:
			w.State = None // the same, said by the ledger
		case 3:
			t.told, *w = Refused, Work{} // nobody was told that it would be done
		case 4:
			t.told, w.State = Refused, Half
		case 5:
			t.told = Unknown
		case 6:
			w.Twice = true
		case 7:
			w.State, w.Twice = Half, true
		}
	})
	want := Outcome{Accepted: 7, Refused: 2, Unknown: 1, Lost: new(int64(2)), Twice: new(int64(2)), HalfDone: new(int64(2))}
	if got := a.outcome(); !reflect.DeepEqual(got, want) {
		t.Errorf("%s, want %s", written(got), written(want))
	}
	if l := a.answered(); l.Count != 7 || l.P50 < 9900*time.Microsecond {
		t.Errorf("%+v; refusals have none, and others are timed from when they were due", l)
	}
	if l := a.done(); l.Count != 5 || l.Max < 49*ms || l.Max > 51*ms {
		t.Errorf("%+v", l)
	}
	a.unsettled = true
	if got, want := a.outcome(), (Outcome{Accepted: 7, Refused: 2, Unknown: 1, Twice: want.Twice}); !reflect.DeepEqual(got, want) {
		t.Errorf("%s, want %s where work was under way", written(got), written(want))
	}
	a.ledger = nil
	if got, want := a.outcome(), (Outcome{Accepted: 7, Refused: 2, Unknown: 1}); got != want || a.done() != nil {
		t.Errorf("%s, want %s where no effects are known", written(got), written(want))
	}
}

func written(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Of a cell that was broken off it is not said what followed a fault, and of one in which nobody came afterwards not that callers
// succeeded.
func TestFaultsWithoutAnEnd(t *testing.T) {
	a := madeUp(nil)
	a.unsettled = true
	never := FaultPlan{Process: "p", Down: true, At: time.Hour, For: time.Hour}
	for _, f := range a.faults([]FaultPlan{never, {Process: "p", Down: true, At: 300 * ms, For: 601 * ms}, {Process: "p", Down: true, At: 300 * ms, For: 300 * ms}}) {
		if last := f.For == 300*ms; f.Drained != nil || (f.Recovered != nil) != last {
			t.Errorf("%s", written(f))
		}
	}
}

func TestRecoveryAndDrain(t *testing.T) {
	fault := []FaultPlan{{Process: "p", Down: true, At: 300 * ms, For: 300 * ms}}
	for name, tt := range map[string]struct {
		change             func(i int, t *attempt, w *Work)
		recovered, drained time.Duration // negative: not
	}{
		"nobody noticed":     {nil, 0, 0},
		"refused while down": {func(i int, t *attempt, _ *Work) { refuse(t, i >= 3 && i < 6) }, 0, 0},
		"refused for longer": {func(i int, t *attempt, _ *Work) { refuse(t, i >= 3 && i < 8) }, 100 * ms, 0}, // the last at 700
		"refused to the end": {func(i int, t *attempt, _ *Work) { refuse(t, i >= 3) }, -1, 0},
		"under way when it began": {func(i int, t *attempt, _ *Work) {
			if i == 2 {
				t.answered, t.told = 310*ms, Unknown
			}
		}, 0, 0},
		"refused before, too":  {func(i int, t *attempt, _ *Work) { refuse(t, i < 5) }, -1, 0},
		"work waited":          {func(i int, _ *attempt, w *Work) { wait(w, i >= 3 && i < 6) }, 0, 200 * ms},
		"work of others later": {func(i int, _ *attempt, w *Work) { wait(w, i == 8) }, 0, 0},
		"work was lost":        {func(i int, _ *attempt, w *Work) { w.State = map[bool]State{true: Half, false: Done}[i == 4] }, 0, -1},
	} {
		f := madeUp(tt.change).faults(fault)[0]
		if got := orMinus(f.Recovered); got != tt.recovered {
			t.Errorf("%s: recovered %s, want %s", name, got, tt.recovered)
		}
		if got := orMinus(f.Drained); got != tt.drained {
			t.Errorf("%s: drained %s, want %s", name, got, tt.drained)
		}
	}
}

func refuse(t *attempt, when bool) {
	if when {
		t.told = Refused
	}
}

// wait lets work be done 200 ms after the end of the fault.
func wait(w *Work, when bool) {
	if when {
		w.At = time.Unix(1000, 0).Add(800 * ms)
	}
}

func orMinus(d *time.Duration) time.Duration {
	if d == nil {
		return -1
	}
	return *d
}

func TestSamples(t *testing.T) {
	a := madeUp(func(i int, t *attempt, w *Work) {
		switch {
		case i == 1:
			t.told, *w = Refused, Work{}
		case i == 2:
			w.State = Half
		case i == 3:
			w.At = time.Unix(1000, 0).Add(900 * ms)
		case i == 4: // done before it is answered
			t.answered = t.due + 300*ms
		}
	})
	got := a.samples(250*ms, time.Second)
	for i := range got {
		got[i].P99 = got[i].P99.Round(10 * ms)
	}
	want := []Sample{
		{At: 0, Due: 3, Accepted: 2, Refused: 1, Done: new(int64(1)), Backlog: new(int64(1)), P99: 10 * ms},
		{At: 250 * ms, Due: 2, Accepted: 2, Done: new(int64(1)), Backlog: new(int64(2)), P99: 300 * ms},
		{At: 500 * ms, Due: 3, Accepted: 3, Done: new(int64(2)), Backlog: new(int64(3)), P99: 10 * ms},
		{At: 750 * ms, Due: 2, Accepted: 2, Done: new(int64(4)), Backlog: new(int64(1)), P99: 10 * ms},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n%s, want\n%s", written(got), written(want))
	}
	a.ledger = nil
	for _, s := range a.samples(250*ms, time.Second) {
		if s.Done != nil || s.Backlog != nil {
			t.Errorf("%s, where no effects are known", written(s))
		}
	}
}

// Cells whose loads differ are not mixed.
func TestMergedSearches(t *testing.T) {
	var repeats []*Cell
	for _, vehicles := range []int64{30, 10, 20, 40} {
		repeats = append(repeats, &Cell{Load: Load{Rate: float64(vehicles), Units: vehicles}, Answered: &Latency{Count: vehicles, P50: time.Duration(50 - vehicles)}})
	}
	if c := merge(repeats); !reflect.DeepEqual(&c, repeats[2]) {
		t.Errorf("%s, want that of 20", written(c))
	}
}

func TestMergedFaults(t *testing.T) {
	repeat := func(recovered, drained *time.Duration, lost *int64) *Cell {
		return &Cell{Load: Load{Rate: 5}, Also: []Param{Count("for nobody", 3), {Name: "password", Value: "7"}}, Outcome: Outcome{Accepted: 10, Lost: lost}, Faults: []Fault{{Process: "p", Recovered: recovered, Drained: drained}}}
	}
	c := merge([]*Cell{repeat(new(10*ms), new(ms), new(int64(1))), repeat(new(30*ms), nil, new(int64(2)))})
	if f := c.Faults[0]; orMinus(f.Recovered) != 20*ms || f.Drained != nil || c.Outcome.Accepted != 20 || Counted(c.Outcome.Lost) != 3 {
		t.Errorf("%s", written(c))
	}
	if c.Also[0] != Count("for nobody", 6) || c.Also[1].Value != "7" {
		t.Errorf("%v", c.Also)
	}
	if c = merge([]*Cell{repeat(nil, nil, new(int64(1))), repeat(nil, nil, nil)}); c.Outcome.Lost != nil {
		t.Errorf("%s: it is not known of all", written(c))
	}
}

func TestConfidence(t *testing.T) {
	if m, i := meanAndInterval([]float64{10, 12}); m != 11 || i != 0 {
		t.Errorf("%d ± %d of two", m, i)
	}
	// Mean 20, standard deviation 10, n = 3: 4.303 * 10 / sqrt(3).
	if m, i := meanAndInterval([]float64{10, 20, 30}); m != 20 || i != 24 {
		t.Errorf("%d ± %d of three, want 20 ± 24", m, i)
	}
}
