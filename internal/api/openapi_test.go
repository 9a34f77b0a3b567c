package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/auth"
	"github.com/tandem-hybrid/tandem/internal/stream"
)

type document struct {
	doc map[string]any
}

func loadDocument(t *testing.T) document {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(openapiDocument))
	if err != nil {
		t.Fatal(err)
	}
	return document{v.(map[string]any)}
}

func (d document) at(path ...string) any {
	var v any = d.doc
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

var verbs = []string{"get", "put", "post", "delete", "patch"}

// TestDocumentHasEveryRoute walks the table of routes and the document in both directions.
func TestDocumentHasEveryRoute(t *testing.T) {
	d := loadDocument(t)
	ids := map[string]bool{}
	for _, r := range routes {
		op, _ := d.at("paths", r.path, strings.ToLower(r.method)).(map[string]any)
		if op == nil {
			t.Errorf("%s %s is not in the document", r.method, r.path)
			continue
		}
		if role, _ := op["x-tandem-role"].(string); role != r.role {
			t.Errorf("%s %s needs the role %q; the document says %q", r.method, r.path, r.role, role)
		}
		id := op["operationId"].(string)
		if ids[id] {
			t.Errorf("operationId %s is there twice", id)
		}
		ids[id] = true
	}
	for path, item := range d.at("paths").(map[string]any) {
		for name := range item.(map[string]any) {
			if !slices.Contains(verbs, name) {
				continue
			}
			if !slices.ContainsFunc(routes, func(r route) bool { return r.path == path && strings.EqualFold(r.method, name) }) {
				t.Errorf("%s %s is in the document and not in the table", name, path)
			}
		}
	}
	for _, r := range planned {
		if d.at("paths", r.path) != nil {
			t.Errorf("%s is in the document, though it is not built", r.path)
		}
	}
}

// TestDocumentRefersToWhatThereIs: every $ref leads somewhere, every component is used.
func TestDocumentRefersToWhatThereIs(t *testing.T) {
	d := loadDocument(t)
	used := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				used[ref] = true
				if d.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...) == nil {
					t.Errorf("%s leads nowhere", ref)
				}
			}
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(d.doc)
	for kind, all := range d.at("components").(map[string]any) {
		for name := range all.(map[string]any) {
			if ref := "#/components/" + kind + "/" + name; kind != "securitySchemes" && !used[ref] {
				t.Errorf("%s is used nowhere", ref)
			}
		}
	}
}

// schemas compiles schemas of the document by their place in it.
type schemas struct {
	t *testing.T
	c *jsonschema.Compiler
}

func newSchemas(t *testing.T, d document) schemas {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("mem:api", d.doc); err != nil {
		t.Fatal(err)
	}
	return schemas{t, c}
}

// check validates a body against the schema at a place of the document.
func (s schemas) check(body []byte, place ...string) error {
	s.t.Helper()
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D", "+", "%2B")
	for i := range place {
		place[i] = escape.Replace(place[i])
	}
	sch, err := s.c.Compile("mem:api#/" + strings.Join(place, "/"))
	if err != nil {
		s.t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return sch.Validate(v)
}

// TestAnswersFollowTheDocument sends a request of every kind, and checks that status, content type and body are among
// those that the document names.
func TestAnswersFollowTheDocument(t *testing.T) {
	d := loadDocument(t)
	s := newSchemas(t, d)
	h := newDocumented(t)
	succeeded := map[string]bool{"POST /v1/config:reload": true} // needs a file
	const one = `{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"k","time":"2026-01-31T09:30:00Z","data":{"n":1}}`
	for _, c := range []struct {
		method, path, arg, query, body, contentType string
		status                                      int
	}{
		{"PUT", "/v1/topics/{topic}", "orders", "", `{"partitions":2,"type":"t","source":"/s"}`, "", 201},
		{"PUT", "/v1/topics/{topic}", "orders", "", `{"type":"t","source":"/s"}`, "", 200},
		{"PUT", "/v1/topics/{topic}", "orders", "", `{"partitions":3}`, "", 409},
		{"PUT", "/v1/topics/{topic}", "orders", "", `{`, "", 400},
		{"POST", "/v1/topics/{topic}/events", "orders", "", one, tandem.MediaEvent, 201},
		{"POST", "/v1/topics/{topic}/events", "orders", "", "[" + one + "]", tandem.MediaBatch, 201},
		{"POST", "/v1/topics/{topic}/events", "orders", "", one + "\n{}", tandem.MediaNDJSON, 200},
		{"POST", "/v1/topics/{topic}/events", "orders", "", `{}`, "application/json", 201},
		{"POST", "/v1/topics/{topic}/events", "orders", "ack=accepted", `{}`, "application/json", 202},
		{"POST", "/v1/topics/{topic}/events", "orders", "", `{}`, tandem.MediaEvent, 400},
		{"POST", "/v1/topics/{topic}/events", "orders", "", `{}`, "text/plain", 415},
		{"POST", "/v1/topics/{topic}/events", "absent", "", one, tandem.MediaEvent, 404},
		{"GET", "/v1/topics/{topic}/events", "orders", "from=earliest", "", "", 200},
		{"GET", "/v1/topics/{topic}/events", "orders", "cursor=AQEAAAAAAAAAAAAAAAAAAAAC", "", "", 200}, // of another log
		{"GET", "/v1/topics/{topic}/events", "orders", "cursor=x", "", "", 400},
		{"GET", "/v1/events", "", "topic=**", "", "", 200},
		{"GET", "/v1/events", "", "", "", "", 400},
		{"GET", "/v1/streams", "", "", "", "", 200},
		{"GET", "/v1/streams", "", "limit=1001", "", "", 400},
		{"GET", "/v1/topics", "", "", "", "", 200},
		{"GET", "/v1/topics/{topic}", "orders", "", "", "", 200},
		{"GET", "/v1/topics/{topic}", "absent", "", "", "", 404},
		{"GET", "/v1/subscriptions", "", "", "", "", 200},
		{"PUT", "/v1/subscriptions/{name}", "pay", "", everything, "", 201},
		{"GET", "/v1/subscriptions/{name}", "pay", "", "", "", 200},
		{"GET", "/v1/subscriptions/{name}", "absent", "", "", "", 404},
		{"POST", "/v1/subscriptions/{name}:pause", "pay", "", "", "", 200},
		{"POST", "/v1/subscriptions/{name}:resume", "pay", "", "", "", 200},
		{"POST", "/v1/subscriptions/{name}:seek", "pay", "", `{"from":"earliest"}`, "", 200},
		{"POST", "/v1/subscriptions/{name}:seek", "pay", "", `{"cursor":"abc","dryRun":true}`, "", 200},
		{"POST", "/v1/subscriptions/{name}:test", "pay", "", "", "", 200},
		{"POST", "/v1/subscriptions/{name}:test", "absent", "", "", "", 404},
		{"POST", "/v1/subscriptions/{name}:replay", "pay", "", `{"from":"2026-01-31T09:30:00Z","to":"2026-02-01T00:00:00Z","filter":{"type":"t"},"evenIfSeen":true,"rate":50}`, "", 201},
		{"POST", "/v1/subscriptions/{name}:replay", "pay", "", `{}`, "", 400},
		{"POST", "/v1/subscriptions/{name}:pull", "pay", "", "", "", 200},
		{"POST", "/v1/subscriptions/{name}:pull", "pay", "", `{"max":10,"wait":"5s","visibility":"1m"}`, "", 200},
		{"POST", "/v1/subscriptions/{name}:pull", "pay", "", `{"max":1001}`, "", 400},
		{"POST", "/v1/subscriptions/{name}:pull", "absent", "", "", "", 404},
		{"POST", "/v1/subscriptions/{name}:ack", "pay", "", `{"leases":["a"]}`, "", 200},
		{"POST", "/v1/subscriptions/{name}:ack", "pay", "", `{"leases":[]}`, "", 400},
		{"POST", "/v1/subscriptions/{name}:nack", "pay", "", `{"leases":["a"],"delay":"5s"}`, "", 200},
		{"POST", "/v1/subscriptions/{name}:extend", "pay", "", `{"leases":["a"],"visibility":"5m"}`, "", 200},
		{"GET", "/v1/subscriptions/{name}/deliveries", "pay", "event=1&state=dead&since=2026-01-31T09:30:00Z", "", "", 200},
		{"GET", "/v1/subscriptions/{name}/deliveries", "pay", "state=lost", "", "", 400},
		{"GET", "/v1/subscriptions/{name}/deliveries", "absent", "", "", "", 404},
		{"GET", "/v1/subscriptions/{name}/dead-letters", "pay", "", "", "", 200},
		{"GET", "/v1/subscriptions/{name}/dead-letters/{id}", "pay", "", "", "", 200},
		{"POST", "/v1/subscriptions/{name}/dead-letters:redrive", "pay", "", `{"all":true}`, "", 200},
		{"POST", "/v1/subscriptions/{name}/dead-letters:redrive", "pay", "", `{"filter":{"type":"t"},"reason":"exhausted","since":"2026-01-31T09:30:00Z","until":"2026-02-01T09:30:00Z","rate":5,"dryRun":true}`, "", 200},
		{"POST", "/v1/subscriptions/{name}/dead-letters:discard", "pay", "", `{"ids":["1"]}`, "", 200},
		{"DELETE", "/v1/subscriptions/{name}", "pay", "", "", "", 204},
		{"GET", "/v1/operations/{id}", "op", "", "", "", 200},
		{"DELETE", "/v1/operations/{id}", "op", "", "", "", 200},
		{"GET", "/v1/flows", "", "key=k&type=t&state=failed&since=2026-01-31T09:30:00Z", "", "", 200},
		{"GET", "/v1/flows", "", "since=yesterday", "", "", 400},
		{"GET", "/v1/flows", "", "trace=00000000000000000000000000000001", "", "", 404},
		{"GET", "/v1/flows/{id}", "", "", "", "", 200},
		{"GET", "/v1/explain", "", "event=1&source=a", "", "", 200},
		{"GET", "/v1/explain", "", "position=a", "", "", 400},
		{"GET", "/v1/status", "", "", "", "", 200},
		{"GET", "/v1/config", "", "", "", "", 200},
		{"POST", "/v1/config:reload", "", "", "", "", 409},
		{"GET", "/v1/openapi.json", "", "", "", "", 200},
		{"GET", "/metrics", "", "", "", "", 200},
		{"GET", "/livez", "", "", "", "", 200},
		{"GET", "/v1/client.js", "", "", "", "", 200},
		{"GET", "/readyz", "", "", "", "", 200},
		{"DELETE", "/v1/topics/{topic}", "orders", "", "", "", 204},
	} {
		name := fmt.Sprint(c.method, " ", c.path, " ", c.status)
		target := regexp.MustCompile(`\{(name|topic)\}`).ReplaceAllString(c.path, c.arg)
		target = strings.ReplaceAll(target, "{id}", "7")
		if c.query != "" {
			target += "?" + c.query
		}
		r := httptest.NewRequest(c.method, target, strings.NewReader(c.body))
		r.Host = "localhost"
		if c.contentType != "" {
			r.Header.Set("Content-Type", c.contentType)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		res := w.Result()
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != c.status {
			t.Errorf("%s: status %d: %s", name, res.StatusCode, body)
			continue
		}
		if c.status < 300 {
			succeeded[c.method+" "+c.path] = true
		}
		place := []string{"paths", c.path, strings.ToLower(c.method), "responses", fmt.Sprint(c.status)}
		answer, _ := d.at(place...).(map[string]any)
		if answer == nil {
			t.Errorf("%s is not in the document", name)
			continue
		}
		if ref, ok := answer["$ref"].(string); ok {
			place = strings.Split(strings.TrimPrefix(ref, "#/"), "/")
			answer = d.at(place...).(map[string]any)
		}
		for header := range res.Header {
			known := []string{"Content-Type", "Content-Length", "Cache-Control", "X-Content-Type-Options", "Vary", "X-Accel-Buffering", "Allow"}
			if named, _ := answer["headers"].(map[string]any); named[header] == nil && named[http.CanonicalHeaderKey(header)] == nil && !slices.Contains(known, header) && header != "Etag" {
				t.Errorf("%s: the document does not name the header %s", name, header)
			}
		}
		contents, _ := answer["content"].(map[string]any)
		if len(body) == 0 {
			continue
		}
		media, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
		if contents[media] == nil {
			t.Errorf("%s: the document has no content %q", name, media)
			continue
		}
		switch media {
		case "application/json", tandem.MediaProblem:
			if err := s.check(body, append(place, "content", media, "schema")...); err != nil {
				t.Errorf("%s: %v\n%s", name, err, body)
			}
		case tandem.MediaNDJSON:
			for line := range strings.Lines(string(body)) {
				receipt, problem := s.check([]byte(line), "components", "schemas", "Receipt"), s.check([]byte(line), "components", "schemas", "Problem")
				if receipt != nil && problem != nil {
					t.Errorf("%s: %v\n%s", name, receipt, line)
				}
			}
		}
		// What is sent follows the document as well, where it was taken.
		if c.body != "" && c.status < 300 && c.contentType != tandem.MediaNDJSON {
			media := c.contentType
			if media == "" {
				media = "application/json"
			}
			if err := s.check([]byte(c.body), "paths", c.path, strings.ToLower(c.method), "requestBody", "content", media, "schema"); err != nil {
				t.Errorf("%s, request: %v", name, err)
			}
		}
	}
	for _, r := range routes {
		if !succeeded[r.method+" "+r.path] {
			t.Errorf("%s %s was not tried", r.method, r.path)
		}
	}
}

// TestDocumentedResults: the example of docs/delivery.md is an answer to a batch.
func TestDocumentedResults(t *testing.T) {
	s := newSchemas(t, loadDocument(t))
	page, err := os.ReadFile("../../docs/delivery.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```json\n")
	example, _, ok := strings.Cut(example, "```")
	if !ok {
		t.Fatal("docs/delivery.md has no example")
	}
	if err := s.check([]byte(example), "components", "schemas", "BatchResults"); err != nil {
		t.Error(err)
	}
}

// TestDocumentedPresence: the example of docs/streams.md is an answer to who is connected.
func TestDocumentedPresence(t *testing.T) {
	s := newSchemas(t, loadDocument(t))
	page, err := os.ReadFile("../../docs/streams.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```json\n{\"open\"")
	example, _, ok := strings.Cut(example, "```")
	if !ok {
		t.Fatal("docs/streams.md has no example")
	}
	if err := s.check([]byte(`{"open"`+example), "components", "schemas", "StreamPresence"); err != nil {
		t.Error(err)
	}
}

// newDocumented is an API with stand-ins for all rooms.
func newDocumented(t *testing.T) *API {
	log, err := eventlog.Open(context.Background(), memlog.New(memlog.Options{}), eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	streams := stream.New(log, stream.Options{})
	one := &oneSubscription{}
	a := New(Options{Log: log, Auth: auth.New(nil), Streams: streams, Operations: oneOperation{}, Subscriptions: one,
		Leases: oneLease{one}, Ledger: oneRow{one}, Flows: oneFlow{}, Tests: oneRow{one}, Replays: oneRow{one}, Window: func() Window { return Window{Oldest: time.Unix(0, 0)} }, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		_ = streams.Stop(now) // at once
		a.Close()
		log.Close()
	})
	return a
}

// everything is a declaration with every member, though not all go together.
const everything = `{"topics":["orders"],"filter":{"all":[{"type":"t"},{"not":{"prefix":{"subject":"x"}}}]},"service":"s","path":"/p","url":"https://example.org/hook",
"pull":{"visibility":"1m"},"secret":"env:A","oldSecrets":[{"secret":"env:B","until":"2026-01-31T09:30:00Z"}],"headers":{"X-Team":"shop"},
"auth":{"basic":{"user":"u","password":"env:TANDEM_SECRET_P"},"oauth2":{"tokenUrl":"https://example.org/token","clientId":"c","clientSecret":"env:TANDEM_SECRET_C","scopes":["a"],"audience":"x"},
"tls":{"cert":"env:TANDEM_SECRET_A","key":"env:TANDEM_SECRET_B","ca":"env:TANDEM_SECRET_D"}},"handshake":true,"content":"batch","batchSize":10,"mode":"event","from":"earliest","replies":"answers",
"ordering":"none","concurrency":4,"rate":2.5,"timeout":"5s","attempts":7,"backoff":{"base":"2s","max":"3s","list":["1s","2s"]},"retryAfter":"5m","answers":{"404":"delivered","5xx":"retry"},
"breaker":{"failures":3,"wait":"10s"},"exhausted":"pause","pauseAfter":"48h","replay":{"of":"x","to":"2026-01-31T09:30:00Z","evenIfSeen":true}}`

// oneFlow has every kind of node.
type oneFlow struct{}

func (oneFlow) Get(_ context.Context, id string) (tandem.Flow, error) {
	at := time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
	event := &tandem.FlowEvent{Position: tandem.Position{Topic: "orders"}, Ref: "r", ID: "1", DataBytes: 7, Hops: 1}
	return tandem.Flow{ID: id, State: tandem.FlowFailed, Started: at, Ended: at, Missing: []string{"something"},
		Links: []tandem.FlowLink{{Node: "orders/0/0", Kind: tandem.FlowEffect, Ref: "x", Flow: "y", Position: tandem.Position{Topic: "a"}}},
		Nodes: []tandem.FlowNode{
			{ID: "request/0", Kind: tandem.NodeRequest, At: at, Took: 1, State: "answered", Request: &tandem.FlowRequest{Method: "POST", Path: "/", Route: "/", Status: 200}},
			{ID: "orders/0/0", Kind: tandem.NodeEvent, Causes: []string{"request/0"}, At: at, State: "stored", Event: event},
			{ID: "d", Kind: tandem.NodeDelivery, At: at, State: tandem.DeliveryDead, Reason: "why", Delivery: &tandem.Delivery{Subscription: "pay", State: tandem.DeliveryDead}, Time: &tandem.FlowTime{}},
			{ID: "a", Kind: tandem.NodeAttempt, At: at, State: "failed", Attempt: &tandem.Attempt{At: at}},
			{ID: "o", Kind: tandem.NodeOperation, At: at, State: "running", Operation: &tandem.Operation{ID: "o", State: tandem.OperationRunning, Created: "2026-01-31T09:30:00Z"}},
		}}, nil
}

func (oneFlow) List(_ context.Context, q tandem.FlowQuery) (tandem.FlowPage, error) {
	if q.Trace != "" {
		return tandem.FlowPage{}, tandem.Errorf(tandem.CodeNotFound, "there is none")
	}
	return tandem.FlowPage{Flows: []tandem.FlowSummary{{ID: "f", State: q.State, Started: q.Since, Events: 1, First: &tandem.FlowEvent{Ref: "r", Position: tandem.Position{Topic: "orders"}}}}, Next: "f"}, nil
}

func (oneFlow) Status(context.Context) tandem.FlowIndexStatus {
	return tandem.FlowIndexStatus{Kept: true, Behind: 1, Lag: 1, Since: time.Unix(0, 0)}
}

func (oneFlow) Explain(_ context.Context, q tandem.ExplainQuery) (tandem.Explanation, error) {
	at, first := time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC), tandem.Position{Topic: "orders"}
	return tandem.Explanation{Events: []tandem.FlowEvent{{Position: first, Ref: "r", ID: q.Event}}, Searched: &tandem.Searched{Topics: 1, Since: at, Behind: 1},
		Reasons: []tandem.Reason{{Code: tandem.WhyFilter, Sentence: "It is so.", Subscription: "pay", Position: first, Since: at, Until: at, By: "alice", NextAttempt: at,
			Clause: &tandem.FilterClause{Dialect: "cel", Text: "true", Fault: "none", Saw: []tandem.SeenValue{{Name: "data.n", Value: "1"}, {Name: "a", Missing: true}, {Name: "b", Hidden: true}}},
			Topics: []string{"a"}, Behind: &tandem.FlowEvent{Position: first, Ref: "r"}, Unread: 1, First: &first, Conflict: true, Detail: "why",
			Delivery: &tandem.Delivery{Subscription: "pay", State: tandem.DeliverySkipped}, Earlier: []tandem.Delivery{{Subscription: "pay", State: tandem.DeliveryDead}}}}}, nil
}

type oneOperation struct{}

func (oneOperation) Running() int { return 1 }

func (oneOperation) Serve(w http.ResponseWriter, _ *http.Request, id string) {
	w.Header().Set("ETag", `"1"`)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(tandem.Operation{ID: id, State: tandem.OperationRunning, Created: "2026-01-31T09:30:00Z"})
}

type oneSubscription struct{ sub *tandem.Subscription }

func (o *oneSubscription) List() []tandem.Subscription {
	return []tandem.Subscription{{Name: "pay", Topics: []string{"a"}}}
}
func (o *oneSubscription) Get(name string) (tandem.Subscription, string, string, error) {
	if name != "pay" {
		return tandem.Subscription{}, "", "", tandem.Errorf(tandem.CodeNotFound, "no subscription %s", name)
	}
	if o.sub != nil {
		return *o.sub, `"1"`, "api", nil
	}
	return o.List()[0], `"1"`, "api", nil
}

type oneLease struct{ *oneSubscription }

func (o oneLease) Pull(_ context.Context, name string, _ tandem.PullRequest) ([]tandem.Lease, error) {
	_, _, _, err := o.Get(name)
	return []tandem.Lease{{Token: "a", Until: "2026-01-31T09:30:00Z", Attempt: 1, MaxAttempts: 12, ID: "d",
		Event: tandem.Record{Event: tandem.Event{ID: "1", Source: "/s", Type: "t"}, Position: tandem.Position{Topic: "orders", Offset: 7}}}}, err
}
func (o oneLease) Ack(context.Context, string, []string) ([]tandem.LeaseResult, error) {
	return []tandem.LeaseResult{{Token: "a", Outcome: tandem.LeaseAcknowledged}}, nil
}
func (o oneLease) Nack(context.Context, string, []string, time.Duration) ([]tandem.LeaseResult, error) {
	return []tandem.LeaseResult{{Token: "a", Outcome: tandem.LeaseReleased}}, nil
}
func (o oneLease) Extend(context.Context, string, []string, time.Duration) ([]tandem.LeaseResult, error) {
	return []tandem.LeaseResult{{Token: "a", Outcome: tandem.LeaseExtended, Until: "2026-01-31T09:30:00Z"}}, nil
}

type oneRow struct{ *oneSubscription }

func (o oneRow) Deliveries(_ context.Context, name string, _ tandem.DeliveryQuery) (tandem.DeliveryPage, error) {
	_, _, _, err := o.Get(name)
	const at = "2026-01-31T09:30:00Z"
	behind := tandem.Position{Topic: "orders", Partition: 1, Offset: 6}
	return tandem.DeliveryPage{Next: "x", Deliveries: []tandem.Delivery{{Subscription: name, Epoch: 1, Position: tandem.Position{Topic: "orders", Partition: 1, Offset: 7},
		ID: "1", Source: "/s", Type: "t", Key: "k", State: tandem.DeliveryRetrying, Reason: "r", Attempts: 1, Probes: 1, NextAttempt: at, Behind: &behind, DeadLetter: "d", Version: 1, Accepted: at, Ended: at,
		History: []tandem.Attempt{{Number: 1, At: time.Unix(0, 0).UTC(), Wait: tandem.Duration(time.Second), Took: tandem.Duration(time.Millisecond), Status: 500, Detail: "x"}}}}}, err
}
func (o oneRow) Test(_ context.Context, name string) (tandem.TestExchange, error) {
	_, _, _, err := o.Get(name)
	return tandem.TestExchange{Sent: tandem.TestMessage{Method: "POST", URL: "http://u", Headers: map[string]string{"A": "b"}, Body: "x"},
		Received: &tandem.TestMessage{Status: 200}, Outcome: "delivered", Detail: "d", Took: tandem.Duration(time.Second)}, err
}
func (o oneRow) Replay(_ context.Context, name string, ask tandem.ReplayRequest) (tandem.Subscription, error) {
	o.sub.Replay = &tandem.Replay{Of: name, To: ask.To, EvenIfSeen: ask.EvenIfSeen}
	return *o.sub, nil
}

func (o *oneSubscription) Put(_ context.Context, sub tandem.Subscription, _ string) (bool, error) {
	o.sub = &sub
	return true, nil
}
func (o *oneSubscription) Status(_ context.Context, name string) (tandem.SubscriptionStatus, error) {
	return tandem.SubscriptionStatus{Name: name, State: "running", Cursor: "c", Expired: 1}, nil
}
func (o *oneSubscription) Delete(context.Context, string) error { return nil }
func (o *oneSubscription) Pause(context.Context, string) error  { return nil }
func (o *oneSubscription) Resume(context.Context, string) error { return nil }
func (o *oneSubscription) Seek(context.Context, string, tandem.Start, bool) (tandem.SeekPlan, error) {
	return tandem.SeekPlan{DryRun: true, Again: 1, Over: 1, Parked: 1}, nil
}
func (o *oneSubscription) DeadLetters(context.Context, string, string, int) ([]tandem.DeadLetter, string, error) {
	return []tandem.DeadLetter{{ID: "1", Subscription: "pay", Reason: "refused", Detail: "400", Status: 400, Attempts: 1, At: "2026-01-31T09:30:00Z",
		Event: tandem.Record{Event: tandem.Event{ID: "1", Source: "/s", Type: "t"}}}}, "1", nil
}
func (o *oneSubscription) DeadLetter(ctx context.Context, name, _ string) (tandem.DeadLetter, error) {
	all, _, err := o.DeadLetters(ctx, name, "", 1)
	return all[0], err
}
func (o *oneSubscription) Redrive(context.Context, string, tandem.DeadLetterSelection) (tandem.DeadLetterCount, error) {
	return tandem.DeadLetterCount{Count: 1}, nil
}
func (o *oneSubscription) Discard(context.Context, string, tandem.DeadLetterSelection) (tandem.DeadLetterCount, error) {
	return tandem.DeadLetterCount{Count: 1}, nil
}
