package compare

import (
	"context"
	"math"
	"sync/atomic"
	"testing"
	"time"
)

func TestArrivals(t *testing.T) {
	o := Offer{Rate: 100, Warmup: 10 * time.Second, Duration: 90 * time.Second, Seed: 7}
	due := o.arrivals()
	if n := float64(len(due)); math.Abs(n-10_000) > 400 { // 4 standard deviations
		t.Errorf("%g arrivals at 100/s in 100 s", n)
	}
	again := o.arrivals()
	var gaps, squares float64
	for i := range due {
		if due[i] != again[i] {
			t.Fatal("the same offer gives other arrivals")
		}
		if due[i] < -o.Warmup || due[i] >= o.Duration || i > 0 && due[i] < due[i-1] {
			t.Fatalf("arrival %d at %s", i, due[i])
		}
		if i > 0 {
			gap := (due[i] - due[i-1]).Seconds()
			gaps, squares = gaps+gap, squares+gap*gap
		}
	}
	// Gaps of a Poisson process are exponential: their standard deviation is their mean.
	n := float64(len(due) - 1)
	mean := gaps / n
	if sd := math.Sqrt(squares/n - mean*mean); sd < 0.9*mean || sd > 1.1*mean {
		t.Errorf("gaps of %g s with a standard deviation of %g", mean, sd)
	}
	o.Seed = 8
	if other := o.arrivals(); len(other) == len(due) && other[50] == due[50] {
		t.Error("another seed gives the same arrivals")
	}
	o.Even = true
	even := o.arrivals()
	if len(even) != 10_000 || even[0] != -o.Warmup || even[1]-even[0] != 10*time.Millisecond {
		t.Errorf("%d even arrivals, %s, %s", len(even), even[0], even[1])
	}
}

// A service that stands still does not hold up the load, and all who were due meanwhile are timed from when they were: a closed
// loop would count one of them. So it is of those whom the generator itself holds up, since it may have one under way only.
func TestNoCoordinatedOmission(t *testing.T) {
	t.Run("", func(t *testing.T) { noCoordinatedOmission(t, 0, 50) })
	t.Run("held up", func(t *testing.T) { noCoordinatedOmission(t, 1, 1) })
}

func noCoordinatedOmission(t *testing.T, inFlight, least int) {
	const still = 500 * time.Millisecond
	o := Offer{Rate: 200, Duration: 700 * time.Millisecond, Even: true, InFlight: inFlight}
	zero := time.Now()
	gate := make(chan struct{})
	time.AfterFunc(still, func() { close(gate) })
	attempts := offer(t.Context(), o, zero, "u", func(context.Context, Unit) Told {
		<-gate
		return Accepted
	})
	if len(attempts) != 140 {
		t.Fatalf("%d attempts", len(attempts))
	}
	waited := 0
	for i, due := range o.arrivals() {
		a := attempts[i]
		if a.due != due {
			t.Errorf("attempt %d was due at %s, not %s", i, due, a.due)
		}
		if a.due < still && a.answered-a.due < still-a.due {
			t.Errorf("due at %s, it took %s, though nothing was answered before %s", a.due, a.answered-a.due, still)
		}
		if a.begun < still {
			waited++
		}
	}
	if waited < least {
		t.Errorf("%d attempts were begun while the service stood still; 100 were due", waited)
	}
}

// A load that cannot be kept is not reachable, and has no latency.
func TestNotReachable(t *testing.T) {
	o := Offer{Rate: 100, Duration: time.Second, Even: true, InFlight: 2}
	var under, most atomic.Int64
	attempts := offer(t.Context(), o, time.Now(), "u", func(context.Context, Unit) Told {
		most.Store(max(most.Load(), under.Add(1)))
		time.Sleep(100 * time.Millisecond)
		under.Add(-1)
		return Accepted
	})
	l, why := o.load(attempts)
	if why == "" || l.Reached > 50 || l.Units != 100 || most.Load() > 2 {
		t.Errorf("%+v, %q, %d under way", l, why, most.Load())
	}
	for i := range attempts {
		attempts[i].begun = attempts[i].due
	}
	if l, why := o.load(attempts); why != "" || l.Reached != 100 {
		t.Errorf("%+v, %q when all are in time", l, why)
	}
	o.Rate, o.Duration = 20, 500*time.Millisecond
	s := planted{offer: o, wrong: wrong{Late: 1}}
	if c := runPlanted(t, s); c.NotReachable == "" || c.Answered != nil || c.Done != nil {
		t.Errorf("%+v", c)
	}
}

func TestBrokenOffOffer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	attempts := offer(ctx, Offer{Rate: 100, Duration: time.Hour, Even: true}, time.Now(), "u", func(_ context.Context, u Unit) Told {
		if u.Seq == 5 {
			cancel()
		}
		return Accepted
	})
	if n := len(attempts); n < 6 || n > 1000 {
		t.Errorf("%d attempts", n)
	}
	for _, a := range attempts {
		if a.told != Accepted {
			t.Errorf("%+v was not made", a)
		}
	}
}
