package orders

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver" // "sqlite3", without a C compiler

	"github.com/tandem-hybrid/tandem/internal/compare"
)

// ledger reads the databases of the shop's services beside them: a reader holds up no writer.
type ledger struct {
	dir    string
	orders *sql.DB // kept open between looks
}

func (l *ledger) close() {
	if l.orders != nil {
		l.orders.Close()
	}
}

func (l *ledger) database(name string) (*sql.DB, error) {
	path := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(filepath.Join(l.dir, name+".db"))}
	db, err := sql.Open("sqlite3", path.String()+"?_pragma=busy_timeout(5000)&_pragma=query_only(on)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// open counts the orders that have not ended.
func (l *ledger) open(ctx context.Context) (left int, state string, err error) {
	if l.orders == nil {
		if l.orders, err = l.database("orders"); err != nil {
			return 0, "", err
		}
	}
	var version int
	err = l.orders.QueryRowContext(ctx, `SELECT COUNT(*) FILTER (WHERE status NOT IN ('confirmed', 'cancelled', 'returned', 'failed')),
		COALESCE(SUM(version), 0) FROM orders`).Scan(&left, &version)
	return left, fmt.Sprint(left, version), err
}

// order is what the services have on record of one.
type order struct {
	reference, status string
	updated           time.Time
	taken             bool           // goods are reserved for it, or came in
	paid              bool           // money was taken or given back
	messages          map[string]int // by type
	told              time.Time      // the last of them
}

// read tells how much was done of each order, by its reference.
func (l *ledger) read(ctx context.Context) (map[string]compare.Work, error) {
	all, err := l.readOrders(ctx)
	if err != nil {
		return nil, err
	}
	works := make(map[string]compare.Work, len(all))
	for _, o := range all {
		w := o.work()
		if _, ok := works[o.reference]; ok {
			w.Twice = true // two orders of one
		}
		works[o.reference] = w
	}
	return works, nil
}

// readOrders returns all orders by their ids.
func (l *ledger) readOrders(ctx context.Context) (map[string]*order, error) {
	all := map[string]*order{}
	err := l.each(ctx, "orders", `SELECT id, reference, status, updated FROM orders`, func(scan func(...any) error) error {
		var id, updated string
		o := &order{messages: map[string]int{}}
		err := scan(&id, &o.reference, &o.status, &updated)
		all[id] = o
		return parse(&o.updated, updated, err)
	})
	of := func(id string) *order { // a service may know of one that the shop has lost
		if all[id] == nil {
			all[id] = &order{reference: "of " + id, messages: map[string]int{}}
		}
		return all[id]
	}
	if err == nil {
		err = l.each(ctx, "inventory", `SELECT DISTINCT order_id FROM movements WHERE kind IN ('reserved', 'returned')`, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			of(id).taken = true
			return err
		})
	}
	if err == nil {
		err = l.each(ctx, "payments", `SELECT order_id FROM payments WHERE outcome IN ('processed', 'credited')`, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			of(id).paid = true
			return err
		})
	}
	if err == nil {
		err = l.each(ctx, "notifications", `SELECT order_id, type, at FROM messages ORDER BY id`, func(scan func(...any) error) error {
			var id, typ, at string
			err := scan(&id, &typ, &at)
			o := of(id)
			o.messages[typ]++
			return parse(&o.told, at, err) // in the order in which they were written: the last one stays
		})
	}
	return all, err
}

func parse(into *time.Time, text string, err error) error {
	if err != nil {
		return err
	}
	*into, err = time.Parse(time.RFC3339Nano, text)
	return err
}

func (l *ledger) each(ctx context.Context, database, query string, row func(scan func(...any) error) error) error {
	db, err := l.database(database)
	if err != nil {
		return err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("read the books of %s: %w", database, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return fmt.Errorf("read the books of %s: %w", database, err)
		}
	}
	return rows.Err()
}

// work tells how much of an order was done: all that its state says, nothing, or some of it. A cancelled order is done when
// the customer has been told and neither goods nor money are held.
func (o *order) work() compare.Work {
	w := compare.Work{State: compare.Half, At: o.updated}
	if o.told.After(w.At) {
		w.At = o.told
	}
	for _, n := range o.messages {
		w.Twice = w.Twice || n > 1
	}
	switch told := o.messages["order."+o.status] > 0; {
	case (o.status == "confirmed" || o.status == "returned") && o.paid && told, o.status == "cancelled" && !o.taken && !o.paid && told:
		w.State = compare.Done
	case o.status != "confirmed" && o.status != "returned" && o.status != "cancelled" && !o.taken && !o.paid && len(o.messages) == 0:
		w.State = compare.None // placed, or failed, and nothing else has happened
	}
	return w
}
