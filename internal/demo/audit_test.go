package demo

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/examples/shop/inventory"
	"github.com/tandem-hybrid/tandem/examples/shop/invoices"
	"github.com/tandem-hybrid/tandem/examples/shop/orders"
)

// The books of a run in which one order was confirmed and one returned, beside an older order.
func audited() (before, after books, placed map[string]*invoices.Invoice, outcomes map[string]string) {
	before.orders.States = map[orders.Status]int64{orders.Confirmed: 1}
	before.orders.Confirmed = orders.Total{Pence: 50, Pieces: map[string]int64{"22423": 5}}
	before.payments.Processed.Count, before.payments.Processed.Pence = 1, 50
	before.inventory.Stock = map[string]inventory.Stock{"22423": {Initial: 100, OnHand: 95, Reserved: 5}}
	before.notifications.Messages = map[string]int64{"order.confirmed": 1}

	after.orders.States = map[orders.Status]int64{orders.Confirmed: 2, orders.Returned: 1}
	after.orders.Confirmed = orders.Total{Pence: 200, Pieces: map[string]int64{"22423": 7, "POST": 1}}
	after.orders.Returned = orders.Total{Pence: 70, Pieces: map[string]int64{"22423": 1}}
	after.payments.Processed.Count, after.payments.Processed.Pence = 2, 200
	after.payments.Credited.Count, after.payments.Credited.Pence = 1, 70
	after.inventory.Stock = map[string]inventory.Stock{"22423": {Initial: 100, OnHand: 94, Reserved: 7, Returned: 1}}
	after.notifications.Messages = map[string]int64{"order.confirmed": 2, "order.returned": 1}

	placed = map[string]*invoices.Invoice{
		"a": {Number: "1", Lines: []invoices.Line{{Code: "22423", Quantity: 2, UnitPricePence: 70}, {Code: "POST", Quantity: 1, UnitPricePence: 10}}},
		"b": {Number: "C2", Return: true, Lines: []invoices.Line{{Code: "22423", Quantity: 1, UnitPricePence: 70}}},
	}
	return before, after, placed, map[string]string{"a": "confirmed", "b": "returned"}
}

// Each fault alone is noticed, also those in which all services agree with each other.
func TestTheAuditSeesEachFault(t *testing.T) {
	for name, spoil := range map[string]func(before, after *books, outcomes map[string]string){
		"":               func(_, _ *books, _ map[string]string) {},
		"empty books":    func(_, after *books, _ map[string]string) { *after = books{} },
		"nothing gained": func(before, after *books, _ map[string]string) { *after = *before },
		"an order twice": func(_, after *books, _ map[string]string) {
			after.orders.States[orders.Cancelled]++
			after.notifications.Messages["order.cancelled"]++
		},
		"a line lost everywhere": func(_, after *books, _ map[string]string) {
			after.orders.Confirmed.Pieces["22423"] = 6
			after.inventory.Stock["22423"] = inventory.Stock{Initial: 100, OnHand: 95, Reserved: 6, Returned: 1}
		},
		"another price everywhere": func(_, after *books, _ map[string]string) {
			after.orders.Confirmed.Pence--
			after.payments.Processed.Pence--
		},
		"no credit anywhere": func(_, after *books, _ map[string]string) {
			after.orders.Returned.Pence, after.payments.Credited.Pence = 0, 0
		},
		"charged twice": func(_, after *books, _ map[string]string) { after.payments.Processed.Count++ },
		"stock from nowhere": func(_, after *books, _ map[string]string) {
			after.inventory.Stock["22423"] = inventory.Stock{Initial: 100, OnHand: 95, Reserved: 7, Returned: 1}
		},
		"not told": func(_, after *books, _ map[string]string) { after.notifications.Messages["order.returned"] = 0 },
		"not ended": func(_, after *books, _ map[string]string) {
			after.orders.States[orders.Reserved] = 1
			after.orders.States[orders.Confirmed]--
		},
		"events say another": func(_, _ *books, outcomes map[string]string) { outcomes["a"] = "cancelled" },
		"in the outbox":      func(_, after *books, _ map[string]string) { after.orders.Outbox = 1 },
	} {
		before, after, placed, outcomes := audited()
		spoil(&before, &after, outcomes)
		wrong := slices.Concat(after.compare(), after.account(&before, placed, outcomes))
		if (len(wrong) > 0) != (name != "") {
			t.Errorf("%q: the audit says %q", name, wrong)
		}
	}
	if unquiet(map[string]tandem.SubscriptionStatus{"payments": {Lag: 1}}) == nil {
		t.Error("a subscription with events left to deliver is quiet")
	}
}

// What keeps a child from starting is said at once: its log is gone with the temporary directory.
func TestAFailedStartSaysWhy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	_, err = Run(context.Background(), Options{Once: true, Public: l.Addr().String(), API: "127.0.0.1:0", Out: &out})
	if err == nil || !strings.Contains(err.Error(), "address already in use") || strings.Contains(err.Error(), ".log") {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "tandem-demo-*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestOptionsThatCannotBeMeant(t *testing.T) {
	for _, o := range []Options{{Repeat: -1}, {Customers: -1}, {Pause: -1}, {Public: "nonsense"}, {API: "192.0.2.1:0"}} {
		o.Once = true
		if _, err := Run(t.Context(), o); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
