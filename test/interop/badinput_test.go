package interop

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// problem is what a refusal looks like (RFC 9457).
type problem struct {
	Type   string
	Status int
	Errors []struct{ Pointer, Detail string }
}

// call sends a request whose header fields are given as "Name: value" and returns status and body.
func (s *tandem) call(method, url, body string, header ...string) (int, http.Header, []byte) {
	s.t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
		}
		req.Header.Add(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, answer
}

// stored returns how many events a topic holds.
func (s *tandem) stored(topic string) int {
	s.t.Helper()
	status, _, body := s.call("GET", s.url("/v1/topics/%s", topic), "")
	var doc struct{ Status struct{ Events int } }
	if err := json.Unmarshal(body, &doc); err != nil || status != http.StatusOK {
		s.t.Fatalf("topic %s: %d %s", topic, status, body)
	}
	return doc.Status.Events
}

// TestBadInput: what is wrong is refused with a problem that names the place, nothing of it is stored, and the process
// goes on.
func TestBadInput(t *testing.T) {
	s := start(t, "topics:\n  orders: {partitions: 4}\n")
	const (
		jsonType = "Content-Type: application/json"
		event    = "Content-Type: application/cloudevents+json"
		batch    = "Content-Type: application/cloudevents-batch+json"
		lines    = "Content-Type: application/x-ndjson"
		events   = "/v1/topics/orders/events"
		plain    = events + "?type=t&source=/s"
	)
	with := func(members string) string {
		return `{"specversion":"1.0","id":"1","source":"/s","type":"t"` + members + `}`
	}
	large := `"` + strings.Repeat("x", 1<<20) + `"`
	cases := []struct {
		name, method, path, body string
		header                   []string
		status                   int
		kind                     string // last segment of the problem's type
		pointers                 string // of the problem's errors, separated by spaces
	}{
		{"malformed JSON", "POST", plain, `{"a":1`, []string{jsonType}, 400, "invalid", ""},
		{"text after JSON", "POST", plain, `{"a":1} x`, []string{jsonType}, 400, "invalid", ""},
		{"not UTF-8", "POST", plain, "\"\xff\"", []string{jsonType}, 400, "invalid", ""},
		{"no body", "POST", plain, "", []string{jsonType}, 400, "invalid", ""},
		{"malformed event", "POST", events, with(`,`), []string{event}, 400, "invalid", ""},
		{"duplicate keys", "POST", events, with(`,"id":"2"`), []string{event}, 400, "invalid", "/id"},
		{"missing attributes", "POST", events, `{"specversion":"1.0"}`, []string{event}, 400, "invalid", "/id /source /type"},
		{"wrong type", "POST", events, `{"specversion":"1.0","id":1,"source":"/s","type":"t"}`, []string{event}, 400, "invalid", "/id"},
		{"wrong type of an optional one", "POST", events, with(`,"subject":1`), []string{event}, 400, "invalid", "/subject"},
		{"bad time", "POST", events, with(`,"time":"yesterday"`), []string{event}, 400, "invalid", "/time"},
		{"bad name", "POST", events, with(`,"Foo":"x"`), []string{event}, 400, "invalid", "/Foo"},
		{"data twice", "POST", events, with(`,"data":1,"data_base64":"AA=="`), []string{event}, 400, "invalid", "/data_base64"},
		{"bad base64", "POST", events, with(`,"data_base64":"?"`), []string{event}, 400, "invalid", "/data_base64"},
		{"other version", "POST", events, `{"specversion":"0.3","id":"1","source":"/s","type":"t"}`, []string{event}, 400, "invalid", "/specversion"},
		{"binary without source", "POST", events, "{}", []string{jsonType, "ce-specversion: 1.0", "ce-id: 1", "ce-type: t"}, 400, "invalid", "ce-source"},
		{"plain without type", "POST", events, "{}", []string{jsonType}, 400, "invalid", "type source"},
		{"one bad event in a batch", "POST", events, `[` + with("") + `,{"specversion":"1.0","id":"2","source":"/s"}]`, []string{batch}, 400, "invalid", "/1/type"},
		{"large event", "POST", plain, large, []string{jsonType}, 413, "too-large", ""},
		{"one large event in a batch", "POST", events, `[` + with("") + `,` + with(`,"data":`+large) + `]`, []string{batch}, 413, "too-large", "/1/data"},
		{"large batch", "POST", events, `[` + strings.Repeat(" ", 20<<20) + `]`, []string{batch}, 413, "too-large", ""},
		{"bad line", "POST", plain, "x\n", []string{lines}, 200, "", ""}, // each line has an answer of its own
		{"media type", "POST", plain, "x", []string{"Content-Type: application/xml"}, 415, "media-type", ""},
		{"compressed", "POST", plain, "x", []string{jsonType, "Content-Encoding: gzip"}, 415, "media-type", ""},
		{"unknown topic", "POST", "/v1/topics/nope/events?type=t&source=/s", "{}", []string{jsonType}, 404, "not-found", ""},
		{"bad topic name", "POST", "/v1/topics/UPPER/events?type=t&source=/s", "{}", []string{jsonType}, 404, "not-found", ""},
		{"topic of Tandem's own", "POST", "/v1/topics/_x/events?type=t&source=/s", "{}", []string{jsonType}, 403, "forbidden", ""},
		{"parameter twice", "POST", plain + "&type=u", "{}", []string{jsonType}, 400, "invalid", "type"},
		{"unknown ack", "POST", plain + "&ack=none", "{}", []string{jsonType}, 400, "invalid", "ack"},
		{"two keys", "POST", plain, "{}", []string{jsonType, "Idempotency-Key: a", "Idempotency-Key: b"}, 400, "invalid", "Idempotency-Key"},
		{"bad flow", "POST", plain, "{}", []string{jsonType, "Tandem-Flow: a b"}, 400, "invalid", "Tandem-Flow"},

		{"unparseable cursor", "GET", events + "?cursor=garbage", "", nil, 400, "invalid", "cursor"},
		{"unparseable last id", "GET", events, "", []string{"Accept: text/event-stream", "Last-Event-ID: garbage"}, 400, "invalid", "Last-Event-ID"},
		{"bad start", "GET", events + "?from=yesterday", "", nil, 400, "invalid", "from"},
		{"bad filter", "GET", events + "?filter=%7B%22bogus", "", nil, 400, "invalid", "filter"},
		{"bad limit", "GET", events + "?limit=0", "", nil, 400, "invalid", "limit"},
		{"bad wait", "GET", events + "?wait=-1s", "", nil, 400, "invalid", "wait"},
		{"unknown parameter", "GET", events + "?form=earliest", "", nil, 400, "invalid", "form"},
		{"bad pattern", "GET", "/v1/events?topic=**.a", "", nil, 400, "invalid", "topic"},
		{"read an unknown topic", "GET", "/v1/topics/nope/events", "", nil, 404, "not-found", ""},

		{"unknown path", "GET", "/v1/nope", "", nil, 404, "not-found", ""},
		{"wrong method", "PATCH", "/v1/topics/orders", "", nil, 405, "method", ""},
		{"topic of the file", "PUT", "/v1/topics/orders", "{}", []string{jsonType}, 409, "conflict", ""},
		{"unknown member", "PUT", "/v1/topics/x", `{"partition":4}`, []string{jsonType}, 400, "invalid", "/partition"},
		{"too many partitions", "PUT", "/v1/topics/x", `{"partitions":5000}`, []string{jsonType}, 400, "invalid", "/partitions"},
		{"bad rule for the key", "PUT", "/v1/topics/x", `{"key":"Subject!"}`, []string{jsonType}, 400, "invalid", "/key"},
		{"unknown service", "PUT", "/v1/subscriptions/x", `{"topics":["orders"],"service":"nope"}`, []string{jsonType}, 400, "invalid", "/service"},
		{"address of the network inside", "PUT", "/v1/subscriptions/x", `{"topics":["orders"],"url":"http://169.254.169.254/"}`, []string{jsonType}, 400, "invalid", "/url"},
		{"secret in clear", "PUT", "/v1/subscriptions/x", `{"topics":["orders"],"service":"nope","secret":"whsec_abc"}`, []string{jsonType}, 400, "invalid", "/service /secret"},
		{"request mode", "PUT", "/v1/subscriptions/x", `{"topics":["orders"],"pull":{},"mode":"request"}`, []string{jsonType}, 400, "invalid", "/mode"},

		{"rebound name", "GET", "/v1/topics", "", []string{"Host: evil.example"}, 403, "forbidden", "Host"},
		{"page of another origin", "POST", plain, "{}", []string{jsonType, "Origin: http://evil.example"}, 403, "forbidden", "Origin"},
		{"page without an origin", "POST", plain, "{}", []string{jsonType, "Origin: null"}, 403, "forbidden", "Origin"},
		{"request of another site", "GET", "/v1/topics", "", []string{"Sec-Fetch-Site: cross-site"}, 403, "forbidden", "Sec-Fetch-Site"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			status, header, body := s.call(c.method, s.url("%s", c.path), c.body, c.header...)
			if status != c.status {
				t.Fatalf("%d, want %d: %.300s", status, c.status, body)
			}
			if c.kind == "" {
				return
			}
			var p problem
			if err := json.Unmarshal(body, &p); err != nil || header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("not a problem: %s %.300s", header.Get("Content-Type"), body)
			}
			if !strings.HasSuffix(p.Type, "/"+c.kind) || p.Status != status {
				t.Errorf("type %s, status %d, want %s", p.Type, p.Status, c.kind)
			}
			var pointers []string
			for _, e := range p.Errors {
				pointers = append(pointers, e.Pointer)
			}
			want := strings.Fields(c.pointers)
			slices.Sort(pointers)
			slices.Sort(want)
			if !slices.Equal(pointers, want) {
				t.Errorf("errors at %q, want %q: %.300s", pointers, want, body)
			}
		})
	}
	if n := s.stored("orders"); n != 0 {
		t.Errorf("%d events are stored", n)
	}
	if _, _, body := s.call("GET", s.url("/v1/topics"), ""); strings.Count(string(body), `"name"`) != 1 {
		t.Errorf("topics came into being: %s", body)
	}
	if _, _, body := s.call("GET", s.url("/v1/subscriptions"), ""); strings.Contains(string(body), `"name"`) {
		t.Errorf("subscriptions came into being: %s", body)
	}
	s.publish("orders", "k", 1) // it lives on
}

// TestBadLines: in bulk each line has an answer in its place; bad ones cost the others nothing.
func TestBadLines(t *testing.T) {
	s := start(t, "topics:\n  orders: {partitions: 4}\n")
	var body strings.Builder
	const total = 20_000
	bad := map[int]bool{}
	for n := 1; n <= total; n++ {
		switch {
		case n%1000 == 500:
			bad[n] = true
			body.WriteString("{\"n\":\n")
		case n == 7777:
			bad[n] = true
			body.WriteString(`"` + strings.Repeat("x", 2<<20) + "\"\n")
		default:
			fmt.Fprintf(&body, "{\"n\":%d}\n", n)
		}
	}
	status, _, answer := s.call("POST", s.url("/v1/topics/orders/events?type=t&source=/s"), body.String(), "Content-Type: application/x-ndjson")
	if status != http.StatusOK {
		t.Fatalf("%d %.300s", status, answer)
	}
	n := 0
	for text := range strings.Lines(string(answer)) {
		n++
		var l struct {
			Line   int
			Offset *uint64
		}
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("line %d: %v: %s", n, err, text)
		}
		if bad[n] != (l.Line == n) || bad[n] == (l.Offset != nil) {
			t.Fatalf("line %d (bad: %v) was answered %s", n, bad[n], text)
		}
	}
	if n != total {
		t.Errorf("%d answers for %d lines", n, total)
	}
	if got := s.stored("orders"); got != total-len(bad) {
		t.Errorf("%d events are stored, want %d", got, total-len(bad))
	}
}
