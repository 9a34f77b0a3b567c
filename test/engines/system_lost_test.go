package engines

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// lostWithin is how long a publish may take to be refused: the engines wait five seconds for a server.
const lostWithin = 10 * time.Second

// TestSystemLost takes the only server away from a running Tandem, killed or paused, and gives it back. Meanwhile a publish is refused with
// Retry-After, readiness says why, and what is in memory is read. Afterwards nothing needs a restart: the same ids sent again are there once,
// the stream that was open all the time has every event, in order and without a gap, and so has the subscription.
func TestSystemLost(t *testing.T) {
	for _, engine := range []string{"kafka", "nats"} {
		for _, loss := range []struct{ how, back string }{{"kill", "start"}, {"pause", "resume"}} {
			t.Run(engine+" "+loss.how, func(t *testing.T) { loseServer(t, engine, loss.how, loss.back) })
		}
	}
}

// node does something to the server that test/ENGINE/up has started.
func node(t *testing.T, engine, verb string) {
	t.Helper()
	out, err := exec.Command(filepath.Join(root(t), "test", engine, "node"), verb, "1").CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v %s", verb, engine, err, out)
	}
}

func loseServer(t *testing.T, engine, how, back string) {
	url := ""
	switch engine {
	case "kafka":
		url = "kafka://" + strings.Join(realKafka(t), ",")
	case "nats":
		url = natsURL(t)
	}
	if strings.Contains(url, ",") {
		t.Skip("one node is taken away, and others would go on")
	}
	if engine == "kafka" && os.Getenv("TANDEM_KAFKA_DIR") == "" {
		t.Skip("the broker cannot be killed: TANDEM_KAFKA_DIR, which make kafka-up prints, is not set")
	}
	var mu sync.Mutex
	taken := map[string]int{}
	sink := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var e systemEvent
		if json.NewDecoder(r.Body).Decode(&e) == nil {
			mu.Lock()
			taken[e.ID]++
			mu.Unlock()
		}
	}))
	defer sink.Close()
	s := startSystem(t, ownPrefix(url), fmt.Sprintf(`
services:
  sink: {url: %s}
topics:
  orders: {partitions: 4}
subscriptions:
  hook: {topics: [orders], service: sink, path: /, from: earliest}
`, sink.URL))
	pid := s.cmd.Process.Pid
	const each = 20
	send := func(from int) {
		t.Helper()
		for n := from; n < from+each; n++ {
			for _, key := range []string{"a", "b", "c"} {
				s.within(time.Minute, "an event is stored", func() bool { // its servers may be slow at first
					a := s.publish(t.Context(), "orders", key, n)
					if a.status != http.StatusCreated && a.status != http.StatusServiceUnavailable {
						t.Fatalf("publish: %d %s", a.status, a.body)
					}
					return a.status == http.StatusCreated
				})
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream := openStream(ctx, t, s, "orders")
	has := func(n int) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(taken) == n && len(stream.all()) == n
		}
	}
	send(0)
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		t.Logf("the stream has %d events, the subscription %d", len(stream.all()), len(taken))
	})
	s.within(time.Minute, "stream and subscription have the first events", has(3*each))

	node(t, engine, how)
	given := false
	defer func() {
		if !given {
			node(t, engine, back)
		}
	}()
	var refused sync.WaitGroup
	for _, key := range []string{"a", "b", "c"} {
		refused.Go(func() {
			for n := each; n < each+2; n++ {
				a := s.publish(ctx, "orders", key, n)
				if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || a.took > lostWithin {
					t.Errorf("publish without a server: %d after %v, Retry-After %q: %s", a.status, a.took, a.header.Get("Retry-After"), a.body)
				}
			}
		})
	}
	refused.Wait()
	s.within(lostWithin, "readiness says no", func() bool { return s.status("/readyz") == http.StatusServiceUnavailable })
	if a := s.do(ctx, http.MethodGet, "/readyz", "", ""); !strings.Contains(string(a.body), `"detail":"not ready: `) {
		t.Errorf("readiness says no reason: %s", a.body)
	}
	if s.status("/livez") != http.StatusOK {
		t.Error("the process does not live on")
	}
	if got := s.events("orders"); len(got) != 3*each {
		t.Errorf("%d of %d events are read without a server", len(got), 3*each)
	}
	if why := stream.ended(); why != nil {
		t.Errorf("the stream ended: %v", why)
	}

	node(t, engine, back)
	given = true
	s.within(time.Minute, "readiness says yes", func() bool { return s.status("/readyz") == http.StatusOK })
	send(each) // some of these were refused, or may be stored
	s.within(time.Minute, "stream and subscription have all events", has(6*each))
	s.within(time.Minute, "the subscription has nothing left", func() bool {
		st, ok := s.subscription("hook")
		return ok && st.Lag+st.InFlight+st.Retrying == 0
	})
	count := map[string]int{}
	for _, e := range s.events("orders") {
		count[e.ID]++
	}
	next := map[string]int{}
	for _, e := range stream.all() {
		if e.Data.N != next[e.Subject] {
			t.Errorf("the stream has event %d of %s where %d is next", e.Data.N, e.Subject, next[e.Subject])
		}
		next[e.Subject] = e.Data.N + 1
		if count[e.ID] != 1 {
			t.Errorf("%s is there %d times", e.ID, count[e.ID])
		}
	}
	if why := stream.ended(); why != nil {
		t.Errorf("the stream ended: %v", why)
	}
	if !s.alive() || s.cmd.Process.Pid != pid {
		t.Error("the process is another one")
	}
}

// follower is a stream that is followed.
type follower struct {
	mu     sync.Mutex
	events []systemEvent
	err    error
}

func (f *follower) all() []systemEvent {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]systemEvent(nil), f.events...)
}

// ended says why the stream ended, or what else it brought than events.
func (f *follower) ended() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *follower) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

// openStream follows a topic from its start over SSE until ctx is done.
func openStream(ctx context.Context, t *testing.T, s *system, topic string) *follower {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.api+"/v1/topics/"+topic+"/events?from=earliest", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("open a stream: %v %v", resp, err)
	}
	f, done := &follower{}, make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "event":
				f.end(fmt.Errorf("it said %s", value))
			case "data":
				var e systemEvent
				if err := json.Unmarshal([]byte(value), &e); err != nil {
					f.end(err)
				}
				f.mu.Lock()
				f.events = append(f.events, e)
				f.mu.Unlock()
			}
		}
		f.end(fmt.Errorf("it ended: %w", lines.Err()))
	}()
	return f
}
