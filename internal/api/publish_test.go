package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/api"
	"github.com/tandem-hybrid/tandem/internal/tracecontext"
)

func TestPublishForms(t *testing.T) {
	for _, c := range []struct {
		name, target, body string
		headers            []string
		check              func(*testing.T, *tandem.Event)
	}{
		{"structured", events, anEvent, []string{"Content-Type", "application/cloudevents+json; charset=utf-8"}, func(t *testing.T, e *tandem.Event) {
			if e.ID != "1" || string(e.Data) != `{"total":12}` {
				t.Errorf("%+v", e)
			}
		}},
		{"binary", events, "\x00\xff", []string{"Content-Type", "image/png", "Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Source", "/shop", "Ce-Type", "order.placed", "Ce-Subject", "42", "Ce-Comment", "Euro%20%E2%82%AC"}, func(t *testing.T, e *tandem.Event) {
			if v, _ := e.Extension("comment"); v != "Euro €" || string(e.Data) != "\x00\xff" || e.DataContentType != "image/png" {
				t.Errorf("%+v", e)
			}
		}},
		{"plain", events + plainType + "&subject=42&region=eu", ` {"total": 12} `, []string{"Content-Type", "application/json"}, func(t *testing.T, e *tandem.Event) {
			if v, _ := e.Extension("region"); v != "eu" || string(e.Data) != ` {"total": 12} ` || e.ID == "" || e.Time == "" {
				t.Errorf("%+v", e)
			}
		}},
		{"plain without content type", events + plainType + "&subject=42&id=mine", `"text"`, nil, func(t *testing.T, e *tandem.Event) {
			if e.ID != "mine" || string(e.Data) != `"text"` {
				t.Errorf("%+v", e)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t, nil)
			a := h.do("POST", c.target, c.body, c.headers...).want(201)
			got := h.stored("orders")
			if len(got) != 1 {
				t.Fatalf("%d events are stored", len(got))
			}
			e := &got[0].Event
			if e.Type != "order.placed" || e.Source != "/shop" || e.Subject != "42" {
				t.Errorf("attributes of %+v", e)
			}
			if e.Meta.Producer != "local" || e.Meta.Route == "" || e.Meta.Flow == "" || e.Meta.Flow != a.header.Get("Tandem-Flow") {
				t.Errorf("meta %+v, header %v", e.Meta, a.header)
			}
			c.check(t, e)
			receipt := decode[tandem.Receipt](a)
			if receipt.ID != e.ID || receipt.Topic != "orders" || receipt.Offset != got[0].Position.Offset || receipt.Partition != got[0].Position.Partition || receipt.Cursor == "" || receipt.Duplicate == tandem.DuplicateYes {
				t.Errorf("receipt %+v of %+v", receipt, got[0].Position)
			}
			if a.header.Get("Content-Type") != "application/json" || a.header.Get("Tandem-Cursor") != string(receipt.Cursor) {
				t.Errorf("header %v", a.header)
			}
		})
	}
}

func TestPublishTakesDefaultsOfTheTopic(t *testing.T) {
	h := newHarness(t, nil)
	h.create(tandem.Topic{Name: "positions", Source: "/fleet", Type: "vehicle.position", Key: "data.id"})
	h.do("POST", "/v1/topics/positions/events", `{"id":"v1"}`, "Content-Type", "application/json").want(201)
	h.do("POST", "/v1/topics/positions/events?type=other", `{"id":"v2"}`, "Content-Type", "application/json").want(201)
	got := h.stored("positions")
	if got[0].Type != "vehicle.position" || got[0].Source != "/fleet" || got[0].Meta.Key != "v1" || got[1].Type != "other" {
		t.Errorf("%+v", got)
	}
	// A topic that is made, or changed, later.
	h.do("PUT", "/v1/topics/late", `{"source":"/late","type":"a"}`).want(201)
	h.do("POST", "/v1/topics/late/events", `{}`).want(201)
	h.do("PUT", "/v1/topics/late", `{"source":"/late","type":"b"}`).want(200)
	h.do("POST", "/v1/topics/late/events", `{}`).want(201)
	if got := h.stored("late"); len(got) != 2 || got[0].Type != "a" || got[1].Type != "b" {
		t.Errorf("%+v", got)
	}
}

func TestPublishBatch(t *testing.T) {
	h := newHarness(t, nil)
	a := h.publish(tandem.MediaBatch, `[`+anEvent+`,{"specversion":"1.0","id":"2","source":"/s","type":"t","tandemflow":"own"}]`, "Tandem-Flow", "f1").want(201)
	if got := decode[[]tandem.Receipt](a); len(got) != 2 || got[0].ID != "1" || got[1].ID != "2" {
		t.Errorf("receipts %s", a.body)
	}
	if got := h.stored("orders"); len(got) != 2 || got[0].Meta.Flow != "f1" || got[1].Meta.Flow != "own" {
		t.Errorf("stored %+v", got)
	}
	if a := h.publish(tandem.MediaBatch, `[]`).want(201); a.body != "[]\n" {
		t.Errorf("empty batch: %q", a.body)
	}
	one := h.publish(tandem.MediaBatch, `[{"specversion":"1.0","id":"3","source":"/s","type":"t"}]`).want(201)
	if got := decode[[]tandem.Receipt](one); len(got) != 1 {
		t.Errorf("batch of one: %s", one.body)
	}
}

// TestBatchAllOrNothing: whatever is wrong with one event, none of the batch is stored.
func TestBatchAllOrNothing(t *testing.T) {
	good := func(id string) string {
		return `{"specversion":"1.0","id":"` + id + `","source":"/shop","type":"t"}`
	}
	h := newHarness(t, func(o *api.Options) { o.MaxEventBytes = tandem.DefaultMaxEventBytes })
	h.publish(tandem.MediaEvent, anEvent).want(201)
	large := `{"specversion":"1.0","id":"l","source":"/shop","type":"t","data":"` + strings.Repeat("x", 1<<20) + `"}`
	other := strings.Replace(anEvent, "12", "13", 1)
	for _, c := range []struct {
		name, bad string
		status    int
		pointer   string
	}{
		{"missing", `{"specversion":"1.0","id":"x","source":"/shop"}`, 400, "/2/type"},
		{"wrong type", `{"specversion":"1.0","id":7,"source":"/shop","type":"t"}`, 400, "/2/id"},
		{"too large", large, 413, "/2/data"},
		{"other data under the same id", other, 409, "/2/id"},
	} {
		p := h.publish(tandem.MediaBatch, "["+good("a")+","+good("b")+","+c.bad+","+good("c")+"]").want(c.status)
		fields := decode[tandem.Problem](p).Errors
		if len(fields) == 0 || fields[0].Pointer != c.pointer {
			t.Errorf("%s: %s", c.name, p.body)
		}
		if n := len(h.stored("orders")); n != 1 {
			t.Fatalf("%s: %d events are stored", c.name, n-1)
		}
	}
	h.publish(tandem.MediaBatch, "["+strings.Replace(anEvent, "12", "14", 1)+"]").problem(409, "/0/id")
}

// TestPublishBadInput: each is a clear problem, and nothing is stored.
func TestPublishBadInput(t *testing.T) {
	h := newHarness(t, nil)
	large := strings.Repeat("x", tandem.DefaultMaxEventBytes+1)
	binary := func(extra ...string) []string {
		return append([]string{"Content-Type", "application/json", "Ce-Id", "1", "Ce-Source", "/s"}, extra...)
	}
	structured := []string{"Content-Type", tandem.MediaEvent}
	plain := []string{"Content-Type", "application/json"}
	for _, c := range []struct {
		name, target, body string
		headers            []string
		status             int
		pointers           string
	}{
		{"malformed JSON", events, `{"specversion":"1.0",`, structured, 400, ""},
		{"empty body", events, ``, structured, 400, ""},
		{"not an object", events, `[]`, structured, 400, ""},
		{"text behind the event", events, anEvent + "x", structured, 400, ""},
		{"duplicate keys", events, strings.Replace(anEvent, `"id"`, `"id":"0","id"`, 1), structured, 400, "/id"},
		{"missing attributes", events, `{"specversion":"1.0"}`, structured, 400, "/id /source /type"},
		{"wrong type", events, strings.Replace(anEvent, `"42"`, `42`, 1), structured, 400, "/subject"},
		{"other version", events, strings.Replace(anEvent, `"1.0"`, `"0.3"`, 1), structured, 400, "/specversion"},
		{"bad time", events, strings.Replace(anEvent, `"42"`, `"42","time":"yesterday"`, 1), structured, 400, "/time"},
		{"bad name", events, strings.Replace(anEvent, `"42"`, `"42","Big_Name":"x"`, 1), structured, 400, "/Big_Name"},
		{"oversize", events, strings.Replace(anEvent, `12`, `"`+large+`"`, 1), structured, 413, "/data"},
		{"oversize body", events, strings.Repeat(" ", 3<<20), structured, 413, ""},
		{"malformed batch", events, `[` + anEvent, []string{"Content-Type", tandem.MediaBatch}, 400, ""},
		{"event where a batch is expected", events, anEvent, []string{"Content-Type", tandem.MediaBatch}, 400, ""},
		{"binary without version and type", events, `{}`, binary(), 400, "ce-specversion ce-type"},
		{"binary with bad JSON", events, `{`, binary("Ce-Specversion", "1.0", "Ce-Type", "t"), 400, "/data"},
		{"binary with a repeated header", events, `{}`, binary("Ce-Specversion", "1.0", "Ce-Type", "t", "Ce-Type", "u"), 400, "ce-type"},
		{"binary oversize", events, large, binary("Ce-Specversion", "1.0", "Ce-Type", "t"), 413, ""},
		{"plain without type and source", events, `{}`, plain, 400, "type source"},
		{"plain malformed", events + plainType, `{"a":`, plain, 400, ""},
		{"plain empty", events + plainType, ``, plain, 400, ""},
		{"plain oversize", events + plainType, `"` + large + `"`, plain, 413, ""},
		{"plain with bad subject", events + plainType + "&subject=a%01b", `{}`, plain, 400, "subject"},
		{"plain with bad time", events + plainType + "&time=now", `{}`, plain, 400, "time"},
		{"unknown parameter", events + plainType + "&Ack=accepted", `{}`, plain, 400, "Ack"},
		{"parameter twice", events + plainType + "&type=b", `{}`, plain, 400, "type"},
		{"bad ack", events + "?ack=all", anEvent, structured, 400, "ack"},
		{"attribute beside an event", events + "?type=b", anEvent, structured, 400, "type"},
		{"attribute that has a header", events + plainType + "&tandemflow=x", `{}`, plain, 400, "tandemflow"},
		{"empty key", events + "?key=", anEvent, structured, 400, "key"},
		{"large cause", events, anEvent, append(structured, "Tandem-Cause", strings.Repeat("r ", 3000)), 400, "Tandem-Cause"},
		{"bad idempotency key", events, anEvent, append(structured, "Idempotency-Key", `""`), 400, "Idempotency-Key"},
		{"bad flow", events, anEvent, append(structured, "Tandem-Flow", "a b"), 400, "Tandem-Flow"},
		{"content type of a form", events + plainType, `a=b`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, ""},
		{"other format of CloudEvents", events, `<event/>`, []string{"Content-Type", "application/cloudevents+xml"}, 415, ""},
		{"two idempotency keys", events, anEvent, append(structured, "Idempotency-Key", "a", "Idempotency-Key", "b"), 400, "Idempotency-Key"},
		{"two forms", events, anEvent, append(structured, "Content-Type", tandem.MediaBatch), 400, "Content-Type"},
		{"compressed in the end", events, `x`, append(structured, "Content-Encoding", "identity", "Content-Encoding", "gzip"), 415, ""},
		{"compressed", events, `x`, append(structured, "Content-Encoding", "gzip"), 415, ""},
		{"unknown topic", "/v1/topics/nowhere/events", anEvent, structured, 404, ""},
		{"topic of Tandem's own", "/v1/topics/_state/events", anEvent, structured, 403, ""},
		{"name that is none", "/v1/topics/a%20b/events", anEvent, structured, 404, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.t = t
			p := h.do("POST", c.target, c.body, c.headers...).problem(c.status, strings.Fields(c.pointers)...)
			if c.status == 415 && p.Hint == "" {
				t.Error("no hint lists what is accepted")
			}
			if n := len(h.stored("orders")); n != 0 {
				t.Errorf("%d events are stored", n)
			}
		})
	}
	h.t = t
	h.publish(tandem.MediaEvent, anEvent).want(201) // and the process lives on
	if h.logged.Len() > 0 {
		t.Errorf("bad input was logged: %s", h.logged)
	}
}

func TestPlainJSONThatIsAnEventGetsAHint(t *testing.T) {
	h := newHarness(t, nil)
	p := h.publish("application/json", anEvent).problem(400, "type", "source")
	if !strings.Contains(p.Hint, tandem.MediaEvent) {
		t.Errorf("hint %q", p.Hint)
	}
}

func TestIdempotency(t *testing.T) {
	h := newHarness(t, nil)
	plain := func(key, body string) answer {
		return h.do("POST", events+plainType, body, "Idempotency-Key", key)
	}
	first := decode[tandem.Receipt](plain("k1", `{"n":1}`).want(201))
	again := decode[tandem.Receipt](plain(`"k1"`, `{"n":1}`).want(201))
	if again.Duplicate != tandem.DuplicateYes || again.ID != first.ID || again.Cursor != first.Cursor || again.Offset != first.Offset {
		t.Errorf("repeat %+v of %+v", again, first)
	}
	plain("k1", `{"n":2}`).problem(409, "Idempotency-Key")
	other := decode[tandem.Receipt](plain("k2", `{"n":1}`).want(201))
	if other.Duplicate == tandem.DuplicateYes || other.ID == first.ID {
		t.Errorf("another key gave %+v", other)
	}
	// An id of the client's own does the same without the header.
	h.publish(tandem.MediaEvent, anEvent).want(201)
	if r := decode[tandem.Receipt](h.publish(tandem.MediaEvent, anEvent).want(201)); r.Duplicate != tandem.DuplicateYes {
		t.Errorf("repeat %+v", r)
	}
	h.publish(tandem.MediaEvent, strings.Replace(anEvent, "12", "13", 1)).problem(409, "/id")
	// Each line of NDJSON has an id of its own from the key.
	for i, want := range []bool{false, true} {
		a := h.do("POST", events+plainType, "1\n2\n", "Content-Type", tandem.MediaNDJSON, "Idempotency-Key", "k3").want(200)
		for _, l := range lines(a) {
			var r tandem.Receipt
			if err := json.Unmarshal([]byte(l), &r); err != nil || (r.Duplicate == tandem.DuplicateYes) != want {
				t.Errorf("round %d: %s", i, l)
			}
		}
	}
	if n := len(h.stored("orders")); n != 5 {
		t.Errorf("%d events are stored, want 5", n)
	}
}

func TestPublishAccepted(t *testing.T) {
	h := newHarness(t, nil)
	_, resume := h.engine.Stall() // what is accepted does not wait for the disk
	a := h.do("POST", events+"?ack=accepted", anEvent, "Content-Type", tandem.MediaEvent).want(202)
	if a.body != `{"id":"1","topic":"orders"}`+"\n" {
		t.Errorf("body %s", a.body)
	}
	a = h.do("POST", events+"?ack=accepted", "["+strings.Replace(anEvent, `"1"`, `"2"`, 1)+"]", "Content-Type", tandem.MediaBatch).want(202)
	if a.body != `[{"id":"2","topic":"orders"}]`+"\n" {
		t.Errorf("body %s", a.body)
	}
	// The buffers of those two requests are used again while they wait.
	resume()
	h.publish(tandem.MediaEvent, strings.Replace(strings.Replace(anEvent, `"1"`, `"3"`, 1), "12", "99", 1)).want(201)
	for _, e := range h.await("orders", 3) {
		if e.ID != "3" && string(e.Data) != `{"total":12}` {
			t.Errorf("%s has %s", e.ID, e.Data)
		}
	}
}

func TestPublishPrefersMinimal(t *testing.T) {
	h := newHarness(t, nil)
	a := h.publish(tandem.MediaEvent, anEvent, "Prefer", "return=minimal").want(201)
	if a.body != "" || a.header.Get("Preference-Applied") != "return=minimal" || a.header.Get("Tandem-Cursor") == "" {
		t.Errorf("%q %v", a.body, a.header)
	}
	a = h.do("POST", events+plainType, "1\n{\n3\n", "Content-Type", tandem.MediaNDJSON, "Prefer", "return=minimal").want(200)
	if got := lines(a); len(got) != 1 || !strings.HasPrefix(got[0], `{"line":2,`) {
		t.Errorf("%q", a.body)
	}
}

func TestPublishStamps(t *testing.T) {
	h := newHarness(t, nil)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	h.publish(tandem.MediaEvent, anEvent, "Tandem-Flow", "flow-1", "Tandem-Cause", "r1 r2", "Tandem-Operation", "op-1", "Traceparent", trace, "Tracestate", "a=b", "Tracestate", "c=d").want(201)
	h.do("POST", events+"?key=k", strings.Replace(anEvent, `"1"`, `"2","tandemcause":"mine","tandemhops":3`, 1),
		"Content-Type", tandem.MediaEvent, "Tandem-Cause", "r1", "Traceparent", "rubbish", "Tracestate", "a=b").want(201)
	for _, e := range h.stored("orders") {
		m := e.Meta
		switch e.ID {
		case "1":
			if m.Flow != "flow-1" || fmt.Sprint(m.Causes) != "[r1 r2]" || m.Operation != "op-1" || m.TraceParent != trace || m.TraceState != "a=b,c=d" || m.Key != "" {
				t.Errorf("meta %+v", m)
			}
		case "2":
			if fmt.Sprint(m.Causes) != "[mine]" || m.Hops != 3 || m.TraceParent != tracecontext.Begin(m.Flow) || m.TraceState != "" || m.Key != "k" || len(m.Flow) != 36 {
				t.Errorf("meta %+v", m)
			}
		}
	}
}

// TestPublishRefusedByTheLog: a log that cannot write is 503 with Retry-After in every form, and not ready.
func TestPublishRefusedByTheLog(t *testing.T) {
	h := newHarness(t, nil)
	h.do("GET", "/readyz", "").want(200)
	h.engine.Fail(tandem.Errorf(tandem.CodeUnavailable, "the disk is full").WithHint("free some space"))
	for form, body := range map[string]string{tandem.MediaEvent: anEvent, tandem.MediaBatch: "[" + anEvent + "]", tandem.MediaNDJSON: anEvent} {
		a := h.publish(form, body)
		if a.problem(503); a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %v", form, a.header)
		}
	}
	if p := h.do("GET", "/readyz", "").problem(503); !strings.Contains(p.Detail, "disk is full") {
		t.Errorf("reason %q", p.Detail)
	}
	h.do("GET", "/livez", "").want(200)
	h.engine.Fail(errors.New("secret detail"))
	if a := h.publish(tandem.MediaEvent, anEvent); a.problem(500).Detail == "" || strings.Contains(a.body, "secret") {
		t.Errorf("body %s", a.body)
	}
	if !strings.Contains(h.logged.String(), "secret detail") {
		t.Error("the log does not say what happened")
	}
	h.engine.Fail(nil)
	h.do("GET", "/readyz", "").want(200)
	if n := len(h.stored("orders")); n != 0 {
		t.Errorf("%d events are stored", n)
	}
}

func TestOptionsHeadAndMethods(t *testing.T) {
	h := newHarness(t, nil)
	a := h.do("OPTIONS", events, "").want(204)
	if got := a.header.Get("Allow"); got != "GET, HEAD, OPTIONS, POST" {
		t.Errorf("Allow %q", got)
	}
	a = h.do("DELETE", events, "")
	if a.problem(405); a.header.Get("Allow") != "GET, HEAD, OPTIONS, POST" {
		t.Errorf("Allow %q", a.header.Get("Allow"))
	}
	for _, path := range []string{"/", "/v1", "/v1/topics/", "/v1/topics/a/b", "/v1/topics//events", "/v1/subscriptions/a:frobnicate", "/v2/topics"} {
		h.do("GET", path, "").problem(404)
	}
	for _, path := range []string{"/v1/flows", "/v1/flows/x", "/v1/explain?event=x", "/v1/subscriptions/a/deliveries"} {
		h.do("GET", path, "").problem(501)
	}
	h.do("POST", "/v1/subscriptions/a:pull", "").problem(501)
	h.do("GET", "/v1/subscriptions", "").problem(501) // no such room here
	if a := h.do(http.MethodHead, "/v1/topics/orders", "").want(200); a.header.Get("ETag") == "" {
		t.Errorf("HEAD: %v", a.header)
	}
}

// TestPublishNothing: a body that is not there, and is said to be of no type, is an event without data.
func TestPublishNothing(t *testing.T) {
	h := newHarness(t, nil)
	h.do("POST", events+plainType, "").want(201)
	h.do("POST", events+plainType, "", "Content-Type", "application/json").problem(400)
	got := h.stored("orders")
	if len(got) != 1 || len(got[0].Data) != 0 || got[0].DataContentType != "" || got[0].Type != "order.placed" {
		t.Errorf("stored %+v", got)
	}
}
