package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestKill kills the server again and again while events are published, delivered by webhook with replies, and pulled. In the end
// every event with a receipt was taken by both, first in order of its key, its reply is stored once, and what a client that pulls was
// told is acknowledged was never leased again. TANDEM_SOAK=1 kills 200 times.
func TestKill(t *testing.T) {
	kills := 10
	if os.Getenv("TANDEM_SOAK") != "" {
		kills = 200
	}
	k := &killed{t: t, taken: map[string]int{}, first: map[string][]int{}, acked: map[string]bool{}, leased: map[string][]int{}}
	sink := httptest.NewServer(http.HandlerFunc(k.take))
	defer sink.Close()
	s := start(t, `
services:
  sink: {url: `+sink.URL+`}
topics:
  orders: {partitions: 4}
  replies: {}
subscriptions:
  hook: {topics: [orders], service: sink, path: /, replies: replies, from: earliest, attempts: 1000, backoff: {base: 10ms, max: 100ms}}
  work: {topics: [orders], pull: {visibility: 2s}, from: earliest, attempts: 1000}
`)
	k.s = s
	publish, stopPublishing := context.WithCancel(t.Context())
	pull, stopPulling := context.WithCancel(t.Context())
	var publishers, clients sync.WaitGroup
	for p := range 8 {
		publishers.Go(func() { k.publish(publish, p) })
	}
	for range 4 {
		clients.Go(func() { k.pull(pull) })
	}
	defer clients.Wait()
	defer stopPulling()
	defer publishers.Wait()
	defer stopPublishing()
	for range kills {
		time.Sleep(time.Duration(100+rand.IntN(400)) * time.Millisecond)
		s.stop(syscall.SIGKILL)
		s.run()
	}
	stopPublishing()
	publishers.Wait()
	for deadline := time.Now().Add(time.Minute); !k.complete(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d events were not taken, or not acknowledged", k.behind())
		}
	}
	stopPulling()
	clients.Wait()
	k.check()
	t.Logf("%d kills, %d events, %d deliveries repeated", kills, len(k.stored), k.requests.Load()-int64(len(k.taken)))
}

// killBehind is how far publishers run ahead: eight keys are delivered more slowly than they are published.
const killBehind = 1000

// killed is what must hold when it is over.
type killed struct {
	t        *testing.T
	s        *tandem
	requests atomic.Int64

	mu     sync.Mutex
	stored []string         // ids with a receipt
	taken  map[string]int   // by the webhook
	first  map[string][]int // by key, in order of first requests
	acked  map[string]bool  // by clients that pull
	leased map[string][]int // by key, in order of first leases
}

func eventID(key string, n int) string { return fmt.Sprintf("%s-%d", key, n) }

// publish sends the events of one key in order; each again and again until there is a receipt.
func (k *killed) publish(ctx context.Context, p int) {
	key := fmt.Sprint("key", p)
	for n := 0; ctx.Err() == nil; n++ {
		for k.behind() > killBehind && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		id := eventID(key, n)
		body := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/kill","type":"order.placed","subject":%q,"data":{"n":%d}}`, id, key, n)
		for {
			status, answer := k.post(ctx, "/v1/topics/orders/events", "application/cloudevents+json", body)
			if status == http.StatusCreated {
				break
			}
			if ctx.Err() != nil {
				return
			}
			if status != 0 && status != http.StatusServiceUnavailable {
				k.t.Errorf("publish: %d %s", status, answer)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		k.mu.Lock()
		k.stored = append(k.stored, id)
		k.mu.Unlock()
	}
}

// post returns status 0 when there is no answer.
func (k *killed) post(ctx context.Context, path, mediaType, body string) (int, []byte) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.s.url("%s", path), strings.NewReader(body))
	if err != nil {
		return 0, nil
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil
	}
	return resp.StatusCode, answer
}

type killedEvent struct {
	ID, Subject string
	Data        struct{ N int }
}

// take is the webhook: it answers with a reply, and fails now and then.
func (k *killed) take(w http.ResponseWriter, r *http.Request) {
	var e killedEvent
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		return // the server was killed while it sent
	}
	k.requests.Add(1)
	fails := rand.IntN(50) == 0
	k.mu.Lock()
	if k.taken[e.ID] == 0 {
		noteFirst(k.first, &e)
	}
	if !fails {
		k.taken[e.ID]++
	}
	k.mu.Unlock()
	if fails {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/cloudevents+json")
	fmt.Fprintf(w, `{"specversion":"1.0","id":"reply-%s","source":"/sink","type":"order.seen"}`, e.ID)
}

// noteFirst notes the number of an event, unless it is noted.
func noteFirst(order map[string][]int, e *killedEvent) {
	all := order[e.Subject]
	if n := len(all); n == 0 || all[n-1] != e.Data.N {
		order[e.Subject] = append(all, e.Data.N)
	}
}

// pull is a client that leases events, and acknowledges all but a few of them.
func (k *killed) pull(ctx context.Context) {
	for ctx.Err() == nil {
		status, answer := k.post(ctx, "/v1/subscriptions/work:pull", "application/json", `{"max":10,"wait":"1s"}`)
		var got struct {
			Leases []struct {
				Lease string
				Event killedEvent
			}
		}
		if status != http.StatusOK || json.Unmarshal(answer, &got) != nil {
			if status != 0 && status != http.StatusServiceUnavailable {
				k.t.Errorf("pull: %d %s", status, answer)
				return
			}
			time.Sleep(10 * time.Millisecond)
			continue
		}
		ids, body := map[string]string{}, bytes.NewBufferString(`{"leases":[`)
		k.mu.Lock()
		for i := range got.Leases {
			l := &got.Leases[i]
			if k.acked[l.Event.ID] {
				k.t.Errorf("%s was leased again though it was acknowledged", l.Event.ID)
			}
			if _, again := ids[l.Lease]; again {
				k.t.Errorf("lease %s twice", l.Lease)
			}
			noteFirst(k.leased, &l.Event)
			if rand.IntN(50) > 0 { // the others are forgotten
				ids[l.Lease] = l.Event.ID
				fmt.Fprintf(body, `%q,`, l.Lease)
			}
		}
		k.mu.Unlock()
		if len(ids) > 0 {
			k.ack(ctx, ids, strings.TrimSuffix(body.String(), ",")+"]}")
		}
	}
}

func (k *killed) ack(ctx context.Context, ids map[string]string, body string) {
	status, answer := k.post(ctx, "/v1/subscriptions/work:ack", "application/json", body)
	var got struct {
		Results []struct{ Lease, Outcome string }
	}
	if status != http.StatusOK || json.Unmarshal(answer, &got) != nil {
		if status != 0 && status != http.StatusServiceUnavailable {
			k.t.Errorf("acknowledge: %d %s", status, answer)
		}
		return // whether it is stored is not known
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range got.Results {
		if r.Outcome == "acknowledged" {
			k.acked[ids[r.Lease]] = true
		}
	}
}

// behind is how many events are published and not yet taken or acknowledged.
func (k *killed) behind() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.stored) - min(len(k.taken), len(k.acked))
}

// complete reports whether both subscriptions have nothing left to do.
func (k *killed) complete() bool {
	for _, name := range []string{"hook", "work"} {
		resp, err := http.Get(k.s.url("/v1/subscriptions/%s", name))
		if err != nil {
			return false
		}
		var got struct {
			Status struct{ Lag, InFlight, Retrying int }
		}
		err = json.NewDecoder(resp.Body).Decode(&got)
		resp.Body.Close()
		if err != nil || got.Status.Lag+got.Status.InFlight+got.Status.Retrying > 0 {
			return false
		}
	}
	return true
}

func (k *killed) check() {
	k.mu.Lock()
	defer k.mu.Unlock()
	replies := map[string]int{}
	cursor := "from=earliest"
	for {
		var page struct {
			Events []struct{ ReplyID string }
			Cursor string
		}
		if err := json.Unmarshal([]byte(get(k.t, k.s.url("/v1/topics/replies/events?limit=1000&%s", cursor))), &page); err != nil {
			k.t.Fatal(err)
		}
		if len(page.Events) == 0 {
			break
		}
		for _, e := range page.Events {
			replies[strings.TrimPrefix(e.ReplyID, "reply-")]++
		}
		cursor = "cursor=" + page.Cursor
	}
	for _, id := range k.stored {
		if k.taken[id] == 0 || replies[id] != 1 {
			k.t.Errorf("%s has a receipt, was taken %d times and has %d replies", id, k.taken[id], replies[id])
		}
	}
	for name, order := range map[string]map[string][]int{"hook": k.first, "work": k.leased} {
		for key, all := range order {
			next := 0
			for _, n := range all {
				if n > next {
					k.t.Errorf("%s: event %d of %s came before %d", name, n, key, next)
				}
				next = max(next, n+1)
			}
		}
	}
}
