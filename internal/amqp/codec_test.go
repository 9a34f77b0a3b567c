package amqp

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rabbitmq/amqp091-go"

	"github.com/tandem-hybrid/tandem"
)

func parsed(t testing.TB, text string) tandem.Event {
	t.Helper()
	e, err := tandem.ParseEventJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// arrived is a message as a consumer gets it.
func arrived(m *amqp091.Publishing) *amqp091.Delivery {
	return &amqp091.Delivery{Headers: m.Headers, ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, MessageId: m.MessageId, Timestamp: m.Timestamp,
		Type: m.Type, Body: m.Body}
}

// TestRoundTrip: what is encoded is decoded to the same event, in both modes.
func TestRoundTrip(t *testing.T) {
	for name, text := range map[string]string{
		"all": `{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed","subject":"k/ü %41 \"x\"","time":"2026-01-31T09:30:00.123456Z",
			"dataschema":"http://s","datacontenttype":"application/json","gift":true,"count":-7,"note":"a: b","tandemflow":"f","tandemcause":"a b","tandemoperation":"o",
			"tandemhops":3,"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","data":{"n": 1.50}}`,
		"no data":  `{"specversion":"1.0","id":"1","source":"/s","type":"t"}`,
		"text":     `{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"text/plain","data":"hä"}`,
		"binary":   `{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"image/png","data_base64":"AAEC/w=="}`,
		"no media": `{"specversion":"1.0","id":"1","source":"/s","type":"t","data":[1,2]}`,
		"large":    `{"specversion":"1.0","id":"1","source":"/s","type":"t",` + strings.Repeat(`"x@":"`+strings.Repeat("v", 4000)+`",`, 1) + `"data":1}`,
	} {
		text = strings.ReplaceAll(text, "x@", "long")
		for _, structured := range []bool{false, true} {
			want := parsed(t, text)
			m := Encode(&Attempt{Record: &tandem.Record{Event: want, Position: tandem.Position{Topic: "orders", Partition: 1, Offset: 7}}, ID: "msg_1", Subscription: "s", Attempt: 2, MaxAttempts: 12, Structured: structured})
			if err := m.Headers.Validate(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if isStructured := m.ContentType == tandem.MediaEvent; isStructured != structured {
				t.Errorf("%s: content type %q", name, m.ContentType)
			}
			got, err := Decode(arrived(&m), Defaults{})
			if err != nil {
				t.Errorf("%s, structured %v: %v", name, structured, err)
				continue
			}
			if got.DataContentType == "application/json" && want.DataContentType == "" {
				got.DataContentType = "" // binary mode has to say it
			}
			a, b := string(tandem.AppendEventJSON(nil, &want)), string(tandem.AppendEventJSON(nil, &got))
			if diff := cmp.Diff(sorted(t, a), sorted(t, b)); diff != "" {
				t.Errorf("%s, structured %v (-want +got): %s", name, structured, diff)
			}
			if m.DeliveryMode != 2 || m.MessageId != "msg_1" || m.Headers["Tandem-Position"] != "orders/1/7" || m.Headers["Tandem-Attempt"] != "2" {
				t.Errorf("%s: %+v", name, m)
			}
		}
	}
}

func sorted(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestTooLargeForHeaders: attributes that no frame would hold, which would cost the connection, go structured.
func TestTooLargeForHeaders(t *testing.T) {
	e := parsed(t, `{"specversion":"1.0","id":"1","source":"/s","type":"t"}`)
	for i := range 30 {
		e.Extensions = append(e.Extensions, tandem.Extension{Name: "x" + string(rune('a'+i)), Value: strings.Repeat("v", 4000)})
	}
	e.Extensions = e.Extensions[:26]
	m := Encode(&Attempt{Record: &tandem.Record{Event: e}, ID: "1"})
	if m.ContentType != tandem.MediaEvent {
		t.Errorf("content type %q with headers of 104 KB", m.ContentType)
	}
	e.Extensions, e.DataContentType = nil, "text/plain; x="+strings.Repeat("y", 300)
	if m := Encode(&Attempt{Record: &tandem.Record{Event: e}, ID: "1"}); m.ContentType != tandem.MediaEvent {
		t.Errorf("a content type of %d bytes", len(m.ContentType))
	}
	e.DataContentType, e.Type = "", strings.Repeat("t", 300)
	if m := Encode(&Attempt{Record: &tandem.Record{Event: e}, ID: "1"}); m.Type != "" || m.Headers[prefix+"type"] != e.Type {
		t.Errorf("type %q", m.Type)
	}
}

func TestDecode(t *testing.T) {
	binary := func(h amqp091.Table) *amqp091.Delivery {
		all := amqp091.Table{"cloudEvents:specversion": "1.0", "cloudEvents:id": "1", "cloudEvents:source": "/s", "cloudEvents:type": "t"}
		for k, v := range h {
			if all[k] = v; v == nil {
				delete(all, k)
			}
		}
		return &amqp091.Delivery{Headers: all}
	}
	defaults := Defaults{Type: "plain", Source: "/sources/x"}
	for name, c := range map[string]struct {
		m    *amqp091.Delivery
		d    Defaults
		want string // JSON, or the beginning of the error
	}{
		"underscore": {&amqp091.Delivery{Headers: amqp091.Table{"cloudEvents_specversion": "1.0", "cloudEvents_id": "1", "cloudEvents_source": "/s", "cloudEvents_type": "t"}}, defaults,
			`{"specversion":"1.0","id":"1","source":"/s","type":"t"}`},
		"as over HTTP": {&amqp091.Delivery{Headers: amqp091.Table{"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}}, defaults,
			`{"specversion":"1.0","id":"1","source":"/s","type":"t"}`},
		"kinds": {binary(amqp091.Table{"cloudEvents:a": int64(5), "cloudEvents:b": int64(1) << 40, "cloudEvents:c": false, "cloudEvents:time": time.Unix(0, 0), "x-other": 1.5}), defaults,
			`{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"1970-01-01T00:00:00Z","a":5,"b":"1099511627776","c":false}`},
		"structured": {&amqp091.Delivery{ContentType: "Application/CloudEvents+JSON; charset=utf-8", Body: []byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1}`)}, Defaults{},
			`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1}`},
		"plain": {&amqp091.Delivery{ContentType: "application/json", MessageId: "m1", Timestamp: time.Unix(60, 0), Body: []byte(`{"a":1}`)}, defaults,
			`{"specversion":"1.0","id":"m1","source":"/sources/x","type":"plain","time":"1970-01-01T00:01:00Z","datacontenttype":"application/json","data":{"a":1}}`},
		"plain, no media": {&amqp091.Delivery{MessageId: "m1", Body: []byte("hi")}, defaults,
			`{"specversion":"1.0","id":"m1","source":"/sources/x","type":"plain","datacontenttype":"application/octet-stream","data_base64":"aGk="}`},
		"plain, no id": {&amqp091.Delivery{ContentType: "text/plain", Body: []byte("hi")}, defaults,
			`{"specversion":"1.0","id":"","source":"/sources/x","type":"plain","datacontenttype":"text/plain","data":"hi"}`},

		"no type for plain":     {&amqp091.Delivery{Body: []byte("hi")}, Defaults{Source: "/s"}, "the message is no CloudEvent"},
		"plain that is no JSON": {&amqp091.Delivery{ContentType: "application/json", Body: []byte("{")}, defaults, "not a valid event: /data"},
		"long id":               {&amqp091.Delivery{MessageId: "\x00", Body: []byte("x")}, defaults, "not a valid event: message_id"},
		"no id":                 {binary(amqp091.Table{"cloudEvents:id": nil}), defaults, "not a valid CloudEvent in binary mode: cloudEvents:id is required"},
		"empty type":            {binary(amqp091.Table{"cloudEvents:type": ""}), defaults, "not a valid CloudEvent in binary mode: cloudEvents:type must not be empty"},
		"no source":             {binary(amqp091.Table{"cloudEvents:source": nil}), defaults, "not a valid event: cloudEvents:source is required"},
		"version":               {binary(amqp091.Table{"cloudEvents:specversion": "0.3"}), defaults, "not a valid CloudEvent in binary mode: cloudEvents:specversion must be 1.0"},
		"no version":            {binary(amqp091.Table{"cloudEvents:specversion": nil}), defaults, "not a valid CloudEvent in binary mode: cloudEvents:specversion must be 1.0"},
		"a table":               {binary(amqp091.Table{"cloudEvents:x": amqp091.Table{}}), defaults, "not a valid CloudEvent in binary mode: cloudEvents:x must be text"},
		"odd name":              {binary(amqp091.Table{"cloudEvents:Big": "x"}), defaults, "not a valid event: cloudEvents:Big is not an attribute"},
		"content type twice":    {binary(amqp091.Table{"cloudEvents:datacontenttype": "x"}), defaults, "not a valid CloudEvent in binary mode: cloudEvents:datacontenttype must not be there"},
		"hops":                  {binary(amqp091.Table{"cloudEvents:tandemhops": "-1"}), defaults, "not a valid CloudEvent in binary mode: cloudEvents:tandemhops must be a number"},
		"batch":                 {&amqp091.Delivery{ContentType: tandem.MediaBatch, Body: []byte("[]")}, defaults, "the format \"application/cloudevents-batch+json\" of CloudEvents is not supported"},
		"compressed":            {&amqp091.Delivery{ContentEncoding: "gzip"}, defaults, "the content encoding \"gzip\" is not supported"},
		"broken structured":     {&amqp091.Delivery{ContentType: tandem.MediaEvent, Body: []byte("{")}, defaults, "malformed JSON"},
	} {
		e, err := Decode(c.m, c.d)
		if err != nil {
			if !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if diff := cmp.Diff(sorted(t, c.want), sorted(t, string(tandem.AppendEventJSON(nil, &e)))); !strings.HasPrefix(c.want, "{") || diff != "" {
			t.Errorf("%s (-want +got): %s", name, diff)
		}
	}
}

func TestRoutingKey(t *testing.T) {
	rec := &tandem.Record{Event: parsed(t, `{"specversion":"1.0","id":"1","source":"/s","type":"order.placed","subject":"k1","region":"eu","data":{"customer":{"id":7}}}`),
		Position: tandem.Position{Topic: "orders"}}
	for template, want := range map[string]string{"{type}": "order.placed", "a.{topic}.{region}.{key}": "a.orders.eu.k1", "{data.customer.id}!": "7!", "{nothing}": "", "": "", "plain": "plain"} {
		k, err := ParseRoutingKey(template)
		if err != nil {
			t.Errorf("%q: %v", template, err)
			continue
		}
		if got, err := k.For(rec); err != nil || got != want {
			t.Errorf("%q: %q, %v", template, got, err)
		}
	}
	for _, bad := range []string{"{", "}", "{a", "a}", "{A}", "{}", "{data.}", "{a}{"} {
		if _, err := ParseRoutingKey(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	k, _ := ParseRoutingKey(strings.Repeat("{type}", 30))
	if _, err := k.For(rec); err == nil || !strings.Contains(err.Error(), "360 bytes") {
		t.Errorf("a long key: %v", err)
	}
}

// TestAddress: nothing of an address that is shown is a secret.
func TestAddress(t *testing.T) {
	for _, text := range []string{"amqp://u:" + password + "@h:5672/v%20h", "amqps://u:" + password + "@h", "amqp://u:" + password + "@[h", "amqp://u:" + password + "@h:x", "http://u:" + password + "@h", password,
		"amqp://u:" + password + "%zz@h"} {
		a, err := ParseAddress(text, Certificates{})
		shown := a.String()
		if err != nil {
			shown = err.Error()
		}
		if strings.Contains(shown+CheckURL(text), password) || shown == "" {
			t.Errorf("%q is shown as %q, %q", text, shown, CheckURL(text))
		}
	}
	if _, err := ParseAddress("amqp://h", Certificates{CA: "x"}); err == nil {
		t.Error("certificates without TLS")
	}
	if _, err := ParseAddress("amqps://h", Certificates{CA: "x"}); err == nil {
		t.Error("a CA that is none")
	}
	if a := addressOf(t, "amqp://u:p@h/v%20h"); a.String() != "amqp://h:5672/v%20h" {
		t.Error(a)
	}
}

// FuzzDecode: whatever comes, a decoded event is valid, and goes out and comes back as it is.
func FuzzDecode(f *testing.F) {
	f.Add("", "cloudEvents:", "1", "/s", "t", "x", "v", []byte(`{"a":1}`))
	f.Add("application/json", "ce-", "1", "/s", "t", "subject", "v", []byte(`{"a":1}`))
	f.Add("application/cloudevents+json", "", "", "", "", "", "", []byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1}`))
	f.Add("text/plain", "", "", "", "", "", "", []byte("hi"))
	f.Fuzz(func(t *testing.T, contentType, prefix, id, source, typ, name, value string, body []byte) {
		m := &amqp091.Delivery{ContentType: contentType, MessageId: id, Body: body}
		if prefix != "" {
			m.Headers = amqp091.Table{prefix + "specversion": "1.0", prefix + "id": id, prefix + "source": source, prefix + "type": typ, prefix + name: value}
		}
		e, err := Decode(m, Defaults{Type: "plain", Source: "/s"})
		if err != nil {
			if tandem.CodeOf(err) != tandem.CodeInvalid && tandem.CodeOf(err) != tandem.CodeMediaType {
				t.Errorf("%v", err)
			}
			return
		}
		if e.ID == "" {
			e.ID = "1"
		}
		if err := tandem.CheckEvent(&e); err != nil {
			t.Fatal(err)
		}
		for _, structured := range []bool{false, true} {
			out := Encode(&Attempt{Record: &tandem.Record{Event: e}, ID: "m", Structured: structured})
			again, err := Decode(arrived(&out), Defaults{})
			if err != nil {
				t.Fatalf("structured %v: %v", structured, err)
			}
			if again.ID != e.ID || again.Source != e.Source || again.Type != e.Type || again.Subject != e.Subject {
				t.Fatalf("%+v became %+v", e, again)
			}
		}
	})
}
