package eventlog_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

// blackHole confirms and forgets, so that the figures are those of Log.
type blackHole struct {
	driver.Driver
	next uint64
}

func (b *blackHole) Append(_ context.Context, batch *driver.Batch) error {
	for i := range batch.Records {
		b.next++
		batch.Records[i].Offset = b.next
	}
	return nil
}

func BenchmarkAppend(b *testing.B) {
	for _, ids := range []string{"made", "given"} {
		for _, n := range []int{1, 500} {
			b.Run(fmt.Sprintf("ids=%s/batch=%d", ids, n), func(b *testing.B) {
				l := open(b, &blackHole{Driver: memlog.New(memlog.Options{})}, eventlog.Options{})
				create(b, l, "t", 8)
				events := make([]tandem.Event, n)
				keys, given := make([]string, n), make([]string, n)
				for i := range keys {
					keys[i], given[i] = fmt.Sprint("key-", i%100), tandem.NewID()
				}
				data := make([]byte, 200)
				b.ReportAllocs()
				for b.Loop() {
					for i := range events {
						events[i] = tandem.Event{Source: "/bench", Type: "bench", Subject: keys[i], Data: data, DataContentType: "application/octet-stream", Encoding: tandem.DataBinary}
						if ids == "given" {
							events[i].ID = given[i]
						}
					}
					if _, err := l.Append(ctx, "t", events); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
			})
		}
	}
}

// BenchmarkNotify is a commit while many watch other topics.
func BenchmarkNotify(b *testing.B) {
	for _, idle := range []int{0, 10_000} {
		b.Run(fmt.Sprint("idle=", idle), func(b *testing.B) {
			l := open(b, memlog.New(memlog.Options{}), eventlog.Options{})
			create(b, l, "busy", 1)
			create(b, l, "idle", 1)
			for range idle {
				defer l.Watch(selection(b, "idle")).Close()
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Append(ctx, "busy", []tandem.Event{event("", "1")}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	l := open(b, memlog.New(memlog.Options{}), eventlog.Options{})
	create(b, l, "t", 8)
	for range 100 {
		publish(b, l, "t", 500)
	}
	b.ReportAllocs()
	for b.Loop() {
		r := reader(b, l, tandem.Start{Earliest: true}, "t")
		n := 0
		for n < 50_000 {
			p, err := r.Read(ctx, tandem.Filter{}, 500)
			if err != nil {
				b.Fatal(err)
			}
			n += len(p.Events)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*50_000), "ns/event")
}
