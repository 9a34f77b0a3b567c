package delivery

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

func seconds(all ...float64) (out []tandem.Duration) {
	for _, s := range all {
		out = append(out, tandem.Duration(s*float64(time.Second)))
	}
	return out
}

func TestBackoffList(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response { return status(404) })
		s := sub("s")
		s.Attempts, s.Backoff.List = 5, seconds(1, 5, 20)
		b.start(s)
		b.publish("k")
		b.wait(time.Hour)
		all := f.all()
		if len(all) != 5 {
			t.Fatalf("%d attempts", len(all))
		}
		for i, wait := range []time.Duration{time.Second, 5 * time.Second, 20 * time.Second, 20 * time.Second} {
			if d := all[i+1].at.Sub(all[i].at); d < wait || d > wait*11/10+10*time.Millisecond {
				t.Errorf("attempt %d came %v after the one before, want %v and up to a tenth more", i+2, d, wait)
			}
		}
	})
}

func TestRetryAfterIsCapped(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response {
			r := status(404)
			r.Header.Set("Retry-After", "86400")
			return r
		})
		s := sub("s")
		s.Attempts, s.RetryAfter = 2, seconds(30)[0]
		b.start(s)
		b.publish("k")
		b.wait(time.Hour)
		all := f.all()
		if d := all[1].at.Sub(all[0].at); len(all) != 2 || d < 30*time.Second || d > 31*time.Second {
			t.Fatalf("%d attempts, the second after %v", len(all), d)
		}
	})
}

// The rate holds over any time, for what is sent again, too.
func TestRate(t *testing.T) {
	for _, rate := range []float64{0.5, 10, 300} {
		inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
			f.set(func(a attemptSeen) *http.Response {
				if a.attempt < 3 {
					return status(404)
				}
				return status(204)
			})
			s := sub("s")
			s.Rate, s.Backoff.List = rate, seconds(0.001)
			n := int(rate * 20)
			b.start(s)
			began := time.Now()
			b.publish(keys(n, n)...)
			b.wait(2 * time.Minute)
			b.settled("s")
			all := f.all()
			if len(all) != 3*n {
				t.Fatalf("%d attempts, want %d", len(all), 3*n)
			}
			burst := rate*rateSlack.Seconds() + 2
			for i := range all {
				window := all[i:min(len(all), i+1+int(rate))]
				took := window[len(window)-1].at.Sub(all[i].at).Seconds()
				if float64(len(window)) > rate*took+burst {
					t.Fatalf("%d attempts in %vs at a rate of %v", len(window), took, rate)
				}
			}
			if took, want := all[len(all)-1].at.Sub(began).Seconds(), float64(3*n)/rate; took > want*1.05+1 {
				t.Errorf("%v/s: took %vs, want %vs", rate, took, want)
			}
		})
	}
}

// A new rate holds at once.
func TestRateChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		s := sub("s")
		s.Rate = minRate
		b.start(s)
		b.publish(keys(50, 50)...)
		b.wait(time.Minute)
		if n := len(f.all()); n != 1 {
			t.Fatalf("%d attempts", n)
		}
		s.Rate = 0
		if err := b.m.Apply(b.ctx, []tandem.Subscription{s}); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		b.settled("s")
	})
}

func TestOrderingNone(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		var bad atomic.Value
		f.set(func(a attemptSeen) *http.Response {
			if a.id == bad.Load() {
				return status(404)
			}
			return after(time.Second, status(204))
		})
		s := sub("s")
		s.Ordering = tandem.OrderingNone
		s.Attempts = 2
		b.start(s)
		b.m.Pause(b.ctx, "s")
		bad.Store(b.publish(slices.Repeat([]string{"k"}, 20)...)[0])
		b.m.Resume(b.ctx, "s")
		b.wait(1100 * time.Millisecond)
		if st := b.status("s"); st.Delivered != 19 || st.ParkedKeys+st.Dead != 1 || st.Waiting != 0 {
			t.Fatalf("status %+v", st)
		}
		b.wait(time.Hour)
		b.settled("s")
		if st := b.status("s"); st.Dead != 1 {
			t.Fatalf("status %+v", st)
		}
		// Ordered again, events that come later wait for each other.
		s.Ordering = tandem.OrderingKey
		if err := b.m.Apply(b.ctx, []tandem.Subscription{s}); err != nil {
			t.Fatal(err)
		}
		f.seen, f.clash = nil, nil
		b.publish(slices.Repeat([]string{"k"}, 5)...)
		b.wait(10 * time.Second)
		b.settled("s")
		inKeyOrder(t, f)
	})
}

// The breaker takes failures of one key alone, and answers that only say that something is missing, for the endpoint's.
func TestBreaker(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response { return status(404) })
		s := sub("s")
		s.Attempts, s.Backoff.List = 10, seconds(1)
		s.Breaker = tandem.Breaker{Failures: 5, Wait: seconds(60)[0]}
		b.start(s)
		b.publish("k", "k")
		b.wait(3800 * time.Millisecond)
		if st := b.status("s"); st.State != "running" || len(f.all()) != 4 {
			t.Fatalf("status %+v after %d attempts", st, len(f.all()))
		}
		b.wait(2 * time.Second)
		if st := b.status("s"); st.State != "failing" || len(f.all()) != 5 || st.ParkedKeys != 0 {
			t.Fatalf("status %+v after %d attempts", st, len(f.all()))
		}
		b.wait(50 * time.Second)
		if n := len(f.all()); n != 5 {
			t.Fatalf("%d attempts before the wait of the breaker was over", n)
		}
		b.wait(time.Hour)
		if st := b.status("s"); st.State != "failing" || st.Dead != 0 || b.news() != "failing" {
			t.Fatalf("status %+v, told %s", st, b.news())
		}
		f.set(nil)
		b.wait(time.Minute)
		b.settled("s")
		if st := b.status("s"); st.State != "running" || st.Delivered != 2 || f.all()[len(f.all())-1].attempt != 1 {
			t.Fatalf("status %+v", st)
		}
	})
}

// A success between them starts the count again.
func TestBreakerCountsInARow(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response {
			if a.key == "bad" {
				return status(404)
			}
			return status(204)
		})
		s := sub("s")
		s.Attempts, s.Backoff.List, s.Breaker.Failures = 12, seconds(1), 3
		b.start(s)
		b.publish("bad")
		for range 30 {
			b.publish("good")
			b.wait(time.Second)
		}
		b.settled("s")
		if st := b.status("s"); st.State != "running" || st.Dead != 1 || b.news() != "" {
			t.Fatalf("status %+v, told %s", st, b.news())
		}
	})
}

func TestExhaustedPauses(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		var up atomic.Bool
		f.set(func(a attemptSeen) *http.Response {
			if a.key == "bad" && !up.Load() {
				return status(404)
			}
			return status(204)
		})
		s := sub("s")
		s.Attempts, s.Backoff.List, s.Exhausted, s.PauseAfter = 3, seconds(60), tandem.ExhaustedPause, seconds(3600)[0]
		b.start(s)
		b.publish("bad", "good")
		b.wait(50 * time.Minute)
		if st := b.status("s"); st.State != "running" || st.Dead != 0 || st.Delivered != 1 || len(f.all()) < 40 {
			t.Fatalf("status %+v after %d attempts", st, len(f.all()))
		}
		b.wait(20 * time.Minute)
		b.stop()
		b.start()
		b.publish("good")
		b.wait(time.Hour)
		n := len(f.all())
		if st := b.status("s"); st.State != "paused" || !strings.Contains(st.Reason, "orders/") || !strings.Contains(st.Reason, "status 404") || st.Delivered != 0 {
			t.Fatalf("status %+v", st)
		}
		if got := b.news(); got != "paused" {
			t.Fatalf("told %q", got)
		}
		resume := func() {
			t.Helper()
			if err := b.m.Resume(b.ctx, "s"); err != nil {
				t.Fatal(err)
			}
			b.wait(time.Minute)
		}
		resume()
		more := f.all()[n:] // the other key may have had its turn before the pause
		if st := b.status("s"); st.State != "paused" || !slices.ContainsFunc(more, func(a attemptSeen) bool { return a.key == "bad" }) || len(more) > 2 {
			t.Fatalf("status %+v, attempts %v", st, more)
		}
		up.Store(true)
		resume()
		b.settled("s")
		if st := b.status("s"); st.State != "running" || st.Dead != 0 {
			t.Fatalf("status %+v", st)
		}
	})
}

// An event that ends the process with each attempt pauses the subscription, too, and does not end it at each start.
func TestExhaustedPausesAfterCrashes(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(a attemptSeen) *http.Response { return after(time.Hour, status(204)) })
		s := sub("s")
		s.Attempts, s.Backoff.List, s.Exhausted, s.PauseAfter = 2, seconds(1), tandem.ExhaustedPause, seconds(60)[0]
		s.Timeout = seconds(7200)[0]
		b.start(s)
		b.publish("k")
		for range 4 {
			b.wait(time.Minute)
			b.crash()
			b.start()
		}
		b.wait(time.Minute)
		if st := b.status("s"); st.State != "paused" || !strings.Contains(st.Reason, lostDetail) || len(f.all()) != 2 {
			t.Fatalf("status %+v after %d attempts", st, len(f.all()))
		}
		f.set(nil)
		if err := b.m.Resume(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Minute)
		b.settled("s")
	})
}

func TestCheckPolicy(t *testing.T) {
	for _, tt := range []struct {
		at  string
		set func(*tandem.Subscription)
	}{
		{"/attempts", func(s *tandem.Subscription) { s.Attempts = -1 }},
		{"/attempts", func(s *tandem.Subscription) { s.Attempts = maxAttempts + 1 }},
		{"/concurrency", func(s *tandem.Subscription) { s.Concurrency = maxConcurrency + 1 }},
		{"/batchSize", func(s *tandem.Subscription) { s.BatchSize = 10 }},
		{"/batchSize", func(s *tandem.Subscription) { s.Content, s.BatchSize = tandem.ContentBatch, tandem.MaxBatchSize+1 }},
		{"/rate", func(s *tandem.Subscription) { s.Rate = -1 }},
		{"/rate", func(s *tandem.Subscription) { s.Rate = math.NaN() }},
		{"/rate", func(s *tandem.Subscription) { s.Rate = math.Inf(1) }},
		{"/rate", func(s *tandem.Subscription) { s.Rate = 1e-9 }},
		{"/timeout", func(s *tandem.Subscription) { s.Timeout = -1 }},
		{"/retryAfter", func(s *tandem.Subscription) { s.RetryAfter = -1 }},
		{"/pauseAfter", func(s *tandem.Subscription) { s.Exhausted, s.PauseAfter = tandem.ExhaustedPause, -1 }},
		{"/pauseAfter", func(s *tandem.Subscription) { s.PauseAfter = 1 }},
		{"/exhausted", func(s *tandem.Subscription) { s.Exhausted = "stop" }},
		{"/ordering", func(s *tandem.Subscription) { s.Ordering = "topic" }},
		{"/breaker/wait", func(s *tandem.Subscription) { s.Breaker.Wait = -1 }},
		{"/breaker/failures", func(s *tandem.Subscription) { s.Breaker.Failures = -1 }},
		{"/backoff/base", func(s *tandem.Subscription) { s.Backoff.Base = -1 }},
		{"/backoff/list", func(s *tandem.Subscription) { s.Backoff = tandem.Backoff{Base: 1, List: seconds(1)} }},
		{"/backoff/list", func(s *tandem.Subscription) { s.Backoff.List = make([]tandem.Duration, maxBackoffs+1) }},
		{"/backoff/list/1", func(s *tandem.Subscription) { s.Backoff.List = seconds(1, 0) }},
		{"/answers/404", func(s *tandem.Subscription) { s.Answers = map[string]string{"404": "drop"} }},
		{"/answers/404", func(s *tandem.Subscription) { s.Answers = map[string]string{"404": ""} }},
		{"/answers/1xx", func(s *tandem.Subscription) { s.Answers = map[string]string{"1xx": "dead"} }},
		{"/answers/4XX", func(s *tandem.Subscription) { s.Answers = map[string]string{"4XX": "dead"} }},
		{"/answers/4x4", func(s *tandem.Subscription) { s.Answers = map[string]string{"4x4": "dead"} }},
		{"/answers/600", func(s *tandem.Subscription) { s.Answers = map[string]string{"600": "dead"} }},
		{"/answers/a~1b~0", func(s *tandem.Subscription) { s.Answers = map[string]string{"a/b~": "dead"} }},
	} {
		s := sub("s")
		tt.set(&s)
		m := New(nil, quietOptions("http://svc"))
		err := m.Check([]tandem.Subscription{s})
		if tandem.CodeOf(err) != tandem.CodeInvalid || !slices.ContainsFunc(tandem.ProblemOf(err).Errors, func(f tandem.FieldError) bool { return f.Pointer == "/subscriptions/s"+tt.at }) {
			t.Errorf("%s: %v %+v", tt.at, err, tandem.ProblemOf(err))
		}
	}
	s := sub("s")
	s.Answers = map[string]string{"200": "retry", "2xx": "delivered", "599": "dead", "410": "disable"}
	s.Content, s.BatchSize, s.Rate, s.Breaker = tandem.ContentBatch, tandem.MaxBatchSize, minRate, tandem.Breaker{Failures: 1, Wait: 1}
	s.Exhausted, s.PauseAfter, s.Ordering, s.Backoff.List = tandem.ExhaustedPause, 1, tandem.OrderingNone, seconds(1)
	if err := New(nil, quietOptions("http://svc")).Check([]tandem.Subscription{s}); err != nil {
		t.Error(err)
	}
}
