package orders

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/event"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/eventtest"
)

// standIn answers publishing as it is told. With replies set it is a topic with request links.
type standIn struct {
	mu      sync.Mutex
	fail    func() error // nil: it takes what comes
	replies func(e tandem.Event) []tandem.Event
	sent    []tandem.Event
	arrived chan struct{} // a signal for each event that was taken
}

func newStandIn() *standIn { return &standIn{arrived: make(chan struct{}, 100)} }

func (s *standIn) take(events []tandem.Event) ([]tandem.Receipt, []tandem.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return nil, nil, s.fail()
	}
	var replies []tandem.Event
	receipts := make([]tandem.Receipt, len(events))
	for i, e := range events {
		s.sent = append(s.sent, e)
		receipts[i].ID = e.ID
		if s.replies != nil {
			replies = append(replies, s.replies(e)...)
		}
		s.arrived <- struct{}{}
	}
	return receipts, replies, nil
}

func (s *standIn) Publish(_ context.Context, _ string, events ...tandem.Event) ([]tandem.Receipt, error) {
	receipts, _, err := s.take(events)
	return receipts, err
}

func (s *standIn) Request(_ context.Context, _ string, e tandem.Event) (tandem.Receipt, []tandem.Event, error) {
	receipts, replies, err := s.take([]tandem.Event{e})
	if err != nil {
		return tandem.Receipt{}, nil, err
	}
	return receipts[0], replies, nil
}

func (s *standIn) set(fail func() error) { s.mu.Lock(); defer s.mu.Unlock(); s.fail = fail }

func open(t *testing.T, dir string, pub *standIn, opts Options) *Orders {
	t.Helper()
	s, err := Open(t.Context(), dir, pub, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func send(s http.Handler, method, path, customer, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if customer != "" {
		r.Header.Set("Tandem-Principal", customer)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

const oneLine = `{"reference":"r1","lines":[{"code":"22423","quantity":3,"unitPricePence":1275},{"code":"POST","quantity":1,"unitPricePence":300}]}`

func orderIn(t *testing.T, w *httptest.ResponseRecorder) Order {
	t.Helper()
	var o Order
	if err := json.Unmarshal(w.Body.Bytes(), &o); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return o
}

func linkError(outcome tandem.LinkOutcome) func() error {
	return func() error {
		err := tandem.Errorf(tandem.CodeRequestLink, "the chain ended at payments")
		err.Link = &tandem.RequestLink{Link: "payments", Outcome: outcome, Done: []string{"inventory"}}
		return err
	}
}

func code(c tandem.Code) func() error {
	return func() error { return tandem.Errorf(c, "as the test wants it") }
}

// What the customer is answered, what the order is then, and whether its event is still to be sent.
func TestWhatBecomesOfAnOrder(t *testing.T) {
	reply := func(types ...string) func(tandem.Event) []tandem.Event {
		return func(e tandem.Event) []tandem.Event {
			replies := []tandem.Event{}
			for _, typ := range types {
				data, _ := json.Marshal(event.Data{Order: event.Order{ID: e.Subject}, Reason: "why not"})
				replies = append(replies, tandem.Event{ID: typ, Source: "/x", Type: typ, Subject: e.Subject, Data: data})
			}
			return replies
		}
	}
	for _, tt := range []struct {
		name    string
		fail    func() error
		replies func(tandem.Event) []tandem.Event
		status  int
		order   Status
		waits   bool // the event is left to the relay
	}{
		{name: "201", status: 201, order: Placed},
		{name: "200, confirmed", replies: reply("stock.reserved", "payment.processed"), status: 201, order: Confirmed},
		{name: "200, short", replies: reply("stock.short"), status: 201, order: Cancelled},
		{name: "200, declined", replies: reply("stock.reserved", "payment.declined", "stock.released"), status: 201, order: Cancelled},
		{name: "200, nothing said", replies: reply(), status: 201, order: Placed},
		{name: "request link refused", fail: linkError(tandem.LinkRefused), status: 503, order: Failed},
		{name: "request link unavailable", fail: linkError(tandem.LinkUnavailable), status: 503, order: Failed},
		{name: "request link timeout", fail: linkError(tandem.LinkTimeout), status: 202, order: Placed, waits: true},
		{name: "no connection", fail: func() error { return errors.New("connection refused") }, status: 201, order: Placed, waits: true},
		{name: "deadline", fail: func() error { return context.DeadlineExceeded }, status: 201, order: Placed, waits: true},
		{name: "429", fail: code(tandem.CodeOverloaded), status: 201, order: Placed, waits: true},
		{name: "503", fail: code(tandem.CodeUnavailable), status: 201, order: Placed, waits: true},
		{name: "500", fail: code(tandem.CodeInternal), status: 201, order: Placed, waits: true},
		{name: "401", fail: code(tandem.CodeUnauthorized), status: 201, order: Placed, waits: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pub := newStandIn()
			pub.fail, pub.replies = tt.fail, tt.replies
			s := open(t, t.TempDir(), pub, Options{})
			w := send(s, "POST", "/orders", "ann", oneLine)
			if w.Code != tt.status || !strings.HasPrefix(w.Header().Get("Location"), "/orders/") {
				t.Fatalf("answered %d %s, Location %q", w.Code, w.Body, w.Header().Get("Location"))
			}
			got := orderIn(t, send(s, "GET", w.Header().Get("Location"), "ann", ""))
			if got.Status != tt.order || got.TotalPence != 4125 || got.Reference != "r1" {
				t.Errorf("the order is %+v, want %s", got, tt.order)
			}
			if tt.status == 201 || tt.status == 202 {
				if answered := orderIn(t, w); answered.ID != got.ID || answered.Status != tt.order {
					t.Errorf("answered with %+v, want %s", answered, tt.order)
				}
			}
			var b Books
			eventtest.Get(t, s, "/books", &b)
			if (b.Outbox == 1) != tt.waits {
				t.Errorf("%d events wait in the outbox", b.Outbox)
			}
			if !tt.waits {
				return
			}
			// The relay goes on as soon as the way is open, with the same event.
			pub.set(nil)
			select {
			case <-pub.arrived:
			case <-time.After(10 * time.Second):
				t.Fatal("the relay did not send the event")
			}
			if e := pub.sent[0]; e.Type != "order.placed" || e.Subject != got.ID || e.Source != source {
				t.Errorf("sent %+v", e)
			}
		})
	}
}

// What the log will never take ends the order, in the transaction that sets the event aside.
func TestAnOrderThatIsRefusedForGoodFails(t *testing.T) {
	pub := newStandIn()
	called := make(chan struct{}, 100)
	pub.fail = func() error { called <- struct{}{}; return tandem.Errorf(tandem.CodeInvalid, "no such thing") }
	s := open(t, t.TempDir(), pub, Options{})
	w := send(s, "POST", "/orders", "ann", oneLine)
	if w.Code != http.StatusCreated {
		t.Fatalf("answered %d", w.Code)
	}
	<-called // PublishNow
	<-called // the relay
	if err := s.relay.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := orderIn(t, send(s, "GET", w.Header().Get("Location"), "ann", ""))
	if got.Status != Failed || got.Reason == "" {
		t.Errorf("the order is %+v", got)
	}
}

// A process that dies after the commit leaves the event to the next one.
func TestAnOrderSurvivesItsProcess(t *testing.T) {
	dir, pub := t.TempDir(), newStandIn()
	pub.fail = code(tandem.CodeUnavailable)
	opts := Options{hold: 100 * time.Millisecond}
	s := open(t, dir, pub, opts)
	id := orderIn(t, send(s, "POST", "/orders", "ann", oneLine, "Tandem-Flow", "f1", "Tandem-Operation", "op1")).ID
	s.Close()
	pub.set(nil)
	open(t, dir, pub, opts)
	select {
	case <-pub.arrived:
	case <-time.After(10 * time.Second):
		t.Fatal("the event was lost")
	}
	var d event.Data
	e := pub.sent[0]
	if err := json.Unmarshal(e.Data, &d); err != nil || e.Subject != id || e.Meta.Flow != "f1" || e.Meta.Operation != "op1" ||
		d.Order != (event.Order{ID: id, Customer: "ann", Reference: "r1", Kind: event.Sale, TotalPence: 4125}) || len(d.Lines) != 2 {
		t.Errorf("sent %+v with %+v (%v)", e, d, err)
	}
}

func TestIdempotencyKey(t *testing.T) {
	pub := newStandIn()
	s := open(t, t.TempDir(), pub, Options{})
	first := send(s, "POST", "/orders", "ann", oneLine, "Idempotency-Key", "k")
	again := send(s, "POST", "/orders", "ann", oneLine, "Idempotency-Key", "k")
	if first.Code != 201 || again.Code != 200 || orderIn(t, first).ID != orderIn(t, again).ID || len(pub.sent) != 1 {
		t.Errorf("answered %d, then %d; %d events", first.Code, again.Code, len(pub.sent))
	}
	if w := send(s, "POST", "/orders", "ann", strings.Replace(oneLine, "r1", "r2", 1), "Idempotency-Key", "k"); w.Code != http.StatusConflict {
		t.Errorf("another order under the key: %d", w.Code)
	}
	if w := send(s, "POST", "/orders", "bob", oneLine, "Idempotency-Key", "k"); w.Code != http.StatusCreated {
		t.Errorf("another customer's key: %d", w.Code)
	}
}

func TestBadOrdersAreRefused(t *testing.T) {
	s := open(t, t.TempDir(), newStandIn(), Options{})
	for name, body := range map[string]string{
		"not JSON":      `{`,
		"no lines":      `{"lines":[]}`,
		"kind":          `{"kind":"gift","lines":[{"code":"1","quantity":1,"unitPricePence":1}]}`,
		"no code":       `{"lines":[{"quantity":1,"unitPricePence":1}]}`,
		"quantity 0":    `{"lines":[{"code":"1","quantity":0,"unitPricePence":1}]}`,
		"negative":      `{"lines":[{"code":"1","quantity":-1,"unitPricePence":1}]}`,
		"price":         `{"lines":[{"code":"1","quantity":1,"unitPricePence":-1}]}`,
		"fraction":      `{"lines":[{"code":"1","quantity":1,"unitPricePence":1.5}]}`,
		"overflow":      `{"lines":[{"code":"1","quantity":1000000,"unitPricePence":100000000}]}`,
		"unknown field": `{"discount":1,"lines":[{"code":"1","quantity":1,"unitPricePence":1}]}`,
	} {
		if w := send(s, "POST", "/orders", "ann", body); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if w := send(s, "POST", "/orders", "", oneLine); w.Code != http.StatusUnauthorized {
		t.Errorf("without a principal: %d", w.Code)
	}
	if w := send(s, "POST", "/orders", "ann", `{"lines":[{"code":"22139","quantity":56,"unitPricePence":0}]}`); w.Code != http.StatusCreated {
		t.Errorf("a price of 0: %d", w.Code)
	}
}

func TestReading(t *testing.T) {
	s := open(t, t.TempDir(), newStandIn(), Options{})
	placed := send(s, "POST", "/orders", "ann", oneLine)
	o := orderIn(t, placed)
	w := send(s, "GET", "/orders/"+o.ID, "ann", "")
	tag := w.Header().Get("ETag")
	if w.Code != 200 || tag == "" || tag != placed.Header().Get("ETag") {
		t.Fatalf("%d, ETag %q, at first %q", w.Code, tag, placed.Header().Get("ETag"))
	}
	for _, match := range []string{tag, `"x", W/` + tag, "*"} {
		if w := send(s, "GET", "/orders/"+o.ID, "ann", "", "If-None-Match", match); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
			t.Errorf("If-None-Match %s: %d", match, w.Code)
		}
	}
	eventtest.Deliver(t, s, eventtest.New("e1", "stock.reserved", event.Data{Order: event.Order{ID: o.ID}}))
	w = send(s, "GET", "/orders/"+o.ID, "ann", "", "If-None-Match", tag)
	if w.Code != 200 || w.Header().Get("ETag") == tag || orderIn(t, w).Status != Reserved {
		t.Errorf("after an event: %d %s", w.Code, w.Body)
	}
	for path, want := range map[string]int{"/orders/" + o.ID: 403, "/orders/none": 404} {
		if w := send(s, "GET", path, "bob", ""); w.Code != want {
			t.Errorf("GET %s by another: %d, want %d", path, w.Code, want)
		}
	}
	var list struct{ Orders []Order }
	if err := json.Unmarshal(send(s, "GET", "/orders", "ann", "").Body.Bytes(), &list); err != nil || len(list.Orders) != 1 {
		t.Errorf("ann's orders: %+v, %v", list, err)
	}
	if err := json.Unmarshal(send(s, "GET", "/orders", "bob", "").Body.Bytes(), &list); err != nil || len(list.Orders) != 0 {
		t.Errorf("bob's orders: %+v, %v", list, err)
	}
	for _, tt := range []struct {
		customer, path string
		want           int
	}{
		{"ann", "/orders/" + o.ID + "/events", 204}, {"bob", "/orders/" + o.ID + "/events", 403}, {"ann", "/orders/none/events", 404},
		{"", "/orders/" + o.ID + "/events", 401}, {"bob", "/orders/" + o.ID, 403},
		{"ann", "/orders/" + o.ID + "/events?from=earliest", 204}, {"ann", "/orders/" + o.ID + "?x=1", 204},
		// Tandem finds the route by the decoded path: what is escaped must not get past the question.
		{"ann", "/%6Frders/" + o.ID + "/events", 204}, {"bob", "/%6Frders/" + o.ID + "/events", 403},
		{"bob", "/orders/%30" + o.ID[1:] + "/events", 403}, {"ann", "/orders/" + o.ID + "%2Fevents", 404},
		{"bob", "//orders/" + o.ID + "/events", 403}, {"bob", "/orders//" + o.ID + "/events", 403},
		{"ann", "/inbox", 403}, {"ann", "/orders", 403}, {"ann", "/orders/", 403}, {"ann", "", 403}, {"ann", "/orders/%zz/events", 403},
	} {
		if w := send(s, "GET", "/authorize", tt.customer, "", "Tandem-Request-Path", tt.path, "Tandem-Request-Method", "GET"); w.Code != tt.want {
			t.Errorf("authorize %q for %s: %d, want %d", tt.customer, tt.path, w.Code, tt.want)
		}
	}
}
