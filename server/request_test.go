package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	tandemclient "github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/server"
)

// requestService answers with one event of the type that its path names, unless it is to answer with a status.
type requestService struct {
	*httptest.Server

	mu     sync.Mutex
	status map[string]int // by path
	called []string       // path and type
}

func newRequestService(t *testing.T) *requestService {
	s := &requestService{status: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		e, err := tandem.ParseEventJSON(body)
		if isRequest := e.Type != "cart.closed"; err != nil || isRequest != (r.Header.Get(tandem.HeaderPosition) == "") {
			t.Errorf("sent %s with position %q: %v", body, r.Header.Get(tandem.HeaderPosition), err)
		}
		name := strings.TrimPrefix(r.URL.Path, "/")
		s.mu.Lock()
		s.called = append(s.called, name+" "+e.Type)
		status := s.status[name]
		s.mu.Unlock()
		if status != 0 {
			w.WriteHeader(status)
			return
		}
		w.Header().Set("Content-Type", tandem.MediaEvent)
		if name == "broken" {
			_, _ = io.WriteString(w, `{"specversion":"1.0"}`)
			return
		}
		fmt.Fprintf(w, `{"specversion":"1.0","id":"own","source":"/%s","type":"%s.done","data":{"by":"%s"}}`, name, name, name)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *requestService) answer(path string, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status[path] = status
}

func (s *requestService) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	called := strings.Join(s.called, ", ")
	s.called = nil
	return called
}

// requestOptions are a chain of two links over one topic: inventory takes the order, payments what inventory answers.
func requestOptions(svc *requestService) server.Options {
	return server.Options{
		Services: []tandem.Service{{Name: "shop", URL: svc.URL}},
		Topics:   []tandem.Topic{{Name: "orders", Type: "order.placed", Source: "/orders"}},
		Subscriptions: []tandem.Subscription{
			{Name: "inventory", Topics: []string{"orders"}, Filter: exactType("order.placed"), Service: "shop", Path: "/inventory", Mode: "request"},
			{Name: "payments", Topics: []string{"orders"}, Filter: exactType("inventory.done"), Service: "shop", Path: "/payments", Mode: "request"},
		},
	}
}

func exactType(typ string) tandem.Filter {
	var f tandem.Filter
	if err := json.Unmarshal([]byte(`{"type":"`+typ+`"}`), &f); err != nil {
		panic(err)
	}
	return f
}

// send makes a request of the API, or of the public listener.
func send(t *testing.T, method, url, contentType, body string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

// TestRequestMode: a publish is answered with the replies of the whole chain, which are stored with it, and a repeat calls nobody.
func TestRequestMode(t *testing.T) {
	svc := newRequestService(t)
	s := startServer(t, requestOptions(svc))
	events := "http://" + s.APIAddr() + "/v1/topics/orders/events"

	var first string
	for _, repeat := range []bool{false, true} {
		res, body := send(t, "POST", events+"?id=1&subject=o1", "application/json", `{"n":1}`)
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != tandem.MediaBatch {
			t.Fatalf("%s %s: %s", res.Status, res.Header.Get("Content-Type"), body)
		}
		replies, err := tandem.ParseBatchJSON([]byte(body))
		if err != nil || len(replies) != 2 || replies[0].Type != "inventory.done" || replies[1].Type != "payments.done" {
			t.Fatalf("%v: %s", err, body)
		}
		if replies[1].Meta.Hops != 2 || replies[1].Subject != "" || replies[1].Meta.Flow != res.Header.Get(tandem.HeaderFlow) {
			t.Errorf("the last reply: %+v", replies[1])
		}
		place := res.Header.Get(tandem.HeaderPosition) + " " + res.Header.Get(tandem.HeaderCursor) + " " + res.Header.Get(tandem.HeaderID)
		if first == "" {
			first = place
		}
		if _, err := tandem.ParsePosition(res.Header.Get(tandem.HeaderPosition)); err != nil || place != first || !strings.HasSuffix(place, " 1") {
			t.Errorf("placed at %q, the first at %q", place, first)
		}
		want, duplicate := "inventory order.placed, payments inventory.done", ""
		if repeat {
			want, duplicate = "", "true"
		}
		if got := svc.take(); got != want || res.Header.Get(tandem.HeaderDuplicate) != duplicate {
			t.Errorf("repeat %v called %q, duplicate %q", repeat, got, res.Header.Get(tandem.HeaderDuplicate))
		}
	}
	if n := count(t, "http://"+s.APIAddr(), "orders"); n != 3 {
		t.Errorf("%d events stored", n)
	}
}

func problemOf(t *testing.T, body string) (p tandem.Problem) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return p
}

// TestRequestLinkFails is the table of failures; nothing is stored by any of them.
func TestRequestLinkFails(t *testing.T) {
	svc := newRequestService(t)
	opts := requestOptions(svc)
	opts.Services = append(opts.Services, tandem.Service{Name: "slow", URL: svc.URL, Timeout: 1})
	opts.Routes = []gateway.Route{{Match: "POST /orders", Topic: "orders", Type: "order.placed"}}
	opts.Load = func(context.Context) (server.Options, error) { return opts, nil }
	s := startServer(t, opts)
	api := "http://" + s.APIAddr()
	fails := func(name string, status int, outcome tandem.LinkOutcome) {
		t.Helper()
		for _, url := range []string{api + "/v1/topics/orders/events", "http://" + s.PublicAddr() + "/orders"} {
			res, body := send(t, "POST", url, "application/json", `{"n":1}`)
			p := problemOf(t, body)
			if res.StatusCode != status || p.Link != "payments" || p.Outcome != outcome || len(p.Done) != 1 || p.Done[0] != "inventory" ||
				!strings.HasSuffix(p.Type, "/request-link") || (res.Header.Get("Retry-After") != "") != (status == 503) {
				t.Errorf("%s: %s %s", name, res.Status, body)
			}
		}
	}
	for _, c := range []struct {
		status  int // of the service
		want    int
		outcome tandem.LinkOutcome
	}{{400, 502, tandem.LinkRefused}, {404, 502, tandem.LinkRefused}, {410, 502, tandem.LinkRefused}, {422, 502, tandem.LinkRefused},
		{302, 502, tandem.LinkRefused}, {500, 503, tandem.LinkUnavailable}, {503, 503, tandem.LinkUnavailable}, {429, 503, tandem.LinkUnavailable}} {
		svc.answer("payments", c.status)
		fails(fmt.Sprint(c.status), c.want, c.outcome)
	}
	svc.answer("payments", 200) // with a body that is no event
	if res, body := send(t, "POST", api+"/v1/topics/orders/events", "application/json", `1`); res.StatusCode != 200 {
		t.Errorf("without replies: %s %s", res.Status, body)
	}
	svc.answer("payments", 0)

	set := func(name string, sub tandem.Subscription) {
		t.Helper()
		opts.Subscriptions = append([]tandem.Subscription{}, opts.Subscriptions...)
		opts.Subscriptions[1] = sub
		if err := s.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	sub := opts.Subscriptions[1]
	broken := sub
	broken.Path = "/broken"
	set("invalid reply", broken)
	fails("invalid reply", 502, tandem.LinkRefused)
	gone := sub
	gone.Service, gone.Path, gone.URL = "", "", "http://127.0.0.1:1/"
	set("no connection", gone)
	fails("no connection", 503, tandem.LinkUnavailable)
	late := sub
	late.Service = "slow"
	set("its time is out", late)
	fails("its time is out", 504, tandem.LinkTimeout)
	set("as it was", sub)
	if res, body := send(t, "POST", api+"/v1/subscriptions/payments:pause", "", ""); res.StatusCode >= 300 {
		t.Fatalf("%s %s", res.Status, body)
	}
	fails("paused", 503, tandem.LinkUnavailable)

	if n := count(t, api, "orders"); n != 2 { // those that were answered without replies
		t.Errorf("%d events stored", n)
	}
	var page tandem.DeliveryPage
	eventually(t, "the ledger", func() bool {
		getJSON(t, api+"/v1/subscriptions/payments/deliveries?state=failed&limit=1000", &page)
		return len(page.Deliveries) >= 2*12
	})
	if len(page.Deliveries) != 2*12 || page.Deliveries[0].Flow == "" || page.Deliveries[0].Topic != "orders" || len(page.Deliveries[0].History) != 1 {
		t.Errorf("%d rows of the ledger: %+v", len(page.Deliveries), page.Deliveries)
	}
	flow := page.Deliveries[0].Flow
	getJSON(t, api+"/v1/subscriptions/inventory/deliveries?flow="+flow, &page)
	if len(page.Deliveries) != 1 || page.Deliveries[0].Flow != flow || !strings.Contains(page.Deliveries[0].Reason, "stands") {
		t.Errorf("the link before it, under the flow: %+v", page.Deliveries)
	}
}

// TestRequestWaysIn: every way in to a topic goes through its request links.
func TestRequestWaysIn(t *testing.T) {
	svc := newRequestService(t)
	opts := requestOptions(svc)
	opts.Topics = append(opts.Topics, tandem.Topic{Name: "carts", Type: "cart.closed", Source: "/carts"})
	opts.Routes = []gateway.Route{
		{Match: "POST /orders", Topic: "orders", Type: "order.placed"},
		{Match: "POST /paid", Topic: "orders", Type: "order.placed", Respond: &gateway.Respond{Type: "payments.done"}},
		{Match: "POST /silent", Topic: "orders", Type: "order.placed", Respond: &gateway.Respond{Type: "nobody.says", Timeout: tandem.Duration(time.Hour)}},
		{Match: "POST /begun", Topic: "orders", Type: "order.placed", Operation: &gateway.Operation{Spec: tandem.OperationSpec{Topics: []string{"orders"}, Succeed: []string{"payments.done"}}}},
		{Match: "GET /operations/{id}", Operation: &gateway.Operation{Public: true}},
	}
	// A delivery whose replies land in the topic.
	opts.Subscriptions = append(opts.Subscriptions, tandem.Subscription{Name: "checkout", Topics: []string{"carts"}, Service: "shop", Path: "/order.placed", Replies: "orders"})
	opts.Subscriptions[0].Filter = anyType("order.placed", "order.placed.done")
	s := startServer(t, opts)
	api, public := "http://"+s.APIAddr(), "http://"+s.PublicAddr()
	events := api + "/v1/topics/orders/events"
	const chain = "inventory order.placed, payments inventory.done"
	stored := 0
	called := func(way string, want ...string) {
		t.Helper()
		if got := svc.take(); got != strings.Join(want, ", ") {
			t.Errorf("%s called %q", way, got)
		}
		stored += 3 * len(want)
	}
	one := `{"specversion":"1.0","id":"%s","source":"/x","type":"order.placed"}`

	res, body := send(t, "POST", events, tandem.MediaEvent, fmt.Sprintf(one, "structured"))
	if res.StatusCode != 200 {
		t.Errorf("structured: %s %s", res.Status, body)
	}
	called("structured", chain)
	res, body = send(t, "POST", events, "", "", "ce-specversion", "1.0", "ce-id", "binary", "ce-source", "/x", "ce-type", "order.placed")
	if res.StatusCode != 200 {
		t.Errorf("binary: %s %s", res.Status, body)
	}
	called("binary", chain)

	var items []struct {
		ID      string
		Status  int
		Link    string
		Replies []json.RawMessage
	}
	res, body = send(t, "POST", events, tandem.MediaBatch, "["+fmt.Sprintf(one, "b1")+","+fmt.Sprintf(one, "b2")+"]")
	if err := json.Unmarshal([]byte(body), &items); err != nil || res.StatusCode != 207 || len(items) != 2 || items[1].ID != "b2" || len(items[0].Replies) != 2 {
		t.Errorf("batch: %s %s %v", res.Status, body, err)
	}
	called("batch", chain, chain)
	svc.answer("payments", 422)
	res, body = send(t, "POST", events, tandem.MediaBatch, "["+fmt.Sprintf(one, "b1")+","+fmt.Sprintf(one, "b3")+"]")
	items = nil
	if err := json.Unmarshal([]byte(body), &items); err != nil || res.StatusCode != 207 || len(items) != 2 || len(items[0].Replies) != 2 || items[1].Status != 502 || items[1].Link != "payments" {
		t.Errorf("batch that fails in part: %s %s %v", res.Status, body, err)
	}
	svc.answer("payments", 0)
	called("batch that fails in part", chain)
	stored -= 3
	res, body = send(t, "POST", events, tandem.MediaNDJSON, fmt.Sprintf(one, "n1")+"\nnonsense\n"+fmt.Sprintf(one, "n2")+"\n")
	if lines := strings.Split(strings.TrimSpace(body), "\n"); res.StatusCode != 200 || len(lines) != 3 || !strings.Contains(lines[0], `"replies":[{`) || !strings.Contains(lines[1], `"line":2`) {
		t.Errorf("NDJSON: %s %s", res.Status, body)
	}
	called("NDJSON", chain, chain)
	if res, body = send(t, "POST", events+"?ack=accepted", "application/json", "1"); res.StatusCode != 400 || problemOf(t, body).Errors[0].Pointer != "ack" {
		t.Errorf("ack=accepted: %s %s", res.Status, body)
	}
	called("ack=accepted")

	if res, body = send(t, "POST", public+"/orders", "application/json", "1", "Idempotency-Key", "k"); res.StatusCode != 202 {
		t.Errorf("topic route: %s %s", res.Status, body)
	}
	called("topic route", chain)
	if res, body = send(t, "POST", public+"/orders", "application/json", "1", "Idempotency-Key", "k"); res.StatusCode != 202 || !strings.Contains(body, `"duplicate":true`) {
		t.Errorf("repeat on a topic route: %s %s", res.Status, body)
	}
	called("repeat on a topic route")
	for range 2 {
		if res, body = send(t, "POST", public+"/paid", "application/json", "1", "Idempotency-Key", "p"); res.StatusCode != 200 || body != `{"by":"payments"}` {
			t.Errorf("respond: %s %s", res.Status, body)
		}
	}
	called("respond", chain)
	if res, body = send(t, "POST", public+"/silent", "application/json", "1"); res.StatusCode != 202 || !strings.Contains(body, `"duplicate":false`) {
		t.Errorf("no link says what the route answers with: %s %s", res.Status, body)
	}
	called("respond without a reply", chain)
	res, body = send(t, "POST", public+"/begun", "application/json", "1")
	if res.StatusCode != 202 {
		t.Errorf("operation: %s %s", res.Status, body)
	}
	called("operation", chain)
	eventually(t, "the reply to end the operation", func() bool {
		_, body := send(t, "GET", public+res.Header.Get("Location"), "", "")
		return strings.Contains(body, `"succeeded"`)
	})

	c, err := tandemclient.New(api, tandemclient.Options{})
	if err != nil {
		t.Fatal(err)
	}
	socket, err := c.Dial(t.Context(), "orders", tandemclient.Query{}, tandemclient.SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if r, err := socket.Publish(t.Context(), tandem.Event{ID: "w1", Source: "/x", Type: "order.placed"}); err != nil || r.ID != "w1" {
		t.Errorf("WebSocket: %+v %v", r, err)
	}
	called("WebSocket", chain)

	if res, body = send(t, "POST", api+"/v1/topics/carts/events", "application/json", "1"); res.StatusCode != 201 {
		t.Errorf("the cause of a delivery: %s %s", res.Status, body)
	}
	eventually(t, "the replies to a delivery", func() bool { return count(t, api, "orders") == stored+3 })
	if got := svc.take(); got != "order.placed cart.closed, inventory order.placed.done, payments inventory.done" {
		t.Errorf("a delivery called %q", got)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func anyType(types ...string) tandem.Filter {
	parts := make([]string, len(types))
	for i, typ := range types {
		parts[i] = `{"type":"` + typ + `"}`
	}
	var f tandem.Filter
	if err := json.Unmarshal([]byte(`{"any":[`+strings.Join(parts, ",")+`]}`), &f); err != nil {
		panic(err)
	}
	return f
}
