package orders

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/event"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/store"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/web"
	"github.com/tandem-hybrid/tandem/outbox"
)

// Limits of an order.
const (
	maxBody  = 256 << 10
	maxLines = 1000
	maxText  = 200
	maxEach  = 1_000_000      // pieces of a line
	maxPrice = 1_000_000_00   // pence a piece
	maxTotal = 100 * maxPrice // pence
)

type request struct {
	Reference string       `json:"reference"`
	Kind      string       `json:"kind"` // sale (default), return
	Lines     []event.Line `json:"lines"`
}

// check fills in what may be missing, and returns the total and what is wrong.
func (q *request) check() (total int64, err error) {
	if q.Kind == "" {
		q.Kind = event.Sale
	}
	if q.Kind != event.Sale && q.Kind != event.Return {
		return 0, fmt.Errorf("kind %q is not sale or return", q.Kind)
	}
	if len(q.Reference) > maxText {
		return 0, fmt.Errorf("reference is longer than %d bytes", maxText)
	}
	if len(q.Lines) == 0 || len(q.Lines) > maxLines {
		return 0, fmt.Errorf("an order has 1 to %d lines", maxLines)
	}
	for i, l := range q.Lines {
		switch {
		case l.Code == "" || len(l.Code) > maxText || len(l.Description) > maxText:
			err = fmt.Errorf("code and description have at most %d bytes, and code is required", maxText)
		case l.Quantity < 1 || l.Quantity > maxEach:
			err = fmt.Errorf("quantity is 1 to %d", maxEach)
		case l.UnitPricePence < 0 || l.UnitPricePence > maxPrice:
			err = fmt.Errorf("unitPricePence is 0 to %d", maxPrice)
		}
		if err != nil {
			return 0, fmt.Errorf("line %d: %w", i+1, err)
		}
		total += l.Quantity * l.UnitPricePence // at most 1000 lines of 10^14: no overflow
	}
	if total > maxTotal {
		return 0, fmt.Errorf("the total is above %d pence", int64(maxTotal))
	}
	return total, nil
}

// place takes an order: written with its event in one transaction, then published at once.
func (s *Orders) place(w http.ResponseWriter, r *http.Request) {
	customer, ok := web.Principal(w, r)
	if !ok {
		return
	}
	var q request
	if !web.Read(w, r, maxBody, &q) {
		return
	}
	total, err := q.check()
	if err != nil {
		web.Problem(w, http.StatusBadRequest, err.Error())
		return
	}
	o := &Order{ID: tandem.NewID(), Reference: q.Reference, Kind: q.Kind, Status: Placed, TotalPence: total, Lines: q.Lines,
		Created: timestamp(), customer: customer, version: 1}
	o.Updated = o.Created
	rows, earlier, err := s.write(r, o)
	switch {
	case errors.Is(err, errOtherOrder):
		web.Problem(w, http.StatusConflict, err.Error())
	case err != nil:
		web.Problem(w, http.StatusInternalServerError, err.Error())
	case earlier != nil:
		s.answer(w, http.StatusOK, earlier)
	default:
		// The customer may hang up; the order is taken nevertheless.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), s.opts.PublishTimeout)
		defer cancel()
		results, err := s.box.PublishNow(ctx, rows...)
		s.published(w, r, o, rows, results, err)
	}
}

var errOtherOrder = errors.New("another order was placed with this Idempotency-Key")

// write stores the order and its event. It returns the rows of the outbox, or the order that was placed before under
// the same Idempotency-Key.
func (s *Orders) write(r *http.Request, o *Order) (rows []int64, earlier *Order, err error) {
	ctx := r.Context()
	lines, err := json.Marshal(o.Lines)
	if err != nil {
		return nil, nil, err
	}
	data, err := json.Marshal(event.Data{Order: o.summary(), Lines: o.Lines})
	if err != nil {
		return nil, nil, err
	}
	key := sql.NullString{String: r.Header.Get("Idempotency-Key")}
	key.Valid = key.String != ""
	sum := sha256.Sum256(append([]byte(o.Kind+"\x00"+o.Reference+"\x00"), lines...))
	placed := tandem.Event{Source: source, Type: "order.placed", Subject: o.ID, DataContentType: "application/json", Data: data}
	err = store.Tx(ctx, s.db, func(tx *sql.Tx) error {
		if key.Valid {
			var id string
			var before []byte
			err := tx.QueryRowContext(ctx, `SELECT id, idem_sum FROM orders WHERE customer = ?1 AND idem_key = ?2`,
				o.customer, key).Scan(&id, &before)
			if err == nil && !bytes.Equal(before, sum[:]) {
				return errOtherOrder
			}
			if err == nil {
				earlier, err = load(ctx, tx, id)
				return err
			}
			if !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO orders (id, customer, reference, kind, status, pence, lines, created, updated, idem_key, idem_sum)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9, ?10)`,
			o.ID, o.customer, o.Reference, o.Kind, o.Status, o.TotalPence, string(lines), o.Created, key, sum[:])
		if err != nil {
			return err
		}
		rows, err = s.box.WriteTx(ctx, tx, topic, outbox.FromRequest(r).Stamp(placed))
		return err
	})
	return rows, earlier, err
}

// published answers the customer by what became of the event.
func (s *Orders) published(w http.ResponseWriter, r *http.Request, o *Order, rows []int64, results []outbox.Result, err error) {
	ctx := context.WithoutCancel(r.Context())
	var te *tandem.Error
	link := tandem.LinkOutcome("")
	if errors.As(err, &te) && te.Code == tandem.CodeRequestLink && te.Link != nil {
		link = te.Link.Outcome
	}
	switch {
	case err == nil && results[0].Requested:
		// The services of the chain have answered already: the customer gets the result at once.
		if uerr := s.applyReplies(ctx, o, results[0].Replies); uerr != nil {
			s.log("cannot note the replies of a chain; the events will come", uerr)
		}
		s.answer(w, http.StatusCreated, o)
	case err == nil:
		s.answer(w, http.StatusCreated, o)
	case link == tandem.LinkRefused || link == tandem.LinkUnavailable:
		// Nothing was stored: the order ends here, and its event is never sent.
		reason := fmt.Sprintf("%s: %s", te.Link.Link, link)
		terr := store.Tx(ctx, s.db, func(tx *sql.Tx) error {
			if err := s.box.DropTx(ctx, tx, rows...); err != nil {
				return err
			}
			return fail(ctx, tx, o.ID, reason)
		})
		if terr != nil { // the relay may have the row by now
			s.log("cannot drop an order that was refused; the relay decides", terr)
			s.answer(w, http.StatusAccepted, o)
			return
		}
		w.Header().Set("Location", "/orders/"+o.ID)
		web.Problem(w, http.StatusServiceUnavailable, "the order could not be taken: "+reason)
	case link == tandem.LinkTimeout:
		// Nobody knows how far the chain came. The relay asks again under the same id.
		s.answer(w, http.StatusAccepted, o)
	default:
		// The order is taken: its event is in the outbox, and the relay has been woken.
		s.answer(w, http.StatusCreated, o)
	}
}

func (s *Orders) applyReplies(ctx context.Context, o *Order, replies []tandem.Event) error {
	return store.Tx(ctx, s.db, func(tx *sql.Tx) error {
		fresh, err := load(ctx, tx, o.ID)
		if err != nil {
			return err
		}
		for _, e := range replies {
			var d event.Data
			if err := json.Unmarshal(e.Data, &d); err != nil || d.Order.ID != o.ID {
				continue // an answer about something else
			}
			if err := advance(ctx, tx, fresh, e.Type, d.Reason); err != nil {
				return err
			}
		}
		*o = *fresh
		return nil
	})
}

func (s *Orders) answer(w http.ResponseWriter, status int, o *Order) {
	w.Header().Set("Location", "/orders/"+o.ID)
	w.Header().Set("ETag", o.etag())
	web.JSON(w, status, o)
}

func (s *Orders) log(msg string, err error) {
	if s.opts.Logger != nil {
		s.opts.Logger.Warn(msg, "error", err)
	}
}
