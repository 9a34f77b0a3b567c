package engines

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/natslog"
)

// natsBench is a topic of a log and streams of a client of its own, side by side on one server that syncs always.
type natsBench struct {
	log    *eventlog.Log
	prefix string
	topic  string
	js     jetstream.JetStream
	name   string // begins the subjects of the client
	parts  int
}

// natsBenchURL is TANDEM_NATS, or a server in this process over TCP.
func natsBenchURL(b testing.TB) string {
	if url := os.Getenv("TANDEM_NATS"); url != "" {
		return url
	}
	s := natsServer(b, func(o *server.Options) { o.DontListen, o.Host, o.Port, o.SyncAlways = false, "127.0.0.1", -1, true })
	return "nats://" + s.Addr().String()
}

func newNATSBench(b *testing.B, parts int, cache int64) *natsBench {
	url := natsBenchURL(b)
	prefix := natsPrefix()
	e, err := natslog.Open(b.Context(), natslog.Options{URL: url, Prefix: prefix, Replicas: natsReplicas(), SyncAlways: true, CacheBytes: cache})
	if err != nil {
		b.Fatal(err)
	}
	log, err := eventlog.Open(b.Context(), e, eventlog.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { log.Close() })
	if _, err := log.CreateTopic(b.Context(), tandem.Topic{Name: "bench", Partitions: parts}); err != nil {
		b.Fatal(err)
	}
	nc, err := nats.Connect(url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	n := &natsBench{log: log, prefix: prefix, topic: "bench", name: strings.ReplaceAll(natsPrefix(), "t", "c"), parts: parts}
	if n.js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4000)); err != nil {
		b.Fatal(err)
	}
	for p := range parts {
		if _, err := n.js.CreateStream(b.Context(), jetstream.StreamConfig{Name: fmt.Sprintf("%s_%d", n.name, p), Subjects: []string{fmt.Sprintf("%s.%d", n.name, p)},
			Replicas: natsReplicas(), DenyDelete: true, AllowDirect: true, AllowAtomicPublish: true}); err != nil {
			b.Fatal(err)
		}
	}
	return n
}

func (n *natsBench) event(i int) tandem.Event {
	return tandem.Event{Source: "/bench", Type: "bench.event", Subject: fmt.Sprint("key-", i%1000), DataContentType: "application/json", Data: fmt.Appendf(nil, `{"n": %d, "pad": "%0180d"}`, i, i)}
}

// msg is what the engine writes for an event, as its own client would write it.
func (n *natsBench) msg(i int) *nats.Msg {
	ev := n.event(i)
	return &nats.Msg{Subject: fmt.Sprintf("%s.%d", n.name, i%n.parts), Data: ev.Data, Header: nats.Header{"ce-specversion": {"1.0"}, "ce-id": {"0195f2c4-7b7e-7d1c-9b0a-1234567890ab"},
		"ce-source": {ev.Source}, "ce-type": {ev.Type}, "ce-subject": {ev.Subject}, "ce-datacontenttype": {ev.DataContentType},
		"Tandem-Meta": {"1;a=1795866536521696509;d=1"}}}
}

func (n *natsBench) append(b testing.TB, from, count int) {
	events := make([]tandem.Event, count)
	for i := range events {
		events[i] = n.event(from + i)
	}
	if _, err := n.log.Append(context.Background(), n.topic, events); err != nil {
		b.Error(err)
	}
}

func (n *natsBench) publish(b testing.TB, from, count int) {
	if count == 1 {
		if _, err := n.js.PublishMsg(context.Background(), n.msg(from)); err != nil {
			b.Error(err)
		}
		return
	}
	futures := make([]jetstream.PubAckFuture, count)
	for i := range futures {
		f, err := n.js.PublishMsgAsync(n.msg(from + i))
		if err != nil {
			b.Error(err)
			return
		}
		futures[i] = f
	}
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			b.Error(err)
		}
	}
}

// natsMeasured is what calls took, and the processor time of this process with them.
type natsMeasured struct {
	calls    []time.Duration
	all, cpu time.Duration
}

// measure runs calls of write in a number of goroutines.
func (m *natsMeasured) measure(b *testing.B, writers, calls, count int, write func(b testing.TB, from, count int)) {
	took := make([]time.Duration, calls)
	var wg sync.WaitGroup
	start, cpu := time.Now(), usedCPU()
	for w := range writers {
		wg.Go(func() {
			for c := w; c < calls; c += writers {
				t := time.Now()
				write(b, c*count, count)
				took[c] = time.Since(t)
			}
		})
	}
	wg.Wait()
	m.all += time.Since(start)
	m.cpu += usedCPU() - cpu
	m.calls = append(m.calls, took...)
}

func (m *natsMeasured) rate(count int) float64 { return float64(len(m.calls)*count) / m.all.Seconds() }

func (m *natsMeasured) cpuPerMillion(count int) float64 {
	return m.cpu.Seconds() / float64(len(m.calls)*count) * 1e6
}

func (m *natsMeasured) median() time.Duration {
	slices.Sort(m.calls)
	return m.calls[len(m.calls)/2]
}

// BenchmarkNATSAppend compares Append with nats.go's own client, which publishes the same messages and waits for all answers, in turns.
func BenchmarkNATSAppend(b *testing.B) {
	for _, c := range []struct{ parts, writers, count int }{{1, 1, 1}, {8, 1, 1}, {1, 64, 1}, {8, 64, 1}, {8, 512, 1}, {1, 1, 1000}, {8, 1, 1000}, {8, 4, 1000}} {
		b.Run(fmt.Sprintf("parts=%d/writers=%d/count=%d", c.parts, c.writers, c.count), func(b *testing.B) {
			n := newNATSBench(b, c.parts, 0)
			n.append(b, 0, 1)
			n.publish(b, 0, 1)
			b.ResetTimer()
			b.ReportAllocs()
			var ours, client natsMeasured
			const rounds = 10
			calls := max(c.writers*2, b.N/c.count/rounds)
			for range rounds {
				b.StopTimer()
				client.measure(b, c.writers, calls, c.count, n.publish)
				b.StartTimer()
				ours.measure(b, c.writers, calls, c.count, n.append)
			}
			b.ReportMetric(ours.rate(c.count), "events/s")
			b.ReportMetric(ours.rate(c.count)/client.rate(c.count), "x-client")
			b.ReportMetric(ours.cpuPerMillion(c.count), "cpu-s/M")
			b.ReportMetric(client.cpuPerMillion(c.count), "client-cpu-s/M")
			b.ReportMetric(float64(ours.median().Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64((ours.median()-client.median()).Microseconds())/1000, "p50-added-ms")
		})
	}
}

// consumeAll reads a stream with an ordered consumer of nats.go, and returns how long that took.
func consumeAll(b *testing.B, js jetstream.JetStream, stream string) time.Duration {
	start := time.Now()
	c, err := js.OrderedConsumer(b.Context(), stream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		b.Fatal(err)
	}
	it, err := c.Messages(jetstream.PullMaxMessages(1000))
	if err != nil {
		b.Fatal(err)
	}
	defer it.Stop()
	for {
		m, err := it.Next()
		if err != nil {
			b.Fatal(err)
		}
		meta, err := m.Metadata()
		if err != nil {
			b.Fatal(err)
		}
		if meta.NumPending == 0 {
			return time.Since(start)
		}
	}
}

// BenchmarkNATSRead reads a topic from its start, page by page, in turns with an ordered consumer of nats.go on the same stream.
func BenchmarkNATSRead(b *testing.B) {
	n := newNATSBench(b, 1, -1)
	total := max(b.N/1000, 10) * 1000
	for i := 0; i < total; i += 1000 {
		n.append(b, i, 1000)
	}
	info, err := n.log.Topic(b.Context(), n.topic)
	if err != nil {
		b.Fatal(err)
	}
	stream, err := n.js.StreamNameBySubject(b.Context(), n.prefix+".events."+n.topic+".0")
	if err != nil {
		b.Fatal(err)
	}
	ours := func() {
		var got []tandem.Record
		for from := uint64(1); from <= uint64(total); {
			if got, err = n.log.ReadPartition(b.Context(), info.ID, 0, from, 1000, got[:0]); err != nil || len(got) == 0 {
				b.Fatal(len(got), err)
			}
			from = got[len(got)-1].Position.Offset + 1
		}
	}
	client := func() { consumeAll(b, n.js, stream) }
	rate := func(read func()) float64 {
		start, cpu := time.Now(), usedCPU()
		read()
		b.Logf("%.0f/s, %.1f s of CPU per million", float64(total)/time.Since(start).Seconds(), (usedCPU()-cpu).Seconds()/float64(total)*1e6)
		return float64(total) / time.Since(start).Seconds()
	}
	b.ResetTimer()
	var rates, ratios []float64
	for range 3 {
		own := rate(client)
		r := rate(ours)
		rates, ratios = append(rates, r), append(ratios, r/own)
	}
	slices.Sort(rates)
	slices.Sort(ratios)
	b.ReportMetric(rates[1], "events/s")
	b.ReportMetric(ratios[1], "x-client")
}

// BenchmarkNATSStart opens a log with 10,000 state records, or TANDEM_STATE_RECORDS, with an index and without, where a plain consumer reads the same
// stream in the same run.
func BenchmarkNATSStart(b *testing.B) {
	records := 10_000
	if n := os.Getenv("TANDEM_STATE_RECORDS"); n != "" {
		records, _ = strconv.Atoi(n)
	}
	o := natslog.Options{URL: natsBenchURL(b), Prefix: natsPrefix(), Replicas: natsReplicas(), Dir: b.TempDir()}
	e, err := natslog.Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := w * 1000; i < records; i += 4000 {
				ops := make([]driver.StateOp, 1000)
				for j := range ops {
					ops[j] = driver.StateOp{Key: fmt.Sprintf("delivery/s/ship/parked/%09d", i+j), Value: make([]byte, 100)}
				}
				if err := putNATSState(e, nil, ops...); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.Logf("%d records written in %v", records, time.Since(start))
	nc, err := nats.Connect(o.URL)
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	for name, dir := range map[string]func() string{"index": func() string { return o.Dir }, "none": b.TempDir} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				if err := e.Close(); err != nil {
					b.Fatal(err)
				}
				o := o
				o.Dir = dir()
				start := time.Now()
				if e, err = natslog.Open(b.Context(), o); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(time.Since(start).Milliseconds()), "start-ms")
				if name == "none" {
					took := time.Since(start)
					b.ReportMetric(took.Seconds()/consumeAll(b, js, o.Prefix+"_state").Seconds(), "x-consumer")
				}
			}
		})
	}
	e.Close()
}
