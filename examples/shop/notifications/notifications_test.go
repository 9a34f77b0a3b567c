package notifications

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem/examples/shop/internal/event"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/eventtest"
)

func inbox(t *testing.T, s *Notifications, customer string) []Message {
	t.Helper()
	r := httptest.NewRequest("GET", "/inbox", nil)
	r.Header.Set("Tandem-Principal", customer)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var b struct{ Messages []Message }
	if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return b.Messages
}

func TestEachStepIsToldOnceToWhomItConcerns(t *testing.T) {
	s, err := Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ann := event.Order{ID: "1", Customer: "ann", Reference: "my order", Kind: event.Sale, TotalPence: 1205}
	bob := event.Order{ID: "2", Customer: "bob", Kind: event.Return, TotalPence: 99}
	for _, e := range []event.Event{
		eventtest.New("a", "order.placed", event.Data{Order: ann}),
		eventtest.New("b", "order.placed", event.Data{Order: bob}),
		eventtest.New("c", "order.cancelled", event.Data{Order: ann, Reason: "out of stock: 22423"}),
		eventtest.New("c", "order.cancelled", event.Data{Order: ann, Reason: "out of stock: 22423"}),
		eventtest.New("d", "order.returned", event.Data{Order: bob}),
		eventtest.New("e", "order.praised", event.Data{Order: bob}),
	} {
		if status, replies := eventtest.Deliver(t, s, e); status != http.StatusNoContent || replies != nil {
			t.Errorf("%s: status %d, replies %v", e.Type, status, replies)
		}
	}
	got := inbox(t, s, "ann")
	if len(got) != 2 || got[0].Type != "order.cancelled" || !strings.Contains(got[0].Text, "out of stock: 22423") || !strings.Contains(got[1].Text, "£12.05") {
		t.Errorf("ann's inbox: %+v", got)
	}
	if got := inbox(t, s, "bob"); len(got) != 2 {
		t.Errorf("bob's inbox: %+v", got)
	}
	if got := inbox(t, s, "eve"); len(got) != 0 {
		t.Errorf("eve's inbox: %+v", got)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/inbox", nil))
	if w.Code != http.StatusUnauthorized {
		t.Errorf("without a principal: %d", w.Code)
	}
}
