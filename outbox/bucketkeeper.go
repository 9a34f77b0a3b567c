package outbox

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// bucketKeeper writes down what became of rows in the transaction that holds their bucket.
type bucketKeeper struct {
	box    *Outbox
	tx     *sql.Tx
	gone   []int64 // sent
	asides []Row
	waits  []wait
}

type wait struct {
	ids    []int64
	span   time.Duration
	failed int
}

func (k *bucketKeeper) done() int { return len(k.gone) + len(k.asides) }

func (k *bucketKeeper) sent(_ context.Context, rows []stored) {
	k.gone = append(k.gone, idsOf(rows)...)
}

// later writes nothing for rows that wait for nothing of their own: while the log is away, the table stays as it is.
func (k *bucketKeeper) later(_ context.Context, rows []stored, span time.Duration, failed int) {
	if span > 0 {
		k.waits = append(k.waits, wait{idsOf(rows), span, failed})
	}
}

func (k *bucketKeeper) aside(ctx context.Context, row Row) (err error) {
	ctx, cancel := afterwards(ctx)
	defer cancel()
	if _, err := k.tx.ExecContext(ctx, "SAVEPOINT aside"); err != nil {
		return err
	}
	defer func() {
		end := "RELEASE SAVEPOINT aside"
		if err != nil {
			end = "ROLLBACK TO SAVEPOINT aside"
		}
		if _, e := k.tx.ExecContext(ctx, end); err == nil {
			err = e
		}
	}()
	if _, err := k.tx.ExecContext(ctx, k.box.sql.aside, row.ID, plainText(row.Reason.Error())); err != nil {
		return err
	}
	if k.box.opts.SetAside != nil {
		if err := k.box.opts.SetAside(ctx, k.tx, row); err != nil {
			return err
		}
	}
	k.asides = append(k.asides, row)
	return nil
}

// settle commits. After an error nothing of it holds.
func (k *bucketKeeper) settle(ctx context.Context) error {
	const op = "write down what was sent"
	if len(k.gone) > 0 {
		if _, err := k.tx.ExecContext(ctx, k.box.sql.remove, jsonIDs(k.gone)); err != nil {
			return tandem.Wrap(op, err)
		}
	}
	for _, w := range k.waits {
		if _, err := k.tx.ExecContext(ctx, k.box.sql.later, jsonIDs(w.ids), w.span.Milliseconds()+1, w.failed); err != nil {
			return tandem.Wrap(op, err)
		}
	}
	if err := k.tx.Commit(); err != nil {
		return tandem.Wrap(op, err)
	}
	for _, row := range k.asides {
		k.box.opts.Logger.ErrorContext(ctx, "outbox: a row was set aside", "row", row.ID, "topic", row.Topic, "error", row.Reason)
	}
	return nil
}

// plainText returns text as PostgreSQL takes it.
func plainText(s string) string { return strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "?") }
