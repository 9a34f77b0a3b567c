package orders

import (
	"net/http"
	"testing"

	"github.com/tandem-hybrid/tandem/examples/shop/internal/event"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/eventtest"
)

func TestStatusFollowsEvents(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events []string
		want   Status
		told   string // the last reply
	}{
		{"paid", []string{"stock.reserved", "payment.processed"}, Confirmed, "order.confirmed"},
		{"short", []string{"stock.short"}, Cancelled, "order.cancelled"},
		{"declined", []string{"stock.reserved", "payment.declined", "stock.released"}, Cancelled, "order.cancelled"},
		{"returned", []string{"stock.returned", "payment.credited"}, Returned, "order.returned"},
		{"on its way", []string{"stock.reserved"}, Reserved, ""},
		{"declined, stock not back yet", []string{"stock.reserved", "payment.declined"}, Declined, ""},
		{"replayed late", []string{"stock.reserved", "payment.declined", "stock.reserved"}, Declined, ""},
		{"replayed after the end", []string{"stock.reserved", "payment.processed", "stock.short"}, Confirmed, "order.cancelled"},
		{"unknown", []string{"stock.counted"}, Placed, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, t.TempDir(), newStandIn(), Options{})
			o := orderIn(t, send(s, "POST", "/orders", "ann", oneLine))
			told := ""
			for i, typ := range tt.events {
				e := eventtest.New(string(rune('a'+i)), typ, event.Data{Order: event.Order{ID: o.ID}, Reason: "because"})
				status, replies := eventtest.Deliver(t, s, e)
				again, repeated := eventtest.Deliver(t, s, e)
				if status != again || len(replies) != len(repeated) {
					t.Errorf("%s: answered %d %v, the repeat %d %v", typ, status, replies, again, repeated)
				}
				if told = ""; len(replies) > 0 {
					told = replies[0].Type
					if repeated[0].ID != replies[0].ID || string(repeated[0].Data) != string(replies[0].Data) {
						t.Errorf("%s: the repeat was answered with other events", typ)
					}
				}
			}
			got := orderIn(t, send(s, "GET", "/orders/"+o.ID, "ann", ""))
			if got.Status != tt.want || told != tt.told || (got.Status == Cancelled) != (got.Reason == "because" && got.Status != Declined) {
				t.Errorf("the order is %s (%q), told %q; want %s, %q", got.Status, got.Reason, told, tt.want, tt.told)
			}
			var b Books
			eventtest.Get(t, s, "/books", &b)
			if n := int64(len(tt.events)); b.States[tt.want] != 1 || b.Deliveries != (event.Deliveries{Taken: 2 * n, Repeats: n}) {
				t.Errorf("books: %+v", b)
			}
			if tt.want == Confirmed && (b.Confirmed.Pence != 4125 || b.Confirmed.Pieces["22423"] != 3) {
				t.Errorf("books: %+v", b)
			}
		})
	}
}

func TestEventsOfUnknownOrdersAreRefused(t *testing.T) {
	s := open(t, t.TempDir(), newStandIn(), Options{})
	e := eventtest.New("a", "stock.reserved", event.Data{Order: event.Order{ID: "none"}})
	if status, _ := eventtest.Deliver(t, s, e); status != http.StatusUnprocessableEntity {
		t.Errorf("status %d", status)
	}
}
