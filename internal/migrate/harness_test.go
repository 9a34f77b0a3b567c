package migrate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/eventlog/pebblelog"
	"github.com/tandem-hybrid/tandem/internal/offsetmap"
)

func embedded(t testing.TB) driver.Driver {
	t.Helper()
	e, err := pebblelog.Open("log", pebblelog.Options{FS: vfs.NewMem(), FreeBytes: -1, RetentionEvery: -1, CacheBytes: 1 << 20, MemTableBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func vectors(testing.TB) driver.Driver { return memlog.New(memlog.Options{Partitioned: true}) }

func numbers(testing.TB) driver.Driver { return memlog.New(memlog.Options{}) }

// kept is an engine whose Close does nothing, so that a Log over it can be closed and the engine used on.
type kept struct{ driver.Driver }

func (kept) Close() error { return nil }

// openLog opens a log for as long as fn runs.
func openLog(t testing.TB, d driver.Driver, fn func(*eventlog.Log)) {
	t.Helper()
	l, err := eventlog.Open(context.Background(), kept{d}, eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fn(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// fragile fails every append from the n-th on, after or before it was stored, as a kill does.
type fragile struct {
	driver.Driver
	left   atomic.Int64
	stored bool // the append that fails first is stored all the same
	half   bool // of its records the first half is, as an engine that is not Atomic may do
}

var errKilled = errors.New("killed")

func (f *fragile) Append(ctx context.Context, b *driver.Batch) error {
	switch n := f.left.Add(-1); {
	case n < 0:
		return errKilled
	case n == 0:
		if f.half {
			part := driver.Batch{Records: slices.Clone(b.Records[:len(b.Records)/2]), Fence: b.Fence}
			if len(part.Records) > 0 {
				if err := f.Driver.Append(ctx, &part); err != nil {
					return err
				}
			}
		} else if f.stored {
			if err := f.Driver.Append(ctx, b); err != nil {
				return err
			}
		}
		return errKilled
	}
	return f.Driver.Append(ctx, b)
}

func (f *fragile) Info() driver.Info {
	i := f.Driver.Info()
	i.Atomic = i.Atomic && !f.half
	return i
}

// fill publishes n events to a few topics, with all that an event can have.
func fill(t testing.TB, d driver.Driver, rnd *rand.Rand, n int) {
	t.Helper()
	openLog(t, d, func(l *eventlog.Log) {
		for i, name := range []string{"orders", "positions", "_tandem.operator", "empty"} {
			if _, err := l.CreateTopic(context.Background(), tandem.Topic{Name: name, Partitions: 1 + 2*i, Retention: -1}); err != nil && tandem.CodeOf(err) != tandem.CodeConflict {
				t.Fatal(err)
			}
		}
		publish(t, l, rnd, n)
		var tx eventlog.Tx
		for i := range 700 { // more than one write of state
			tx.State = append(tx.State, driver.StateOp{Key: fmt.Sprintf("test/%04d", i), Value: []byte(strconv.Itoa(i))})
		}
		if _, err := l.Commit(context.Background(), &tx); err != nil {
			t.Fatal(err)
		}
	})
}

// testRooms translate the records of fill.
func testRooms() []Room {
	return []Room{{Prefix: "test/", Translate: func(ctx context.Context, from offsetmap.State, _ *Moved, put func(string, []byte) error) error {
		return offsetmap.Scan(ctx, from, "test/", func(key string, value []byte) error { return put(key+"/moved", append(value, '!')) })
	}}}
}

func publish(t testing.TB, l *eventlog.Log, rnd *rand.Rand, n int) {
	t.Helper()
	for i := 0; i < n; {
		batch := make([]tandem.Event, 1+rnd.IntN(4))
		for j := range batch {
			i++
			batch[j] = anEvent(rnd, i)
		}
		if _, err := l.Append(context.Background(), []string{"orders", "positions", "_tandem.operator"}[rnd.IntN(3)], batch); err != nil {
			t.Fatal(err)
		}
	}
}

func anEvent(rnd *rand.Rand, i int) tandem.Event {
	e := tandem.Event{Source: "/test", Type: "t", Subject: fmt.Sprintf("k%d", rnd.IntN(9)), Data: fmt.Appendf(nil, `{"n":%d}`, i)}
	switch rnd.IntN(5) {
	case 0:
		e.ID = fmt.Sprintf("own-%d-%d", i, rnd.Uint64())
	case 1:
		e.DataContentType, e.Data = "text/plain", []byte("text")
		e.Extensions = []tandem.Extension{{Name: "zeta", Value: "1", Kind: tandem.ExtensionInteger}, {Name: "alpha", Value: "x"}}
	case 2:
		e.Data = nil
		e.Meta = tandem.Meta{Key: "other", Flow: "f", Causes: []string{"a", "b"}, Operation: "o", Hops: 2, Producer: "p", Route: "r", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	}
	return e
}

// copyAll migrates, which must succeed.
func copyAll(t testing.TB, from, to driver.Driver, opts Options) Summary {
	t.Helper()
	s, err := New(from, to, opts).Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// contents are the events of each partition, without their offsets.
func contents(t testing.TB, d driver.Driver) map[string][]tandem.Event {
	t.Helper()
	out := map[string][]tandem.Event{}
	topics, err := d.Topics(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, dt := range topics {
		for p := range dt.Partitions {
			recs, err := d.Read(context.Background(), dt.ID, p, 0, 1<<20, 1<<30, nil)
			if err != nil {
				t.Fatal(err)
			}
			key := fmt.Sprintf("%s/%d", dt.Name, p)
			out[key] = []tandem.Event{}
			for i := range recs {
				out[key] = append(out[key], recs[i].Event)
			}
		}
	}
	return out
}

// sameContents compares what two engines hold.
func sameContents(t testing.TB, a, b driver.Driver) {
	t.Helper()
	left, right := contents(t, a), contents(t, b)
	if len(left) != len(right) {
		t.Fatalf("%d partitions and %d", len(left), len(right))
	}
	for key := range left {
		if !slices.EqualFunc(left[key], right[key], func(x, y tandem.Event) bool { return sameEvent(&x, &y) }) {
			t.Fatalf("%s differs: %d events and %d", key, len(left[key]), len(right[key]))
		}
	}
}

func source(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }
