package engines

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/kafkalog"
)

// TestKafkaLost: while no broker can be reached, writes are refused in time, what is in memory is read, Health says so, and all of it ends by itself.
func TestKafkaLost(t *testing.T) {
	eachKafka(t, func(t *testing.T, opts kafkalog.Options) {
		ctx := context.Background()
		g := newGate()
		opts.Dial, opts.Timeout = g.dial, 2*time.Second
		e := openKafka(t, opts)
		defer e.Close()
		topic, err := e.CreateTopic(ctx, tandem.Topic{Name: "t", Partitions: 1, Retention: -1})
		mustKafka(t, err)
		publish := func(id string) error {
			return e.Append(ctx, &driver.Batch{Records: []driver.Record{{Topic: topic.ID, Event: plain(id, time.Now())}}})
		}
		read := func() int {
			got, err := e.Read(ctx, topic.ID, 0, 0, 100, 1<<20, nil)
			mustKafka(t, err)
			return len(got)
		}
		mustKafka(t, publish("before"))
		if n := read(); n != 1 {
			t.Fatalf("%d events", n)
		}
		for round := range 2 {
			g.close()
			eventually(t, "Health notices by itself that the brokers are lost", 10*time.Second, func() bool { return tandem.CodeOf(e.Health()) == tandem.CodeUnavailable })
			refused := func(what string, fn func() error) {
				t.Helper()
				began := time.Now()
				mustCode(t, fn(), tandem.CodeUnavailable)
				if took := time.Since(began); took > 3*opts.Timeout {
					t.Errorf("%s was refused after %v", what, took)
				}
			}
			refused("an event", func() error { return publish(fmt.Sprint("lost-", round)) })
			refused("the next one", func() error { return publish(fmt.Sprint("lost-", round)) })
			refused("state", func() error { return e.Append(ctx, &driver.Batch{State: []driver.StateOp{setState("k", "lost")}}) })
			refused("a reply with state", func() error {
				return e.Append(ctx, &driver.Batch{Records: []driver.Record{{Topic: topic.ID, Event: plain("reply", time.Now())}}, State: []driver.StateOp{setState("k", "lost")}})
			})
			eventually(t, "Health says that the brokers are lost", 10*time.Second, func() bool { return tandem.CodeOf(e.Health()) == tandem.CodeUnavailable })
			if n := read(); n < 1 {
				t.Error("what was read before is not there any more")
			}
			mustKafka(t, e.ScanState(ctx, "", "", func(string, []byte) bool { return true }))
			g.open()
			eventually(t, "events are taken again", 20*time.Second, func() bool { return publish(fmt.Sprint("after-", round)) == nil })
			eventually(t, "state is taken again", 20*time.Second, func() bool {
				return e.Append(ctx, &driver.Batch{Records: []driver.Record{{Topic: topic.ID, Event: plain(fmt.Sprint("reply-", round), time.Now())}}, State: []driver.StateOp{setState("k", fmt.Sprint(round))}}) == nil
			})
			eventually(t, "Health is good again", 10*time.Second, func() bool { return e.Health() == nil })
			if v, _ := stateOf(t, e, "k"); v != strconv.Itoa(round) {
				t.Errorf("the state is %q in round %d", v, round)
			}
			got, err := e.Read(ctx, topic.ID, 0, 0, 100, 1<<20, nil)
			mustKafka(t, err)
			if last := got[len(got)-1].ID; last != fmt.Sprint("reply-", round) {
				t.Errorf("the last event is %s", last)
			}
		}
	})
}

// kafkaNode runs test/kafka/node.
func kafkaNode(t testing.TB, verb string, n int) {
	t.Helper()
	if out, err := exec.Command("../kafka/node", verb, strconv.Itoa(n)).CombinedOutput(); err != nil {
		t.Fatalf("node %s %d: %v\n%s", verb, n, err, out)
	}
}

// ownKafka returns brokers that this test may kill: those that test/kafka/up started.
func ownKafka(t testing.TB) (brokers []string) {
	t.Helper()
	brokers = realKafka(t)
	if _, err := os.Stat(filepath.Join(os.Getenv("TANDEM_KAFKA_DIR"), "nodes")); err != nil {
		t.Skip(`kills brokers, so they have to be those of eval "$(make -s kafka-up)", which sets TANDEM_KAFKA_DIR`)
	}
	return brokers
}

// TestKafkaLedger: publishers, and writers of events with state, go on while brokers are killed, paused and cut off. What was acknowledged is there,
// in order of its key, and repeats are only of what was sent again.
func TestKafkaLedger(t *testing.T) {
	brokers := ownKafka(t)
	rounds, pause := 1, 8*time.Second
	if os.Getenv("TANDEM_SOAK") == "1" {
		rounds, pause = 10, 30*time.Second
	}
	g := newGate()
	harm := map[string]func(t *testing.T, round int){
		"cut": func(*testing.T, int) {
			for range 5 {
				g.cut()
				<-time.After(200 * time.Millisecond)
			}
		},
		"kill": func(t *testing.T, round int) {
			n := 1 + round%len(brokers)
			kafkaNode(t, "kill", n)
			<-time.After(time.Second)
			kafkaNode(t, "start", n)
		},
		"pause": func(t *testing.T, round int) {
			n := 1 + round%len(brokers)
			kafkaNode(t, "pause", n)
			<-time.After(pause)
			kafkaNode(t, "resume", n)
		},
		"roll": func(t *testing.T, _ int) {
			for n := 1; n <= len(brokers); n++ {
				kafkaNode(t, "stop", n)
				kafkaNode(t, "start", n)
			}
		},
	}
	for _, name := range []string{"cut", "kill", "pause", "roll"} {
		t.Run(name, func(t *testing.T) {
			l := openLedger(t, kafkalog.Options{Brokers: brokers, Prefix: kafkaPrefix(t), Dial: g.dial, Timeout: 3 * time.Second})
			for round := range rounds {
				l.settle(100)
				harm[name](t, round)
				l.settle(100)
			}
			l.finish()
		})
	}
}

// ledger writes and notes what was acknowledged.
type ledger struct {
	*testing.T
	engine *kafkalog.Engine
	log    *eventlog.Log
	stop   chan struct{}
	wg     sync.WaitGroup
	acked  atomic.Int64
	again  atomic.Int64 // appends that were not acknowledged

	mu   sync.Mutex
	last map[string]int // acknowledged, by key
	sent map[string]int // times, by id
}

const ledgerParts, ledgerWriters = 4, 16

func openLedger(t *testing.T, opts kafkalog.Options) *ledger {
	e := openKafka(t, opts)
	log, err := eventlog.Open(context.Background(), e, eventlog.Options{})
	mustKafka(t, err)
	t.Cleanup(func() { log.Close() })
	l := &ledger{T: t, engine: e, log: log, stop: make(chan struct{}), last: map[string]int{}, sent: map[string]int{}}
	for _, name := range []string{"events", "replies"} {
		_, err = log.CreateTopic(context.Background(), tandem.Topic{Name: name, Partitions: ledgerParts})
		mustKafka(t, err)
	}
	for w := range ledgerWriters {
		l.wg.Go(func() { l.publish(fmt.Sprint("key-", w)) })
	}
	for w := range 4 {
		l.wg.Go(func() { l.reply(fmt.Sprint("reply-", w)) })
	}
	return l
}

// until repeats fn until it succeeds; false when the ledger ends.
func (l *ledger) until(id string, fn func() error) bool {
	for {
		l.mu.Lock()
		l.sent[id]++
		l.mu.Unlock()
		err := fn()
		if err == nil {
			l.acked.Add(1)
			return true
		}
		if tandem.CodeOf(err) != tandem.CodeUnavailable {
			l.Errorf("%s: %v", id, err)
			return false
		}
		l.again.Add(1)
		select {
		case <-l.stop:
			return false
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (l *ledger) over() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

func (l *ledger) note(key string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last[key] = n
}

func eventOf(key string, n int) tandem.Event {
	return tandem.Event{ID: fmt.Sprint(key, "/", n), Source: "/ledger", Type: "ledger", Subject: key, Data: []byte(strconv.Itoa(n))}
}

// publish sends single events of a key, one after the other.
func (l *ledger) publish(key string) {
	for n := 1; !l.over(); n++ {
		if !l.until(fmt.Sprint(key, "/", n), func() error {
			_, err := l.log.Append(context.Background(), "events", []tandem.Event{eventOf(key, n)})
			return err
		}) {
			return
		}
		l.note(key, n)
	}
}

// reply stores two events and a counter that has to be what it was.
func (l *ledger) reply(key string) {
	before := []byte{}
	for n := 1; !l.over(); n++ {
		now := []byte(strconv.Itoa(n))
		if !l.until(fmt.Sprint(key, "/", n), func() error {
			_, err := l.log.Commit(context.Background(), &eventlog.Tx{
				Events: []eventlog.TopicEvent{{Topic: "replies", Event: eventOf(key, n)}, {Topic: "replies", Event: eventOf(key+"-twin", n)}},
				State:  []driver.StateOp{{Key: key, Value: now, If: before}}})
			if tandem.CodeOf(err) == tandem.CodeConflict { // the attempt before was stored
				if v, _ := stateOf(l, l.engine, key); v == string(now) {
					return nil
				}
			}
			return err
		}) {
			return
		}
		l.note(key, n)
		before = now
	}
}

// settle waits until some more were acknowledged.
func (l *ledger) settle(more int64) {
	from := l.acked.Load()
	eventually(l, "events are acknowledged", 90*time.Second, func() bool { return l.acked.Load() > from+more })
}

// finish ends the writers and looks at what is there.
func (l *ledger) finish() {
	close(l.stop)
	l.wg.Wait()
	eventually(l, "the engine is healthy", 30*time.Second, func() bool { return l.engine.Health() == nil })
	seen := map[string]int{}  // the largest number, by key
	times := map[string]int{} // by id
	total := 0
	for _, name := range []string{"events", "replies"} {
		info, err := l.log.Topic(context.Background(), name)
		mustKafka(l, err)
		for part := range info.Partitions {
			for from := uint64(0); ; {
				got, err := l.engine.Read(context.Background(), info.ID, part, from, 1000, 1<<20, nil)
				mustKafka(l, err)
				if len(got) == 0 {
					break
				}
				for i := range got {
					key := got[i].Subject
					n, _ := strconv.Atoi(string(got[i].Data))
					if times[got[i].ID]++; times[got[i].ID] > 1 {
						continue
					}
					if n != seen[key]+1 {
						l.Errorf("%s: %d follows %d", key, n, seen[key])
					}
					seen[key] = n
					total++
				}
				from = got[len(got)-1].Position.Offset + 1
			}
		}
	}
	repeats := 0
	for id, n := range times {
		repeats += n - 1
		sent := l.sent[strings.Replace(id, "-twin", "", 1)]
		if n > sent {
			l.Errorf("%s is stored %d times and was sent %d times", id, n, sent)
		}
	}
	for key, n := range l.last {
		if seen[key] < n {
			l.Errorf("%s: %d was acknowledged, the log ends with %d", key, n, seen[key])
		}
		if !strings.HasPrefix(key, "reply") {
			continue
		}
		state, _ := stateOf(l, l.engine, key)
		if v, _ := strconv.Atoi(state); v != seen[key] || v != seen[key+"-twin"] {
			l.Errorf("%s: the state is %s, the events end with %d and %d", key, state, seen[key], seen[key+"-twin"])
		}
	}
	l.Logf("%d events acknowledged, %d there, %d repeats; %d appends were refused", l.acked.Load(), total, repeats, l.again.Load())
}
