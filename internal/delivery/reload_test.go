package delivery

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// anyFake takes single events and batches, and answers as chance says until it is well. It is an http.RoundTripper.
type anyFake struct {
	mu           sync.Mutex
	rng          *rand.Rand
	well         bool
	taken        map[string]bool
	inside, most int // requests at once
}

func (f *anyFake) dice(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rng.IntN(n)
}

func (f *anyFake) enter(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inside += n
	f.most = max(f.most, f.inside)
}

func (f *anyFake) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	f.enter(1)
	defer f.enter(-1)
	var events []tandem.Event
	if body[0] == '[' {
		events, err = tandem.ParseBatchJSON(body)
	} else {
		events = make([]tandem.Event, 1)
		events[0], err = tandem.ParseEventJSON(body)
	}
	if err != nil {
		return nil, err
	}
	t := time.NewTimer(time.Duration(f.dice(400)) * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.answer(events)
}

func (f *anyFake) answer(events []tandem.Event) (*http.Response, error) {
	what := f.rng.IntN(12)
	if f.well {
		what = 12
	}
	switch {
	case what < 2:
		return nil, io.ErrUnexpectedEOF
	case what < 6:
		return status([]int{503, 404, 429, 413}[f.rng.IntN(4)]), nil
	case what == 6 && f.rng.IntN(4) == 0:
		return status(410), nil
	case what < 9 && len(events) > 1:
		items := make([]string, len(events))
		for i := range items {
			items[i] = f.item(&events[i])
		}
		return reply("application/vnd.tandem.results+json", `{"results":[`+strings.Join(items, ",")+`]}`), nil
	case what < 9:
		return reply("application/cloudevents+json", f.replyTo(&events[0])), nil
	}
	for i := range events {
		f.taken[events[i].ID] = true
	}
	return status(204), nil
}

// item is the result of one event of a batch.
func (f *anyFake) item(e *tandem.Event) string {
	switch code := []int{200, 204, 503, 404, 422, 410}[f.rng.IntN(6)]; code {
	case 200:
		return `{"status":200,"events":[` + f.replyTo(e) + `]}`
	case 204:
		f.taken[e.ID] = true
		return `{"status":204}`
	default:
		return fmt.Sprintf(`{"status":%d}`, code)
	}
}

// replyTo is a reply that the log takes, or one that is too large for it.
func (f *anyFake) replyTo(e *tandem.Event) string {
	data := "1"
	if f.rng.IntN(2) == 0 {
		data = `"` + strings.Repeat("x", 70<<10) + `"`
	} else {
		f.taken[e.ID] = true
	}
	return `{"specversion":"1.0","id":"r","source":"/r","type":"r","data":` + data + `}`
}

// Whatever is declared anew while attempts, leases and batches are under way, and whatever else is done meanwhile, every event ends and
// nothing is left. TANDEM_SOAK=1 does so more often.
func TestReloads(t *testing.T) {
	seeds := uint64(60)
	if os.Getenv("TANDEM_SOAK") != "" {
		seeds = 5000
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
				r := &reloading{bed: b, f: &anyFake{rng: rand.New(rand.NewPCG(seed, 77)), taken: map[string]bool{}}}
				r.test()
			})
		})
	}
}

type reloading struct {
	*bed
	f           *anyFake
	ids, tokens []string
}

// most is the highest concurrency that is declared.
const most = 4

// declaration is one as chance says.
func (r *reloading) declaration() tandem.Subscription {
	dice := r.f.dice
	s := sub("s")
	s.Attempts, s.Concurrency, s.Backoff.List = 2+dice(4), 1+dice(most), seconds(0.2, 1)
	if dice(3) == 0 {
		s.Ordering = tandem.OrderingNone
	}
	if dice(4) == 0 {
		s.Rate = 20
	}
	if dice(4) == 0 {
		s.Exhausted, s.PauseAfter = tandem.ExhaustedPause, seconds(5)[0]
	}
	switch dice(3) {
	case 0:
		s.Pull, s.Service, s.Path, s.Concurrency = &tandem.Pull{}, "", "", 1+dice(12)
		return s
	case 1:
		s.Content, s.BatchSize = tandem.ContentBatch, 1+dice(10)
	}
	s.Replies = "answers"
	if dice(4) == 0 {
		s.Breaker.Failures = 1 + dice(4)
	}
	return s
}

// try takes no error but that of a full disk.
func (r *reloading) try(err error) {
	r.t.Helper()
	if err != nil && tandem.CodeOf(err) != tandem.CodeUnavailable {
		r.t.Fatal(err)
	}
}

func (r *reloading) step() {
	dice := r.f.dice
	switch n := dice(20); {
	case n < 6:
		for range 1 + dice(12) {
			e := event(fmt.Sprintf("k%d", dice(5)))
			if _, err := r.log.Append(r.ctx, "orders", []tandem.Event{e}); err == nil {
				r.ids = append(r.ids, e.ID)
			}
		}
	case n < 9:
		r.try(r.m.Apply(r.ctx, []tandem.Subscription{r.declaration()}))
	case n < 12:
		leases, err := r.m.Pull(r.ctx, "s", tandem.PullRequest{Max: 1 + dice(8), Visibility: seconds(float64(1 + dice(20)))[0]})
		if err != nil {
			break // it is not pulled now
		}
		r.tokens = append(r.tokens, tokensOf(leases)...)
		r.f.mu.Lock()
		for i := range leases {
			r.f.taken[leases[i].Event.ID] = true
		}
		r.f.mu.Unlock()
	case n < 15 && len(r.tokens) > 0:
		some := r.tokens[dice(len(r.tokens)):]
		switch dice(4) {
		case 0:
			_, _ = r.m.Nack(r.ctx, "s", some, time.Duration(dice(3)-1)*time.Second)
		case 1:
			_, _ = r.m.Extend(r.ctx, "s", some, 2*time.Second)
		default:
			_, _ = r.m.Ack(r.ctx, "s", some)
		}
	case n == 15:
		r.try(r.m.Pause(r.ctx, "s"))
	case n == 16:
		r.try(r.m.Resume(r.ctx, "s"))
	case n == 17:
		_, err := r.m.Seek(r.ctx, "s", tandem.Start{Earliest: true}, false)
		r.try(err)
	case n == 18:
		r.eng.Fail(errDisk)
		time.AfterFunc(time.Duration(dice(3000))*time.Millisecond, func() { r.eng.Fail(nil) })
		synctest.Wait()
	case n == 19:
		time.Sleep(3 * time.Second) // for the disk
		if dice(2) == 0 {
			r.crash()
		} else {
			r.stop()
		}
		r.start()
	}
	time.Sleep(time.Duration(dice(1500)) * time.Millisecond)
	if dice(2) == 0 {
		synctest.Wait()
	}
}

func (r *reloading) test() {
	r.opts.Transport = func(string) http.RoundTripper { return r.f }
	r.topic("answers", 1)
	r.start(r.declaration())
	for range 60 {
		r.step()
	}
	time.Sleep(3 * time.Second) // for the disk
	r.f.mu.Lock()
	r.f.well = true
	r.f.mu.Unlock()
	last := sub("s")
	last.Concurrency = most
	r.must(r.m.Apply(r.ctx, []tandem.Subscription{last}))
	r.must(r.m.Resume(r.ctx, "s"))
	r.wait(30 * time.Minute)
	r.settled("s")
	r.check()
}

func (r *reloading) check() {
	run := r.running("s")
	run.mu.Lock()
	defer run.mu.Unlock()
	for what, n := range map[string]int{"in flight": run.inFlight, "requests": run.requests, "sending": run.sending, "workers": run.workers,
		"held": run.held, "bytes": run.heldBytes, "parked bytes": int(run.parkBytes), "leases": run.leased, "hands": len(run.hands),
		"ready": run.ready.len(), "begun": run.begun.len(), "lanes": len(run.lanes), "answers": len(run.answered) + len(run.alone),
		"tried": r.records("s", kindTried), "parked": r.records("s", kindParked), "waiting": r.records("s", kindWaiting)} {
		if n != 0 {
			r.t.Errorf("%s: %d", what, n)
		}
	}
	if r.f.most > most {
		r.t.Errorf("%d requests at once, want %d", r.f.most, most)
	}
	dead := map[string]bool{}
	if err := r.log.ScanState(r.ctx, subPrefix("s")+kindDead, func(_ string, value []byte) bool {
		_, rec, err := parseLetter(value)
		dead[rec.ID] = err == nil
		return true
	}); err != nil {
		r.t.Fatal(err)
	}
	for _, id := range r.ids {
		if !r.f.taken[id] && !dead[id] {
			r.t.Errorf("%s was neither taken nor is it dead", id)
		}
	}
}
