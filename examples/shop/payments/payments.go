// Package payments takes money for orders whose stock is reserved, and gives it back for returned goods. A bank is made
// up by a seeded rule. An event takes effect once, and an order is charged once, whatever is delivered how often.
package payments

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"time"

	"github.com/tandem-hybrid/tandem/examples/shop/internal/event"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/seeded"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/store"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/web"
)

// Rule says which payments the bank declines.
type Rule struct {
	Seed       uint64 // picks the references that are declined
	OneIn      int    // references of which one is declined; zero means 12, negative means that none is
	LimitPence int64  // a total above it is declined; zero means £20,000.00, negative means no limit
}

func (r Rule) withDefaults() Rule {
	if r.OneIn == 0 {
		r.OneIn = 12
	}
	if r.LimitPence == 0 {
		r.LimitPence = 20_000_00
	}
	return r
}

// String describes the rule for people.
func (r Rule) String() string {
	r = r.withDefaults()
	s := "no reference is declined by chance"
	if r.OneIn > 0 {
		s = fmt.Sprintf("one reference in %d (seed %d) is declined", r.OneIn, r.Seed)
	}
	if r.LimitPence > 0 {
		s += fmt.Sprintf(", and any total above £%d.%02d", r.LimitPence/100, r.LimitPence%100)
	}
	return s
}

// declines returns why a payment is declined, or "".
func (r Rule) declines(o event.Order) string {
	ref := o.Reference
	if ref == "" {
		ref = o.ID
	}
	switch {
	case r.LimitPence > 0 && o.TotalPence > r.LimitPence:
		return "the total is above the limit of the card"
	case seeded.OneIn(r.OneIn, r.Seed, "decline", ref):
		return "the bank declined the payment"
	}
	return ""
}

const schema = event.Schema + `
CREATE TABLE IF NOT EXISTS payments (
  order_id TEXT NOT NULL,
  kind     TEXT NOT NULL, -- charge, credit
  outcome  TEXT NOT NULL, -- processed, declined, credited
  reason   TEXT NOT NULL,
  customer TEXT NOT NULL,
  pence    INTEGER NOT NULL,
  at       TEXT NOT NULL,
  PRIMARY KEY (order_id, kind)
) WITHOUT ROWID;`

const source = "/shop/payments"

// Payments is the service.
type Payments struct {
	db   *sql.DB
	rule Rule
	mux  *http.ServeMux
}

// Open opens the service on its database in a directory.
func Open(ctx context.Context, dir string, rule Rule) (*Payments, error) {
	db, err := store.Open(ctx, dir, "payments", schema)
	if err != nil {
		return nil, err
	}
	s := &Payments{db: db, rule: rule.withDefaults(), mux: http.NewServeMux()}
	s.mux.Handle("POST /events", event.Once(db, s.apply))
	s.mux.HandleFunc("GET /books", s.books)
	return s, nil
}

// Close closes the database.
func (s *Payments) Close() error { return s.db.Close() }

func (s *Payments) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Payments) apply(ctx context.Context, tx *sql.Tx, e event.Event, d event.Data) ([]event.Event, error) {
	kind, outcome, reason := "charge", "processed", ""
	switch e.Type {
	case "stock.reserved":
		if reason = s.rule.declines(d.Order); reason != "" {
			outcome = "declined"
		}
	case "stock.returned":
		kind, outcome = "credit", "credited"
	default:
		return nil, nil
	}
	if d.Order.TotalPence < 0 {
		return nil, event.Unprocessable("a total of %d pence", d.Order.TotalPence)
	}
	// A second event about the same order (another id) must not charge it twice: what was decided stands.
	err := tx.QueryRowContext(ctx, `INSERT INTO payments (order_id, kind, outcome, reason, customer, pence, at)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
		ON CONFLICT (order_id, kind) DO UPDATE SET kind = kind RETURNING outcome, reason`,
		d.Order.ID, kind, outcome, reason, d.Order.Customer, d.Order.TotalPence, time.Now().UTC().Format(time.RFC3339Nano)).
		Scan(&outcome, &reason)
	if err != nil {
		return nil, err
	}
	return []event.Event{event.Reply(e, source, "payment."+outcome,
		event.Data{Order: d.Order, AmountPence: d.Order.TotalPence, Reason: reason})}, nil
}

// Books is what the service has on record, for whoever audits the shop.
type Books struct {
	Deliveries event.Deliveries `json:"deliveries"`
	Processed  Sum              `json:"processed"`
	Declined   Sum              `json:"declined"`
	Credited   Sum              `json:"credited"`
}

// Sum is a number of payments and their total.
type Sum struct {
	Count int64 `json:"count"`
	Pence int64 `json:"pence"`
}

func (s *Payments) books(w http.ResponseWriter, r *http.Request) {
	var b Books
	var err error
	if b.Deliveries, err = event.Count(r.Context(), s.db); err == nil {
		for outcome, sum := range map[string]*Sum{"processed": &b.Processed, "declined": &b.Declined, "credited": &b.Credited} {
			if err == nil {
				err = s.db.QueryRowContext(r.Context(), `SELECT COUNT(*), COALESCE(SUM(pence), 0) FROM payments WHERE outcome = ?1`,
					outcome).Scan(&sum.Count, &sum.Pence)
			}
		}
	}
	if err != nil {
		web.Problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	web.JSON(w, http.StatusOK, b)
}
