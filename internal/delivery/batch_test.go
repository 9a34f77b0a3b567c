package delivery

import (
	"container/heap"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// batchFake is an endpoint that takes batches. It is an http.RoundTripper.
type batchFake struct {
	mu      sync.Mutex
	batches [][]tandem.Event
	handle  func(batch []tandem.Event) *http.Response // nil means 204
	inside  map[string]bool
	clash   []string // keys with two events at once
}

func (f *batchFake) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	batch, err := tandem.ParseBatchJSON(body)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.batches = append(f.batches, batch)
	handle := f.handle
	for _, e := range batch {
		if f.inside[e.Subject] && e.Subject != "" {
			f.clash = append(f.clash, e.Subject)
		}
		f.inside[e.Subject] = true
	}
	f.mu.Unlock()
	time.Sleep(50 * time.Millisecond)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range batch {
		delete(f.inside, e.Subject)
	}
	if handle == nil {
		return status(http.StatusNoContent), nil
	}
	return handle(batch), nil
}

func (f *batchFake) set(handle func(batch []tandem.Event) *http.Response) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handle = handle
}

// sizes returns how many events each request had.
func (f *batchFake) sizes() (out []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.batches {
		out = append(out, len(b))
	}
	return out
}

// has reports whether a batch has an event of a key.
func has(batch []tandem.Event, key string) bool {
	return slices.ContainsFunc(batch, func(e tandem.Event) bool { return e.Subject == key })
}

// inBatches runs a test with an endpoint that takes batches and a subscription that is paused.
func inBatches(t *testing.T, size int, fn func(t *testing.T, b *bed, f *batchFake, s tandem.Subscription)) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		f := &batchFake{inside: map[string]bool{}}
		b.opts.Transport = func(string) http.RoundTripper { return f }
		s := sub("s")
		s.Content, s.BatchSize, s.Backoff.List = tandem.ContentBatch, size, seconds(1)
		b.start(s)
		b.must(b.m.Pause(b.ctx, "s"))
		fn(t, b, f, s)
		if len(f.clash) > 0 {
			t.Errorf("keys with two events at once: %v", f.clash)
		}
	})
}

func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// itemResults answers each event of a batch for itself.
func itemResults(batch []tandem.Event, result func(e tandem.Event) string) *http.Response {
	var all []string
	for _, e := range batch {
		all = append(all, result(e))
	}
	return reply(tandem.MediaResults, `{"results":[`+strings.Join(all, ",")+`]}`)
}

func TestBatchesHaveOneEventOfAKey(t *testing.T) {
	inBatches(t, 100, func(t *testing.T, b *bed, f *batchFake, s tandem.Subscription) {
		b.publish(keys(150, 900)...)
		b.must(b.m.Resume(b.ctx, "s"))
		b.wait(time.Minute)
		b.settled("s")
		last := map[string]string{}
		n := 0
		for _, batch := range f.batches {
			seen := map[string]bool{}
			for _, e := range batch {
				if seen[e.Subject] {
					t.Fatalf("two events of %s in a batch", e.Subject)
				}
				pos, _ := e.Extension(tandem.AttrPosition)
				if seen[e.Subject] = true; pos <= last[e.Subject] && len(pos) <= len(last[e.Subject]) {
					t.Fatalf("%s after %s", pos, last[e.Subject])
				}
				last[e.Subject] = pos
			}
			if n += len(batch); len(batch) > 100 {
				t.Fatalf("%d events in a batch", len(batch))
			}
		}
		if n != 900 || len(f.sizes()) > 30 {
			t.Fatalf("%d events in %d batches", n, len(f.sizes()))
		}
	})
}

// Events that come one by one do not wait for a batch to be full.
func TestBatchesDoNotWait(t *testing.T) {
	inBatches(t, 100, func(t *testing.T, b *bed, f *batchFake, s tandem.Subscription) {
		b.must(b.m.Resume(b.ctx, "s"))
		b.wait(time.Second)
		began := time.Now()
		b.publish("a")
		b.wait(time.Millisecond)
		b.publish("b") // while a is under way
		b.wait(batchWait + time.Millisecond)
		if len(f.sizes()) != 2 {
			t.Fatalf("%d requests after %v", len(f.sizes()), time.Since(began))
		}
		b.wait(time.Second)
		b.settled("s")
	})
}

func TestOrderingNoneFillsBatches(t *testing.T) {
	inBatches(t, 100, func(t *testing.T, b *bed, f *batchFake, s tandem.Subscription) {
		s.Ordering = tandem.OrderingNone
		b.must(b.m.Apply(b.ctx, []tandem.Subscription{s}))
		b.publish(slices.Repeat([]string{"k"}, 300)...)
		b.must(b.m.Resume(b.ctx, "s"))
		b.wait(time.Minute)
		b.settled("s")
		if len(f.sizes()) > 6 {
			t.Fatalf("%v", f.sizes())
		}
		f.clash = nil // it is allowed here
	})
}

// A status without results counts for all events of the batch.
func TestStatusCountsForTheBatch(t *testing.T) {
	for _, tt := range []struct {
		status    int
		delivered uint64
		dead      int
		state     string
	}{
		{204, 20, 0, "running"}, {400, 0, 20, "running"}, {422, 0, 20, "running"}, {404, 0, 20, "running"}, {307, 0, 20, "running"},
		{410, 0, 0, "disabled"}, {503, 0, 0, "failing"},
	} {
		t.Run(fmt.Sprint(tt.status), func(t *testing.T) {
			inBatches(t, 20, func(t *testing.T, b *bed, f *batchFake, s tandem.Subscription) {
				s.Attempts = 2
				b.must(b.m.Apply(b.ctx, []tandem.Subscription{s}))
				f.set(func([]tandem.Event) *http.Response { return status(tt.status) })
				b.publish(keys(20, 20)...)
				b.must(b.m.Resume(b.ctx, "s"))
				b.wait(time.Minute)
				st := b.status("s")
				if st.Delivered != tt.delivered || st.Dead != tt.dead || st.State != tt.state || st.ParkedKeys != 0 {
					t.Fatalf("status %+v, requests %v", st, f.sizes())
				}
				f.set(nil)
				b.must(b.m.Resume(b.ctx, "s"))
				b.wait(time.Minute)
				b.settled("s")
			})
		})
	}
}

// One event that spoils its batch is found, since those that failed together go alone from then on.
func TestPoisonInABatch(t *testing.T) {
	for _, poison := range []int{500, 404, 413} {
		inBatches(t, 50, func(t *testing.T, b *bed, f *batchFake, s tandem.Subscription) {
			s.Attempts = 2 // in the batch, and alone
			b.must(b.m.Apply(b.ctx, []tandem.Subscription{s}))
			f.set(func(batch []tandem.Event) *http.Response {
				if has(batch, "k7") {
					return status(poison)
				}
				return status(204)
			})
			b.publish(keys(200, 400)...)
			b.must(b.m.Resume(b.ctx, "s"))
			b.wait(time.Hour)
			b.settled("s")
			st := b.status("s")
			if st.Dead != 2 || st.Delivered != 398 || st.State != "running" {
				t.Fatalf("%d: status %+v", poison, st)
			}
			letters, _, err := b.m.DeadLetters(b.ctx, "s", "", 0)
			if err != nil || letters[0].Event.Subject != "k7" || letters[1].Event.Subject != "k7" {
				t.Fatal(letters, err)
			}
		})
	}
}

func TestResultsOfABatch(t *testing.T) {
	inBatches(t, 50, func(t *testing.T, b *bed, f *batchFake, s tandem.Subscription) {
		b.topic("answers", 1)
		s.Replies = "answers"
		b.must(b.m.Apply(b.ctx, []tandem.Subscription{s}))
		tries := map[string]int{}
		f.set(func(batch []tandem.Event) *http.Response {
			return itemResults(batch, func(e tandem.Event) string {
				tries[e.ID]++
				switch {
				case e.Subject == "k1":
					return `{"status":422,"detail":"no such product"}`
				case e.Subject == "k2" && tries[e.ID] == 1:
					return `{"status":503,"retryAfter":30}`
				case e.Subject == "k3":
					return `{"status":200,"events":[` + replyBody + `]}`
				case e.Subject == "k4" && tries[e.ID] < 3:
					return `{"status":404}`
				case e.Subject == "k5" && tries[e.ID] == 1:
					return `{"status":200,"events":[{"specversion":"1.0","id":"r","source":"/r","type":"t","data":"` + strings.Repeat("x", 70000) + `"}]}`
				}
				return `{"status":204}`
			})
		})
		b.publish(keys(40, 40)...)
		b.must(b.m.Resume(b.ctx, "s"))
		b.wait(20 * time.Second)
		if st := b.status("s"); st.Dead != 1 || st.Delivered != 38 || st.State != "running" || st.Retrying != 1 {
			t.Fatalf("status %+v", st)
		}
		b.wait(time.Minute)
		b.settled("s")
		for id, n := range tries {
			want := 1
			switch {
			case strings.HasPrefix(id, "k2-"), strings.HasPrefix(id, "k5-"):
				want = 2
			case strings.HasPrefix(id, "k4-"):
				want = 3
			}
			if n != want {
				t.Errorf("%s was sent %d times, want %d", id, n, want)
			}
		}
		if all := b.stored("answers"); len(all) != 1 || string(all[0].Data) != `{"a": 1}` {
			t.Errorf("replies %v", all)
		}
		letters, _, err := b.m.DeadLetters(b.ctx, "s", "", 0)
		if err != nil || letters[0].Detail != "status 422: no such product" || letters[0].Reason != "refused" {
			t.Error(letters, err)
		}
	})
}

// An answer that tells nothing clear of any event is a failed attempt of all.
func TestBadResultsOfABatch(t *testing.T) {
	const done = `{"status":204}`
	tooFew := func(n int) string {
		return `{"results":[` + strings.TrimPrefix(strings.Repeat(","+done, n-1), ",") + `]}`
	}
	for name, answer := range map[string]func(n int) *http.Response{
		"a result too few": func(n int) *http.Response { return reply(tandem.MediaResults, tooFew(n)) },
		"no JSON":          func(int) *http.Response { return reply(tandem.MediaResults, `{`) },
		"an event":         func(int) *http.Response { return reply(tandem.MediaEvent, replyBody) },
	} {
		inBatches(t, 50, func(t *testing.T, b *bed, f *batchFake, s tandem.Subscription) {
			s.Attempts = 1
			b.must(b.m.Apply(b.ctx, []tandem.Subscription{s}))
			f.set(func(batch []tandem.Event) *http.Response { return answer(len(batch)) })
			b.publish(keys(20, 20)...)
			b.must(b.m.Resume(b.ctx, "s"))
			b.wait(time.Minute)
			letters, _, err := b.m.DeadLetters(b.ctx, "s", "", 0)
			if err != nil || len(letters) != 20 || !strings.HasPrefix(letters[0].Detail, "the answer is invalid: ") {
				t.Fatalf("%s: %d letters, %v, %+v", name, len(letters), err, letters)
			}
		})
	}
}

// The starts of one batch are stored in one step.
func TestStartsOfABatchAreRecordedTogether(t *testing.T) {
	inBatches(t, 100, func(t *testing.T, b *bed, f *batchFake, s tandem.Subscription) {
		tries := map[string]int{}
		f.set(func(batch []tandem.Event) *http.Response {
			return itemResults(batch, func(e tandem.Event) string {
				if tries[e.ID]++; tries[e.ID] == 1 {
					return `{"status":404}`
				}
				return `{"status":204}`
			})
		})
		b.publish(keys(60, 60)...)
		b.must(b.m.Resume(b.ctx, "s"))
		b.wait(500 * time.Millisecond)
		before := len(f.sizes())
		running, _ := b.m.find("s")
		running.mu.Lock()
		for len(running.retry) > 0 { // all at once
			running.makeReady(heap.Pop(&running.retry).(*delivery))
		}
		running.poke()
		running.mu.Unlock()
		b.wait(time.Second)
		b.settled("s")
		if got := f.sizes()[before:]; !slices.Equal(got, []int{60}) {
			t.Fatalf("the second attempts went in requests of %v", got)
		}
	})
}

// With a rate, a batch takes as much of it as it has events.
func TestRateOfBatches(t *testing.T) {
	inBatches(t, 100, func(t *testing.T, b *bed, f *batchFake, s tandem.Subscription) {
		s.Rate = 20
		b.must(b.m.Apply(b.ctx, []tandem.Subscription{s}))
		b.publish(keys(400, 400)...)
		b.must(b.m.Resume(b.ctx, "s"))
		b.wait(10 * time.Second)
		if st := b.status("s"); st.Delivered < 190 || st.Delivered > 230 || len(f.sizes()) > 20 {
			t.Fatalf("status %+v, requests %v", st, f.sizes())
		}
		b.wait(11 * time.Second)
		b.settled("s")
	})
}

// A crash in the midst of a batch repeats it, and counts its attempts.
func TestCrashInABatch(t *testing.T) {
	inBatches(t, 50, func(t *testing.T, b *bed, f *batchFake, s tandem.Subscription) {
		b.publish(keys(50, 100)...)
		b.must(b.m.Resume(b.ctx, "s"))
		b.wait(20 * time.Millisecond)
		b.crash()
		b.start()
		b.wait(time.Minute)
		b.settled("s")
		f.clash = nil // the process that is gone had them under way
		seen := map[string]int{}
		for _, batch := range f.batches {
			for _, e := range batch {
				seen[e.ID]++
			}
		}
		for id, n := range seen {
			if n > 2 {
				t.Errorf("%s was sent %d times", id, n)
			}
		}
		if len(seen) != 100 {
			t.Errorf("%d events", len(seen))
		}
	})
}
