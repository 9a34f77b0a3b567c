package payments

import (
	"testing"

	"github.com/tandem-hybrid/tandem/examples/shop/internal/event"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/eventtest"
)

func open(t *testing.T, dir string, rule Rule) *Payments {
	t.Helper()
	s, err := Open(t.Context(), dir, rule)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func about(id, typ, order string, pence int64) event.Event {
	return eventtest.New(id, typ, event.Data{Order: event.Order{ID: order, Reference: order, TotalPence: pence}})
}

func TestEachOrderIsChargedOnce(t *testing.T) {
	dir, rule := t.TempDir(), Rule{OneIn: -1}
	s := open(t, dir, rule)
	first, d := eventtest.One(t, s, about("e1", "stock.reserved", "o1", 1250))
	if first.Type != "payment.processed" || d.AmountPence != 1250 {
		t.Fatalf("got %s %+v", first.Type, d)
	}
	s.Close()
	s = open(t, dir, rule)
	again, _ := eventtest.One(t, s, about("e1", "stock.reserved", "o1", 1250))
	if again.ID != first.ID {
		t.Errorf("a repeat was answered with %s, first %s", again.ID, first.ID)
	}
	other, _ := eventtest.One(t, s, about("e2", "stock.reserved", "o1", 1250))
	if other.Type != "payment.processed" {
		t.Errorf("another event of the same order: %s", other.Type)
	}
	eventtest.One(t, s, about("e3", "stock.reserved", "o2", 0))
	var b Books
	eventtest.Get(t, s, "/books", &b)
	if b.Processed != (Sum{2, 1250}) || b.Deliveries != (event.Deliveries{Taken: 4, Repeats: 1}) {
		t.Errorf("books: %+v", b)
	}
}

func TestDeclines(t *testing.T) {
	s := open(t, t.TempDir(), Rule{OneIn: 1, LimitPence: 1000})
	if e, d := eventtest.One(t, s, about("e1", "stock.reserved", "o1", 1)); e.Type != "payment.declined" || d.Reason == "" {
		t.Errorf("got %s %+v", e.Type, d)
	}
	s = open(t, t.TempDir(), Rule{OneIn: -1, LimitPence: 1000})
	if e, _ := eventtest.One(t, s, about("e1", "stock.reserved", "o1", 1001)); e.Type != "payment.declined" {
		t.Errorf("above the limit: %s", e.Type)
	}
	if e, _ := eventtest.One(t, s, about("e2", "stock.reserved", "o2", 1000)); e.Type != "payment.processed" {
		t.Errorf("at the limit: %s", e.Type)
	}
	var b Books
	eventtest.Get(t, s, "/books", &b)
	if b.Processed != (Sum{1, 1000}) || b.Declined != (Sum{1, 1001}) {
		t.Errorf("books: %+v", b)
	}
}

func TestReturnsAreCredited(t *testing.T) {
	s := open(t, t.TempDir(), Rule{OneIn: 1})
	for range 2 {
		if e, d := eventtest.One(t, s, about("e1", "stock.returned", "o1", 2750)); e.Type != "payment.credited" || d.AmountPence != 2750 {
			t.Errorf("got %s %+v", e.Type, d)
		}
	}
	var b Books
	eventtest.Get(t, s, "/books", &b)
	if b.Credited != (Sum{1, 2750}) {
		t.Errorf("books: %+v", b)
	}
}
