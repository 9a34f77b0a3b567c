package delivery

import (
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Attempts and the time of the next one survive a stop and a crash.
func TestAttemptsSurvive(t *testing.T) {
	for name, end := range map[string]func(*bed){"stop": (*bed).stop, "crash": (*bed).crash} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
				f.set(func(a attemptSeen) *http.Response {
					if a.key == "bad" {
						r := status(503)
						r.Header.Set("Retry-After", "600")
						return r
					}
					return status(204)
				})
				s := sub("s")
				s.Attempts = 5
				b.start(s)
				b.publish("bad", "bad")
				b.wait(time.Second)
				b.publish("good") // that it succeeds afterwards shows that the failure is the key's
				b.wait(time.Second)
				if st := b.status("s"); st.ParkedKeys != 1 || st.Waiting != 1 || st.Retrying != 1 {
					t.Fatalf("status %+v", st)
				}
				for range 3 {
					end(b)
					b.start()
					b.wait(30 * time.Second)
				}
				attempts := func() (all []attemptSeen) {
					for _, a := range f.all() {
						if a.key == "bad" {
							all = append(all, a)
						}
					}
					return all
				}
				if n := len(attempts()); n != 1 {
					t.Fatalf("%d attempts in the first two minutes, though the answer asked to wait ten", n)
				}
				for range 10 {
					b.wait(7 * time.Minute)
					end(b)
					b.start()
				}
				b.wait(3 * time.Hour)
				all := attempts()
				first := all[0]
				n := 0
				for _, a := range all {
					if a.id == first.id {
						if n++; a.attempt != n {
							t.Fatalf("attempt %d says that it is %d", n, a.attempt)
						}
						if n > 1 && a.at.Sub(first.at) < time.Duration(n-1)*10*time.Minute {
							t.Fatalf("attempt %d came after %v", n, a.at.Sub(first.at))
						}
					}
				}
				if n != 5 {
					t.Fatalf("%d attempts, want 5", n)
				}
				if st := b.status("s"); st.Dead != 2 {
					t.Fatalf("status %+v", st)
				}
			})
		})
	}
}

// An event that ends the process whenever it is attempted ends dead, and holds nothing else up for ever.
func TestEventThatEndsTheProcess(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response {
			if a.key == "killer" {
				return after(5*time.Second, status(204))
			}
			return status(204)
		})
		s := sub("s")
		s.Attempts = 3
		b.start(s)
		b.publish("killer", "killed")
		crashes := 0
		for ; crashes < 20 && b.status("s").Dead == 0; crashes++ {
			b.wait(2 * time.Second)
			if b.status("s").InFlight == 0 {
				continue
			}
			b.crash()
			b.start()
		}
		b.wait(time.Minute)
		letters, _, err := b.m.DeadLetters(b.ctx, "s", "", 0)
		if err != nil || len(letters) != 1 || letters[0].Reason != "exhausted" || letters[0].Attempts != 3 {
			t.Fatalf("%+v %v after %d crashes", letters, err, crashes)
		}
		b.settled("s")
	})
}

// A crash repeats what was in flight and at most one commit group.
func TestCrashRepeatsOneGroup(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response { return after(5*time.Millisecond, status(204)) })
		s := sub("s")
		s.Concurrency = 4
		b.start(s)
		want := b.publish(keys(20, 2000)...)
		time.Sleep(300 * time.Millisecond)
		before := len(f.all())
		crashed := time.Now()
		b.crash()
		b.start()
		b.wait(time.Minute)
		b.settled("s")
		repeats := map[string]int{}
		for i, a := range f.all() {
			repeats[a.id]++
			if repeats[a.id] > 1 && i >= before {
				first := f.all()[slices.IndexFunc(f.all(), func(o attemptSeen) bool { return o.id == a.id })]
				if d := crashed.Sub(first.at); d > 30*time.Millisecond {
					t.Errorf("%s was sent again %v after it had been taken", a.id, d)
				}
			}
		}
		if len(repeats) != len(want) {
			t.Fatalf("%d events were sent, want %d", len(repeats), len(want))
		}
		if n := len(f.all()) - len(want); n == 0 || n > 40 {
			t.Errorf("%d repeats", n)
		}
		inKeyOrder(t, f)
	})
}

// Two managers of one log: the later one has the subscription, the earlier one can store nothing any more.
func TestOneOwner(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.start(sub("s"))
		first := b.m
		b.publish("a")
		b.wait(time.Second)
		f.set(func(a attemptSeen) *http.Response { return after(time.Second, status(204)) })
		b.publish("b")
		time.Sleep(100 * time.Millisecond)
		b.start()
		b.wait(10 * time.Second)
		b.settled("s")
		st, err := first.Status(b.ctx, "s")
		if err != nil || st.State != "disabled" {
			t.Fatalf("%+v %v", st, err)
		}
		if err := first.Stop(b.ctx); err != nil {
			t.Fatal(err)
		}
		b.publish("c")
		b.wait(10 * time.Second)
		b.settled("s")
	})
}

// While outcomes cannot be stored nothing more is sent; afterwards all goes on, and nothing was lost.
func TestOutcomesCannotBeStored(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response { return after(50*time.Millisecond, status(204)) })
		b.start(sub("s"))
		b.publish(keys(50, 500)...)
		fail := tandem.Errorf(tandem.CodeUnavailable, "the disk is full")
		b.eng.Fail(fail)
		b.wait(time.Minute)
		sent := len(f.all())
		if sent > 100 {
			t.Fatalf("%d attempts though nothing could be stored", sent)
		}
		b.wait(time.Minute)
		if n := len(f.all()); n != sent {
			t.Fatalf("%d attempts though nothing could be stored", n-sent)
		}
		if st := b.status("s"); st.State != "failing" {
			t.Fatalf("status %+v", st)
		}
		b.eng.Fail(nil)
		b.wait(time.Minute)
		b.settled("s")
		if n := len(f.all()); n != 500 {
			t.Fatalf("%d attempts, want 500", n)
		}
	})
}

// Stop lets attempts under way finish; when its time is out it cancels them, and they do not count.
func TestStopWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response { return after(3*time.Second, status(204)) })
		b.start(sub("s"))
		b.publish("a", "b")
		time.Sleep(time.Second)
		at := time.Now()
		b.stop()
		if d := time.Since(at); d != 2*time.Second {
			t.Fatalf("Stop took %v", d)
		}
		b.start()
		b.wait(time.Second)
		b.settled("s")
		if n := len(f.all()); n != 2 {
			t.Fatalf("%d attempts, want 2", n)
		}

		b.publish("c")
		time.Sleep(time.Second)
		ctx, cancel := ctxAfter(500 * time.Millisecond)
		defer cancel()
		at = time.Now()
		if err := b.m.Stop(ctx); err != nil && !errors.Is(err, ctx.Err()) {
			t.Fatal(err)
		}
		if d := time.Since(at); d > time.Second {
			t.Fatalf("Stop took %v", d)
		}
		b.start()
		synctest.Wait()
		b.wait(5 * time.Second)
		b.settled("s")
		for _, a := range f.all() {
			if a.attempt != 1 {
				t.Fatalf("attempt %d of %s", a.attempt, a.id)
			}
		}
	})
}
