package idindex_test

import (
	"encoding/binary"
	"path/filepath"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/eventlog/idindex"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func open(t testing.TB, dir string, opts idindex.Options) *idindex.Index {
	t.Helper()
	x, err := idindex.Open(dir, [8]byte{1}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func id(n int) (b [16]byte) {
	binary.BigEndian.PutUint64(b[:], uint64(n))
	return b
}

// look looks at one event and returns its verdict.
func look(t testing.TB, x *idindex.Index, topic, partition int, offset uint64, name int, sum uint64, at time.Time) idindex.Verdict {
	t.Helper()
	e := []idindex.Entry{{Identity: id(name), Sum: sum, Accepted: at, Offset: offset}}
	if err := x.Look(1, partition, offset+1, e); err != nil {
		t.Fatal(err)
	}
	return e[0].Verdict
}

func want(t testing.TB, what string, got, want idindex.Verdict) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %d, want %d", what, got, want)
	}
}

// TestVerdicts: the first by time, partition and offset counts, whenever it is looked at, and every time.
func TestVerdicts(t *testing.T) {
	x := open(t, "", idindex.Options{})
	defer x.Close()
	at := start
	want(t, "the first", look(t, x, 1, 0, 10, 1, 7, at), idindex.First)
	want(t, "the first again", look(t, x, 1, 0, 10, 1, 7, at), idindex.First)
	want(t, "one behind it", look(t, x, 1, 0, 11, 1, 7, at), idindex.Repeat)
	want(t, "one later", look(t, x, 1, 0, 12, 1, 7, at.Add(time.Hour)), idindex.Repeat)
	want(t, "other data", look(t, x, 1, 0, 13, 1, 8, at.Add(time.Hour)), idindex.Conflict)
	want(t, "another id", look(t, x, 1, 0, 14, 2, 7, at), idindex.First)
	want(t, "one of a later partition", look(t, x, 1, 1, 5, 1, 7, at), idindex.Repeat)
	want(t, "one that came before, in another partition", look(t, x, 1, 1, 6, 2, 7, at.Add(-time.Millisecond)), idindex.First)
	want(t, "what counted until then", look(t, x, 1, 0, 14, 2, 7, at), idindex.Repeat)
	if e, p, ok, err := x.Find(1, id(2)); err != nil || !ok || p != 1 || e.Offset != 6 || !e.Accepted.Equal(at.Add(-time.Millisecond)) {
		t.Errorf("Find: %+v, %d, %v, %v", e, p, ok, err)
	}
	if _, _, ok, err := x.Find(2, id(2)); ok || err != nil {
		t.Errorf("Find in another topic: %v, %v", ok, err)
	}
	if n, ok := x.Next(1, 0); !ok || n != 15 {
		t.Errorf("Next is %d, %v", n, ok)
	}
	if _, ok := x.Next(1, 7); ok {
		t.Error("a partition that nobody looked at has a place")
	}
	if err := x.Forget(1); err != nil {
		t.Fatal(err)
	}
	if _, ok := x.Next(1, 0); ok {
		t.Error("a forgotten topic has a place")
	}
}

// TestWindow: an id is forgotten after its time, and before it when there are too many, the oldest first; the store does not grow.
func TestWindow(t *testing.T) {
	now := start
	x := open(t, "", idindex.Options{Keep: time.Hour, MaxBytes: 1000 * idindex.EntryBytes, Now: func() time.Time { return now }})
	defer x.Close()
	offset := uint64(0)
	event := func(name int) idindex.Verdict {
		offset++
		return look(t, x, 1, 0, offset, name, 1, now)
	}
	want(t, "the first", event(1), idindex.First)
	now = now.Add(59 * time.Minute)
	want(t, "one in time", event(1), idindex.Repeat)
	now = now.Add(2 * time.Minute)
	want(t, "one too late", event(1), idindex.First)
	want(t, "one behind that", event(1), idindex.Repeat)
	for i := range 3000 {
		want(t, "a new one", event(10+i), idindex.First)
		if w := x.Window(); w.Entries > w.Max+w.Max/4 {
			t.Fatalf("%d ids are remembered, at most %d are wanted", w.Entries, w.Max)
		}
	}
	for i := 3000 - 500; i < 3000; i++ {
		want(t, "one of the last half", event(10+i), idindex.Repeat)
	}
	want(t, "one of the first", event(10), idindex.First)
	for range 10 { // what is old leaves as well when few come
		now = now.Add(20 * time.Minute)
		event(int(offset) + 10_000)
	}
	if w := x.Window(); w.Entries > 20 || now.Sub(w.Oldest) > 2*time.Hour {
		t.Errorf("%d ids are remembered, since %s, at %s", w.Entries, w.Oldest, now)
	}
}

// TestReopen: what was remembered is there again, in its generations, and empty for another log.
func TestReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ids")
	now := start
	opts := idindex.Options{Keep: time.Hour, MaxBytes: 400 * idindex.EntryBytes, Now: func() time.Time { return now }}
	x := open(t, dir, opts)
	for i := range 350 {
		look(t, x, 1, 2, uint64(i), i, 1, now)
	}
	before := x.Window()
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = open(t, dir, opts)
	if after := x.Window(); after != before {
		t.Errorf("the window was %+v and is %+v", before, after)
	}
	if n, ok := x.Next(1, 2); !ok || n != 350 {
		t.Errorf("Next is %d, %v", n, ok)
	}
	want(t, "a repeat", look(t, x, 1, 2, 350, 349, 1, now), idindex.Repeat)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := idindex.Open(dir, [8]byte{2}, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if w := other.Window(); w.Entries != 0 {
		t.Errorf("another log has %d ids", w.Entries)
	}
	want(t, "an id of another log", look(t, other, 1, 2, 0, 349, 1, now), idindex.First)
}
