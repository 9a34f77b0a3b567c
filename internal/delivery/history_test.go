package delivery

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// history returns the attempts of the only dead letter.
func (b *bed) history() []tandem.Attempt {
	b.t.Helper()
	letters, _, err := b.m.DeadLetters(b.ctx, "s", "", 0)
	if err != nil || len(letters) != 1 {
		b.t.Fatalf("%d dead letters, %v", len(letters), err)
	}
	return letters[0].History
}

// told writes attempts in short: number or - for one that did not count, and status or the first word of the detail.
func told(history []tandem.Attempt) string {
	var out []string
	for _, a := range history {
		what := fmt.Sprint(a.Status)
		if a.Status == 0 {
			what = strings.ReplaceAll(a.Detail, " ", "_")
		}
		number := "-"
		if a.Number > 0 {
			number = fmt.Sprint(a.Number)
		}
		out = append(out, number+":"+what)
	}
	return strings.Join(out, " ")
}

func TestHistory(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response {
			return after(30*time.Millisecond, []*http.Response{status(404), status(500), status(422)}[a.attempt-1])
		})
		b.start(sub("s"))
		began := time.Now()
		b.publish("k")
		b.wait(time.Hour)
		h := b.history()
		if told(h) != "1:404 2:500 3:422" {
			t.Fatalf("%s", told(h))
		}
		if !h[0].At.Equal(began) || h[0].Wait != 0 || time.Duration(h[0].Took) != 30*time.Millisecond || h[0].Detail != "status 404" {
			t.Errorf("%+v", h[0])
		}
		if w := time.Duration(h[2].Wait); w != h[2].At.Sub(h[1].At.Add(30*time.Millisecond)).Round(time.Millisecond) {
			t.Errorf("the third attempt waited %v", w)
		}
	})
}

// An attempt that the process did not survive is among the recorded ones.
func TestHistoryOfACrash(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		s := sub("s")
		s.Attempts = 3
		f.set(func(a attemptSeen) *http.Response {
			if a.attempt == 1 {
				return status(404)
			}
			return after(time.Hour, status(204))
		})
		s.Timeout = tandem.Duration(2 * time.Hour)
		b.start(s)
		b.publish("k")
		b.wait(time.Minute)
		b.crash()
		b.start()
		b.wait(time.Minute)
		b.crash()
		b.start()
		b.wait(time.Minute)
		h := b.history()
		if want := "1:404 2:the_process_ended_during_the_attempt 3:the_process_ended_during_the_attempt"; told(h) != want {
			t.Fatalf("%s", told(h))
		}
		if letters, _, _ := b.m.DeadLetters(b.ctx, "s", "", 0); letters[0].Detail != lostDetail || letters[0].Attempts != 3 {
			t.Fatalf("%+v", letters[0])
		}
	})
}

// What a failing endpoint costs does not count, and the record says so.
func TestHistoryOfAFailingEndpoint(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		n := 0
		f.set(func(a attemptSeen) *http.Response {
			if n++; n <= 3 {
				return []*http.Response{nil, status(404), status(400)}[n-1]
			}
			return status(204)
		})
		b.start(sub("s"))
		b.publish("k")
		b.wait(time.Hour)
		if h := told(b.history()); !strings.HasPrefix(h, "-:cannot_connect") || !strings.HasSuffix(h, " 1:404 2:400") {
			t.Fatalf("%s", h)
		}
	})
}

func TestHistoryUncountsWhatTheEndpointWas(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		var up atomic.Bool
		f.set(func(a attemptSeen) *http.Response {
			if !up.Load() {
				return status(503)
			}
			return status(400)
		})
		b.start(sub("s"))
		b.publish("a", "b", "c")
		b.wait(time.Second)
		up.Store(true)
		b.wait(time.Hour)
		letters, _, err := b.m.DeadLetters(b.ctx, "s", "", 0)
		if err != nil || len(letters) != 3 {
			t.Fatal(len(letters), err)
		}
		for _, l := range letters {
			h := told(l.History)
			if l.Attempts != 1 || strings.Trim(strings.TrimSuffix(h, "1:400"), "-:503 ") != "" || !strings.HasPrefix(h, "-:503") {
				t.Errorf("%d attempts: %s", l.Attempts, h)
			}
		}
	})
}

func TestHistoryIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response { return status(404) })
		s := sub("s")
		s.Attempts = 40
		b.start(s)
		b.publish("k")
		b.wait(24 * time.Hour)
		h := b.history()
		if len(h) != tandem.MaxAttemptsRecorded || h[0].Number != 1 || h[1].Number != 26 || h[15].Number != 40 {
			t.Fatalf("%s", told(h))
		}
	})
}

// A redrive adds to what its dead letter tells, also over a restart.
func TestHistoryOfARedrive(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response { return status(400) })
		b.start(sub("s"))
		b.publish("k")
		b.wait(time.Second)
		f.set(func(a attemptSeen) *http.Response { return status(404) })
		if _, err := b.m.Redrive(context.Background(), "s", tandem.DeadLetterSelection{}); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Millisecond)
		b.stop()
		f.set(func(a attemptSeen) *http.Response { return status(422) })
		b.start()
		b.wait(time.Hour)
		if h := b.history(); told(h) != "1:400 1:404 2:422" {
			t.Fatalf("%s", told(h))
		}
	})
}

// The answer delivered; the log did not want what it brought.
func TestHistoryOfARefusedReply(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response {
			if a.attempt == 3 {
				return status(400)
			}
			return reply(tandem.MediaEvent, `{"specversion":"1.0","id":"r","source":"/r","type":"t","data":"`+strings.Repeat("x", 70<<10)+`"}`)
		})
		b.start(sub("s"))
		b.publish("k")
		b.wait(time.Hour)
		h := b.history()
		if told(h) != "1:200 2:200 3:400" || !strings.Contains(h[0].Detail, "cannot be stored") || !strings.Contains(h[1].Detail, "cannot be stored") {
			t.Fatalf("%+v", h)
		}
	})
}
