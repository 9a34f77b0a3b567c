package delivery

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-hybrid/tandem"
)

func TestCursorsRoundTrip(t *testing.T) {
	want := []partCursor{
		{next: 100, seq: 7, held: []uint64{3, 50, 99}},
		{next: 0, seq: 0, held: []uint64{}},
		{next: 1 << 60, seq: 1 << 50, held: []uint64{1}},
	}
	epoch, got, err := parseCursors(appendCursors(nil, 9, want))
	if err != nil || epoch != 9 {
		t.Fatal(epoch, err)
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(partCursor{})); d != "" {
		t.Error(d)
	}
}

func TestLetterKeepsEveryByte(t *testing.T) {
	rec := tandem.Record{
		Event: tandem.Event{ID: "1", Source: "/s", Type: "t", Data: []byte("{\"a\" :\t\"<b>\\u0041\"}"), Encoding: tandem.DataJSON,
			Extensions: []tandem.Extension{{Name: "x", Value: "42", Kind: tandem.ExtensionInteger}},
			Meta: tandem.Meta{Key: "k", Flow: "f", Causes: []string{"c"}, Operation: "o", Hops: 3, Producer: "p", Route: "r",
				Accepted: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)}},
		Position: tandem.Position{Topic: "orders", Partition: 2, Offset: 77}, Seq: 5,
	}
	in := letter{effort: effort{Epoch: 4, Attempts: 3, Status: 500, Detail: "no"}, Reason: "exhausted", At: rec.Meta.Accepted}
	l, got, err := parseLetter(appendLetter(in, &rec))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(rec, got); d != "" {
		t.Error(d)
	}
	if l.Epoch != 4 || l.Attempts != 3 || l.Status != 500 || l.Reason != "exhausted" || !l.At.Equal(in.At) {
		t.Errorf("%+v", l)
	}
}

func TestWaiterRoundTrip(t *testing.T) {
	want := waiter{epoch: 3, seq: 4, accepted: 1_700_000_000_000, key: "kéy/"}
	got, err := parseWaiter(want.append(nil))
	if err != nil || got != want {
		t.Fatal(got, err)
	}
}

func TestPlacesSort(t *testing.T) {
	a, b := where{1, 2, 9}, where{1, 2, 10}
	if a.String() >= b.String() {
		t.Errorf("%s and %s are out of order", a, b)
	}
	if got, err := parseWhere(b.String()); err != nil || got != b {
		t.Error(got, err)
	}
	if w, epoch, ok := parseDeadID(deadID(b, 7)); !ok || w != b || epoch != 7 {
		t.Error(w, epoch, ok)
	}
	for _, bad := range []string{"", "x", "1-2-3", "1-2-3-4", "../1", deadID(b, 7) + "0x"} {
		if _, _, ok := parseDeadID(bad); ok {
			t.Errorf("%q is taken for an id", bad)
		}
	}
}

// No value, however damaged, makes a decoder panic, and what one accepts is what was written.
func FuzzState(f *testing.F) {
	f.Add(appendCursors(nil, 1, []partCursor{{next: 10, seq: 2, held: []uint64{3, 4}}}))
	f.Add(waiter{1, 2, 3, "k"}.append(nil))
	f.Add(tally{3, 4, 3}.append(nil))
	rec := tandem.Record{Event: tandem.Event{ID: "1", Source: "/s", Type: "t"}}
	f.Add(appendLetter(letter{Reason: "loop"}, &rec))
	f.Fuzz(func(t *testing.T, b []byte) {
		if epoch, parts, err := parseCursors(b); err == nil {
			again := appendCursors(nil, epoch, parts)
			if e2, p2, err := parseCursors(again); err != nil || e2 != epoch || !cmp.Equal(parts, p2, cmp.AllowUnexported(partCursor{})) {
				t.Fatalf("%v %v %v", parts, p2, err)
			}
		}
		if w, err := parseWaiter(b); err == nil && w.accepted >= 0 {
			if w2, err := parseWaiter(w.append(nil)); err != nil || w2 != w {
				t.Fatal(w, w2, err)
			}
		}
		if l, rec, err := parseLetter(b); err == nil {
			if _, again, err := parseLetter(appendLetter(l, &rec)); err != nil || !bytes.Equal(again.Data, rec.Data) {
				t.Fatal(rec, again, err)
			}
		}
		_, _ = parseTally(b)
		_, _ = parseConfig(b)
		_, _ = parseWhere(string(b))
		_, _, _ = parseDeadID(string(b))
	})
}
