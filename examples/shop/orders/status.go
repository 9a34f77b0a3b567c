package orders

import (
	"context"
	"database/sql"
	"errors"
	"net/http"

	"github.com/tandem-hybrid/tandem/examples/shop/internal/event"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/store"
	"github.com/tandem-hybrid/tandem/outbox"
)

// Status is how far an order is.
type Status string

// The states of an order. The last four are final.
const (
	Placed    Status = "placed"
	Reserved  Status = "reserved"  // its goods are put aside
	Restocked Status = "restocked" // returned goods are in
	Declined  Status = "declined"  // not paid; its goods go back
	Confirmed Status = "confirmed" // paid
	Cancelled Status = "cancelled" // short of stock, or declined and its goods are back
	Returned  Status = "returned"  // goods are in, money is credited
	Failed    Status = "failed"    // its event was refused for good
)

// Final reports whether an order in this state has ended.
func (s Status) Final() bool {
	return s == Confirmed || s == Cancelled || s == Returned || s == Failed
}

// step is what an event of another service does to an order.
type step struct {
	to    Status
	reply string // event that tells of it, if any
}

var steps = map[string]step{
	"stock.reserved":    {to: Reserved},
	"stock.returned":    {to: Restocked},
	"stock.short":       {Cancelled, "order.cancelled"},
	"payment.declined":  {to: Declined},
	"stock.released":    {Cancelled, "order.cancelled"},
	"payment.processed": {Confirmed, "order.confirmed"},
	"payment.credited":  {Returned, "order.returned"},
}

// next is the status of an order after an event. An order that has ended stays as it is; events come in order, but one
// that is redriven or replayed may come late, and must not take an order back.
func next(now Status, typ string) Status {
	st, ok := steps[typ]
	switch {
	case !ok || now.Final():
		return now
	case st.to == Reserved && now != Placed, st.to == Restocked && now != Placed:
		return now
	}
	return st.to
}

// events takes what the other services tell. The reply depends on nothing but the event and the order as it was placed,
// so that a repeat is answered as the first time.
func (s *Orders) events(w http.ResponseWriter, r *http.Request) {
	e, d, ok := event.Read(w, r)
	if !ok {
		return
	}
	var replies []event.Event
	err := store.Tx(r.Context(), s.db, func(tx *sql.Tx) error {
		replies = nil
		o, err := load(r.Context(), tx, d.Order.ID)
		if errors.Is(err, sql.ErrNoRows) {
			return event.Unprocessable("there is no order %s", d.Order.ID)
		}
		if err != nil {
			return err
		}
		if st := steps[e.Type]; st.reply != "" {
			replies = []event.Event{event.Reply(e, source, st.reply, event.Data{Order: o.summary(), Reason: d.Reason})}
		}
		seen, err := s.inbox.Seen(r.Context(), tx, e.Source, e.ID)
		if err != nil {
			return err
		}
		if err := count(r.Context(), tx, seen); err != nil || seen {
			return err
		}
		return advance(r.Context(), tx, o, e.Type, d.Reason)
	})
	event.Answer(w, replies, err)
}

// advance moves an order by one event.
func advance(ctx context.Context, tx *sql.Tx, o *Order, typ, reason string) error {
	to := next(o.Status, typ)
	if to == o.Status {
		return nil
	}
	o.Status, o.Updated = to, timestamp()
	o.version++
	if to == Declined || to == Cancelled {
		o.Reason = reason
	}
	_, err := tx.ExecContext(ctx, `UPDATE orders SET status = ?2, reason = ?3, updated = ?4, version = ?5 WHERE id = ?1`,
		o.ID, o.Status, o.Reason, o.Updated, o.version)
	return err
}

// fail ends an order whose event will not be published.
func fail(ctx context.Context, tx *sql.Tx, id, reason string) error {
	_, err := tx.ExecContext(ctx, `UPDATE orders SET status = ?2, reason = ?3, updated = ?4, version = version + 1
		WHERE id = ?1 AND status = ?5`, id, Failed, reason, timestamp(), Placed)
	return err
}

// setAside is called by the outbox when the log will never take the event of an order.
func (s *Orders) setAside(ctx context.Context, tx *sql.Tx, row outbox.Row) error {
	return fail(ctx, tx, row.Event.Subject, row.Reason.Error())
}

func count(ctx context.Context, tx *sql.Tx, repeat bool) error {
	name := "taken"
	if repeat {
		name = "repeats"
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO counters (name, n) VALUES (?1, 1) ON CONFLICT DO UPDATE SET n = n + 1`, name)
	return err
}
