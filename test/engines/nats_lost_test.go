package engines

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/natslog"
)

// natsTCP starts a server that listens on loopback, and a proxy before it.
func natsTCP(t testing.TB) *natsProxy {
	s := natsServer(t, func(o *server.Options) { o.DontListen, o.Host, o.Port = false, "127.0.0.1", -1 })
	return newNATSProxy(t, s.Addr().String())
}

func openNATS(t testing.TB, o natslog.Options) *natslog.Engine {
	t.Helper()
	e, err := natslog.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// natsUntil polls a condition for at most a minute.
func natsUntil(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute) // a consumer whose removal was lost goes after half of it
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func natsEvent(id string, data string) *tandem.Event {
	return &tandem.Event{ID: id, Source: "/test", Type: "test", Data: []byte(data), Encoding: tandem.DataJSON, Meta: tandem.Meta{Accepted: time.Now().UTC()}}
}

// noNATSGoroutines waits until no goroutine of the engine or its client is left; those of the server go on.
func noNATSGoroutines(t testing.TB) {
	t.Helper()
	stacks := make([]byte, 4<<20)
	natsUntil(t, "no goroutine of a closed engine is left", func() bool {
		all := string(stacks[:runtime.Stack(stacks, true)])
		return !strings.Contains(all, "eventlog/natslog.") && !strings.Contains(all, "nats-io/nats.go.")
	})
}

// TestNATSLostServer: without a server, and with one that does not answer, writes end with Unavailable in time, what is local can be read, and
// everything comes back by itself.
func TestNATSLostServer(t *testing.T) {
	for name, c := range map[string]struct{ lose, find func(*natsProxy) }{
		"refused": {func(p *natsProxy) { p.cut(true) }, func(p *natsProxy) { p.cut(false) }},
		"silent":  {func(p *natsProxy) { p.stall() }, func(p *natsProxy) { p.resume() }},
	} {
		t.Run(name, func(t *testing.T) {
			p := natsTCP(t)
			defer noNATSGoroutines(t)
			const timeout = 2 * time.Second
			e, err := natslog.Open(t.Context(), natslog.Options{URL: p.url(), Timeout: timeout})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			topic, err := e.CreateTopic(t.Context(), tandem.Topic{Name: "t", Partitions: 1, Retention: -1})
			if err != nil {
				t.Fatal(err)
			}
			_, _ = e.Read(t.Context(), topic.ID, 0, 0, 1, 1, nil) // it has a reader
			put := func(n int) error {
				return e.Append(context.Background(), &driver.Batch{Records: []driver.Record{{Topic: topic.ID, Event: natsEvent(fmt.Sprint(n), "1")}},
					State: []driver.StateOp{{Key: "k", Value: []byte(fmt.Sprint(n))}}})
			}
			for i := range 10 {
				if err := put(i); err != nil {
					t.Fatal(err)
				}
			}
			local := func() {
				t.Helper()
				got, err := e.Read(t.Context(), topic.ID, 0, 0, 100, 1<<20, nil)
				if err != nil || len(got) != 10 {
					t.Errorf("%d events and %v from the memory of a lost server, want 10", len(got), err)
				}
				n := 0
				if err := e.ScanState(t.Context(), "", "", func(_ string, v []byte) bool { n++; return string(v) == "9" }); err != nil || n != 1 {
					t.Errorf("%d state records, %v", n, err)
				}
				if b, err := e.Bounds(t.Context(), topic.ID, 0); err != nil || b.End != 11 {
					t.Errorf("bounds %+v, %v", b, err)
				}
			}
			c.lose(p)
			local()
			for range 2 {
				start := time.Now()
				var wg sync.WaitGroup
				for range 20 {
					wg.Go(func() {
						if err := put(100); tandem.CodeOf(err) != tandem.CodeUnavailable {
							t.Errorf("append to a lost server: %v", err)
						}
					})
				}
				wg.Wait()
				if took := time.Since(start); took > 3*timeout {
					t.Errorf("an append took %v to be refused", took)
				}
			}
			if err := e.Health(); tandem.CodeOf(err) != tandem.CodeUnavailable {
				t.Errorf("Health without a server: %v", err)
			}
			local()
			c.find(p)
			natsUntil(t, "appending again", func() bool { return put(200) == nil })
			natsUntil(t, "Health again", func() bool { return e.Health() == nil })
			got, err := e.Read(t.Context(), topic.ID, 0, 0, 1000, 1<<20, nil)
			if err != nil || got[len(got)-1].ID != "200" {
				t.Errorf("afterwards the last of %d events is not the one stored last, %v", len(got), err)
			}
		})
	}
}

// natsLedger publishes through a log, each writer one key in order, and sends again what was not confirmed. It knows what was.
type natsLedger struct {
	log     *eventlog.Log
	writers int
	topic   string

	mu        sync.Mutex
	confirmed map[string]tandem.Receipt
	state     map[string]string
	retries   int
}

// run writes until stop is closed.
func (l *natsLedger) run(t *testing.T, stop <-chan struct{}) {
	var wg sync.WaitGroup
	for w := range l.writers {
		wg.Go(func() {
			for n := 0; ; {
				select {
				case <-stop:
					return
				default:
				}
				events := make([]tandem.Event, 1+n%3)
				for i := range events {
					events[i] = tandem.Event{ID: fmt.Sprintf("%d-%d", w, n+i), Source: "/ledger", Type: "written", Subject: fmt.Sprint("key-", w), Data: fmt.Append(nil, n+i)}
				}
				for {
					got, err := l.log.Append(context.Background(), l.topic, events)
					if err == nil {
						l.mu.Lock()
						for _, r := range got {
							l.confirmed[r.ID] = r
						}
						l.mu.Unlock()
						break
					}
					if tandem.CodeOf(err) != tandem.CodeUnavailable {
						t.Errorf("append: %v", err)
						return
					}
					l.mu.Lock()
					l.retries++
					l.mu.Unlock()
					<-time.After(time.Duration(rand.IntN(50)) * time.Millisecond)
				}
				if !l.progress(t, w, n, n+len(events)) {
					return
				}
				n += len(events)
			}
		})
	}
	wg.Wait()
}

// progress stores how far a writer is, if nobody has stored anything else.
func (l *natsLedger) progress(t *testing.T, w, from, to int) bool {
	key := fmt.Sprint("writer-", w)
	op := driver.StateOp{Key: key, Value: fmt.Append(nil, to), If: fmt.Append(nil, from)}
	if from == 0 {
		op.If = []byte{}
	}
	for {
		_, err := l.log.Commit(context.Background(), &eventlog.Tx{State: []driver.StateOp{op}})
		switch tandem.CodeOf(err) {
		case "":
			l.mu.Lock()
			l.state[key] = string(op.Value)
			l.mu.Unlock()
			return true
		case tandem.CodeUnavailable:
			<-time.After(time.Duration(rand.IntN(50)) * time.Millisecond)
		case tandem.CodeConflict:
			// An attempt that was answered with Unavailable may have been stored, and nothing else.
			if v, err := l.log.State(context.Background(), key); err != nil || string(v) != string(op.Value) {
				t.Errorf("%s is %q (%v) instead of %q or %q", key, v, err, op.If, op.Value)
				return false
			}
			l.mu.Lock()
			l.state[key] = string(op.Value)
			l.mu.Unlock()
			return true
		default:
			t.Errorf("progress: %v", err)
			return false
		}
	}
}

// check reads everything: what was confirmed is there once, at the place that was told, and each key is in order.
func (l *natsLedger) check(t *testing.T) {
	t.Helper()
	sel, err := eventlog.Select(l.topic)
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.log.NewReader(t.Context(), sel, tandem.Start{Earliest: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	seen, last := map[string]bool{}, map[string]int{}
	for {
		p, err := r.Read(t.Context(), tandem.Filter{}, 500)
		if err != nil || p.Gap != nil {
			t.Fatalf("gap %+v, %v", p.Gap, err)
		}
		if len(p.Events) == 0 {
			break
		}
		for i := range p.Events {
			ev := &p.Events[i]
			var w, n int
			if _, err := fmt.Sscanf(ev.ID, "%d-%d", &w, &n); err != nil {
				t.Fatal(err)
			}
			if seen[ev.ID] {
				t.Errorf("%s is there twice", ev.ID)
			}
			seen[ev.ID] = true
			if n != last[ev.Subject] {
				t.Errorf("%s comes after %d events of its key", ev.ID, last[ev.Subject])
			}
			last[ev.Subject] = n + 1
			if want, ok := l.confirmed[ev.ID]; ok && (want.Offset != ev.Position.Offset || want.Partition != ev.Position.Partition) {
				t.Errorf("%s is at %v, its receipt says %d/%d", ev.ID, ev.Position, want.Partition, want.Offset)
			}
		}
	}
	for key, want := range l.state {
		if v, err := l.log.State(t.Context(), key); err != nil || string(v) != want {
			t.Errorf("state %s is %q, %v; confirmed was %q", key, v, err, want)
		}
	}
	for id := range l.confirmed {
		if !seen[id] {
			t.Errorf("%s was confirmed and is lost", id)
		}
	}
	t.Logf("%d events confirmed, %d sent again, %d there", len(l.confirmed), l.retries, len(seen))
	if len(l.confirmed) == 0 {
		t.Error("nothing was written")
	}
}

func newNATSLedger(t *testing.T, o natslog.Options) *natsLedger {
	log, err := eventlog.Open(t.Context(), openNATS(t, o), eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	if _, err := log.CreateTopic(t.Context(), tandem.Topic{Name: "ledger", Partitions: 4}); err != nil {
		t.Fatal(err)
	}
	return &natsLedger{log: log, writers: 16, topic: "ledger", confirmed: map[string]tandem.Receipt{}, state: map[string]string{}}
}

// TestNATSCut cuts the connection again and again under writers.
func TestNATSCut(t *testing.T) {
	p := natsTCP(t)
	l := newNATSLedger(t, natslog.Options{URL: p.url(), Timeout: 2 * time.Second})
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for range 15 {
			<-time.After(time.Duration(50+rand.IntN(200)) * time.Millisecond)
			p.cut(false)
		}
	}()
	l.run(t, stop)
	l.check(t)
}

// natsNode does to a node of the real servers what test/nats/node says.
func natsNode(t testing.TB, what string, n int) {
	t.Helper()
	out, err := exec.Command("../nats/node", what, fmt.Sprint(n)).CombinedOutput()
	if err != nil {
		t.Fatalf("%s node %d: %v\n%s", what, n, err, out)
	}
}

// TestNATSKill kills, pauses and restarts real servers under writers, one after the other. With TANDEM_SOAK=1, ten rounds of all.
func TestNATSKill(t *testing.T) {
	urls := natsURL(t)
	nodes := strings.Count(urls, ",") + 1
	rounds, pause := 1, 3*time.Second
	if os.Getenv("TANDEM_SOAK") == "1" {
		rounds, pause = 10, 30*time.Second
	}
	l := newNATSLedger(t, natslog.Options{URL: urls, Prefix: natsPrefix(), Replicas: natsReplicas(), SyncAlways: true, Timeout: 3 * time.Second})
	stop, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		l.run(t, stop)
	}()
	written := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.confirmed)
	}
	more := func(n int) {
		t.Helper()
		from := written()
		natsUntil(t, "writing goes on", func() bool { return written() >= from+n })
	}
	more(100)
	for range rounds {
		for n := 1; n <= nodes; n++ {
			natsNode(t, "kill", n)
			natsNode(t, "start", n)
			more(100)
		}
		n := 1 + rand.IntN(nodes)
		natsNode(t, "pause", n)
		<-time.After(pause)
		natsNode(t, "resume", n)
		more(100)
		for n := 1; n <= nodes; n++ {
			natsNode(t, "restart", n)
			more(100)
		}
	}
	close(stop)
	<-over
	l.check(t)
}
