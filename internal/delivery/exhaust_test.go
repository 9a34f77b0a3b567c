package delivery

import (
	"net/http"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// A subscription that pauses before the event that was to be the probe probes on when it is resumed.
func TestPauseBeforeTheProbe(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(attemptSeen) *http.Response { return nil })
		s := sub("s")
		s.Exhausted, s.PauseAfter, s.Attempts = tandem.ExhaustedPause, tandem.Duration(time.Second), 2
		b.start(s)
		b.publish("a", "b")
		b.wait(time.Minute)
		run, err := b.m.find("s")
		if err != nil {
			t.Fatal(err)
		}
		run.mu.Lock()
		for _, d := range run.ready.all() { // as after a process that ended with their last attempts
			d.attempts, d.lost = 2, true
		}
		run.mu.Unlock()
		b.wait(time.Minute)
		if st := b.status("s"); st.State != "paused" {
			t.Fatalf("status %+v", st)
		}
		f.set(nil)
		for range 2 { // before each of the events
			if err := b.m.Resume(b.ctx, "s"); err != nil {
				t.Fatal(err)
			}
			b.wait(time.Minute)
		}
		b.settled("s")
		if st := b.status("s"); st.Delivered != 2 {
			t.Fatalf("status %+v", st)
		}
	})
}
