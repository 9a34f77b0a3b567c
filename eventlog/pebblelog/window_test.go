package pebblelog

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// TestWindow compares the table with a map over many insertions, repeats and evictions.
func TestWindow(t *testing.T) {
	const keep = 5000
	w := newWindow(time.Hour, keep*entryMaxBytes)
	rng := rand.New(rand.NewPCG(1, 2))
	newest := map[identity]uint64{}
	var order []identity
	for n := range uint64(40_000) {
		var raw [16]byte
		raw[rng.IntN(16)] = byte(rng.IntN(256))
		raw[0], raw[1] = byte(rng.IntN(64)), byte(rng.IntN(256))
		id := identityOf(1, raw)
		w.add(makeFingerprint(id, n, n, n, 3, time.Unix(int64(n), 0)))
		newest[id] = n
		order = append(order, id)
		if len(order) > keep {
			if old := uint64(len(order) - keep - 1); newest[order[old]] == old {
				delete(newest, order[old])
			}
		}
		probe := order[rng.IntN(len(order))]
		f := w.find(probe)
		if want, ok := newest[probe]; ok != (f != nil) || ok && f.offset != want {
			t.Fatalf("after %d: found %v, want %v %d", n, f, ok, want)
		}
	}
	w.expire(time.Unix(1<<30, 0))
	for i := range w.shards {
		if w.shards[i].used != 0 {
			t.Fatalf("%d entries are left in a shard after all have expired", w.shards[i].used)
		}
	}
}

func TestWindowMemory(t *testing.T) {
	const limit = 8 << 20
	e := &Engine{window: newWindow(time.Hour, limit)}
	for n := range uint64(limit / 32) {
		e.window.add(makeFingerprint(identityOf(1, [16]byte{byte(n), byte(n >> 8), byte(n >> 16)}), n, n, n, 0, time.Unix(1e9, 0)))
	}
	w := e.DedupWindow()
	if w.Entries != w.Max || w.Bytes > limit {
		t.Errorf("%d of %d entries take %d bytes, the limit is %d", w.Entries, w.Max, w.Bytes, limit)
	}
	t.Logf("%.1f bytes an entry", float64(w.Bytes)/float64(w.Entries))
}

// TestWindowIsSaved opens a log again with ids in several files, in none, and in one whose end is damaged.
func TestWindowIsSaved(t *testing.T) {
	fs := vfs.NewMem()
	clock := newTestClock()
	opts := Options{FS: fs, Now: clock.now, RetentionEvery: -1, SegmentBytes: 32 << 10}
	e := open(t, opts)
	top := create(t, e, "t", 2)
	var sent []driver.Record
	add := func(n int) {
		for range n {
			i := len(sent)
			r := driver.Record{Topic: top.ID, Partition: i % 2, Event: event(fmt.Sprint(i)), Dedup: true, Identity: [16]byte{byte(i), byte(i >> 8)}, Sum: uint64(i)}
			r.Event.Meta.Accepted = clock.now()
			sent = append(sent, appendOne(t, e, r))
		}
	}
	known := func() {
		t.Helper()
		for i := range sent {
			r := sent[i]
			if r = appendOne(t, e, r); !r.Duplicate || r.Offset != sent[i].Offset || r.Seq != sent[i].Seq || r.Stored != sent[i].Stored {
				t.Fatalf("repeat of %d: %+v, first %+v", i, r, sent[i])
			}
		}
	}
	reopen := func() {
		t.Helper()
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		e = open(t, opts)
	}
	for range 3 {
		add(300)
		reopen()
		known()
	}
	names, _ := fs.List("log/ids")
	if len(names) < 3 {
		t.Fatalf("files %v", names)
	}
	add(300)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	names, _ = fs.List("log/ids")
	last := "log/ids/" + names[len(names)-1]
	f, err := fs.OpenReadWrite(last, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte{1, 2, 3}, blockHeaderLen+500)
	f.Close()
	e = open(t, opts)
	known()
	reopen()
	known()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	names, _ = fs.List("log/ids")
	for _, n := range names {
		fs.Remove("log/ids/" + n)
	}
	e = open(t, opts)
	known()

	clock.advance(25 * time.Hour)
	r := sent[0]
	if r = appendOne(t, e, r); r.Duplicate {
		t.Error("an id is remembered beyond the window")
	}
}

// TestWindowEndsWithRetention: an id is not remembered longer than its topic keeps events, nor in another incarnation.
func TestWindowEndsWithRetention(t *testing.T) {
	clock := newTestClock()
	e := open(t, Options{FS: vfs.NewMem(), Now: clock.now, RetentionEvery: -1})
	top := createKept(t, e, "t", 1, time.Hour, 0)
	send := func(id driver.ID) driver.Record {
		t.Helper()
		ev := event("x")
		ev.Meta.Accepted = clock.now()
		return appendOne(t, e, driver.Record{Topic: id, Event: ev, Dedup: true, Identity: [16]byte{1}})
	}
	found := func(id driver.ID) bool {
		t.Helper()
		r := driver.Record{Topic: id, Identity: [16]byte{1}}
		if err := e.Find(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
		return r.Duplicate
	}
	send(top.ID)
	clock.advance(59 * time.Minute)
	if !found(top.ID) || !send(top.ID).Duplicate {
		t.Error("forgotten before the topic's retention")
	}
	clock.advance(2 * time.Minute)
	if found(top.ID) || send(top.ID).Duplicate {
		t.Error("remembered beyond the topic's retention")
	}
	if err := e.DeleteTopic(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	again := createKept(t, e, "t", 1, time.Hour, 0)
	if found(again.ID) || send(again.ID).Duplicate {
		t.Error("remembered by another incarnation")
	}
	err := e.Append(t.Context(), &driver.Batch{Records: []driver.Record{{Topic: again.ID, Event: event("x"), Dedup: true, Identity: [16]byte{1}, Sum: 1}}})
	wantCode(t, err, tandem.CodeConflict)
}
