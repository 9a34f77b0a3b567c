package outbox

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Bounds of what a relay takes at a time by leases: rows, and bytes of events beyond the first.
const (
	leaseRows  = 100
	leaseBytes = 1 << 20
)

// leases is the sender of a database that one process writes to: it holds rows by a lease in each, so that no transaction is
// open while they are sent.
type leases struct{ *Relay }

func (l *leases) round(ctx context.Context, _ <-chan struct{}) (time.Duration, error) {
	rows, deadline, err := l.claim(ctx)
	if err != nil {
		return 0, err
	}
	if len(rows) == 0 {
		return l.next(ctx)
	}
	sendCtx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	return 0, l.box.sendBatch(sendCtx, l, rows)
}

// claim takes rows under a lease. They must be sent by the deadline, before it ends.
func (l *leases) claim(ctx context.Context) ([]stored, time.Time, error) {
	o := l.box
	now, hold := o.opts.now(), o.hold()
	result, err := o.db.QueryContext(ctx, o.sql.claim, l.holder, now.Add(hold).UnixMilli(), now.UnixMilli(), leaseRows, leaseBytes)
	if err != nil {
		return nil, time.Time{}, tandem.Wrap("take rows of the outbox", err)
	}
	defer result.Close()
	var rows []stored
	for result.Next() {
		var row stored
		var body []byte
		if err := result.Scan(&row.ID, &row.Topic, &row.key, &body, &row.Attempts); err != nil {
			return nil, time.Time{}, tandem.Wrap("take rows of the outbox", err)
		}
		if row.Event, err = parse(body, row.key); err != nil {
			row.Reason = tandem.Wrap("read the row", err)
		}
		rows = append(rows, row)
	}
	if err := result.Err(); err != nil {
		return nil, time.Time{}, tandem.Wrap("take rows of the outbox", err)
	}
	slices.SortFunc(rows, func(a, b stored) int { return cmp.Compare(a.ID, b.ID) }) // RETURNING has no order
	return rows, now.Add(hold * 9 / 10), nil
}

func (l *leases) sent(ctx context.Context, rows []stored) {
	ctx, cancel := afterwards(ctx)
	defer cancel()
	l.box.remove(ctx, idsOf(rows))
}

func (l *leases) later(ctx context.Context, rows []stored, wait time.Duration, failed int) {
	ctx, cancel := afterwards(ctx)
	defer cancel()
	l.box.release(ctx, l.holder, idsOf(rows), l.box.opts.now().Add(wait), failed)
}

func (l *leases) aside(ctx context.Context, row Row) error {
	ctx, cancel := afterwards(ctx)
	defer cancel()
	o := l.box
	tx, err := o.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	res, err := tx.ExecContext(ctx, o.sql.aside, row.ID, row.Reason.Error(), l.holder)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err // the lease was over, and whoever has the row now will see for itself
	}
	if o.opts.SetAside != nil {
		if err := o.opts.SetAside(ctx, tx, row); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	o.opts.Logger.ErrorContext(ctx, "outbox: a row was set aside", "row", row.ID, "topic", row.Topic, "error", row.Reason)
	return nil
}

// next is how long nothing will change by itself.
func (l *leases) next(ctx context.Context) (time.Duration, error) {
	o := l.box
	now := o.opts.now()
	var at sql.NullInt64
	if err := o.db.QueryRowContext(ctx, o.sql.next, now.UnixMilli()).Scan(&at); err != nil {
		return 0, tandem.Wrap("look into the outbox", err)
	}
	wait := o.opts.Poll
	if at.Valid {
		wait = min(wait, max(time.UnixMilli(at.Int64).Sub(now), time.Millisecond))
	}
	return wait, nil
}
