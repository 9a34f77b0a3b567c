// Package inventory is the shop's stock: it reserves all that an order wants, or nothing, gives it back when the order is
// not paid, and takes returned goods in. Everything it does is set off by events and told by events.
package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"sort"
	"strings"

	"github.com/tandem-hybrid/tandem/examples/shop/internal/event"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/seeded"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/store"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/web"
)

// Rule says what is in stock before the first order.
type Rule struct {
	Seed   uint64 // picks the scarce codes
	Plenty int64  // pieces of a code that is not scarce; zero means 1,000,000
	OneIn  int    // codes of which one is scarce; zero means 150, negative means that none is
	Scarce int64  // pieces of a scarce code; zero means 12, negative none
}

func (r Rule) withDefaults() Rule {
	if r.Plenty == 0 {
		r.Plenty = 1_000_000
	}
	if r.OneIn == 0 {
		r.OneIn = 150
	}
	if r.Scarce == 0 {
		r.Scarce = 12
	}
	r.Scarce = max(r.Scarce, 0)
	return r
}

// String describes the rule for people.
func (r Rule) String() string {
	r = r.withDefaults()
	if r.OneIn < 0 {
		return fmt.Sprintf("each stock code starts with %d pieces", r.Plenty)
	}
	return fmt.Sprintf("each stock code starts with %d pieces, one in %d (seed %d) with %d", r.Plenty, r.OneIn, r.Seed, r.Scarce)
}

func (r Rule) initial(code string) int64 {
	if seeded.OneIn(r.OneIn, r.Seed, "stock", code) {
		return r.Scarce
	}
	return r.Plenty
}

const schema = event.Schema + `
CREATE TABLE IF NOT EXISTS stock (
  code    TEXT PRIMARY KEY,
  initial INTEGER NOT NULL,
  on_hand INTEGER NOT NULL CHECK (on_hand >= 0)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS movements (
  order_id TEXT NOT NULL,
  code     TEXT NOT NULL,
  kind     TEXT NOT NULL, -- reserved, released (was reserved), returned
  quantity INTEGER NOT NULL,
  PRIMARY KEY (order_id, code)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS movements_code ON movements (code, kind, quantity);`

const source = "/shop/inventory"

// Inventory is the service.
type Inventory struct {
	db   *sql.DB
	rule Rule
	mux  *http.ServeMux
}

// Open opens the service on its database in a directory.
func Open(ctx context.Context, dir string, rule Rule) (*Inventory, error) {
	db, err := store.Open(ctx, dir, "inventory", schema)
	if err != nil {
		return nil, err
	}
	s := &Inventory{db: db, rule: rule.withDefaults(), mux: http.NewServeMux()}
	s.mux.Handle("POST /events", event.Once(db, s.apply))
	s.mux.HandleFunc("GET /books", s.books)
	return s, nil
}

// Close closes the database.
func (s *Inventory) Close() error { return s.db.Close() }

func (s *Inventory) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Inventory) apply(ctx context.Context, tx *sql.Tx, e event.Event, d event.Data) ([]event.Event, error) {
	switch e.Type {
	case "order.placed":
		items := stockItems(d.Lines)
		if d.Order.Kind == event.Return {
			return s.takeBack(ctx, tx, e, d.Order, items)
		}
		return s.reserve(ctx, tx, e, d.Order, items)
	case "payment.declined":
		return s.release(ctx, tx, e, d)
	}
	return nil, nil
}

// reserve takes all items from stock, or none.
func (s *Inventory) reserve(ctx context.Context, tx *sql.Tx, e event.Event, o event.Order, items []event.Item) ([]event.Event, error) {
	var missing []event.Item
	for _, it := range items {
		onHand, err := s.onHand(ctx, tx, it.Code)
		if err != nil {
			return nil, err
		}
		if onHand < it.Quantity {
			missing = append(missing, event.Item{Code: it.Code, Quantity: it.Quantity - onHand})
		}
	}
	if missing != nil {
		return []event.Event{event.Reply(e, source, "stock.short",
			event.Data{Order: o, Items: missing, Reason: "out of stock: " + codes(missing)})}, nil
	}
	for _, it := range items {
		if err := s.move(ctx, tx, o.ID, it, "reserved", -it.Quantity); err != nil {
			return nil, err
		}
	}
	return []event.Event{event.Reply(e, source, "stock.reserved", event.Data{Order: o, Items: items})}, nil
}

func (s *Inventory) takeBack(ctx context.Context, tx *sql.Tx, e event.Event, o event.Order, items []event.Item) ([]event.Event, error) {
	for _, it := range items {
		if _, err := s.onHand(ctx, tx, it.Code); err != nil {
			return nil, err
		}
		if err := s.move(ctx, tx, o.ID, it, "returned", it.Quantity); err != nil {
			return nil, err
		}
	}
	return []event.Event{event.Reply(e, source, "stock.returned", event.Data{Order: o, Items: items})}, nil
}

// release gives back what was reserved for an order that was not paid.
func (s *Inventory) release(ctx context.Context, tx *sql.Tx, e event.Event, d event.Data) ([]event.Event, error) {
	rows, err := tx.QueryContext(ctx,
		`UPDATE movements SET kind = 'released' WHERE order_id = ?1 AND kind = 'reserved' RETURNING code, quantity`, d.Order.ID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var items []event.Item
	for rows.Next() {
		var it event.Item
		if err := rows.Scan(&it.Code, &it.Quantity); err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	sort.Slice(items, func(i, j int) bool { return items[i].Code < items[j].Code })
	for _, it := range items {
		if _, err := tx.ExecContext(ctx, `UPDATE stock SET on_hand = on_hand + ?2 WHERE code = ?1`, it.Code, it.Quantity); err != nil {
			return nil, err
		}
	}
	return []event.Event{event.Reply(e, source, "stock.released", event.Data{Order: d.Order, Items: items, Reason: d.Reason})}, nil
}

// onHand returns the pieces of a code that are there. A code that was never asked for gets its first stock now.
func (s *Inventory) onHand(ctx context.Context, tx *sql.Tx, code string) (n int64, err error) {
	err = tx.QueryRowContext(ctx, `SELECT on_hand FROM stock WHERE code = ?1`, code).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		n = s.rule.initial(code)
		_, err = tx.ExecContext(ctx, `INSERT INTO stock (code, initial, on_hand) VALUES (?1, ?2, ?2)`, code, n)
	}
	return n, err
}

func (s *Inventory) move(ctx context.Context, tx *sql.Tx, order string, it event.Item, kind string, change int64) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO movements (order_id, code, kind, quantity) VALUES (?1, ?2, ?3, ?4)`, order, it.Code, kind, it.Quantity)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE stock SET on_hand = on_hand + ?2 WHERE code = ?1`, it.Code, change)
	return err
}

// stockItems adds up the lines of each code that is stock, in order of codes.
func stockItems(lines []event.Line) []event.Item {
	sum := map[string]int64{}
	for _, l := range lines {
		if IsStock(l.Code) {
			sum[l.Code] += l.Quantity
		}
	}
	items := make([]event.Item, 0, len(sum))
	for code, q := range sum {
		items = append(items, event.Item{Code: code, Quantity: q})
	}
	sort.Slice(items, func(i, j int) bool { return items[i].Code < items[j].Code })
	return items
}

// IsStock reports whether a code names goods: five digits, perhaps with letters for a variant. Others, such as D
// (discount), POST (postage), M (manual) or BANK CHARGES, move money only.
func IsStock(code string) bool {
	if len(code) < 5 {
		return false
	}
	for i, c := range []byte(code) {
		digit, letter := c >= '0' && c <= '9', c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if i < 5 && !digit || i >= 5 && !letter {
			return false
		}
	}
	return true
}

func codes(items []event.Item) string {
	names := make([]string, 0, len(items))
	for _, it := range items {
		names = append(names, it.Code)
	}
	return strings.Join(names, ", ")
}

// Books is what the service has on record, for whoever audits the shop.
type Books struct {
	Deliveries event.Deliveries `json:"deliveries"`
	Stock      map[string]Stock `json:"stock"`
}

// Stock is one code of the books. Initial - Reserved + Returned = OnHand.
type Stock struct {
	Initial  int64 `json:"initial"`
	OnHand   int64 `json:"onHand"`
	Reserved int64 `json:"reserved"` // by orders that were not released
	Returned int64 `json:"returned"`
}

func (s *Inventory) books(w http.ResponseWriter, r *http.Request) {
	b := Books{Stock: map[string]Stock{}}
	var err error
	if b.Deliveries, err = event.Count(r.Context(), s.db); err == nil {
		err = s.readStock(r.Context(), b.Stock)
	}
	if err != nil {
		web.Problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	web.JSON(w, http.StatusOK, b)
}

func (s *Inventory) readStock(ctx context.Context, into map[string]Stock) error {
	rows, err := s.db.QueryContext(ctx, `SELECT code, initial, on_hand,
		COALESCE((SELECT SUM(quantity) FROM movements m WHERE m.code = stock.code AND kind = 'reserved'), 0),
		COALESCE((SELECT SUM(quantity) FROM movements m WHERE m.code = stock.code AND kind = 'returned'), 0) FROM stock`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var code string
		var st Stock
		if err := rows.Scan(&code, &st.Initial, &st.OnHand, &st.Reserved, &st.Returned); err != nil {
			return err
		}
		into[code] = st
	}
	return rows.Err()
}
