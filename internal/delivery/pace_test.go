package delivery

import (
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// buried leaves n dead letters and returns the ids of their events. The endpoint takes everything afterwards.
func (b *bed) buried(f *endpointFake, n int) []string {
	b.t.Helper()
	f.set(func(attemptSeen) *http.Response { return status(422) })
	ids := b.publish(keys(50, n)...)
	b.wait(time.Second)
	if st := b.status("s"); st.Dead != n {
		b.t.Fatalf("status %+v", st)
	}
	f.set(nil)
	return ids
}

// A redrive at a rate beside live traffic keeps to its rate, also over a crash, takes each letter, and delays nothing that is live.
func TestRedriveAtARate(t *testing.T) {
	n, crashes := 5000, 3
	if os.Getenv("TANDEM_SOAK") != "" {
		n, crashes = 100_000, 20
	}
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.start(sub("s"))
		dead := b.buried(f, n)
		before := len(f.all())
		f.set(func(attemptSeen) *http.Response { return after(20*time.Millisecond, status(204)) })
		const rate = 100
		if c, err := b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{Rate: rate}); c.Count != n || err != nil {
			t.Fatal(c, err)
		}
		if c, err := b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{Rate: rate}); c.Count != 0 || err != nil {
			t.Fatalf("%d redriven twice, %v", c.Count, err)
		}
		start := time.Now()
		published := map[string]time.Time{}
		last := n
		for i := 0; b.status("s").Dead > 0; i++ {
			for _, id := range b.publish("live", "live", "other") {
				published[id] = time.Now()
			}
			b.wait(time.Second)
			st := b.status("s")
			if st.Dead > last || st.Redriving != st.Dead || st.Lag != 0 {
				t.Fatalf("no progress: %+v", st)
			}
			last = st.Dead
			if i%10 == 5 && i/10 < crashes {
				b.crash()
				b.wait(time.Minute) // what is missed is not made up for
				b.start()
				start = start.Add(time.Minute)
			}
		}
		took := time.Since(start)
		if ideal := time.Duration(n/rate) * time.Second; took < ideal-time.Second || took > ideal+ideal/5+5*time.Second {
			t.Errorf("%d letters took %v at %d a second", n, took, rate)
		}
		taken := map[string]int{}
		window := map[int64]int{} // by second
		for _, a := range f.all()[before:] {
			taken[a.id]++
			if at, ok := published[a.id]; ok && taken[a.id] == 1 && a.at.Sub(at) > 100*time.Millisecond {
				t.Errorf("the live event %s was sent after %v", a.id, a.at.Sub(at))
			} else if !ok {
				window[a.at.Unix()]++
			}
		}
		for at, n := range window {
			if n > rate+rate/10+1+crashes {
				t.Errorf("%d letters in second %d", n, at)
			}
		}
		repeats := 0
		for _, id := range dead {
			if taken[id] == 0 {
				t.Fatalf("%s was not redriven", id)
			}
			repeats += taken[id] - 1
		}
		if repeats > crashes*5 { // in flight: 20 ms at 100 a second, and a commit group
			t.Errorf("%d letters were sent more than once over %d crashes", repeats, crashes)
		}
		inKeyOrderOf(t, f.all()[before:], published)
		b.settled("s")
		for _, kind := range []string{kindDead, kindRedrive, kindPaced, keyRate} {
			if n := b.records("s", kind); n != 0 {
				t.Errorf("%d records of kind %s are left", n, kind)
			}
		}
	})
}

// inKeyOrderOf fails unless those of the events were first sent in the order of their positions, by key.
func inKeyOrderOf(t *testing.T, seen []attemptSeen, events map[string]time.Time) {
	t.Helper()
	last := map[string]uint64{}
	first := map[string]bool{}
	for _, a := range seen {
		if _, ok := events[a.id]; !ok || first[a.id] {
			continue
		}
		first[a.id] = true
		if a.position.Offset < last[a.key] {
			t.Errorf("%s was sent out of order", a.id)
		}
		last[a.key] = a.position.Offset
	}
}

// Letters whose redrive hangs or fails leave room for what is live, at whatever rate they go: they take half of the slots, and
// their failures are not the endpoint's.
func TestRedriveStarvesNobody(t *testing.T) {
	for name, answer := range map[string]func() *http.Response{
		"hangs": func() *http.Response { return after(time.Hour, status(204)) },
		"fails": func() *http.Response { return after(100*time.Millisecond, status(503)) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
				s := sub("s")
				s.Concurrency = 4
				b.start(s)
				dead := b.buried(f, 600)
				b.wait(time.Minute)
				f.set(func(a attemptSeen) *http.Response {
					if slices.Contains(dead, a.id) {
						return answer()
					}
					return status(204)
				})
				if n, err := counted(b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{})); n != 600 || err != nil {
					t.Fatal(n, err)
				}
				b.wait(time.Minute)
				for range 20 {
					at := time.Now()
					ids := b.publish("x", "x", "y")
					b.wait(time.Second)
					for _, a := range f.all() {
						if slices.Contains(ids, a.id) && a.at.Sub(at) > 200*time.Millisecond {
							t.Errorf("%s was sent after %v", a.id, a.at.Sub(at))
						}
					}
					if st := b.status("s"); st.Lag != 0 || st.State != "running" || st.Dead != 600 {
						t.Fatalf("status %+v", st)
					}
				}
			})
		})
	}
}

// An endpoint that is slower than the rate is not given more than it can take: no more letters go than there are slots, so that they
// do not come in a heap when it is fast again.
func TestRedriveFasterThanTheEndpoint(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		s := sub("s")
		s.Concurrency = 2
		b.start(s)
		b.buried(f, 400)
		f.set(func(attemptSeen) *http.Response { return after(time.Second, status(204)) })
		if n, err := counted(b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{Rate: 50})); n != 400 || err != nil {
			t.Fatal(n, err)
		}
		b.wait(time.Minute)
		if st := b.status("s"); st.Dead < 335 || st.Dead > 345 {
			t.Fatalf("after a minute at one a second: %+v", st)
		}
		if n := b.records("s", kindRedrive); n > 8 {
			t.Fatalf("%d letters have gone, and the endpoint takes one at a time", n)
		}
	})
}

// The rate of what waits can be changed, single letters can go at once, and be discarded.
func TestRedriveAtAnotherRate(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.start(sub("s"))
		b.buried(f, 100)
		letters, _, err := b.m.DeadLetters(b.ctx, "s", "", 0)
		if err != nil {
			t.Fatal(err)
		}
		redrive := func(want int, sel tandem.DeadLetterSelection) {
			t.Helper()
			if n, err := counted(b.m.Redrive(b.ctx, "s", sel)); n != want || err != nil {
				t.Fatal(n, err)
			}
		}
		expect := func(dead, redriving int) {
			t.Helper()
			if st := b.status("s"); st.Dead != dead || st.Redriving != redriving {
				t.Fatalf("%d dead and %d of them on their way, want %d and %d", st.Dead, st.Redriving, dead, redriving)
			}
		}
		redrive(100, tandem.DeadLetterSelection{Rate: 0.01, DryRun: true})
		b.wait(time.Minute)
		expect(100, 0)
		redrive(100, tandem.DeadLetterSelection{Rate: 0.01})
		b.wait(10 * time.Second)
		expect(99, 99) // the first goes at once
		redrive(1, tandem.DeadLetterSelection{IDs: []string{letters[50].ID}})
		b.wait(time.Second)
		expect(98, 98)
		if n, err := counted(b.m.Discard(b.ctx, "s", tandem.DeadLetterSelection{IDs: []string{letters[60].ID, letters[61].ID}})); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		expect(96, 96)
		if err := b.m.Pause(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		redrive(0, tandem.DeadLetterSelection{Rate: 10})
		b.wait(time.Hour)
		expect(96, 96)
		if err := b.m.Resume(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		b.wait(5 * time.Second)
		if st := b.status("s"); st.Dead < 40 || st.Dead > 50 {
			t.Fatalf("after 5 s at 10 a second: %+v", st)
		}
		if n, err := counted(b.m.Discard(b.ctx, "s", tandem.DeadLetterSelection{IDs: []string{letters[98].ID}})); n != 1 || err != nil {
			t.Fatal(n, err) // it may be in the queue already
		}
		b.wait(6 * time.Second)
		expect(0, 0)
		if n := b.expired("s"); n != 0 {
			t.Errorf("%d letters that were discarded are recorded as expired", n)
		}
		for _, bad := range []float64{-1, 1e9} {
			if _, err := b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{Rate: bad}); tandem.CodeOf(err) != tandem.CodeInvalid {
				t.Fatal(err)
			}
		}
	})
}
