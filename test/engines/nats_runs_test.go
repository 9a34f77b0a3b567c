package engines

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/natslog"
)

// natsFilled is a topic of one partition with many events on a server over TCP, and a client of NATS that was told of consumers.
type natsFilled struct {
	engine  *natslog.Engine
	topic   driver.Topic
	proxy   *natsProxy
	js      jetstream.JetStream
	stream  string
	total   int
	created atomic.Int64 // consumers
}

const natsFilledEvents = 12_000

func fillNATS(t *testing.T, o natslog.Options) *natsFilled {
	t.Helper()
	s := natsServer(t, func(o *server.Options) { o.DontListen, o.Host, o.Port = false, "127.0.0.1", -1 })
	nc, js := natsClient(t, s)
	f := &natsFilled{js: js, proxy: newNATSProxy(t, s.Addr().String())}
	sub, err := nc.Subscribe("$JS.EVENT.ADVISORY.CONSUMER.CREATED.>", func(*nats.Msg) { f.created.Add(1) })
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	o.URL, o.CacheBytes = f.proxy.url(), -1
	f.engine = openNATS(t, o)
	f.topic = createNATSTopic(t, f.engine, tandem.Topic{Name: "t", Partitions: 1, Retention: -1})
	if f.stream, err = js.StreamNameBySubject(t.Context(), "tandem.events.t.0"); err != nil {
		t.Fatal(err)
	}
	f.fill(t, natsFilledEvents/2, "1")
	f.fill(t, 1, `"`+strings.Repeat("x", 900_000)+`"`) // more than a consumer is asked for at once
	m := nats.NewMsg("tandem.events.t.0")
	m.Header.Set("Status", "404") // looks like a note of the server
	if _, err := js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	f.total++
	f.fill(t, natsFilledEvents/2, "1")
	natsUntil(t, "the end is known", func() bool {
		b, err := f.engine.Bounds(t.Context(), f.topic.ID, 0)
		return err == nil && b.End == uint64(f.total)+1
	})
	return f
}

func (f *natsFilled) fill(t *testing.T, count int, data string) {
	t.Helper()
	for count > 0 {
		b := driver.Batch{Records: make([]driver.Record, min(count, 1000))}
		for i := range b.Records {
			b.Records[i] = driver.Record{Topic: f.topic.ID, Event: natsEvent("e", data)}
		}
		if err := f.engine.Append(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		count, f.total = count-len(b.Records), f.total+len(b.Records)
	}
}

// readAll reads the topic in pages from the start to the end, and checks that nothing is missing, repeated or out of order.
func (f *natsFilled) readAll(t *testing.T, max, maxBytes int) {
	t.Helper()
	var got []tandem.Record
	for next := uint64(1); next <= uint64(f.total); {
		var err error
		got, err = f.engine.Read(context.Background(), f.topic.ID, 0, next, max, maxBytes, got[:0])
		if tandem.CodeOf(err) == tandem.CodeUnavailable {
			continue // the connection is cut: whoever reads goes on
		}
		if err != nil || len(got) == 0 || len(got) > max {
			t.Errorf("%d events at %d, %v", len(got), next, err)
			return
		}
		for i := range got {
			if got[i].Position.Offset != next {
				t.Errorf("offset %d where %d is next", got[i].Position.Offset, next)
				return
			}
			next++
		}
	}
}

func (f *natsFilled) consumers(t *testing.T, stream string) (all []*jetstream.ConsumerInfo) {
	t.Helper()
	s, err := f.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	l := s.ListConsumers(t.Context())
	for info := range l.Info() {
		all = append(all, info)
	}
	if err := l.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		t.Fatal(err)
	}
	return all
}

// TestNATSReadersFarBehind: many who read from the start are served by consumers, few in number, which are gone when they are at the end. Each gets
// everything in order, whatever its pages, also where a message is larger than a consumer is asked for.
func TestNATSReadersFarBehind(t *testing.T) {
	f := fillNATS(t, natslog.Options{})
	var wg sync.WaitGroup
	const readers = 12
	for i := range readers {
		wg.Go(func() { f.readAll(t, 300+7*i, []int{64 << 10, 1 << 30}[i%2]) })
	}
	wg.Wait()
	if n := f.created.Load(); n < 1 || n > 4*readers {
		t.Errorf("%d consumers were made for %d readers", n, readers)
	}
	natsUntil(t, "no consumer is left", func() bool { return len(f.consumers(t, f.stream)) == 0 })
}

// TestNATSReaderLeaves: of a reader that stops in the middle the server keeps little, and not for long.
func TestNATSReaderLeaves(t *testing.T) {
	f := fillNATS(t, natslog.Options{})
	for place := range 50 { // each reads two pages from a place of its own
		from := uint64(1 + place)
		for range 2 {
			got, err := f.engine.Read(t.Context(), f.topic.ID, 0, from, 100, 1<<20, nil)
			if err != nil || len(got) != 100 {
				t.Fatal(len(got), err)
			}
			from += uint64(len(got))
		}
	}
	all := f.consumers(t, f.stream)
	if len(all) == 0 || len(all) > 32 {
		t.Errorf("%d consumers for 50 places", len(all))
	}
	for _, c := range all {
		if c.Config.InactiveThreshold != 30*time.Second || !c.Config.MemoryStorage || c.Config.Replicas != 1 {
			t.Errorf("the server keeps %+v", c.Config)
		}
	}
	if err := f.engine.Close(); err != nil {
		t.Fatal(err)
	}
	natsUntil(t, "Close ends them", func() bool { return len(f.consumers(t, f.stream)) == 0 })
}

// TestNATSReaderUnderCuts: a connection that is cut again and again costs a reader its consumers, and no event and no order.
func TestNATSReaderUnderCuts(t *testing.T) {
	f := fillNATS(t, natslog.Options{Timeout: 2 * time.Second})
	const cuts = 5
	over := make(chan struct{})
	go func() { // each cut meets a consumer that is read
		defer close(over)
		for n := range int64(cuts) {
			natsUntil(t, "a consumer is made", func() bool { return f.created.Load() > n })
			f.proxy.cut(false)
		}
	}()
	for done := false; !done; {
		f.readAll(t, 500, 1<<20)
		select {
		case <-over:
			done = true
		default:
		}
	}
}

// TestNATSServerLostFarBehind: a server that is gone for a while in the middle of what a consumer sends costs a reader no event and no order, and
// no consumer is left.
func TestNATSServerLostFarBehind(t *testing.T) {
	f := fillNATS(t, natslog.Options{})
	var sent atomic.Int64
	lost := make(chan struct{})
	f.proxy.losing(func(line, _ string) bool {
		if !strings.Contains(line, " $JS.ACK.") || sent.Add(1) != 700 {
			return false
		}
		f.proxy.cut(true)
		close(lost)
		return true
	})
	f.engine = openNATS(t, natslog.Options{URL: f.proxy.url(), CacheBytes: -1, Timeout: time.Second})
	read := make(chan struct{})
	go func() {
		defer close(read)
		f.readAll(t, 100, 1<<20)
	}()
	select {
	case <-lost:
	case <-read:
		t.Fatal("all was read without a consumer")
	}
	natsUntil(t, "the server is missed", func() bool { return f.engine.Health() != nil })
	f.proxy.cut(false)
	<-read
	natsUntil(t, "no consumer is left", func() bool { return len(f.consumers(t, f.stream)) == 0 })
}

// TestNATSConsumerIsSilent: where consumers can be made and give nothing, few pages wait for one.
func TestNATSConsumerIsSilent(t *testing.T) {
	f := fillNATS(t, natslog.Options{})
	f.proxy.losing(func(line, _ string) bool { return strings.Contains(line, " $JS.ACK.") })
	f.engine = openNATS(t, natslog.Options{URL: f.proxy.url(), CacheBytes: -1, Timeout: time.Second})
	const pages = 16
	for page := range uint64(pages) {
		got, err := f.engine.Read(t.Context(), f.topic.ID, 0, 1+page*100, 100, 1<<20, nil)
		if err != nil || len(got) != 100 || got[0].Position.Offset != 1+page*100 {
			t.Fatalf("%d events of page %d, %v", len(got), page, err)
		}
	}
	natsUntil(t, "a consumer is made", func() bool { return f.created.Load() > 0 })
	if n := f.created.Load(); n > pages/4 {
		t.Errorf("%d consumers were made for %d pages", n, pages)
	}
}

// TestNATSStateIsReplayedByAConsumer: a start without an index reads all state, records in pieces and deletions among it.
func TestNATSStateIsReplayedByAConsumer(t *testing.T) {
	s := natsServer(t, nil)
	nc, _ := natsClient(t, s)
	var created atomic.Int64
	if _, err := nc.Subscribe("$JS.EVENT.ADVISORY.CONSUMER.CREATED.>", func(*nats.Msg) { created.Add(1) }); err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	e := openNATS(t, natslog.Options{InProcess: s})
	for i := 0; i < 9000; i += 900 {
		var ops []driver.StateOp
		for j := range 900 {
			ops = append(ops, driver.StateOp{Key: fmt.Sprint("k", i+j), Value: fmt.Append(nil, i)})
		}
		ops = append(ops, driver.StateOp{Key: fmt.Sprint("large", i), Value: []byte(strings.Repeat("y", 3<<20))}, driver.StateOp{Key: fmt.Sprint("k", i)})
		if err := putNATSState(e, nil, ops...); err != nil {
			t.Fatal(err)
		}
	}
	want := natsStates(t, e)
	if len(want) != 9000 {
		t.Fatalf("%d records", len(want))
	}
	again := openNATS(t, natslog.Options{InProcess: s})
	got := natsStates(t, again)
	if len(got) != len(want) {
		t.Errorf("%d records instead of %d", len(got), len(want))
	}
	for k, v := range want {
		if got[k] != v {
			t.Fatalf("%s has %d bytes instead of %d", k, len(got[k]), len(v))
		}
	}
	natsUntil(t, "a consumer was made", func() bool { return created.Load() > 0 })
}
