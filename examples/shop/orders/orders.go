// Package orders takes the shop's orders. An order and the event that it was placed are one transaction of the service's
// own database, by Tandem's outbox; everything that follows comes back as events, which move the order to its end.
// It is the only service of the shop that uses anything of Tandem's.
package orders

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/tandem-hybrid/tandem/examples/shop/internal/event"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/store"
	"github.com/tandem-hybrid/tandem/examples/shop/storefront"
	"github.com/tandem-hybrid/tandem/outbox"
)

const schema = `
CREATE TABLE IF NOT EXISTS orders (
  id       TEXT PRIMARY KEY,
  customer TEXT NOT NULL,
  reference TEXT NOT NULL,
  kind     TEXT NOT NULL,
  status   TEXT NOT NULL,
  reason   TEXT NOT NULL DEFAULT '',
  pence    INTEGER NOT NULL,
  lines    TEXT NOT NULL,    -- JSON
  created  TEXT NOT NULL,
  updated  TEXT NOT NULL,
  version  INTEGER NOT NULL DEFAULT 1,
  idem_key TEXT,             -- Idempotency-Key of the customer, and
  idem_sum BLOB,             -- what was ordered under it
  UNIQUE (customer, idem_key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS orders_customer ON orders (customer, created);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;`

const (
	source = "/shop/orders"
	topic  = "orders"
)

// Options configure the service. The zero value works.
type Options struct {
	// PublishTimeout is how long a customer waits for the event to be stored before the relay takes over. Zero means 2s.
	PublishTimeout time.Duration
	Logger         *slog.Logger // nil discards

	hold time.Duration // tests
}

// Orders is the service.
type Orders struct {
	db    *sql.DB
	box   *outbox.Outbox
	inbox *outbox.Inbox
	relay *outbox.Relay
	opts  Options
	mux   *http.ServeMux
}

// Open opens the service on its database in a directory and starts the relay of its outbox.
func Open(ctx context.Context, dir string, pub outbox.Publisher, opts Options) (*Orders, error) {
	if opts.PublishTimeout <= 0 {
		opts.PublishTimeout = 2 * time.Second
	}
	db, err := store.Open(ctx, dir, "orders", schema)
	if err != nil {
		return nil, err
	}
	s := &Orders{db: db, opts: opts, mux: http.NewServeMux()}
	s.box, err = outbox.Open(ctx, db, pub, outbox.Options{Source: source, Hold: opts.hold, SetAside: s.setAside, Logger: opts.Logger})
	if err == nil {
		s.inbox, err = outbox.OpenInbox(ctx, db, 0)
	}
	if err == nil {
		s.relay = outbox.NewRelay(s.box)
		err = s.relay.Start(ctx)
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	s.mux.HandleFunc("POST /orders", s.place)
	s.mux.HandleFunc("GET /orders", s.list)
	s.mux.HandleFunc("GET /orders/{id}", s.get)
	s.mux.HandleFunc("GET /authorize", s.authorize)
	s.mux.HandleFunc("POST /events", s.events)
	s.mux.HandleFunc("GET /books", s.books)
	s.mux.Handle("GET /", storefront.Handler())
	return s, nil
}

// Close stops the relay and closes the database.
func (s *Orders) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = s.relay.Stop(ctx) // what it did not finish is in the table
	return s.db.Close()
}

func (s *Orders) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Order is an order as customers see it.
type Order struct {
	ID         string       `json:"id"`
	Reference  string       `json:"reference,omitempty"` // the customer's own
	Kind       string       `json:"kind"`                // sale, return
	Status     Status       `json:"status"`
	Reason     string       `json:"reason,omitempty"` // why it is cancelled or failed
	TotalPence int64        `json:"totalPence"`
	Lines      []event.Line `json:"lines"`
	Created    string       `json:"created"` // RFC 3339
	Updated    string       `json:"updated"` // RFC 3339

	customer string
	version  int64
}

func (o *Order) etag() string { return fmt.Sprintf(`"%d"`, o.version) }

// summary is what events carry of the order.
func (o *Order) summary() event.Order {
	return event.Order{ID: o.ID, Customer: o.customer, Reference: o.Reference, Kind: o.Kind, TotalPence: o.TotalPence}
}

const columns = `id, customer, reference, kind, status, reason, pence, lines, created, updated, version`

// querier is a *sql.DB or a *sql.Tx.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func scan(row interface{ Scan(...any) error }) (*Order, error) {
	var o Order
	var lines string
	err := row.Scan(&o.ID, &o.customer, &o.Reference, &o.Kind, &o.Status, &o.Reason, &o.TotalPence, &lines, &o.Created, &o.Updated, &o.version)
	if err != nil {
		return nil, err
	}
	return &o, json.Unmarshal([]byte(lines), &o.Lines)
}

// load reads an order; sql.ErrNoRows when there is none.
func load(ctx context.Context, q querier, id string) (*Order, error) {
	return scan(q.QueryRowContext(ctx, `SELECT `+columns+` FROM orders WHERE id = ?1`, id))
}

func timestamp() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000000Z") } // sorts as text
