package natslog

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// TestMetaIsKept: what CloudEvents has no place for comes back as it was.
func TestMetaIsKept(t *testing.T) {
	for _, r := range []driver.Record{
		{Event: &tandem.Event{ID: "1", Source: "/s", Type: "t"}},
		{Dedup: true, Sum: 1<<64 - 1, Event: &tandem.Event{ID: "1", Source: "/s", Type: "t", Data: []byte{}, Encoding: tandem.DataBinary,
			Extensions: []tandem.Extension{{Name: "z", Kind: tandem.ExtensionBoolean, Value: "true"}, {Name: "a1", Value: ";,="}},
			Meta:       tandem.Meta{Key: "a;k=b%3B€", Producer: "p r", Route: "POST /x;r=y", Hops: 3, Causes: []string{"a", "b"}, Accepted: time.Unix(12, 345).UTC()}}},
	} {
		m, size := encode(&r, "tandem.events.t.0")
		if want := storedSize(m.Subject, headerLen(m.Header), len(m.Data)); size != want {
			t.Errorf("the size is %d, want %d", size, want)
		}
		var got tandem.Record
		data := m.Data
		if r.Event.Data != nil {
			data = append([]byte{}, data...)
		}
		sum, dedup := decode(&stored{subject: m.Subject, header: m.Header, data: data}, &got)
		if d := cmp.Diff(*r.Event, got.Event); d != "" || sum != r.Sum || dedup != r.Dedup || got.Assigned == r.Dedup {
			t.Errorf("sum %d, dedup %v, assigned %v (-want +got):\n%s", sum, dedup, got.Assigned, d)
		}
	}
}

// headerLen is the length of headers on the wire.
func headerLen(h nats.Header) int {
	n := len("NATS/1.0\r\n\r\n")
	for k, v := range h {
		for _, s := range v {
			n += len(k) + len(": ") + len(s) + len("\r\n")
		}
	}
	return n
}

// FuzzDecode: every message is an event that the rest can live with.
func FuzzDecode(f *testing.F) {
	f.Add("Tandem-Meta: 1;a=1;s=ff;d=1n;x=a0,b1;k=%20\nce-id: 1\nce-source: s\nce-type: t", []byte(nil))
	f.Add("Tandem-Meta: 1;d=1\nce-specversion: 1.0\nce-id: 1\nce-source: s\nce-type: t\nce-tandemhops: 3", []byte("{}"))
	f.Add("ce-specversion: 1.0\nCe-Id: \"a\"\nce-source: %C0%A0\nce-type: t\nce-data: x", []byte("{}"))
	f.Add("content-type: application/cloudevents+json", []byte(`{"specversion":"1.0","id":"1","source":"/","type":"t"}`))
	f.Add("Nats-Msg-Id: \x00\ncontent-type: a/b; c", []byte(`{"specversion"`))
	f.Fuzz(func(t *testing.T, headers string, data []byte) {
		h := nats.Header{}
		for line := range strings.SplitSeq(headers, "\n") {
			k, v, _ := strings.Cut(line, ": ")
			h[k] = append(h[k], v)
		}
		m := &stored{subject: "tandem.events.t.0", stream: "tandem_t_0000000000001234_0", seq: 5, time: time.Unix(1, 0), header: h, data: bytes.Clone(data)}
		var rec tandem.Record
		decode(m, &rec)
		if rec.ID == "" || rec.Source == "" || rec.Type == "" {
			t.Fatalf("an event without %q %q %q", rec.ID, rec.Source, rec.Type)
		}
		if _, ours := h[headerMeta]; ours {
			return // who writes this vouches for the rest
		}
		if err := tandem.CheckEvent(&rec.Event); err != nil {
			t.Fatalf("not an event: %v", err)
		}
		if rec.Encoding == tandem.DataAuto && rec.Data != nil {
			t.Fatal("the encoding is not settled")
		}
		if !bytes.Equal(rec.Data, data) && strings.HasPrefix(rec.Source, "nats:") {
			t.Fatalf("the data of a message changed: %q to %q", data, rec.Data)
		}
	})
}
