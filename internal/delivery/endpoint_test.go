package delivery

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// inKeyOrder fails unless the events of each key were first sent in the order in which they were published.
func inKeyOrder(t *testing.T, f *endpointFake) {
	t.Helper()
	last := map[string]uint64{}
	seen := map[string]bool{}
	for _, a := range f.all() {
		if a.key == "" || seen[a.id] {
			continue
		}
		seen[a.id] = true
		if a.position.Offset < last[a.key] {
			t.Fatalf("event %s of key %s was first sent after a later one", a.id, a.key)
		}
		last[a.key] = a.position.Offset
	}
	if len(f.clash) > 0 {
		t.Fatalf("keys with two attempts at once: %v", f.clash)
	}
}

func keys(n, events int) []string {
	out := make([]string, events)
	for i := range out {
		out[i] = fmt.Sprintf("k%d", i%n)
	}
	return out
}

func TestEndpointDown(t *testing.T) {
	for _, down := range []struct {
		name string
		resp func(attemptSeen) *http.Response
	}{
		{"no connection", func(attemptSeen) *http.Response { return nil }},
		{"503", func(attemptSeen) *http.Response { return status(503) }},
		{"timeout", func(attemptSeen) *http.Response { return after(time.Minute, status(204)) }},
	} {
		t.Run(down.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
				f.set(down.resp)
				b.start(sub("s"))
				before := b.status("s").Cursor
				want := b.publish(keys(50, 3000)...)
				b.wait(3 * time.Hour)
				st := b.status("s")
				if st.State != "failing" || st.ParkedKeys != 0 || st.Waiting != 0 || st.Dead != 0 || st.Lag != 3000 {
					t.Fatalf("status %+v", st)
				}
				if st.Cursor != before {
					t.Fatalf("the cursor moved from %s to %s", before, st.Cursor)
				}
				for _, kind := range []string{kindParked, kindWaiting, kindDead} {
					if n := b.records("s", kind); n != 0 {
						t.Fatalf("%d records of kind %s", n, kind)
					}
				}
				for _, a := range f.all() {
					if a.attempt > 2 { // one may have counted before the third key showed what it is
						t.Fatalf("attempt %d of %s while the endpoint was down", a.attempt, a.id)
					}
				}
				f.set(nil)
				b.wait(2 * time.Minute)
				b.settled("s")
				if got := f.ids(); len(got) != len(want) {
					t.Fatalf("%d events were sent, want %d", len(got), len(want))
				}
				inKeyOrder(t, f)
				if st := b.status("s"); st.State != "running" || st.Delivered != 3000 {
					t.Fatalf("status %+v", st)
				}
			})
		})
	}
}

// While the endpoint is down it gets one request at a time.
func TestEndpointDownIsProbed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(attemptSeen) *http.Response { return nil })
		b.start(sub("s"))
		b.publish(keys(40, 40)...)
		b.wait(time.Hour)
		n := len(f.all())
		if n < 60 || n > 2000 {
			t.Fatalf("%d attempts in an hour", n)
		}
		tries := map[string]int{}
		for _, a := range f.all() {
			tries[a.id]++
		}
		for id, n := range tries {
			if n > 120 {
				t.Errorf("%s was the probe %d times", id, n)
			}
		}
	})
}

func TestPoisonedKey(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response {
			if a.key == "bad" {
				return status(500)
			}
			return status(204)
		})
		b.start(sub("s"))
		b.publish("good")
		b.wait(time.Second)
		for range 5 {
			b.publish("bad", "k1", "k2", "bad", "k1", "")
		}
		b.wait(5 * time.Second)
		b.publish("good") // a success after the failure, whichever of the others came before it
		b.wait(time.Second)
		st := b.status("s")
		if st.State != "running" || st.Delivered != 22 || st.ParkedKeys != 1 || st.Waiting != 9 || st.Lag != 10 {
			t.Fatalf("status %+v", st)
		}
		bad := 0
		for _, id := range f.ids() {
			if strings.HasPrefix(id, "bad") {
				bad++
			}
		}
		if bad != 1 {
			t.Fatalf("%d events of the failing key were sent, want only its first", bad)
		}
		f.set(nil)
		b.wait(20 * time.Minute)
		b.settled("s")
		inKeyOrder(t, f)
		for _, kind := range []string{kindParked, kindWaiting, kindTried} {
			if n := b.records("s", kind); n != 0 {
				t.Errorf("%d records of kind %s are left", n, kind)
			}
		}
	})
}

// An event that is the probe three times in vain gives way to another key; when that succeeds, the failure is the first one's.
func TestProbeGivesWay(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		var up atomic.Bool
		f.set(func(a attemptSeen) *http.Response {
			if a.key == "bad" || !up.Load() {
				return status(503)
			}
			return status(204)
		})
		s := sub("s")
		s.Attempts = 3
		b.start(s)
		b.publish("bad", "k1", "k2", "k3")
		b.wait(time.Second)
		if st := b.status("s"); st.State != "failing" {
			t.Fatalf("status %+v", st)
		}
		up.Store(true)
		b.wait(time.Hour)
		st := b.status("s")
		if st.State != "running" || st.Delivered != 3 || st.Dead != 1 {
			t.Fatalf("status %+v", st)
		}
		tries := 0
		for _, a := range f.all() {
			if a.key == "bad" {
				tries++
			}
		}
		if tries < 4 {
			t.Fatalf("%d attempts of the poisoned event: those of the outage must not count against its 3", tries)
		}
	})
}

// Keys that fail one after the other without a success look like the endpoint, until the reader brings another key.
func TestThreePoisonedKeys(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response {
			if a.key[:3] == "bad" {
				return status(500)
			}
			return status(204)
		})
		b.start(sub("s"))
		b.publish("bad1", "bad2", "bad3", "bad1")
		b.wait(time.Minute)
		if st := b.status("s"); st.State != "failing" || st.Dead != 0 {
			t.Fatalf("status %+v", st)
		}
		b.publish("good", "good")
		b.wait(10 * time.Minute)
		if st := b.status("s"); st.State != "running" || st.Delivered != 2 || st.ParkedKeys+st.Dead < 3 || st.ParkedKeys+st.Waiting+st.Dead != 4 {
			t.Fatalf("status %+v", st)
		}
		b.wait(24 * time.Hour)
		if st := b.status("s"); st.Dead != 4 {
			t.Fatalf("status %+v", st)
		}
	})
}

// With fewer than three keys only failures to connect are uncounted.
func TestOneKeyAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(attemptSeen) *http.Response { return status(500) })
		s := sub("s")
		s.Attempts = 3
		b.start(s)
		b.publish("only", "only")
		b.wait(time.Hour)
		if st := b.status("s"); st.Dead != 2 || st.State != "running" {
			t.Fatalf("status %+v", st)
		}
		b.settled("s")
	})
}

func TestParkedCap(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.opts.ParkedKeys, b.opts.WaitingEvents = 5, 20
		f.set(func(a attemptSeen) *http.Response {
			if a.key[0] == 'b' {
				return status(404)
			}
			return status(204)
		})
		b.start(sub("s"))
		for i := range 20 {
			b.publish(fmt.Sprintf("b%d", i), "good")
		}
		b.wait(time.Second)
		for range 10 {
			b.publish(keys(3, 9)...)
		}
		b.wait(time.Second)
		st := b.status("s")
		if st.State != "capped" || st.ParkedKeys < 5 || st.ParkedKeys > 40 || st.Lag == 0 {
			t.Fatalf("status %+v", st)
		}
		f.set(nil)
		b.wait(time.Hour)
		b.settled("s")
		if st := b.status("s"); st.State != "running" {
			t.Fatalf("status %+v", st)
		}
		inKeyOrder(t, f)
	})
}

func TestWaitingCap(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.opts.WaitingEvents = 50
		f.set(func(a attemptSeen) *http.Response {
			if a.key == "bad" {
				return status(404)
			}
			return status(204)
		})
		b.start(sub("s"))
		b.publish(slices.Repeat([]string{"bad"}, 1200)...)
		b.publish("good")
		b.wait(time.Second)
		st := b.status("s")
		if st.State != "capped" || st.Waiting < 50 || st.Waiting > 50+maxHeld {
			t.Fatalf("status %+v", st)
		}
		f.set(nil)
		b.wait(time.Hour)
		b.settled("s")
		inKeyOrder(t, f)
		if n := len(f.ids()); n != 1201 {
			t.Fatalf("%d events were sent", n)
		}
	})
}

func TestCopyCap(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.opts.CopyBytes = 2000
		f.set(func(a attemptSeen) *http.Response { return status(400) })
		s := sub("s")
		s.Concurrency = 1
		b.start(s)
		for range 100 {
			b.publish("k")
			b.wait(time.Second)
		}
		st := b.status("s")
		if st.State != "capped" || st.Dead == 0 || st.Dead > 10 {
			t.Fatalf("status %+v", st)
		}
		f.set(nil)
		dead := st.Dead
		if n, err := counted(b.m.Discard(b.ctx, "s", tandem.DeadLetterSelection{})); err != nil || n != dead {
			t.Fatal(n, err)
		}
		b.wait(time.Second)
		b.settled("s")
		if st := b.status("s"); st.Dead != 0 || int(st.Delivered) != 100-dead {
			t.Fatalf("status %+v", st)
		}
	})
}
