package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/internal/tracecontext"
)

func receiptOf(t *testing.T, a answer) (r publicReceipt) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &r); err != nil || r.ID == "" {
		t.Fatalf("%d %s is not a receipt: %v", a.StatusCode, a.body, err)
	}
	return r
}

func TestPublish(t *testing.T) {
	w := newWorld(t, services{"auth": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Tandem-Principal", r.Header.Get("Authorization"))
	})}, `[{"match":"POST /vehicles/{id}/positions","topic":"orders","type":"vehicle.position","key":"data.vehicle.id","subject":"{principal}/{id}","authorize":"auth"}]`)
	body := "{ \"vehicle\" : {\"id\":42},\n \"x\": 1.50 }"
	a := w.do("POST", "/vehicles/v%2F1/positions", body, "Authorization", "alice", "Content-Type", "application/json; charset=utf-8")
	if a.StatusCode != 202 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	r := receiptOf(t, a)
	if strings.Contains(a.body, "offset") || strings.Contains(a.body, "cursor") {
		t.Errorf("a client learns positions: %s", a.body)
	}
	list := w.events("orders")
	if len(list) != 1 {
		t.Fatalf("%d events", len(list))
	}
	ev := list[0].Event
	if string(ev.Data) != body {
		t.Errorf("data is %q, want the bytes that were sent", ev.Data)
	}
	for what, got := range map[string][2]string{
		"id": {ev.ID, r.ID}, "type": {ev.Type, "vehicle.position"}, "source": {ev.Source, "/routes/POST/vehicles/:id/positions"},
		"key": {ev.Meta.Key, "42"}, "subject": {ev.Subject, "alice/v/1"}, "producer": {ev.Meta.Producer, "alice"},
		"route": {ev.Meta.Route, "POST /vehicles/{id}/positions"}, "flow": {ev.Meta.Flow, a.Header.Get("Tandem-Flow")},
		"content type": {ev.DataContentType, "application/json; charset=utf-8"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s is %q, want %q", what, got[0], got[1])
		}
	}
	if ev.Meta.TraceParent != tracecontext.Begin(ev.Meta.Flow) || ev.Time == "" {
		t.Errorf("trace %q, time %q", ev.Meta.TraceParent, ev.Time)
	}
}

func TestPublishContent(t *testing.T) {
	w := newWorld(t, nil, `[{"match":"POST /t","topic":"orders","type":"t","maxBodyBytes":20},{"match":"POST /k","topic":"orders","type":"t","key":"data.a"}]`)
	for _, c := range []struct {
		path, contentType, body string
		status                  int
		says                    string
		encoding                tandem.DataEncoding
	}{
		{"/t", "", "{}", 202, "", tandem.DataJSON},
		{"/t", "", "", 202, "", tandem.DataAuto},
		{"/t", "application/json", "", 400, "is empty", 0},
		{"/t", "text/plain", "", 202, "", tandem.DataAuto},
		{"/t", "application/json", `{"a":1,}`, 400, "at byte 8", 0},
		{"/t", "application/vnd.x+json", `nope`, 400, "not JSON", 0},
		{"/t", "application/json", "\"\xff\"", 400, "not JSON", 0},
		{"/t", "text/plain", "hällo", 202, "", tandem.DataText},
		{"/t", "image/png", "\x89PNG\x00", 202, "", tandem.DataBinary},
		{"/t", "application/cloudevents+json", `{}`, 415, "makes the event itself", 0},
		{"/t", "application/json", `"0123456789012345678"`, 413, "larger than 20", 0},
		{"/k", "application/json", `{"b":1}`, 400, `"pointer":"/a"`, 0},
		{"/k", "application/json", `{"a":{}}`, 400, `"pointer":"/a"`, 0},
		{"/k", "text/plain", `x`, 400, `"pointer":"/a"`, 0},
		{"/k", "application/json", `{"a":true}`, 202, "", tandem.DataJSON},
	} {
		before := len(w.events("orders"))
		header := []string{"Content-Type", c.contentType}
		if c.contentType == "" {
			header = nil
		}
		a := w.do("POST", c.path, c.body, header...)
		if a.StatusCode != c.status || !strings.Contains(a.body, c.says) {
			t.Errorf("%s %s %q: %d %s, want %d", c.path, c.contentType, c.body, a.StatusCode, a.body, c.status)
			continue
		}
		after := w.events("orders")
		if c.status != 202 {
			a.problem(t)
			if len(after) != before {
				t.Errorf("%q was refused and stored", c.body)
			}
			continue
		}
		if last := after[len(after)-1].Event; string(last.Data) != c.body || c.body != "" && last.DataContentType != c.contentType || last.Encoding != c.encoding {
			t.Errorf("%q of %s became %+v", c.body, c.contentType, last)
		}
	}
	if a := w.do("POST", "/t", "{}", "Content-Encoding", "gzip"); a.StatusCode != 415 {
		t.Errorf("gzip: %d", a.StatusCode)
	}
	a := w.do("POST", "/t", "{}", "Prefer", "return=minimal")
	if a.StatusCode != 202 || a.body != "" || a.Header.Get("Preference-Applied") != "return=minimal" {
		t.Errorf("minimal: %d %q %v", a.StatusCode, a.body, a.Header)
	}
	w.eng.Fail(tandem.Errorf(tandem.CodeUnavailable, "the disk is full"))
	if a := w.do("POST", "/t", "{}"); a.StatusCode != 503 || a.Header.Get("Retry-After") == "" || a.problem(t).Status != 503 {
		t.Errorf("full disk: %d %v %s", a.StatusCode, a.Header, a.body)
	}
	w.eng.Fail(nil)
	if a := w.do("POST", "/t", "{}"); a.StatusCode != 202 {
		t.Errorf("after that: %d", a.StatusCode)
	}
	if err := w.log.DeleteTopic(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	if a := w.do("POST", "/t", "{}"); a.StatusCode != 503 {
		t.Errorf("without its topic: %d %s", a.StatusCode, a.body)
	}
}

func TestIdempotencyKey(t *testing.T) {
	w := newWorld(t, services{"auth": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Tandem-Principal", r.Header.Get("Authorization"))
	})}, `[{"match":"POST /a/{id}","topic":"orders","type":"t","authorize":"auth"},{"match":"POST /b","topic":"orders","type":"t","authorize":"auth"}]`)
	post := func(path, who, key, body string) answer {
		return w.do("POST", path, body, "Authorization", who, "Idempotency-Key", key)
	}
	first := post("/a/1", "alice", "k", "{}")
	again := post("/a/1", "alice", `"k"`, "{}") // the form of the draft
	r1, r2 := receiptOf(t, first), receiptOf(t, again)
	if r1.ID != r2.ID || r1.Duplicate == tandem.DuplicateYes || r2.Duplicate != tandem.DuplicateYes || again.StatusCode != 202 {
		t.Errorf("%+v, then %+v with %d", r1, r2, again.StatusCode)
	}
	if first.Header.Get("Tandem-Flow") != again.Header.Get("Tandem-Flow") {
		t.Error("a repeat has another flow")
	}
	if a := post("/a/1", "alice", "k", `{"other":1}`); a.StatusCode != 409 {
		t.Errorf("other data under the same key: %d %s", a.StatusCode, a.body)
	}
	for _, other := range []answer{post("/a/1", "bob", "k", "{}"), post("/b", "alice", "k", "{}"), post("/a/1", "alice", "k2", "{}")} {
		if r := receiptOf(t, other); r.ID == r1.ID || r.Duplicate == tandem.DuplicateYes {
			t.Errorf("another principal, route or key is taken for a repeat: %+v", r)
		}
	}
	for _, bad := range []string{"", `""`, strings.Repeat("x", 256)} {
		if a := post("/b", "alice", bad, "{}"); a.StatusCode != 400 || !strings.Contains(a.body, "Idempotency-Key") {
			t.Errorf("key %q: %d %s", bad, a.StatusCode, a.body)
		}
	}
	if n := len(w.events("orders")); n != 4 {
		t.Errorf("%d events, want 4", n)
	}
}

// answerFlows stores a reply to every event of orders, as a subscriber would.
func (w *world) answerFlows(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	sel, _ := eventlog.Select("orders")
	r, err := w.log.NewReader(ctx, sel, tandem.Start{Earliest: true})
	if err != nil {
		w.t.Error(err)
		return
	}
	defer r.Close()
	for {
		page, err := r.Next(ctx, tandem.Filter{}, 100)
		if err != nil {
			return
		}
		for _, rec := range page.Events {
			for _, typ := range []string{"noise", "order.priced", "order.priced"} {
				reply := tandem.Event{Source: "/pricing", Type: typ, Data: append([]byte(`{"for":`), append(rec.Data, '}')...),
					Meta: tandem.Meta{Flow: rec.Meta.Flow, Operation: rec.Meta.Operation, Hops: 1}}
				if _, err := w.log.Append(context.WithoutCancel(ctx), "replies", []tandem.Event{reply}); err != nil {
					w.t.Error(err)
				}
			}
		}
	}
}

func (w *world) waiting() (n int) {
	w.replies.mu.Lock()
	defer w.replies.mu.Unlock()
	for _, r := range w.replies.readers {
		for _, list := range r.waiters {
			n += len(list)
		}
	}
	return n
}

func TestRespond(t *testing.T) {
	w := newWorld(t, nil, `[
		{"match":"POST /price","topic":"orders","type":"order.asked","respond":{"type":"order.priced","timeout":"10s","topics":["replies"]}},
		{"match":"POST /hold","topic":"orders","type":"order.asked","respond":{"type":"order.priced","timeout":"1h","topics":["replies"]}},
		{"match":"POST /void","topic":"replies","type":"order.asked","respond":{"type":"order.asked","timeout":"20ms"}}]`)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go w.answerFlows(ctx, done)
	answers := make(chan answer, 20)
	for i := range cap(answers) {
		go func() {
			a := w.do("POST", "/price", string(rune('0'+i%10)))
			a.Header.Set("X-Want", `{"for":`+string(rune('0'+i%10))+`}`)
			answers <- a
		}()
	}
	for range cap(answers) {
		if a := <-answers; a.StatusCode != 200 || a.body != a.Header.Get("X-Want") || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%d %s, want %s", a.StatusCode, a.body, a.Header.Get("X-Want"))
		}
	}
	// A repeat is answered with the reply that is stored.
	first := w.do("POST", "/price", "77", "Idempotency-Key", "k")
	cancel()
	<-done
	again := w.do("POST", "/price", "77", "Idempotency-Key", "k")
	if again.StatusCode != 200 || again.body != first.body || first.body != `{"for":77}` {
		t.Errorf("a repeat: %d %s, want %s", again.StatusCode, again.body, first.body)
	}
	// Nobody replies from here on.
	if a := w.do("POST", "/price", "1", "Prefer", "respond-async"); a.StatusCode != 202 || a.Header.Get("Preference-Applied") != "respond-async" {
		t.Errorf("respond-async: %d %v", a.StatusCode, a.Header)
	}
	if a := w.do("POST", "/price", "1", "Prefer", "wait=0"); a.StatusCode != 202 || receiptOf(t, a).ID == "" {
		t.Errorf("wait=0: %d %v", a.StatusCode, a.Header)
	}
	// The request's own event is not its reply, though its type is.
	if a := w.do("POST", "/void", "1"); a.StatusCode != 202 {
		t.Errorf("time out: %d %s", a.StatusCode, a.body)
	}
	// Whoever waited leaves just after its answer.
	for w.waiting() > 0 {
		runtime.Gosched()
	}
	w.replies.mu.Lock()
	if n := len(w.replies.readers); n != 0 {
		t.Errorf("%d readers are left though nobody waits", n)
	}
	w.replies.mu.Unlock()
	// Nor does a server that stops wait for a reply.
	stored := len(w.events("orders"))
	go func() {
		for len(w.events("orders")) == stored {
			runtime.Gosched()
		}
		w.Drain(context.Background())
	}()
	if a := w.do("POST", "/hold", "1"); a.StatusCode != 202 {
		t.Errorf("drained: %d %s", a.StatusCode, a.body)
	}
}

// A trace that no event could carry is dropped, and the request goes on.
func TestPublishWithAWildTrace(t *testing.T) {
	w := newWorld(t, nil, `[{"match":"POST /orders","topic":"orders","type":"order.placed"}]`)
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, header := range [][]string{
		{"Traceparent", parent, "Tracestate", strings.Repeat("a=1,", 2000)},
		{"Traceparent", parent, "Tracestate", "a=\xff"},
		{"Traceparent", "01" + parent[2:] + "-" + strings.Repeat("x", 5000)},
		{"Traceparent", "01" + parent[2:] + "-\xff"},
	} {
		if a := w.do("POST", "/orders", "{}", header...); a.StatusCode != 202 {
			t.Errorf("%.80q: %d %s", header, a.StatusCode, a.body)
		}
	}
}

// A topic that is not there is the server's lack, not an unknown path.
func TestOperationOfAMissingTopic(t *testing.T) {
	w := newWorld(t, services{"a": text(202, "ok")}, `[
		{"match":"GET /operations/{id}","operation":true},
		{"match":"POST /service","service":"a","operation":{"topics":["gone"],"succeed":["x"]}},
		{"match":"POST /topic","topic":"orders","type":"x","operation":{"topics":["gone"],"succeed":["x"]}}]`)
	for _, path := range []string{"/service", "/topic"} {
		if a := w.do("POST", path, "{}"); a.StatusCode != 503 {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
}
