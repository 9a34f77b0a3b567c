package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/examples/shop/inventory"
	"github.com/tandem-hybrid/tandem/examples/shop/invoices"
	"github.com/tandem-hybrid/tandem/examples/shop/notifications"
	"github.com/tandem-hybrid/tandem/examples/shop/orders"
	"github.com/tandem-hybrid/tandem/examples/shop/payments"
)

// books are those of all services that keep some.
type books struct {
	orders        orders.Books
	inventory     inventory.Books
	payments      payments.Books
	notifications notifications.Books
}

// readBooks reads the books from the services, past Tandem.
func (s *Shop) readBooks(ctx context.Context) (b books, err error) {
	for name, into := range map[string]any{"orders": &b.orders, "inventory": &b.inventory, "payments": &b.payments, "notifications": &b.notifications} {
		if err := getJSON(ctx, s.URLs[name]+"/books", into); err != nil {
			return b, tandem.Wrap("read the books of "+name, err)
		}
	}
	return b, nil
}

func getJSON(ctx context.Context, url string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return &tandem.Error{Code: tandem.CodeUnavailable, Err: err}
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return tandem.Errorf(tandem.CodeUnavailable, "answered %s", res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// deliveries adds up what the services have taken, and how much of it were repeats.
func (b *books) deliveries() (taken, repeats int64) {
	for _, d := range []struct{ Taken, Repeats int64 }{
		{b.orders.Deliveries.Taken, b.orders.Deliveries.Repeats}, {b.inventory.Deliveries.Taken, b.inventory.Deliveries.Repeats},
		{b.payments.Deliveries.Taken, b.payments.Deliveries.Repeats}, {b.notifications.Deliveries.Taken, b.notifications.Deliveries.Repeats},
	} {
		taken, repeats = taken+d.Taken, repeats+d.Repeats
	}
	return taken, repeats
}

// compare returns where the books of one service contradict those of another. It holds when all orders have ended and
// all deliveries are made.
func (b *books) compare() (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for state, n := range b.orders.States {
		if !state.Final() && n > 0 {
			say("orders: %d are still %s", n, state)
		}
	}
	if b.orders.Outbox != 0 {
		say("orders: %d events wait in the outbox", b.orders.Outbox)
	}
	if o, p := b.orders.Confirmed.Pence, b.payments.Processed.Pence; o != p {
		say("money: orders of %d pence are confirmed, payments of %d pence processed", o, p)
	}
	if o, p := b.orders.States[orders.Confirmed], b.payments.Processed.Count; o != p {
		say("money: %d orders are confirmed, %d payments processed", o, p)
	}
	if o, p := b.orders.Returned.Pence, b.payments.Credited.Pence; o != p {
		say("money: returns of %d pence are settled, %d pence credited", o, p)
	}
	codes := map[string]bool{}
	for _, pieces := range []map[string]int64{b.orders.Confirmed.Pieces, b.orders.Returned.Pieces} {
		for code := range pieces {
			codes[code] = inventory.IsStock(code)
		}
	}
	for code := range b.inventory.Stock {
		codes[code] = true
	}
	for code, isStock := range codes {
		st, sold, back := b.inventory.Stock[code], b.orders.Confirmed.Pieces[code], b.orders.Returned.Pieces[code]
		switch {
		case !isStock:
		case st.Reserved != sold:
			say("stock %s: %d sold, %d taken", code, sold, st.Reserved)
		case st.Returned != back:
			say("stock %s: %d returned, %d came in", code, back, st.Returned)
		case st.Initial-st.Reserved+st.Returned != st.OnHand:
			say("stock %s: %d at first, %d taken, %d came in, %d there", code, st.Initial, st.Reserved, st.Returned, st.OnHand)
		}
	}
	for typ, state := range map[string]orders.Status{"order.confirmed": orders.Confirmed, "order.cancelled": orders.Cancelled, "order.returned": orders.Returned} {
		if told, n := b.notifications.Messages[typ], b.orders.States[state]; told != n {
			say("customers: %d orders are %s, %d were told", n, state, told)
		}
	}
	slices.Sort(wrong)
	return wrong
}

// account returns where the books have not gained exactly what the customers ordered. What they should have gained is
// worked out from the invoices and the events, so that services that are wrong in the same way, or have lost an order or
// taken it twice, do not agree by accident.
func (b *books) account(before *books, placed map[string]*invoices.Invoice, outcomes map[string]string) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	var paid, credited int64
	sold, back := map[string]int64{}, map[string]int64{}
	for id, v := range placed {
		switch orders.Status(outcomes[id]) {
		case orders.Confirmed:
			paid += v.Total()
			countStock(v, sold)
		case orders.Returned:
			credited += v.Total()
			countStock(v, back)
		}
	}
	if n := total(b.orders.States) - total(before.orders.States); n != int64(len(placed)) {
		say("orders: %d were placed, %d are on record", len(placed), n)
	}
	if total(before.orders.States) != before.ended() {
		return wrong // orders of an earlier run have ended meanwhile: what is theirs cannot be told apart
	}
	if p := b.payments.Processed.Pence - before.payments.Processed.Pence; p != paid {
		say("money: invoices of %d pence were confirmed, %d pence processed", paid, p)
	}
	if p := b.payments.Credited.Pence - before.payments.Credited.Pence; p != credited {
		say("money: credit notes of %d pence were settled, %d pence credited", credited, p)
	}
	codes := map[string]bool{}
	for _, m := range []map[string]int64{sold, back} {
		for code := range m {
			codes[code] = true
		}
	}
	for code := range b.inventory.Stock {
		codes[code] = true
	}
	for code := range codes {
		now, then := b.inventory.Stock[code], before.inventory.Stock[code]
		if n := now.Reserved - then.Reserved; n != sold[code] {
			say("stock %s: %d on invoices, %d taken", code, sold[code], n)
		}
		if n := now.Returned - then.Returned; n != back[code] {
			say("stock %s: %d on credit notes, %d came in", code, back[code], n)
		}
	}
	slices.Sort(wrong)
	return wrong
}

// countStock adds the pieces of each stock code.
func countStock(v *invoices.Invoice, to map[string]int64) {
	for _, l := range v.Lines {
		if inventory.IsStock(l.Code) {
			to[l.Code] += l.Quantity
		}
	}
}

func total(states map[orders.Status]int64) (n int64) {
	for _, count := range states {
		n += count
	}
	return n
}

// ended is how many orders on record have ended.
func (b *books) ended() (n int64) {
	for state, count := range b.orders.States {
		if state.Final() {
			n += count
		}
	}
	return n
}
