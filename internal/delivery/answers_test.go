package delivery

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		status   int
		attempts int
		reason   string // of the dead letter; "" for none
	}{
		{200, 1, ""}, {201, 1, ""}, {202, 1, ""}, {204, 1, ""},
		{400, 1, "refused"}, {413, 1, "refused"}, {415, 1, "refused"}, {422, 1, "refused"},
		{301, 3, "exhausted"}, {302, 3, "exhausted"}, {307, 3, "exhausted"}, {308, 3, "exhausted"}, {304, 3, "exhausted"},
		{401, 3, "exhausted"}, {403, 3, "exhausted"}, {404, 3, "exhausted"}, {408, 3, "exhausted"}, {409, 3, "exhausted"}, {429, 3, "exhausted"},
		{500, 3, "exhausted"}, {502, 3, "exhausted"}, {503, 3, "exhausted"}, {504, 3, "exhausted"},
	} {
		t.Run(fmt.Sprint(tt.status), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
				f.set(func(a attemptSeen) *http.Response {
					r := status(tt.status)
					r.Header.Set("Location", "http://svc/elsewhere")
					return r
				})
				s := sub("s")
				s.Attempts = 3
				b.start(s)
				b.publish("k")
				b.wait(time.Hour)
				b.settled("s")
				if n := len(f.all()); n != tt.attempts {
					t.Errorf("%d attempts, want %d", n, tt.attempts)
				}
				letters, _, err := b.m.DeadLetters(b.ctx, "s", "", 0)
				if err != nil || (len(letters) == 1) != (tt.reason != "") || tt.reason != "" && letters[0].Reason != tt.reason {
					t.Errorf("dead letters %+v %v", letters, err)
				}
			})
		})
	}
}

func TestGoneDisables(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response { return status(410) })
		b.start(sub("s"))
		b.publish("a", "b", "c")
		b.wait(time.Minute)
		b.stop()
		b.start()
		b.wait(time.Hour)
		if st := b.status("s"); st.State != "disabled" || !strings.Contains(st.Reason, "410") || st.Lag != 3 || st.Dead != 0 {
			t.Fatalf("status %+v", st)
		}
		sent := len(f.all())
		f.set(nil)
		b.publish("d")
		b.wait(time.Hour)
		if n := len(f.all()); n != sent {
			t.Fatalf("%d attempts while disabled", n-sent)
		}
		if err := b.m.Resume(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Minute)
		b.settled("s")
		if n := len(f.ids()); n != 4 {
			t.Fatalf("%d events sent", n)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		header   string
		min, max time.Duration
	}{
		{"120", 2 * time.Minute, 2*time.Minute + time.Second},
		{"Sat, 01 Jan 2000 00:10:00 GMT", 10*time.Minute - time.Second, 10*time.Minute + time.Second},
		{"86400", time.Hour, time.Hour + time.Second},
		{"soon", 0, time.Second},
	} {
		t.Run(tt.header, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
				f.set(func(a attemptSeen) *http.Response {
					if a.attempt > 1 {
						return status(204)
					}
					r := status(429)
					r.Header.Set("Retry-After", tt.header)
					return r
				})
				b.start(sub("s"))
				b.publish("k")
				b.wait(2 * time.Hour)
				all := f.all()
				if len(all) != 2 {
					t.Fatalf("%d attempts", len(all))
				}
				if d := all[1].at.Sub(all[0].at); d < tt.min || d > tt.max {
					t.Errorf("the second attempt came after %v", d)
				}
			})
		})
	}
}

func TestBackoffDoublesUpToItsCap(t *testing.T) {
	b := tandem.Backoff{Base: tandem.Duration(time.Second), Max: tandem.Duration(10 * time.Second)}
	for n, seconds := range []int{0, 1, 2, 4, 8, 10, 10, 10} {
		if n == 0 {
			continue
		}
		longest, shortest := time.Duration(0), time.Hour
		for range 2000 {
			d := backoff(&b, n)
			longest, shortest = max(longest, d), min(shortest, d)
		}
		top := time.Duration(seconds) * time.Second
		if longest > top || longest < top*9/10 || shortest > top/10 {
			t.Errorf("after failure %d: from %v to %v, want from 0 to %v", n, shortest, longest, top)
		}
	}
	if d := backoff(&tandem.Backoff{}, 1000); d > tandem.DefaultBackoffMax {
		t.Errorf("%v", d)
	}
}
