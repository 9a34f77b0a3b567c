package engines

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/kafkalog"
)

// quietKafka opens a log for measuring.
func quietKafka(b testing.TB, opts kafkalog.Options) *kafkalog.Engine {
	opts.Brokers, opts.Logger = realKafka(b), slog.New(slog.DiscardHandler)
	if opts.Prefix == "" {
		opts.Prefix = kafkaPrefix(b)
	}
	return openKafka(b, opts)
}

const kafkaBenchParts = 8

var benchData = []byte(`{"note":"` + strings.Repeat("x", 188) + `"}`)

// appends are the ways to store one event that are compared: eventlog.Append, and the client by itself with the same headers.
func appends(b testing.TB) map[string]func(n int) error {
	l, err := eventlog.Open(context.Background(), quietKafka(b, kafkalog.Options{}), eventlog.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	if _, err := l.CreateTopic(context.Background(), tandem.Topic{Name: "bench", Partitions: kafkaBenchParts}); err != nil {
		b.Fatal(err)
	}
	topic := kafkaPrefix(b) + "franz"
	cl, err := kgo.NewClient(kgo.SeedBrokers(realKafka(b)...), kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(cl.Close)
	if _, err := kadm.NewClient(cl).CreateTopic(context.Background(), kafkaBenchParts, -1, nil, topic); err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	return map[string]func(n int) error{
		"tandem": func(n int) error {
			ev := [1]tandem.Event{{Source: "/bench", Type: "bench.event", Subject: fmt.Sprint("key-", n%100), Data: benchData}}
			_, err := l.Append(ctx, "bench", ev[:])
			return err
		},
		"franz": func(n int) error {
			key := fmt.Sprint("key-", n%100)
			r := &kgo.Record{Topic: topic, Partition: int32(tandem.Partition(key, kafkaBenchParts)), Key: []byte(key), Value: benchData, Headers: []kgo.RecordHeader{
				{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: fmt.Appendf(nil, "%032d", n)}, {Key: "ce_source", Value: []byte("/bench")},
				{Key: "ce_type", Value: []byte("bench.event")}, {Key: "ce_subject", Value: []byte(key)}}}
			return cl.ProduceSync(ctx, r).FirstErr()
		},
	}
}

// BenchmarkKafkaAppendOne has one writer: the time of one append, in the middle and at the 99th of a hundred.
func BenchmarkKafkaAppendOne(b *testing.B) {
	ways := appends(b)
	for _, way := range []string{"franz", "tandem", "franz", "tandem"} {
		b.Run(way, func(b *testing.B) {
			b.ReportAllocs()
			took := make([]time.Duration, 0, b.N)
			for i := range b.N {
				began := time.Now()
				if err := ways[way](i); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// BenchmarkKafkaAppendMany has 512 writers of one event each. The two ways take turns, since other work on the machine would favour one: the ratio
// is the middle one of eight rounds.
func BenchmarkKafkaAppendMany(b *testing.B) {
	ways := appends(b)
	cpu := map[string]time.Duration{} // of this process
	round := func(way string) float64 {
		before := usedCPU()
		defer func() { cpu[way] += usedCPU() - before }()
		const events = 100_000
		var next atomic.Int64
		var wg sync.WaitGroup
		began := time.Now()
		for range 512 {
			wg.Go(func() {
				for n := int(next.Add(1)); n <= events; n = int(next.Add(1)) {
					if err := ways[way](n); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		return events / time.Since(began).Seconds()
	}
	var ratios, franz, tandem []float64
	round("franz")
	round("tandem")
	b.ResetTimer()
	clear(cpu)
	rounds := max(8, b.N)
	for range rounds {
		f, t := round("franz"), round("tandem")
		franz, tandem, ratios = append(franz, f), append(tandem, t), append(ratios, t/f)
	}
	middle := func(of []float64) float64 { slices.Sort(of); return of[len(of)/2] }
	b.ReportMetric(middle(franz), "franz/s")
	b.ReportMetric(middle(tandem), "tandem/s")
	b.ReportMetric(middle(ratios), "ratio")
	for way, used := range cpu {
		b.ReportMetric(used.Seconds()/float64(rounds)*10, way+"-cpu-s/M")
	}
}

func usedCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkKafkaCommit has writers of what delivery stores: state alone (cursors), and a reply with state.
func BenchmarkKafkaCommit(b *testing.B) {
	e := quietKafka(b, kafkalog.Options{Dir: b.TempDir() + "/state"})
	defer e.Close()
	t, err := e.CreateTopic(context.Background(), tandem.Topic{Name: "bench", Partitions: kafkaBenchParts, Retention: -1})
	if err != nil {
		b.Fatal(err)
	}
	for _, events := range []int{0, 1, 100} {
		for _, writers := range []int{1, 64} {
			b.Run(fmt.Sprintf("events=%d/writers=%d", events, writers), func(b *testing.B) {
				b.ReportAllocs()
				var next atomic.Int64
				var wg sync.WaitGroup
				for w := range writers {
					wg.Go(func() {
						for {
							n := int(next.Add(1))
							if n > b.N {
								return
							}
							batch := driver.Batch{State: []driver.StateOp{{Key: fmt.Sprint("cursor/", w), Value: benchData}}}
							for i := range events {
								batch.Records = append(batch.Records, driver.Record{Topic: t.ID, Partition: (n + i) % kafkaBenchParts,
									Event: &tandem.Event{ID: fmt.Sprint(n, i), Source: "/bench", Type: "bench", Data: benchData, Meta: tandem.Meta{Accepted: time.Now()}}})
							}
							if err := e.Append(context.Background(), &batch); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
	tx := e.Transactions()
	b.Logf("%d transactions, on average %v, the longest %v", tx.Count, tx.Total/time.Duration(max(1, tx.Count)), tx.Longest)
}
