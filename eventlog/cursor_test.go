package eventlog

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

var testLogID = [8]byte{1, 2, 3, 4, 5, 6, 7, 0xff}

func TestNumberCursor(t *testing.T) {
	codec := newNumberCodec(testLogID)
	seen := map[tandem.Cursor]bool{}
	for _, n := range []uint64{0, 1, 63, 64, 1 << 20, 1<<63 + 12345, 1<<64 - 1} {
		c := codec.encode(n)
		if len(c) != numberCursorLen || seen[c] || strings.Trim(string(c), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Errorf("the cursor of %d is %q", n, c)
		}
		seen[c] = true
		p, err := parseCursor(c)
		if err != nil || p.kind != kindNumber || p.number != n || p.logID != testLogID {
			t.Errorf("%q is read as %+v, %v", c, p, err)
		}
		if all := codec.encodeAll([]driver.Record{{Offset: 7}, {Offset: n}}); all != string(codec.encode(7)+c) {
			t.Errorf("together they are %q", all)
		}
	}
}

func TestVectorCursor(t *testing.T) {
	v := []vectorTopic{{name: 9, id: 700, next: []uint64{1 << 40, 1<<40 + 3, 1 << 40}}, {name: nameHash("a"), id: 3, next: []uint64{0}}, {name: 1, id: 4, next: []uint64{5, 0}}}
	c, err := encodeVector(testLogID, v)
	if err != nil {
		t.Fatal(err)
	}
	p, err := parseCursor(c)
	if err != nil || p.kind != kindVector || p.logID != testLogID {
		t.Fatalf("read as %+v, %v", p, err)
	}
	if d := cmp.Diff([]vectorTopic{v[0], v[1], v[2]}, p.vector, cmp.AllowUnexported(vectorTopic{})); d != "" {
		t.Error(d)
	}
	if p.vector[0].id != 3 {
		t.Errorf("topics are not in order of their ids: %+v", p.vector)
	}
	for i := range len(c) {
		if _, err := parseCursor(c[:i]); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Fatalf("the first %d of %d characters are read: %v", i, len(c), err)
		}
	}
	wide := make([]vectorTopic, 4)
	for i := range wide {
		wide[i] = vectorTopic{id: driver.ID(i + 1), next: make([]uint64, 1000)}
	}
	if _, err := encodeVector(testLogID, wide[:2]); err != nil {
		t.Errorf("2,000 idle partitions do not fit: %v", err)
	}
	if _, err := encodeVector(testLogID, wide); tandem.CodeOf(err) != tandem.CodeInvalid || !strings.Contains(err.Error(), "3072") {
		t.Errorf("too wide a selection: %v", err)
	}
}

func TestBadCursor(t *testing.T) {
	codec := newNumberCodec(testLogID)
	good := string(codec.encode(5))
	for name, c := range map[string]string{
		"words": "not a cursor", "cut off": good[:23], "cut by a group": good[:20], "longer": good + "AAAA", "padded": good + "=",
		"other version": "Ag" + good[2:], "other kind": "AQk" + good[3:], "too long": strings.Repeat("A", maxCursorLen+4), "short": "AQ",
		"standard alphabet": "AQEB+/" + good[6:],
	} {
		if p, err := parseCursor(tandem.Cursor(c)); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%s: %q is read as %+v, %v", name, c, p, err)
		}
	}
}

func FuzzCursor(f *testing.F) {
	codec := newNumberCodec(testLogID)
	f.Add(string(codec.encode(77)))
	v, _ := encodeVector(testLogID, []vectorTopic{{name: 7, id: 1, next: []uint64{4, 5}}, {name: 8, id: 9, next: []uint64{1 << 50}}})
	f.Add(string(v))
	f.Add(string(encodeHeads(testLogID, 9, []head{{1, 0, 12}, {7, 3, 9}})))
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseCursor(tandem.Cursor(s))
		if err != nil {
			if tandem.CodeOf(err) != tandem.CodeInvalid {
				t.Fatal(err)
			}
			return
		}
		// What is read means the same when it is written again.
		again := newNumberCodec(p.logID)
		c := again.encode(p.number)
		switch p.kind {
		case kindVector:
			if c, err = encodeVector(p.logID, p.vector); err != nil {
				return // a loose encoding of a wide one
			}
		case kindHeads:
			c = encodeHeads(p.logID, p.number, p.heads)
		}
		q, err := parseCursor(c)
		if err != nil {
			t.Fatal(err)
		}
		if p.kind == kindHeads && len(q.heads) < len(p.heads) {
			p.heads = p.heads[:len(q.heads)] // what does not fit is left out
		}
		if d := cmp.Diff(p, q, cmp.AllowUnexported(place{}, vectorTopic{}, head{})); d != "" {
			t.Fatal(d)
		}
	})
}

// TestPlaceOf: the cursor of a receipt is that of a reader in the same place, whatever the size of the topic, without a detour over the heap.
func TestPlaceOf(t *testing.T) {
	for _, parts := range []int{1, 8, 64, 65, tandem.MaxPartitions} {
		for _, step := range []uint64{1, 1 << 40} {
			l := &Log{info: driver.Info{LogID: [8]byte{1, 2, 3}}}
			top := newTopic(driver.Topic{Topic: tandem.Topic{Name: "orders", Partitions: parts}, ID: 1 << 50})
			v := vectorTopic{name: nameHash("orders"), id: top.ID}
			for i := range parts {
				top.live.raise(i, uint64(i)*step)
				v.next = append(v.next, uint64(i)*step)
			}
			v.next[parts/2] = 4711
			want, err := encodeVector(l.info.LogID, []vectorTopic{v})
			if err != nil {
				want = ""
			}
			if got := l.placeOf(top, parts/2, 4710); got != want {
				t.Errorf("%d partitions, %d apart: %s, want %s", parts, step, got, want)
			}
			if n := testing.AllocsPerRun(10, func() { l.placeOf(top, 0, 1) }); parts <= 64 && step == 1 && n > 1 {
				t.Errorf("%d partitions take %v allocations", parts, n)
			}
		}
	}
}

// TestWidestTopic: a topic that is allowed has a cursor, also when its partitions have drifted apart; a wider one is refused when it is made.
func TestWidestTopic(t *testing.T) {
	v := vectorTopic{name: nameHash("orders"), id: 1<<64 - 1, next: make([]uint64, maxVectorPartitions)}
	for i := range v.next {
		v.next[i] = 1<<62 + uint64(i%2)<<28 - uint64(i%2)
	}
	if _, err := encodeVector([8]byte{}, []vectorTopic{v}); err != nil {
		t.Error(err)
	}
	l, err := Open(t.Context(), memlog.New(memlog.Options{Partitioned: true}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.CreateTopic(t.Context(), tandem.Topic{Name: "a", Partitions: maxVectorPartitions}); err != nil {
		t.Error(err)
	}
	if _, err := l.CreateTopic(t.Context(), tandem.Topic{Name: "b", Partitions: maxVectorPartitions + 1}); tandem.CodeOf(err) != tandem.CodeInvalid {
		t.Errorf("a wider topic: %v", err)
	}
}
