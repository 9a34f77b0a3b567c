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

// engines are the kinds of engine that the tests of this package run on.
var engines = map[string]memlog.Options{"total": {}, "partitioned": {Partitioned: true}}

// onEngines runs a test on each kind of engine.
func onEngines(t *testing.T, fn func(t *testing.T, l *eventlog.Log, e *memlog.Engine)) {
	for name, opts := range engines {
		t.Run(name, func(t *testing.T) {
			e := memlog.New(opts)
			fn(t, open(t, e, eventlog.Options{}), e)
		})
	}
}

func open(t testing.TB, e driver.Driver, opts eventlog.Options) *eventlog.Log {
	t.Helper()
	l, err := eventlog.Open(ctx, e, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func create(t testing.TB, l *eventlog.Log, name string, partitions int) {
	t.Helper()
	if _, err := l.CreateTopic(context.Background(), tandem.Topic{Name: name, Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
}

func event(subject, data string) tandem.Event {
	return tandem.Event{Source: "/test", Type: "test.happened", Subject: subject, Data: []byte(data)}
}

// publish appends n events of changing subjects and returns their receipts.
func publish(t testing.TB, l *eventlog.Log, topic string, n int) []tandem.Receipt {
	t.Helper()
	events := make([]tandem.Event, n)
	for i := range events {
		events[i] = event(fmt.Sprint("key-", i%17), fmt.Sprint(i))
	}
	got, err := l.Append(context.Background(), topic, events)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func reader(t testing.TB, l *eventlog.Log, start tandem.Start, patterns ...string) *eventlog.Reader {
	t.Helper()
	sel, err := eventlog.Select(patterns...)
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.NewReader(context.Background(), sel, start)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// readAll reads until there is nothing left, and returns the events and the gaps.
func readAll(t testing.TB, r *eventlog.Reader, max int) (events []tandem.Record, gaps []*tandem.Gap) {
	t.Helper()
	for range 10_000 {
		p, err := r.Read(context.Background(), tandem.Filter{}, max)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, p.Events...)
		if p.Gap != nil {
			gaps = append(gaps, p.Gap)
		}
		if len(p.Events) == 0 && p.Gap == nil {
			return events, gaps
		}
	}
	t.Fatal("the reader does not come to an end")
	return nil, nil
}

func TestAppendThenRead(t *testing.T) {
	onEngines(t, func(t *testing.T, l *eventlog.Log, _ *memlog.Engine) {
		create(t, l, "a", 4)
		create(t, l, "b.c", 3)
		latest := reader(t, l, tandem.Start{}, "a")
		var want []tandem.Receipt
		for range 20 {
			want = append(want, publish(t, l, "a", 30)...)
			publish(t, l, "b.c", 7)
		}
		for _, max := range []int{1, 7, 1000} {
			got, gaps := readAll(t, reader(t, l, tandem.Start{Earliest: true}, "**"), max)
			if len(got) != 20*37 || len(gaps) != 0 {
				t.Fatalf("read %d events and %d gaps", len(got), len(gaps))
			}
		}
		got, _ := readAll(t, latest, 100)
		if len(got) != len(want) {
			t.Fatalf("read %d events since latest, want %d", len(got), len(want))
		}
		for _, c := range []int{0, 17, 599} {
			rest, gaps := readAll(t, reader(t, l, tandem.Start{Cursor: want[c].Cursor}, "a"), 100)
			if len(gaps) != 0 {
				t.Fatalf("a gap after %d: %v", c, gaps[0])
			}
			for _, e := range rest {
				if p := e.Position; p.Partition == want[c].Partition && p.Offset <= want[c].Offset {
					t.Fatalf("read %v after the cursor of %v", p, want[c])
				}
			}
		}
	})
}
