package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

func open(t testing.TB, opts Options) *Engine {
	t.Helper()
	dir := "log"
	if opts.FS == nil {
		dir = t.TempDir()
	}
	return openAt(t, dir, opts)
}

func openAt(t testing.TB, dir string, opts Options) *Engine {
	t.Helper()
	e, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return e
}

func create(t testing.TB, e *Engine, name string, partitions int) driver.Topic {
	t.Helper()
	top, err := e.CreateTopic(t.Context(), tandem.Topic{Name: name, Partitions: partitions, Retention: -1})
	if err != nil {
		t.Fatal(err)
	}
	return top
}

func event(id string) *tandem.Event {
	return &tandem.Event{ID: id, Source: "/test", Type: "t", Data: []byte(`{"n":1}`), Meta: tandem.Meta{Accepted: time.Unix(1700000000, 5).UTC()}}
}

func appendOne(t testing.TB, e *Engine, r driver.Record) driver.Record {
	t.Helper()
	b := driver.Batch{Records: []driver.Record{r}}
	if err := e.Append(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Records[0]
}

func readAll(t testing.TB, e *Engine, id driver.ID, partition int, from uint64) []tandem.Record {
	t.Helper()
	recs, err := e.Read(context.Background(), id, partition, from, 1<<30, 1<<30, nil)
	if err != nil {
		t.Fatal(err)
	}
	return recs
}

func wantCode(t testing.TB, err error, code tandem.Code) {
	t.Helper()
	if tandem.CodeOf(err) != code {
		t.Fatalf("got %v, want code %s", err, code)
	}
}

func TestAppendAndRead(t *testing.T) {
	fs := vfs.NewMem()
	e := open(t, Options{FS: fs})
	a, b := create(t, e, "a", 2), create(t, e, "b", 1)
	var want [2][]string
	for i := range 50 {
		batch := driver.Batch{Records: []driver.Record{
			{Topic: a.ID, Partition: i % 2, Event: event(fmt.Sprint("a", i))},
			{Topic: b.ID, Event: event(fmt.Sprint("b", i))},
		}}
		if err := e.Append(t.Context(), &batch); err != nil {
			t.Fatal(err)
		}
		if batch.Records[0].Offset >= batch.Records[1].Offset {
			t.Fatalf("offsets %d, %d do not rise", batch.Records[0].Offset, batch.Records[1].Offset)
		}
		want[i%2] = append(want[i%2], fmt.Sprint("a", i))
	}
	check := func(e *Engine) {
		t.Helper()
		for p := range want {
			recs := readAll(t, e, a.ID, p, 0)
			var got []string
			for i, r := range recs {
				got = append(got, r.ID)
				if r.Seq != uint64(i+1) || r.Position.Topic != "a" || r.Position.Partition != p {
					t.Errorf("record %d: seq %d at %v", i, r.Seq, r.Position)
				}
			}
			if d := cmp.Diff(want[p], got); d != "" {
				t.Error(d)
			}
			for i, r := range recs {
				rest, err := e.Read(t.Context(), a.ID, p, r.Position.Offset, 1, 1, nil)
				if err != nil || len(rest) != 1 || rest[0].ID != r.ID {
					t.Fatalf("read at %d gives %v, %v", r.Position.Offset, rest, err)
				}
				after, _ := e.Read(t.Context(), a.ID, p, r.Position.Offset+1, 1, 1, nil)
				if i+1 < len(recs) && after[0].ID != recs[i+1].ID {
					t.Fatalf("read after %d gives %v", r.Position.Offset, after)
				}
			}
			bounds, err := e.Bounds(t.Context(), a.ID, p)
			if err != nil || bounds.Start != recs[0].Position.Offset || bounds.StartSeq != 1 || bounds.EndSeq != 26 ||
				bounds.End <= recs[24].Position.Offset || bounds.Bytes == 0 {
				t.Errorf("bounds %+v, %v", bounds, err)
			}
		}
	}
	check(e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, Options{FS: fs})
	check(again)
	if again.Info().LogID != e.Info().LogID {
		t.Error("the log has another identity after it was opened again")
	}
	r := appendOne(t, again, driver.Record{Topic: a.ID, Event: event("more")})
	if r.Seq != 26 || r.Offset <= 102 {
		t.Errorf("after opening again: seq %d at %d", r.Seq, r.Offset)
	}
}

func TestConcurrentWriters(t *testing.T) {
	e := open(t, Options{FS: vfs.NewMem(), SegmentBytes: 8 << 10})
	top := create(t, e, "t", 4)
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			for i := range 20 {
				b := driver.Batch{Records: []driver.Record{{Topic: top.ID, Partition: w % 4, Event: event(fmt.Sprintf("%d/%d", w, i))}}}
				if err := e.Append(context.Background(), &b); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for p := range 4 {
		next := map[int]int{}
		for i, r := range readAll(t, e, top.ID, p, 0) {
			if r.Seq != uint64(i+1) {
				t.Fatalf("seq %d at index %d", r.Seq, i)
			}
			var writer, n int
			fmt.Sscanf(r.ID, "%d/%d", &writer, &n)
			if next[writer] != n {
				t.Fatalf("writer %d: event %d, want %d", writer, n, next[writer])
			}
			next[writer]++
		}
		if len(next) != 8 {
			t.Errorf("partition %d: events of %d writers", p, len(next))
		}
	}
	if n := len(e.segments.all()); n < 3 {
		t.Errorf("only %d segments", n)
	}
}

func TestRepeatedIDs(t *testing.T) {
	e := open(t, Options{FS: vfs.NewMem()})
	top := create(t, e, "t", 2)
	rec := func(id byte, sum uint64, p int) driver.Record {
		return driver.Record{Topic: top.ID, Partition: p, Event: event("x"), Dedup: true, Identity: [16]byte{15: id}, Sum: sum}
	}
	first := appendOne(t, e, rec(1, 7, 1))
	again := appendOne(t, e, rec(1, 7, 0))
	if !again.Duplicate || again.Offset != first.Offset || again.Seq != first.Seq || again.Stored != 1 {
		t.Errorf("repeat: %+v", again)
	}
	b := driver.Batch{Records: []driver.Record{rec(2, 1, 0), rec(3, 1, 0), rec(2, 1, 0), rec(1, 7, 0)}}
	if err := e.Append(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if !b.Records[2].Duplicate || b.Records[2].Offset != b.Records[0].Offset || b.Records[0].Duplicate || !b.Records[3].Duplicate {
		t.Errorf("batch: %+v", b.Records)
	}
	for _, b := range []driver.Batch{
		{Records: []driver.Record{rec(9, 1, 0), rec(1, 8, 0)}},
		{Records: []driver.Record{rec(9, 1, 0), rec(9, 2, 0)}},
	} {
		err := e.Append(t.Context(), &b)
		wantCode(t, err, tandem.CodeConflict)
		if b.Failed != 1 {
			t.Errorf("failed is %d", b.Failed)
		}
	}
	if r := appendOne(t, e, rec(9, 5, 0)); r.Duplicate {
		t.Error("an id of a refused batch is remembered")
	}
}

func TestStateAndFences(t *testing.T) {
	e := open(t, Options{FS: vfs.NewMem()})
	put := func(ops ...driver.StateOp) error { return e.Append(t.Context(), &driver.Batch{State: ops}) }
	get := func() map[string]string {
		m := map[string]string{}
		if err := e.ScanState(t.Context(), "", "", func(k string, v []byte) bool { m[k] = string(v); return true }); err != nil {
			t.Fatal(err)
		}
		return m
	}
	if err := put(driver.StateOp{Key: "a", Value: []byte("1")}, driver.StateOp{Key: "b", Value: []byte{}, If: []byte{}}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, put(driver.StateOp{Key: "c", Value: []byte("x")}, driver.StateOp{Key: "a", Value: []byte("2"), If: []byte{}}), tandem.CodeConflict)
	if err := put(driver.StateOp{Key: "a", Value: []byte("2"), If: []byte("1")}, driver.StateOp{Key: "b"}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"a": "2"}, get()); d != "" {
		t.Error(d)
	}
	old, err := e.Own(t.Context(), "duty")
	if err != nil {
		t.Fatal(err)
	}
	now, _ := e.Own(t.Context(), "duty")
	err = e.Append(t.Context(), &driver.Batch{State: []driver.StateOp{{Key: "a"}}, Fence: &old})
	wantCode(t, err, tandem.CodePrecondition)
	if err := e.Append(t.Context(), &driver.Batch{State: []driver.StateOp{{Key: "a"}}, Fence: &now}); err != nil {
		t.Error(err)
	}
}

func TestTopics(t *testing.T) {
	fs := vfs.NewMem()
	e := open(t, Options{FS: fs})
	a := create(t, e, "a", 1)
	if a.Replaced != 0 {
		t.Errorf("a new topic replaces %d", a.Replaced)
	}
	_, err := e.CreateTopic(t.Context(), a.Topic)
	wantCode(t, err, tandem.CodeConflict)
	last := appendOne(t, e, driver.Record{Topic: a.ID, Event: event("1")})
	if err := e.DeleteTopic(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, e.DeleteTopic(t.Context(), "a"), tandem.CodeNotFound)
	_, err = e.Read(t.Context(), a.ID, 0, 0, 1, 1, nil)
	wantCode(t, err, tandem.CodeNotFound)
	e.Close()
	e = open(t, Options{FS: fs})
	b := create(t, e, "a", 1)
	if b.ID == a.ID || b.Replaced != b.Born || b.Born <= last.Offset {
		t.Errorf("second incarnation %+v after an event at %d", b, last.Offset)
	}
	if recs := readAll(t, e, b.ID, 0, 0); len(recs) != 0 {
		t.Errorf("it holds %v", recs)
	}
}

func TestOffsetAt(t *testing.T) {
	e := open(t, Options{FS: vfs.NewMem(), SegmentBytes: 300})
	top := create(t, e, "t", 1)
	base := time.Unix(1700000000, 0)
	at := []int{0, 10, 5, 10, 30, 20, 40} // seconds: the clock steps back
	var offsets []uint64
	for i, s := range at {
		ev := event(fmt.Sprint(i))
		ev.Meta.Accepted = base.Add(time.Duration(s) * time.Second)
		offsets = append(offsets, appendOne(t, e, driver.Record{Topic: top.ID, Event: ev}).Offset)
	}
	for s, want := range map[int]int{-5: 0, 0: 0, 1: 1, 10: 1, 11: 4, 30: 4, 31: 6, 40: 6} {
		got, err := e.OffsetAt(t.Context(), top.ID, 0, base.Add(time.Duration(s)*time.Second))
		if err != nil || got != offsets[want] {
			t.Errorf("at %d s: %d, %v, want %d", s, got, err, offsets[want])
		}
	}
	bounds, _ := e.Bounds(t.Context(), top.ID, 0)
	if got, _ := e.OffsetAt(t.Context(), top.ID, 0, base.Add(time.Hour)); got != bounds.End {
		t.Errorf("in the future: %d, want the end %d", got, bounds.End)
	}
}

func TestClose(t *testing.T) {
	e := open(t, Options{FS: vfs.NewMem()})
	top := create(t, e, "t", 1)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for {
				b := driver.Batch{Records: []driver.Record{{Topic: top.ID, Event: event("x")}}}
				err := e.Append(context.Background(), &b)
				if err == nil {
					continue
				}
				var te *tandem.Error
				if !errors.As(err, &te) || te.Code != tandem.CodeUnavailable {
					t.Errorf("append during close: %v", err)
				}
				return
			}
		})
	}
	for n := uint64(0); n < 50; {
		b, err := e.Bounds(t.Context(), top.ID, 0)
		if err != nil {
			t.Fatal(err)
		}
		n = b.EndSeq
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	_, err := e.Read(t.Context(), top.ID, 0, 0, 1, 1, nil)
	wantCode(t, err, tandem.CodeUnavailable)
}
