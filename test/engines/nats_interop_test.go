package engines

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/natslog"
)

// TestNATSForeignWriters: what clients of NATS publish to a topic's subject is read, in whatever form, and noticed at once.
func TestNATSForeignWriters(t *testing.T) {
	s := natsServer(t, nil)
	nc, js := natsClient(t, s)
	log, err := eventlog.Open(t.Context(), openNATS(t, natslog.Options{InProcess: s, RefreshEvery: time.Hour}), eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	topic, err := log.CreateTopic(t.Context(), tandem.Topic{Name: "orders.eu", Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	const subject = "tandem.events.orders.eu.1"
	send := func(data string, headers ...string) {
		t.Helper()
		m := nats.NewMsg(subject)
		m.Data = []byte(data)
		for i := 0; i < len(headers); i += 2 {
			m.Header.Add(headers[i], headers[i+1])
		}
		if _, err := js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	send(`{"n": 1}`, "ce-specversion", "1.0", "ce-id", "1", "ce-source", "/x", "ce-type", "placed", "ce-subject", "Euro%20%E2%82%AC", "ce-datacontenttype", "application/json",
		"ce-zone", "a", "ce-tandemflow", "f")
	send(`hello`, "Ce-Specversion", "1.0", "CE-ID", "2", "Ce-Source", "/x", "Ce-Type", "placed", "Content-Type", "text/plain", "ce-quoted", `"a \"b\""`)
	send(`{"specversion":"1.0","id":"3","source":"/x","type":"placed","data":{"n":3}}`, "content-type", "application/cloudevents+json; charset=utf-8")
	send(`{"specversion":"1.0","id":"4","source":"/x","type":"placed","data":{"n":4}}`)
	send(`{"n": 5}`)
	send("text")
	send("\xff\x00", "Nats-Msg-Id", "seven")
	send(`{"n": 8}`, "ce-specversion", "1.0", "ce-id", "8")                          // no source
	send(`{"specversion":"1.0"}`, "content-type", "application/cloudevents+json")    // no event
	send(`{"n": 10}`, "Tandem-Meta", "1;a=x", "ce-specversion", "0.3")               // damaged, and another version
	send(`{"n": 11}`, "Tandem-Meta", "1;d=1;x=UPPER0", "ce-id", "11", "ce-type", "") // damaged
	if err := nc.Publish(subject, nil); err != nil {                                 // without JetStream's knowing better
		t.Fatal(err)
	}
	want := []string{
		`placed 1 /x application/json json {"n": 1}`, `placed 2 /x text/plain text hello`, `placed 3 /x  json {"n":3}`, `placed 4 /x  json {"n":4}`,
		`nats.message STREAM/5 nats:SUBJECT application/json json {"n": 5}`, `nats.message STREAM/6 nats:SUBJECT text/plain; charset=utf-8 text text`,
		"nats.message seven nats:SUBJECT application/octet-stream binary \xff\x00",
		`nats.invalid STREAM/8 nats:SUBJECT application/json json {"n": 8}`, `nats.invalid STREAM/9 nats:SUBJECT application/json json {"specversion":"1.0"}`,
		`nats.invalid STREAM/10 nats:SUBJECT application/json json {"n": 10}`, `nats.message STREAM/11 nats:SUBJECT application/json json {"n": 11}`,
		`nats.message STREAM/12 nats:SUBJECT text/plain; charset=utf-8 auto `,
	}
	var got []tandem.Record
	natsUntil(t, "all messages are noticed", func() bool {
		b, err := log.Bounds(t.Context(), topic.ID, 1)
		return err == nil && b.End == uint64(len(want)+1)
	})
	got, err = log.ReadPartition(t.Context(), topic.ID, 1, 0, 100, nil)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.StreamNameBySubject(t.Context(), subject)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for i := range got {
		ev := &got[i]
		enc := [...]string{"auto", "json", "text", "binary"}[ev.Encoding]
		line := fmt.Sprintf("%s %s %s %s %s %s", ev.Type, ev.ID, ev.Source, ev.DataContentType, enc, ev.Data)
		lines = append(lines, strings.NewReplacer(stream, "STREAM", subject, "SUBJECT").Replace(line))
		if ev.Assigned || ev.Seq != uint64(i+1) || time.Since(ev.Meta.Accepted) > time.Minute {
			t.Errorf("event %d has Assigned %v, Seq %d, Accepted %v", i+1, ev.Assigned, ev.Seq, ev.Meta.Accepted)
		}
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
	if ev := got[0]; ev.Subject != "Euro €" || ev.Meta.Flow != "f" || len(ev.Extensions) != 1 || ev.Extensions[0] != (tandem.Extension{Name: "zone", Value: "a"}) {
		t.Errorf("the attributes of the first: %+v", ev)
	}
	if q, _ := got[1].Extension("quoted"); q != `a "b"` {
		t.Errorf("a quoted value is %q", q)
	}
}

// TestNATSForeignReaders: a client of NATS that follows a topic's subjects gets CloudEvents in binary mode.
func TestNATSForeignReaders(t *testing.T) {
	s := natsServer(t, nil)
	_, js := natsClient(t, s)
	log, err := eventlog.Open(t.Context(), openNATS(t, natslog.Options{InProcess: s}), eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	if _, err := log.CreateTopic(t.Context(), tandem.Topic{Name: "t", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), "t", []tandem.Event{{ID: "1", Source: "/s", Type: "placed", Subject: "Euro €", Data: []byte(`{"n":1}`), DataContentType: "application/json",
		Extensions: []tandem.Extension{{Name: "zone", Value: "a b"}}}}); err != nil {
		t.Fatal(err)
	}
	stream, err := js.StreamNameBySubject(t.Context(), "tandem.events.t.0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := js.OrderedConsumer(t.Context(), stream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "placed", "ce-subject": "Euro%20%E2%82%AC", "ce-zone": "a%20b",
		"ce-datacontenttype": "application/json"} {
		if got := m.Headers().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if string(m.Data()) != `{"n":1}` {
		t.Errorf("the data is %s", m.Data())
	}
}
