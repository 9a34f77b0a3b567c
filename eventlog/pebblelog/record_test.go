package pebblelog

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// fullEvent has a value in every field that is stored.
func fullEvent() *tandem.Event {
	return &tandem.Event{
		ID: "id", Source: "/source", Type: "type", Subject: "subject", Time: "2026-01-02T03:04:05.678901234Z",
		DataContentType: "text/plain", DataSchema: "https://example.com/s",
		Extensions: []tandem.Extension{{Name: "n", Value: "42", Kind: tandem.ExtensionInteger}, {Name: "b", Value: "true", Kind: tandem.ExtensionBoolean}, {Name: "empty"}},
		Data:       []byte{0, 1, 0xff, '\n'}, Encoding: tandem.DataBinary,
		Meta: tandem.Meta{
			Key: "key", Flow: "flow", Causes: []string{"c1", "", "c3"}, Operation: "op", Hops: 300, Producer: "producer", Route: "route",
			TraceParent: "tp", TraceState: "ts", Accepted: time.Unix(1700000000, 123456789).UTC(),
		},
	}
}

func TestRecordRoundTrip(t *testing.T) {
	long := fullEvent()
	long.Data = bytes.Repeat([]byte("x"), 1<<20)
	for name, ev := range map[string]*tandem.Event{
		"full": fullEvent(), "long": long, "empty": {}, "empty data": {Data: []byte{}}, "before 1970": {Meta: tandem.Meta{Accepted: time.Unix(-5, 1).UTC()}},
		"text": {Data: []byte("ä"), Encoding: tandem.DataText}, "json": {Data: []byte("1"), Encoding: tandem.DataJSON},
	} {
		for _, dedup := range []bool{false, true} {
			b := appendRecord(nil, &driver.Record{Event: ev, Dedup: dedup, Identity: [16]byte{1}, Sum: 2})
			var got tandem.Event
			if err := decodeRecord(b, &got); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if d := cmp.Diff(*ev, got); d != "" {
				t.Errorf("%s (-want +got):\n%s", name, d)
			}
			if (got.Data == nil) != (ev.Data == nil) {
				t.Errorf("%s: data is %v, want %v", name, got.Data, ev.Data)
			}
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(appendRecord(nil, &driver.Record{Event: fullEvent(), Dedup: true}))
	f.Add(appendRecord(nil, &driver.Record{Event: &tandem.Event{}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var ev tandem.Event
		if decodeRecord(b, &ev) != nil {
			return
		}
		// What can be read can be stored and read again.
		again := appendRecord(nil, &driver.Record{Event: &ev})
		var ev2 tandem.Event
		if err := decodeRecord(again, &ev2); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, appendRecord(nil, &driver.Record{Event: &ev2})) {
			t.Errorf("%+v differs after a round trip: %+v", ev, ev2)
		}
	})
}

func FuzzRun(f *testing.F) {
	rec := appendRecord(nil, &driver.Record{Event: fullEvent()})
	run := make([]byte, runHeaderLen)
	runHeader{count: 1, firstSeq: 1, cumBytes: uint64(len(rec))}.put(run)
	run = append(run, 0, byte(len(rec)&0x7f|0x80), byte(len(rec)>>7))
	f.Add(append(run, rec...))
	f.Add([]byte{runVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := reader{part: &partition{topic: &topic{}}, end: 1 << 62, max: 100, maxBytes: 1 << 20}
		r.run(0, 5, b)
		idsOfRun(&topic{}, runKey{offset: 5}, b, 0, 0, nil)
	})
}

func FuzzBlock(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, blockHeaderLen+entryBytes))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, entries, rest, ok := parseBlock(b); ok && len(entries)+len(rest)+blockHeaderLen != len(b) {
			t.Error("bytes are lost")
		}
		decodeEnds(b, func(int, ends) {})
		decodeStarts(b, func(int, starts) {})
	})
}
