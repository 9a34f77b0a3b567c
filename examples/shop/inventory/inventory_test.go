package inventory

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/tandem-hybrid/tandem/examples/shop/internal/event"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/eventtest"
)

func open(t *testing.T, dir string) *Inventory {
	t.Helper()
	s, err := Open(t.Context(), dir, Rule{Plenty: 10, OneIn: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func placed(id, kind string, lines ...event.Line) event.Event {
	return eventtest.New(id+"-placed", "order.placed", event.Data{Order: event.Order{ID: id, Kind: kind}, Lines: lines})
}

func books(t *testing.T, s *Inventory) Books {
	t.Helper()
	var b Books
	eventtest.Get(t, s, "/books", &b)
	for code, st := range b.Stock {
		if st.Initial-st.Reserved+st.Returned != st.OnHand {
			t.Errorf("the books of %s do not agree: %+v", code, st)
		}
	}
	return b
}

func TestReserveIsAllOrNothing(t *testing.T) {
	s := open(t, t.TempDir())
	a, b := event.Line{Code: "22423", Quantity: 4}, event.Line{Code: "85123A", Quantity: 8}
	if e, d := eventtest.One(t, s, placed("1", event.Sale, a, b, a)); e.Type != "stock.reserved" || fmt.Sprint(d.Items) != "[{22423 8} {85123A 8}]" || d.Order.ID != "1" {
		t.Errorf("got %s %+v", e.Type, d)
	}
	if e, d := eventtest.One(t, s, placed("2", event.Sale, b, event.Line{Code: "22423", Quantity: 1})); e.Type != "stock.short" ||
		fmt.Sprint(d.Items) != "[{85123A 6}]" || d.Reason != "out of stock: 85123A" {
		t.Errorf("got %s %+v", e.Type, d)
	}
	if st := books(t, s).Stock; st["22423"].OnHand != 2 || st["85123A"].OnHand != 2 {
		t.Errorf("books: %+v", st)
	}
}

func TestARepeatHasNoEffectAndTheSameAnswer(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	e := placed("1", event.Sale, event.Line{Code: "22423", Quantity: 4})
	first, _ := eventtest.One(t, s, e)
	s.Close()
	s = open(t, dir) // a crash in between changes nothing
	again, _ := eventtest.One(t, s, e)
	if first.ID != again.ID || string(first.Data) != string(again.Data) {
		t.Errorf("answered %+v, then %+v", first, again)
	}
	b := books(t, s)
	if b.Stock["22423"].OnHand != 6 || b.Deliveries != (event.Deliveries{Taken: 2, Repeats: 1}) {
		t.Errorf("books: %+v", b)
	}
}

func TestADeclineGivesTheStockBackOnce(t *testing.T) {
	s := open(t, t.TempDir())
	eventtest.One(t, s, placed("1", event.Sale, event.Line{Code: "22423", Quantity: 4}))
	for _, id := range []string{"d1", "d1", "d2"} {
		declined := eventtest.New(id, "payment.declined", event.Data{Order: event.Order{ID: "1"}, Reason: "no money"})
		if e, d := eventtest.One(t, s, declined); e.Type != "stock.released" || d.Reason != "no money" {
			t.Errorf("got %s %+v", e.Type, d)
		}
		if st := books(t, s).Stock["22423"]; st.OnHand != 10 || st.Reserved != 0 {
			t.Errorf("after %s: %+v", id, st)
		}
	}
}

func TestWhatIsNotStockReservesNothing(t *testing.T) {
	s := open(t, t.TempDir())
	e, d := eventtest.One(t, s, placed("1", event.Sale, event.Line{Code: "POST", Quantity: 99}, event.Line{Code: "BANK CHARGES", Quantity: 1}))
	if e.Type != "stock.reserved" || len(d.Items) != 0 || len(books(t, s).Stock) != 0 {
		t.Errorf("got %s %+v", e.Type, d)
	}
	for code, want := range map[string]bool{"22423": true, "85123A": true, "15056BL": true, "D": false, "POST": false, "M": false,
		"BANK CHARGES": false, "C2": false, "1234": false, "12345-6": false, "": false} {
		if IsStock(code) != want {
			t.Errorf("IsStock(%q) = %v", code, !want)
		}
	}
}

func TestReturnsComeIn(t *testing.T) {
	s := open(t, t.TempDir())
	if e, d := eventtest.One(t, s, placed("1", event.Return, event.Line{Code: "22423", Quantity: 3}, event.Line{Code: "D", Quantity: 1})); e.Type != "stock.returned" ||
		fmt.Sprint(d.Items) != "[{22423 3}]" {
		t.Errorf("got %s %+v", e.Type, d)
	}
	if st := books(t, s).Stock["22423"]; st.OnHand != 13 || st.Returned != 3 {
		t.Errorf("books: %+v", st)
	}
}

func TestBadEventsAreRefused(t *testing.T) {
	s := open(t, t.TempDir())
	noSubject := placed("1", event.Sale)
	noSubject.Subject = "2"
	noType := placed("1", event.Sale)
	noType.Type = ""
	for name, e := range map[string]event.Event{"subject": noSubject, "type": noType} {
		if status, _ := eventtest.Deliver(t, s, e); status != http.StatusBadRequest {
			t.Errorf("%s: status %d", name, status)
		}
	}
	if status, _ := eventtest.Deliver(t, s, eventtest.New("x", "order.praised", event.Data{Order: event.Order{ID: "1"}})); status != http.StatusNoContent {
		t.Errorf("an event of a later version: status %d", status)
	}
}

func TestTheRuleIsTheSameInEveryRun(t *testing.T) {
	r := Rule{Seed: 7, OneIn: 10, Scarce: 3}.withDefaults()
	scarce := 0
	for i := range 1000 {
		code := fmt.Sprint(20000 + i)
		first := r.initial(code)
		if r.initial(code) != first {
			t.Fatal("the rule changed its mind")
		}
		if first == 3 {
			scarce++
		}
	}
	if scarce < 60 || scarce > 140 {
		t.Errorf("%d of 1000 codes are scarce, want about 100", scarce)
	}
}
