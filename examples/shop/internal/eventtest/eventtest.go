// Package eventtest delivers events to the services of the shop as Tandem does.
package eventtest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tandem-hybrid/tandem/examples/shop/internal/event"
)

// New returns an event about an order.
func New(id, typ string, d event.Data) event.Event {
	body, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return event.Event{SpecVersion: "1.0", ID: id, Source: "/test", Type: typ, Subject: d.Order.ID, Data: body}
}

// Deliver posts an event to a service's /events and returns the status and the replies.
func Deliver(t testing.TB, h http.Handler, e event.Event) (int, []event.Event) {
	t.Helper()
	body, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/events", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var replies []event.Event
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &replies); err != nil {
			t.Fatalf("%s: %v in %s", e.Type, err, w.Body)
		}
	}
	return w.Code, replies
}

// One is Deliver for an event that has one reply, which it returns with its payload.
func One(t testing.TB, h http.Handler, e event.Event) (event.Event, event.Data) {
	t.Helper()
	status, replies := Deliver(t, h, e)
	if status != http.StatusOK || len(replies) != 1 {
		t.Fatalf("%s: status %d, replies %+v, want one", e.Type, status, replies)
	}
	var d event.Data
	if err := json.Unmarshal(replies[0].Data, &d); err != nil {
		t.Fatal(err)
	}
	return replies[0], d
}

// Get reads a JSON resource of a service.
func Get(t testing.TB, h http.Handler, path string, into any) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
	if err := json.Unmarshal(w.Body.Bytes(), into); w.Code != http.StatusOK || err != nil {
		t.Fatalf("GET %s: %d %s (%v)", path, w.Code, w.Body, err)
	}
}
