package flowindex_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/flowindex"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func open(t testing.TB, dir string, opts flowindex.Options) *flowindex.Index {
	t.Helper()
	if opts.Age == 0 {
		opts.Age = time.Hour
	}
	if opts.Bytes == 0 {
		opts.Bytes = 1 << 20
	}
	if opts.Now == nil {
		opts.Now = func() time.Time { return start }
	}
	x, err := flowindex.Open(dir, [8]byte{1}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// event is one of topic t, partition 0.
func event(offset uint64, flow string, at time.Time, causes ...string) tandem.Record {
	return tandem.Record{Position: tandem.Position{Topic: "t", Offset: offset}, Seq: offset + 1,
		Event: tandem.Event{ID: fmt.Sprint(offset), Source: "/s", Meta: tandem.Meta{Flow: flow, Causes: causes, Accepted: at}}}
}

func add(t testing.TB, x *flowindex.Index, recs ...tandem.Record) {
	t.Helper()
	last := recs[len(recs)-1]
	if err := x.Add(7, 0, flowindex.Progress{Next: last.Position.Offset + 1, Seq: last.Seq + 1}, recs); err != nil {
		t.Fatal(err)
	}
}

func offsets(t testing.TB, x *flowindex.Index, flow string) (out []uint64) {
	t.Helper()
	found, err := x.Events(flowindex.KeyOf(flow), 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range found {
		out = append(out, e.Offset)
	}
	slices.Sort(out)
	return out
}

// flowAt is a flow that began at a time.
func flowAt(at time.Time, n int) string {
	ms := fmt.Sprintf("%012x", at.UnixMilli())
	return fmt.Sprintf("%s-%s-7000-8000-%012x", ms[:8], ms[8:], n)
}

// TestAddAgain: what a crash took is added again, and is there once; the place is kept with what was added.
func TestAddAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "flows")
	small := flowindex.Options{Bytes: 1 << 10} // a generation holds hardly more than an event
	x := open(t, dir, small)
	a, b := flowAt(start, 1), "named by a client"
	add(t, x, event(0, a, start), event(1, b, start), event(2, a, start))
	add(t, x, event(2, a, start), event(3, a, start))
	for range 2 {
		if got := offsets(t, x, a); !slices.Equal(got, []uint64{0, 2, 3}) {
			t.Errorf("the flow has %v", got)
		}
		if got := offsets(t, x, b); !slices.Equal(got, []uint64{1}) {
			t.Errorf("the other has %v", got)
		}
		if p, ok := x.Progress(7, 0); !ok || p != (flowindex.Progress{Next: 4, Seq: 5}) {
			t.Errorf("progress %+v, %v", p, ok)
		}
		if x.TopicName(7) != "t" {
			t.Error("the name of the topic is gone")
		}
		flow, place, ok, err := x.Find(tandem.Fingerprint("t", "/s", "3"))
		if err != nil || !ok || flow.String() != a || place != (flowindex.Place{Topic: 7, Offset: 3}) {
			t.Errorf("found %v at %v, %v, %v", flow, place, ok, err)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		x = open(t, dir, small)
	}
	defer x.Close()
	if err := x.Forget(7); err != nil {
		t.Fatal(err)
	}
	if _, ok := x.Progress(7, 0); ok || len(offsets(t, x, a)) != 3 {
		t.Error("a forgotten topic has a place, or lost its events")
	}
}

// TestRetention: what is too old or too much goes, the oldest first, and the horizon says so, also after a restart.
func TestRetention(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "flows")
	now := start
	opts := flowindex.Options{Bytes: 64 << 10, Now: func() time.Time { return now }}
	x := open(t, dir, opts)
	a := flowAt(start, 1)
	add(t, x, event(0, a, start.Add(-2*time.Hour)), event(1, a, start))
	if got := offsets(t, x, a); !slices.Equal(got, []uint64{1}) {
		t.Errorf("with one that is too old at once: %v", got)
	}
	now = now.Add(50 * time.Minute)
	add(t, x, event(2, a, now))
	sweep(t, x)
	if got := offsets(t, x, a); !slices.Equal(got, []uint64{1, 2}) || !x.Horizon().Equal(start.Add(-10*time.Minute)) {
		t.Errorf("in time: %v, from %s", got, x.Horizon())
	}
	now = now.Add(20 * time.Minute)
	sweep(t, x)
	if got := offsets(t, x, a); !slices.Equal(got, []uint64{2}) {
		t.Errorf("after its time: %v", got)
	}
	const n = 5000
	for i := uint64(3); i < n; i++ {
		add(t, x, event(i, flowAt(now, int(i)), now))
		if i%100 == 0 {
			sweep(t, x)
			if b := x.Bytes(); b > 80<<10 {
				t.Fatalf("%d bytes", b)
			}
		}
	}
	sweep(t, x)
	if len(offsets(t, x, flowAt(now, n-1))) != 1 || len(offsets(t, x, flowAt(now, 3))) != 0 {
		t.Error("the newest is gone, or the oldest is there")
	}
	size, horizon := x.Bytes(), x.Horizon()
	if !horizon.Equal(now.Add(time.Millisecond)) || size < 50<<10 {
		t.Errorf("%d bytes from %s: all that was accepted at %s or before may be gone, and nothing else", size, horizon, now)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = open(t, dir, opts)
	defer x.Close()
	if x.Bytes() != size || !x.Horizon().Equal(horizon) {
		t.Errorf("after a restart %d bytes from %s, before %d from %s", x.Bytes(), x.Horizon(), size, horizon)
	}
}

func sweep(t testing.TB, x *flowindex.Index) {
	t.Helper()
	if err := x.Sweep(); err != nil {
		t.Fatal(err)
	}
}

// TestLinks: an effect is known unless it is in the flow of its cause in any case; a trace leads to its flows.
func TestLinks(t *testing.T) {
	x := open(t, "", flowindex.Options{})
	defer x.Close()
	a, b := flowAt(start, 1), flowAt(start, 2)
	own := event(0, a, start)
	own.Meta.TraceParent = "00-" + strings.ReplaceAll(a, "-", "") + "-0000000000000001-01"
	ref := tandem.Ref("t", "/s", "0")
	other := event(2, b, start, ref, "not a ref")
	other.Meta.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-0000000000000001-01"
	more := event(3, a, start)
	more.Meta.TraceParent = other.Meta.TraceParent
	add(t, x, own, event(1, a, start, ref), other, more)
	id, _ := flowindex.ParseRef(ref)
	if got, err := x.Effects(id, 10); err != nil || len(got) != 1 || got[0].Offset != 2 {
		t.Errorf("effects %v, %v", got, err)
	}
	for trace, want := range map[string][]string{strings.ReplaceAll(a, "-", ""): {a}, "0af7651916cd43dd8448eb211c80319c": {a, b}, strings.Repeat("1", 32): nil} {
		id, ok := flowindex.ParseTrace(trace)
		keys, err := x.ByTrace(id, 10)
		if err != nil || !ok || len(keys) != len(want) {
			t.Errorf("trace %s: %v, %v", trace, keys, err)
			continue
		}
		for i := range keys {
			if keys[i].String() != want[i] {
				t.Errorf("trace %s: %s", trace, keys[i])
			}
		}
	}
}

// TestNewest: flows come once, the newest first, from all generations, from a time or a flow on.
func TestNewest(t *testing.T) {
	x := open(t, "", flowindex.Options{Bytes: 32 << 10})
	defer x.Close()
	var want []string
	for i := range 100 {
		at := start.Add(time.Duration(i-100) * 30 * time.Second)
		flow := flowAt(at, i)
		want = append([]string{flow}, want...)
		add(t, x, event(uint64(2*i), flow, at), event(uint64(2*i+1), flow, start))
	}
	add(t, x, event(1000, "no time", start))
	list := func(before time.Time, after string) (got []string) {
		var k flowindex.Key
		if after != "" {
			k = flowindex.KeyOf(after)
		}
		if err := x.Newest(before, k, func(k flowindex.Key) bool {
			got = append(got, k.String())
			return true
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := list(time.Time{}, ""); !slices.Equal(got, want) {
		t.Errorf("%d flows: %v", len(got), got)
	}
	if got := list(time.Time{}, want[9]); !slices.Equal(got, want[10:]) {
		t.Errorf("after the tenth: %v", got)
	}
	if got := list(start.Add(-30*time.Second*50), ""); !slices.Equal(got, want[50:]) {
		t.Errorf("before a time: %v", got)
	}
}

func TestKeys(t *testing.T) {
	for _, id := range []string{"", "x", "0199AAAA-0000-7000-8000-000000000000", "0199aaaa-0000-4000-8000-000000000000", "0199aaaa-0000-7000-8000-00000000000g"} {
		k := flowindex.KeyOf(id)
		if _, ok := k.Time(); ok {
			t.Errorf("%q has a time", id)
		}
		if keys := flowindex.KeysOf(k.String()); len(keys) != 2 || keys[1] != k {
			t.Errorf("%q is not found by %s", id, k)
		}
	}
	id := tandem.NewID()
	if at, ok := flowindex.KeyOf(id).Time(); !ok || time.Since(at) > time.Minute || flowindex.KeyOf(id).String() != id {
		t.Errorf("%s: %s", id, at)
	}
}

func BenchmarkAdd(b *testing.B) {
	x := open(b, filepath.Join(b.TempDir(), "flows"), flowindex.Options{Bytes: 1 << 30})
	defer x.Close()
	page := make([]tandem.Record, 256)
	for i := range page {
		page[i] = event(uint64(i), "", start)
	}
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(page) {
		for i := range page {
			page[i].Position.Offset = uint64(n + i)
			page[i].ID = fmt.Sprint(n + i)
			page[i].Meta.Flow = flowAt(start, (n+i)/3)
		}
		add(b, x, page...)
	}
}
