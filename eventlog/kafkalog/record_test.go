package kafkalog

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tandem-hybrid/tandem"
)

func testTopic(kafka tandem.KafkaTopic) *topic {
	return newTopic(tandem.Topic{Name: "orders", Kafka: kafka}, "Orders.V1", [16]byte{1}, 8, 1<<20)
}

func decoded(r *kgo.Record, t *topic) tandem.Record {
	var out tandem.Record
	decode(r, t, &out)
	return out
}

// headers makes headers of names and values.
func headers(nameValue ...string) (hs []kgo.RecordHeader) {
	for i := 0; i < len(nameValue); i += 2 {
		hs = append(hs, kgo.RecordHeader{Key: nameValue[i], Value: []byte(nameValue[i+1])})
	}
	return hs
}

var at = time.UnixMilli(1795866398121).UTC()

// TestRecordIsTheBinding: what is written is CloudEvents' Kafka binding in binary mode, for other clients.
func TestRecordIsTheBinding(t *testing.T) {
	ev := tandem.Event{ID: "1/ü", Source: "/shop", Type: "order.placed", Subject: "o-1", Time: "2026-01-31T09:30:00Z", DataContentType: "application/json",
		DataSchema: "https://example.com/s", Extensions: []tandem.Extension{{Name: "zeta", Value: "z"}, {Name: "n", Value: "7", Kind: tandem.ExtensionInteger}},
		Data: []byte(`{"a":1}`), Encoding: tandem.DataJSON,
		Meta: tandem.Meta{Key: "k", Flow: "f", Causes: []string{"c1", "c2"}, Operation: "op", Hops: 2, Producer: "p", Route: "POST /x", TraceParent: "tp", TraceState: "ts", Accepted: at}}
	var enc encoding
	var r kgo.Record
	enc.encode(&r, &ev, true)
	got := map[string]string{}
	for _, h := range r.Headers {
		got[h.Key] = string(h.Value)
	}
	want := map[string]string{"ce_specversion": "1.0", "ce_id": "1/ü", "ce_source": "/shop", "ce_type": "order.placed", "ce_subject": "o-1", "ce_time": "2026-01-31T09:30:00Z",
		"content-type": "application/json", "ce_dataschema": "https://example.com/s", "ce_zeta": "z", "ce_n": "7", "ce_tandemflow": "f", "ce_tandemcause": "c1 c2",
		"ce_tandemoperation": "op", "ce_tandemhops": "2", "ce_traceparent": "tp", "ce_tracestate": "ts", "tandem": "1e1scff7d56aakx01", "tandem_producer": "p", "tandem_route": "POST /x"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("headers (-want +got):\n%s", d)
	}
	if string(r.Key) != "k" || string(r.Value) != `{"a":1}` || !r.Timestamp.Equal(at) {
		t.Errorf("key %q, value %q, time %v", r.Key, r.Value, r.Timestamp)
	}
	out := decoded(&r, testTopic(tandem.KafkaTopic{}))
	if d := cmp.Diff(ev, out.Event); d != "" || !out.Assigned {
		t.Errorf("read back, assigned %v (-want +got):\n%s", out.Assigned, d)
	}
	// Copied by something that changes values: JSON is not taken on trust any more.
	r.Value = []byte(`{"a":`)
	if out := decoded(&r, testTopic(tandem.KafkaTopic{})); out.Type != plainType || out.Encoding != tandem.DataBinary || out.Meta.Producer != "" {
		t.Errorf("with another value: %+v", out.Event)
	}
}

// TestForeignRecords: what others write becomes events.
func TestForeignRecords(t *testing.T) {
	declared := tandem.KafkaTopic{Topic: "Orders.V1", Source: "/legacy", Type: "legacy.order", ID: idByKey}
	binary := headers("ce_specversion", "1.0", "ce_id", "7", "ce_source", "/s", "ce_type", "t", "ce_region", "eu", "content-type", "application/json", "other", "x", "tandem_producer", "me")
	tests := map[string]struct {
		rec      kgo.Record
		kafka    tandem.KafkaTopic
		want     tandem.Event
		assigned bool
	}{
		"binary": {rec: kgo.Record{Headers: binary, Key: []byte("k"), Value: []byte(`{}`)}, want: tandem.Event{ID: "7", Source: "/s", Type: "t",
			DataContentType: "application/json", Data: []byte(`{}`), Encoding: tandem.DataJSON, Extensions: []tandem.Extension{{Name: "region", Value: "eu"}}, Meta: tandem.Meta{Key: "k"}}},
		"structured": {rec: kgo.Record{Headers: headers("content-type", "Application/CloudEvents+JSON; charset=utf-8"), Key: []byte("s"),
			Value: []byte(`{"specversion":"1.0","id":"8","source":"/s","type":"t","subject":"s","partitionkey":"s","data":{"a": 1}}`)},
			want: tandem.Event{ID: "8", Source: "/s", Type: "t", Subject: "s", Data: []byte(`{"a": 1}`), Encoding: tandem.DataJSON,
				Extensions: []tandem.Extension{{Name: "partitionkey", Value: "s"}}}},
		"plain JSON": {rec: kgo.Record{Partition: 3, Offset: 1042, Key: []byte("o-1"), Value: []byte(`{"order":1}`), Headers: headers("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")},
			assigned: true, want: tandem.Event{ID: "3-1042", Source: "kafka:Orders.V1", Type: plainType, Subject: "o-1", DataContentType: "application/json", Data: []byte(`{"order":1}`), Encoding: tandem.DataJSON,
				Meta: tandem.Meta{Key: "o-1", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}},
		"plain, declared": {rec: kgo.Record{Key: []byte("o-1"), Value: []byte(`x`)}, kafka: declared, want: tandem.Event{ID: "o-1", Source: "/legacy", Type: "legacy.order",
			Subject: "o-1", DataContentType: "application/octet-stream", Data: []byte(`x`), Encoding: tandem.DataBinary, Meta: tandem.Meta{Key: "o-1"}}},
		"plain, declared, without key": {rec: kgo.Record{Value: []byte(`x`), Headers: headers("content-type", "text/plain")}, kafka: declared, assigned: true,
			want: tandem.Event{ID: "0-0", Source: "/legacy", Type: "legacy.order", DataContentType: "text/plain", Data: []byte(`x`), Encoding: tandem.DataText}},
		"a tombstone": {rec: kgo.Record{Key: []byte("k")}, assigned: true, want: tandem.Event{ID: "0-0", Source: "kafka:Orders.V1", Type: plainType, Subject: "k", Meta: tandem.Meta{Key: "k"}}},
		"a key that is no text": {rec: kgo.Record{Key: []byte{0xff, 0}, Value: []byte{1}}, assigned: true, want: tandem.Event{ID: "0-0", Source: "kafka:Orders.V1", Type: plainType,
			DataContentType: "application/octet-stream", Data: []byte{1}, Encoding: tandem.DataBinary, Meta: tandem.Meta{Key: "/wA"}}},
		"JSON that is none": {rec: kgo.Record{Value: []byte(`{`), Headers: headers("content-type", "application/json")}, assigned: true, want: tandem.Event{ID: "0-0", Source: "kafka:Orders.V1", Type: plainType,
			DataContentType: "application/octet-stream", Data: []byte(`{`), Encoding: tandem.DataBinary}},
		"an event that is none": {rec: kgo.Record{Value: []byte(`{}`), Headers: headers("ce_specversion", "1.0", "ce_id", "7", "ce_source", "/s")}, assigned: true,
			want: tandem.Event{ID: "0-0", Source: "kafka:Orders.V1", Type: plainType, DataContentType: "application/octet-stream", Data: []byte(`{}`), Encoding: tandem.DataBinary,
				Extensions: []tandem.Extension{{Name: problemExtension, Value: "not a valid CloudEvent: /type is required"}}}},
		"structured that is none": {rec: kgo.Record{Value: []byte(`nonsense`), Headers: headers("content-type", "application/cloudevents+json")}, assigned: true,
			want: tandem.Event{ID: "0-0", Source: "kafka:Orders.V1", Type: plainType, DataContentType: "application/octet-stream", Data: []byte(`nonsense`), Encoding: tandem.DataBinary}},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			c.rec.Timestamp = at
			got := decoded(&c.rec, testTopic(c.kafka))
			c.want.Meta.Accepted = at
			if name == "structured that is none" && len(got.Extensions) == 1 && got.Extensions[0].Name == problemExtension {
				got.Extensions = nil
			}
			if d := cmp.Diff(c.want, got.Event); d != "" || got.Assigned != c.assigned {
				t.Errorf("assigned %v (-want +got):\n%s", got.Assigned, d)
			}
			if err := tandem.CheckEvent(&got.Event); err != nil {
				t.Errorf("not valid: %v", err)
			}
			if got.Seq != uint64(c.rec.Offset)+1 || got.Position != (tandem.Position{Topic: "orders", Partition: int(c.rec.Partition), Offset: uint64(c.rec.Offset)}) {
				t.Errorf("at %v, seq %d", got.Position, got.Seq)
			}
		})
	}
}

// FuzzRecord: any record becomes an event that every room can take, and what is written is read back as it was.
func FuzzRecord(f *testing.F) {
	f.Add([]byte("key"), []byte(`{"a":1}`), "ce_specversion\n1.0\nce_id\n1\nce_source\n/s\nce_type\nt", "")
	f.Add([]byte(nil), []byte(nil), "content-type\napplication/cloudevents+json", "key")
	f.Add([]byte{0xff}, []byte("x"), "tandem\n1e1sfa745634akx01\nce_id\n1\nce_source\n/s\nce_type\nt\nce_a\n1\nce_b\n2", "position")
	f.Add([]byte("k"), []byte("x"), "traceparent\n\xff\ncontent-type\n\xfftext", "key")
	f.Fuzz(func(t *testing.T, key, value []byte, hs string, id string) {
		parts := strings.Split(hs, "\n")
		r := kgo.Record{Key: key, Value: value, Timestamp: at, Headers: headers(parts[:len(parts)&^1]...)}
		top := testTopic(tandem.KafkaTopic{ID: id})
		got := decoded(&r, top)
		if got.ID == "" || got.Source == "" || got.Type == "" {
			t.Fatalf("an event without id, source or type: %+v", got.Event)
		}
		if !bytes.Equal(got.Data, value) && mediaOf(string(first(header(&r, headerContentType)))) != tandem.MediaEvent {
			t.Fatalf("data %q of the value %q", got.Data, value)
		}
		if _, ours := header(&r, headerTandem); !ours {
			if err := tandem.CheckEvent(&got.Event); err != nil {
				t.Fatalf("not valid: %v", err)
			}
		}
		if tandem.CheckEvent(&got.Event) != nil {
			return // a forged header of ours
		}
		var enc encoding
		var again kgo.Record
		enc.encode(&again, &got.Event, got.Assigned)
		back := decoded(&again, top)
		if d := cmp.Diff(got.Event, back.Event); d != "" || back.Assigned != got.Assigned {
			t.Fatalf("written and read back (-want +got):\n%s", d)
		}
	})
}

func first(b []byte, _ bool) []byte { return b }
