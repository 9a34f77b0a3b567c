package orders

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/tandem-hybrid/tandem/examples/shop/internal/event"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/web"
)

const pageSize = 50

// list returns the customer's newest orders; before= continues from the time of the last one.
func (s *Orders) list(w http.ResponseWriter, r *http.Request) {
	customer, ok := web.Principal(w, r)
	if !ok {
		return
	}
	before := r.URL.Query().Get("before")
	if before == "" {
		before = "9999"
	}
	list, err := s.query(r.Context(), `WHERE customer = ?1 AND created < ?2 ORDER BY created DESC LIMIT ?3`, customer, before, pageSize)
	if err != nil {
		web.Problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	web.JSON(w, http.StatusOK, map[string]any{"orders": list})
}

func (s *Orders) query(ctx context.Context, where string, args ...any) ([]*Order, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT `+columns+` FROM orders `+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []*Order{}
	for rows.Next() {
		o, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	return list, rows.Err()
}

func (s *Orders) get(w http.ResponseWriter, r *http.Request) {
	customer, ok := web.Principal(w, r)
	if !ok {
		return
	}
	o, err := load(r.Context(), s.db, r.PathValue("id"))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		web.Problem(w, http.StatusNotFound, "there is no such order")
	case err != nil:
		web.Problem(w, http.StatusInternalServerError, err.Error())
	case o.customer != customer:
		web.Problem(w, http.StatusForbidden, "this is another customer's order")
	default:
		w.Header().Set("ETag", o.etag())
		w.Header().Set("Cache-Control", "private, no-cache")
		if matches(r.Header.Get("If-None-Match"), o.etag()) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		web.JSON(w, http.StatusOK, o)
	}
}

// matches compares weakly, as If-None-Match asks for (RFC 9110, section 13.1.2).
func matches(header, etag string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}

// authorize answers Tandem's question whether the principal may see what lies under /orders/{id}. Tandem routes by the
// decoded path, so it is the decoded one that counts here, and any other path is refused: it was not asked about an order.
func (s *Orders) authorize(w http.ResponseWriter, r *http.Request) {
	customer, ok := web.Principal(w, r)
	if !ok {
		return
	}
	id, ok := orderID(r.Header.Get("Tandem-Request-Path"))
	if !ok {
		web.Problem(w, http.StatusForbidden, "only what lies under /orders/{id} is authorized here")
		return
	}
	var owner string
	err := s.db.QueryRowContext(r.Context(), `SELECT customer FROM orders WHERE id = ?1`, id).Scan(&owner)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		web.Problem(w, http.StatusNotFound, "there is no such order")
	case err != nil:
		web.Problem(w, http.StatusInternalServerError, err.Error())
	case owner != customer:
		web.Problem(w, http.StatusForbidden, "this is another customer's order")
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// orderID takes the id out of a request path as it was sent. A slash within the id stays within it: segments are taken
// apart before they are decoded, as Tandem does.
func orderID(path string) (string, bool) {
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return "", false
	}
	segments := strings.Split(u.EscapedPath(), "/")
	if len(segments) < 3 {
		return "", false
	}
	for i := range segments {
		if segments[i], err = url.PathUnescape(segments[i]); err != nil {
			return "", false
		}
	}
	return segments[2], segments[0] == "" && segments[1] == "orders" && segments[2] != ""
}

// Books is what the service has on record, for whoever audits the shop.
type Books struct {
	Deliveries event.Deliveries `json:"deliveries"`
	States     map[Status]int64 `json:"states"`
	Confirmed  Total            `json:"confirmed"`
	Returned   Total            `json:"returned"`
	Outbox     int              `json:"outbox"` // events that wait to be published
}

// Total adds up orders of one state.
type Total struct {
	Pence  int64            `json:"pence"`
	Pieces map[string]int64 `json:"pieces"` // by code
}

func (s *Orders) books(w http.ResponseWriter, r *http.Request) {
	b := Books{States: map[Status]int64{}, Confirmed: Total{Pieces: map[string]int64{}}, Returned: Total{Pieces: map[string]int64{}}}
	if err := s.readBooks(r.Context(), &b); err != nil {
		web.Problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	web.JSON(w, http.StatusOK, b)
}

func (s *Orders) readBooks(ctx context.Context, b *Books) error {
	err := s.db.QueryRowContext(ctx, `SELECT COALESCE(SUM(n), 0), COALESCE(SUM(n) FILTER (WHERE name = 'repeats'), 0) FROM counters`).
		Scan(&b.Deliveries.Taken, &b.Deliveries.Repeats)
	if err != nil {
		return err
	}
	stats, err := s.box.Stats(ctx)
	if err != nil {
		return err
	}
	b.Outbox = stats.Waiting
	rows, err := s.db.QueryContext(ctx, `SELECT `+columns+` FROM orders`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		o, err := scan(rows)
		if err != nil {
			return err
		}
		b.States[o.Status]++
		switch o.Status {
		case Confirmed:
			b.Confirmed.add(o)
		case Returned:
			b.Returned.add(o)
		}
	}
	return rows.Err()
}

func (t *Total) add(o *Order) {
	t.Pence += o.TotalPence
	for _, l := range o.Lines {
		t.Pieces[l.Code] += l.Quantity
	}
}
