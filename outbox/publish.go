package outbox

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Result is what became of one row that PublishNow sent.
type Result struct {
	Receipt tandem.Receipt
	// Requested says that request-mode subscriptions were called before the event was stored, and Replies what they
	// answered, in order. It takes a Publisher that is a Requester.
	Requested bool
	Replies   []tandem.Event
}

// PublishNow sends rows at once, one after another, each under a lease that keeps the relay from it, and deletes each
// after its receipt. ctx, and Options.Hold where that is shorter, bound the time.
//
// On an error the rows before it were sent: their results are returned. The failed row and those after it are left to
// the relay, which is woken; with one exception: when a request link refused the event or was unavailable (Code
// RequestLink, Link.Outcome refused or unavailable), nothing was stored, and the row stays held for the rest of its
// lease, so that the caller can drop it with DropTx or leave it to the relay by doing nothing.
//
// Codes, beside those of the Publisher: NotFound when the row is gone (sent, or never committed); Conflict when it has to
// wait, because an earlier event of its key was not sent yet or the relay is sending it.
func (o *Outbox) PublishNow(ctx context.Context, ids ...int64) ([]Result, error) {
	results := make([]Result, 0, len(ids))
	for i, id := range ids {
		res, err := o.publishRow(ctx, id)
		if err == nil {
			results = append(results, res)
			continue
		}
		after, cancel := afterwards(ctx)
		defer cancel()
		rest := ids[i:]
		if linkSaidNo(err) {
			rest = ids[i+1:]
		}
		// Only this Outbox's own rows: what the relay holds is not ours to free.
		o.free(after, rest)
		o.Wake()
		return results, tandem.Wrap("publish now", err)
	}
	return results, nil
}

func (o *Outbox) publishRow(ctx context.Context, id int64) (Result, error) {
	now := o.opts.now()
	row, err := o.load(ctx, id, now)
	if err != nil {
		return Result{}, err
	}
	var behind bool
	if row.key != "" {
		if err := o.db.QueryRowContext(ctx, o.sql.behind, row.Topic, row.key, id).Scan(&behind); err != nil {
			return Result{}, err
		}
	}
	if behind {
		return Result{}, tandem.Errorf(tandem.CodeConflict, "an earlier event of key %q was not sent yet", row.key)
	}
	hold := o.hold()
	// Most rows are sent right after they were written, under the lease that WriteTx gave them, for no commit of its own.
	if row.heldBy != o.holder || row.heldUntil.Sub(now) < hold/2 {
		row.heldUntil = now.Add(hold)
		res, err := o.db.ExecContext(ctx, o.sql.take, o.holder, row.heldUntil.UnixMilli(), id, now.UnixMilli())
		if err != nil {
			return Result{}, err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return Result{}, tandem.Errorf(tandem.CodeConflict, "row %d is being sent by the relay, or was set aside", id)
		}
	}
	// Nobody may still be sending when the lease ends.
	sendCtx, cancel := context.WithTimeout(ctx, row.heldUntil.Sub(now)*9/10)
	defer cancel()
	res, err := o.send(sendCtx, row.Topic, row.Event)
	if err != nil {
		return Result{}, err
	}
	after, cancelAfter := afterwards(ctx)
	defer cancelAfter()
	o.remove(after, []int64{id})
	return res, nil
}

func (o *Outbox) send(ctx context.Context, topic string, e tandem.Event) (Result, error) {
	if r, ok := o.pub.(Requester); ok {
		receipt, replies, err := r.Request(ctx, topic, e)
		return Result{Receipt: receipt, Requested: replies != nil, Replies: replies}, err
	}
	receipts, err := o.pub.Publish(ctx, topic, e)
	if err != nil {
		return Result{}, err
	}
	if len(receipts) != 1 {
		return Result{}, tandem.Errorf(tandem.CodeInternal, "one event, %d receipts", len(receipts))
	}
	return Result{Receipt: receipts[0]}, nil
}

// hold is how long a sender holds a row.
func (o *Outbox) hold() time.Duration {
	if o.opts.Hold < 0 {
		return defaultHold
	}
	return o.opts.Hold
}

// free releases those of the rows that this Outbox holds for PublishNow.
func (o *Outbox) free(ctx context.Context, ids []int64) {
	if len(ids) == 0 {
		return
	}
	if _, err := o.db.ExecContext(ctx, o.sql.free, jsonIDs(ids), o.holder); err != nil {
		o.opts.Logger.WarnContext(ctx, "outbox: rows stay held until their lease is out", "rows", len(ids), "error", err)
	}
}

// linkSaidNo reports whether a request chain ended without storing anything and without doubt about it.
func linkSaidNo(err error) bool {
	var e *tandem.Error
	return errors.As(err, &e) && e.Code == tandem.CodeRequestLink && e.Link != nil &&
		(e.Link.Outcome == tandem.LinkRefused || e.Link.Outcome == tandem.LinkUnavailable)
}

// stored is a row as it is in the table.
type stored struct {
	Row
	key       string
	heldBy    string
	heldUntil time.Time
}

func (o *Outbox) load(ctx context.Context, id int64, now time.Time) (stored, error) {
	s := stored{Row: Row{ID: id}}
	var body []byte
	var held int64 // milliseconds from now
	var reason sql.NullString
	err := o.db.QueryRowContext(ctx, o.sql.load, id, now.UnixMilli()).Scan(&s.Topic, &s.key, &body, &s.heldBy, &held, &s.Attempts, &reason)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return s, tandem.Errorf(tandem.CodeNotFound, "row %d is not in the outbox: it was sent, or never committed", id)
	case err != nil:
		return s, err
	case reason.Valid:
		return s, tandem.Errorf(tandem.CodeConflict, "row %d was set aside: %s", id, reason.String)
	}
	s.heldUntil = time.UnixMilli(now.UnixMilli() + held)
	s.Event, err = parse(body, s.key)
	return s, err
}

// parse reads a stored event. The key is a column of its own, because CloudEvents has no attribute for it.
func parse(body []byte, key string) (tandem.Event, error) {
	e, err := tandem.ParseEventJSON(body)
	if err == nil && e.Subject != key {
		e.Meta.Key = key
	}
	return e, err
}
