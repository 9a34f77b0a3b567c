// Package notifications tells customers what becomes of their orders: it writes messages into their inboxes.
package notifications

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem/examples/shop/internal/event"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/store"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/web"
)

const schema = event.Schema + `
CREATE TABLE IF NOT EXISTS messages (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  customer TEXT NOT NULL,
  order_id TEXT NOT NULL,
  type     TEXT NOT NULL,
  text     TEXT NOT NULL,
  at       TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_customer ON messages (customer, id);`

// Notifications is the service.
type Notifications struct {
	db  *sql.DB
	mux *http.ServeMux
}

// Open opens the service on its database in a directory.
func Open(ctx context.Context, dir string) (*Notifications, error) {
	db, err := store.Open(ctx, dir, "notifications", schema)
	if err != nil {
		return nil, err
	}
	s := &Notifications{db: db, mux: http.NewServeMux()}
	s.mux.Handle("POST /events", event.Once(db, s.apply))
	s.mux.HandleFunc("GET /inbox", s.inbox)
	s.mux.HandleFunc("GET /books", s.books)
	return s, nil
}

// Close closes the database.
func (s *Notifications) Close() error { return s.db.Close() }

func (s *Notifications) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Notifications) apply(ctx context.Context, tx *sql.Tx, e event.Event, d event.Data) ([]event.Event, error) {
	text := message(e.Type, d)
	if text == "" {
		return nil, nil
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO messages (customer, order_id, type, text, at) VALUES (?1, ?2, ?3, ?4, ?5)`,
		d.Order.Customer, d.Order.ID, e.Type, text, time.Now().UTC().Format(time.RFC3339Nano))
	return nil, err
}

func message(typ string, d event.Data) string {
	name := d.Order.Reference
	if name == "" {
		name = d.Order.ID
	}
	pounds := fmt.Sprintf("£%d.%02d", d.Order.TotalPence/100, d.Order.TotalPence%100)
	switch typ {
	case "order.placed":
		if d.Order.Kind == event.Return {
			return fmt.Sprintf("We have your return %s.", name)
		}
		return fmt.Sprintf("We have your order %s for %s.", name, pounds)
	case "order.confirmed":
		return fmt.Sprintf("Your order %s is confirmed: %s paid.", name, pounds)
	case "order.cancelled":
		return fmt.Sprintf("Your order %s was cancelled: %s. You were not charged.", name, d.Reason)
	case "order.returned":
		return fmt.Sprintf("Your return %s is settled: %s credited.", name, pounds)
	}
	return ""
}

// Message is one message of an inbox.
type Message struct {
	ID    int64  `json:"id"`
	Order string `json:"order"`
	Type  string `json:"type"`
	Text  string `json:"text"`
	At    string `json:"at"` // RFC 3339
}

const pageSize = 50

// inbox lists the customer's messages, newest first; before= continues a list.
func (s *Notifications) inbox(w http.ResponseWriter, r *http.Request) {
	customer, ok := web.Principal(w, r)
	if !ok {
		return
	}
	before := int64(1<<63 - 1)
	if q := r.URL.Query().Get("before"); q != "" {
		var err error
		if before, err = strconv.ParseInt(q, 10, 64); err != nil {
			web.Problem(w, http.StatusBadRequest, "before is the id of a message")
			return
		}
	}
	messages, err := s.list(r.Context(), customer, before)
	if err != nil {
		web.Problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	web.JSON(w, http.StatusOK, map[string]any{"messages": messages})
}

func (s *Notifications) list(ctx context.Context, customer string, before int64) ([]Message, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id, order_id, type, text, at FROM messages
		WHERE customer = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3`, customer, before, pageSize)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	messages := []Message{}
	for rows.Next() {
		var m Message
		if err := rows.Scan(&m.ID, &m.Order, &m.Type, &m.Text, &m.At); err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	return messages, rows.Err()
}

// Books is what the service has on record, for whoever audits the shop.
type Books struct {
	Deliveries event.Deliveries `json:"deliveries"`
	Messages   map[string]int64 `json:"messages"` // by event type
}

func (s *Notifications) books(w http.ResponseWriter, r *http.Request) {
	b := Books{Messages: map[string]int64{}}
	var err error
	if b.Deliveries, err = event.Count(r.Context(), s.db); err == nil {
		err = s.countMessages(r.Context(), b.Messages)
	}
	if err != nil {
		web.Problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	web.JSON(w, http.StatusOK, b)
}

func (s *Notifications) countMessages(ctx context.Context, into map[string]int64) error {
	rows, err := s.db.QueryContext(ctx, `SELECT type, COUNT(*) FROM messages GROUP BY type`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var typ string
		var n int64
		if err := rows.Scan(&typ, &n); err != nil {
			return err
		}
		into[typ] = n
	}
	return rows.Err()
}
