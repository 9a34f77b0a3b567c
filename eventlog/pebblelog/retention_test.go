package pebblelog

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// testClock is a clock that tests move.
type testClock struct{ ns atomic.Int64 }

func newTestClock() *testClock {
	c := &testClock{}
	c.ns.Store(time.Unix(1700000000, 0).UnixNano())
	return c
}

func (c *testClock) now() time.Time          { return time.Unix(0, c.ns.Load()) }
func (c *testClock) advance(d time.Duration) { c.ns.Add(int64(d)) }

func createKept(t testing.TB, e *Engine, name string, partitions int, keep time.Duration, bytes int64) driver.Topic {
	t.Helper()
	top, err := e.CreateTopic(t.Context(), tandem.Topic{Name: name, Partitions: partitions, Retention: tandem.Duration(keep), RetentionBytes: bytes})
	if err != nil {
		t.Fatal(err)
	}
	return top
}

func dirBytes(dir string) (n int64) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, _ error) error {
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}

// TestRetentionGivesBack keeps two topics for different times while appending to both, and looks at the disk.
func TestRetentionGivesBack(t *testing.T) {
	clock := newTestClock()
	dir := t.TempDir()
	e := openAt(t, dir, Options{Now: clock.now, RetentionEvery: -1, FreeBytes: -1, MemTableBytes: 1 << 20, SegmentBytes: 8 << 20})
	short, long := createKept(t, e, "short", 4, time.Hour, 0), createKept(t, e, "long", 1, 1000*time.Hour, 0)
	data := noise(32 << 10)
	var most int64
	for i := range 40 {
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for range 8 {
					ev := &tandem.Event{ID: "x", Source: "/s", Type: "t", Data: data, Meta: tandem.Meta{Accepted: clock.now()}}
					b := driver.Batch{Records: []driver.Record{{Topic: short.ID, Partition: w, Event: ev}}}
					if err := e.Append(context.Background(), &b); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Go(func() {
			if err := e.RunRetention(context.Background()); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		ev := event(fmt.Sprint(i))
		ev.Meta.Accepted = clock.now()
		appendOne(t, e, driver.Record{Topic: long.ID, Event: ev})
		clock.advance(10 * time.Minute)
		most = max(most, dirBytes(dir))
	}
	if n := len(readAll(t, e, long.ID, 0, 0)); n != 40 {
		t.Errorf("the long topic has %d events, want 40", n)
	}
	recs := readAll(t, e, short.ID, 0, 0)
	if oldest := clock.now().Sub(recs[0].Meta.Accepted); oldest > 90*time.Minute || len(recs) < 6*8-8 {
		t.Errorf("the short topic has %d events, the oldest %v old", len(recs), oldest)
	}
	clock.advance(2 * time.Hour)
	if err := e.RunRetention(t.Context()); err != nil {
		t.Fatal(err)
	}
	bounds, err := e.Bounds(t.Context(), short.ID, 0)
	if err != nil || bounds.Start != bounds.End || bounds.Bytes != 0 || bounds.StartSeq != bounds.EndSeq || bounds.EndSeq != 40*8+1 {
		t.Errorf("bounds of what has expired: %+v, %v", bounds, err)
	}
	// The tables are gone when RunRetention returns, and Pebble deletes their files in its own time. It keeps a few log
	// files to write to again.
	if n := e.db.Metrics().Total().TablesSize; n > 2<<20 {
		t.Errorf("%d MiB are still in tables", n>>20)
	}
	for dirBytes(dir) > 14<<20 {
		time.Sleep(5 * time.Millisecond) // no deadline of its own: a machine may be busy
	}
	t.Logf("at most %d MiB on disk for 40 MiB appended, %d at the end", most>>20, dirBytes(dir)>>20)
}

// TestRetentionBySize cuts a topic of many partitions within a segment and over several.
func TestRetentionBySize(t *testing.T) {
	for name, segment := range map[string]int64{"one segment": 1 << 30, "many": 64 << 10} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			e := open(t, Options{FS: fs, RetentionEvery: -1, SegmentBytes: segment})
			top := createKept(t, e, "t", 3, -1, 100<<10)
			other := create(t, e, "other", 1)
			for i := range 600 {
				ev := event(fmt.Sprint(i))
				ev.Data = noise(1000)
				appendOne(t, e, driver.Record{Topic: top.ID, Partition: i % 3, Event: ev})
				appendOne(t, e, driver.Record{Topic: other.ID, Event: ev})
			}
			if err := e.RunRetention(t.Context()); err != nil {
				t.Fatal(err)
			}
			check := func(e *Engine) {
				t.Helper()
				var bytes int64
				for p := range 3 {
					b, err := e.Bounds(t.Context(), top.ID, p)
					recs := readAll(t, e, top.ID, p, 0)
					if err != nil || uint64(len(recs)) != b.EndSeq-b.StartSeq || b.EndSeq != 201 || recs[0].Position.Offset != b.Start || recs[0].Seq != b.StartSeq {
						t.Fatalf("partition %d: %d events, %+v, %v", p, len(recs), b, err)
					}
					if b.Removed == 0 || b.Removed > b.Start {
						t.Errorf("removed is %d, the oldest event at %d", b.Removed, b.Start)
					}
					bytes += b.Bytes
				}
				if bytes > 107<<10 || bytes < 90<<10 {
					t.Errorf("%d bytes are held, the limit is %d", bytes, 100<<10)
				}
				if n := len(readAll(t, e, other.ID, 0, 0)); n != 600 {
					t.Errorf("%d events of the other topic", n)
				}
			}
			check(e)
			e.Close()
			check(open(t, Options{FS: fs, RetentionEvery: -1}))
		})
	}
}

// TestRetentionManyTopics removes a segment of which every other topic stays, and then the rest.
func TestRetentionManyTopics(t *testing.T) {
	clock := newTestClock()
	e := open(t, Options{FS: vfs.NewMem(), Now: clock.now, RetentionEvery: -1, SegmentBytes: 1})
	var tops []driver.Topic
	for i := range 20 {
		keep := time.Hour
		if i%2 == 1 {
			keep = 100 * time.Hour
		}
		tops = append(tops, createKept(t, e, fmt.Sprint("t", i), 2, keep, 0))
	}
	b := driver.Batch{}
	for i, top := range tops {
		ev := event("x")
		ev.Meta.Accepted = clock.now()
		b.Records = append(b.Records, driver.Record{Topic: top.ID, Partition: i % 2, Event: ev})
	}
	if err := e.Append(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	left := func() (n int) {
		for i, top := range tops {
			n += len(readAll(t, e, top.ID, i%2, 0))
		}
		return n
	}
	for _, step := range []struct {
		after    time.Duration
		left     int
		segments int
	}{{time.Minute, 20, 1}, {2 * time.Hour, 10, 1}, {time.Hour, 10, 1}, {100 * time.Hour, 0, 0}} {
		clock.advance(step.after)
		if err := e.RunRetention(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, s := left(), len(e.segments.all()); n != step.left || s != step.segments {
			t.Errorf("after %v: %d events in %d segments, want %d in %d", step.after, n, s, step.left, step.segments)
		}
	}
}

// TestRetentionTellsFirst stalls the sync of a removal, when Pebble shows it already: who finds events missing must find
// them removed, or a reader would pass over them without being told.
func TestRetentionTellsFirst(t *testing.T) {
	clock := newTestClock()
	fs := newStallFS(vfs.NewMem())
	e := open(t, Options{FS: fs, Now: clock.now, RetentionEvery: -1, SegmentBytes: 1})
	top := createKept(t, e, "t", 1, time.Hour, 0)
	var last driver.Record
	for i := range 4 {
		if i == 3 {
			clock.advance(2 * time.Hour)
		}
		ev := event(fmt.Sprint(i))
		ev.Meta.Accepted = clock.now()
		last = appendOne(t, e, driver.Record{Topic: top.ID, Event: ev})
	}
	reached, resume := fs.stall()
	done := make(chan error, 1)
	go func() { done <- e.removeByAge(context.Background()) }()
	<-reached
	for len(readAll(t, e, top.ID, 0, 0)) == 4 {
		runtime.Gosched() // Pebble shows a batch soon after its sync began
	}
	recs := readAll(t, e, top.ID, 0, 0)
	b, err := e.Bounds(t.Context(), top.ID, 0)
	if err != nil || len(recs) == 0 || b.Removed == 0 || recs[0].Seq != b.StartSeq {
		t.Errorf("%d events can be read, bounds %+v, %v", len(recs), b, err)
	}
	resume()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := e.RunRetention(t.Context()); err != nil {
		t.Error(err)
	}
	if recs := readAll(t, e, top.ID, 0, 0); len(recs) != 1 || recs[0].Position.Offset != last.Offset {
		t.Errorf("%d events are left", len(recs))
	}
}
