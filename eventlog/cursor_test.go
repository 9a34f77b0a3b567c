package eventlog

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
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
		if p.kind == kindVector {
			if c, err = encodeVector(p.logID, p.vector); err != nil {
				return // a loose encoding of a wide one
			}
		}
		q, err := parseCursor(c)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(p, q, cmp.AllowUnexported(place{}, vectorTopic{})); d != "" {
			t.Fatal(d)
		}
	})
}
