package outbox

import (
	"context"
	"database/sql"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Inbox lets each event take its effect once in a service's own database, however often it is delivered. Safe for
// concurrent use; it has no goroutine.
type Inbox struct {
	sql  dialect
	keep time.Duration
	now  func() time.Time
}

// DefaultKeep is how long an Inbox remembers an event: a day longer than topics keep events by default.
const DefaultKeep = tandem.DefaultRetention + 24*time.Hour

// OpenInbox creates its table in db, which is SQLite or PostgreSQL, where it is missing. keep is how long an event is remembered; zero means
// DefaultKeep. An event that is redriven or replayed after that takes its effect again.
func OpenInbox(ctx context.Context, db *sql.DB, keep time.Duration) (*Inbox, error) {
	if keep <= 0 {
		keep = DefaultKeep
	}
	dialect, err := detect(ctx, db)
	if err != nil {
		return nil, tandem.Wrap("open the inbox", err)
	}
	if err := dialect.create(ctx, db, dialect.inboxSchema); err != nil {
		return nil, tandem.Wrap("create the inbox", err)
	}
	return &Inbox{sql: dialect, keep: keep, now: time.Now}, nil
}

// Seen notes an event in the caller's transaction and reports whether it was noted before: then its effect is there, and
// the caller only has to answer as it did the first time. If the transaction is rolled back, the event is not noted.
// While another transaction that noted the event is open, Seen waits for its end. Above READ COMMITTED PostgreSQL may then
// fail the transaction (SQLSTATE 40001): run it again, as such transactions have to be in any case.
func (in *Inbox) Seen(ctx context.Context, tx *sql.Tx, source, id string) (bool, error) {
	now := in.now()
	// Forgetting a few for each that comes bounds the table without anybody who has to clean it.
	if _, err := tx.ExecContext(ctx, in.sql.forget, now.Add(-in.keep).UnixMilli()); err != nil {
		return false, tandem.Wrap("note an event", err)
	}
	res, err := tx.ExecContext(ctx, in.sql.seen, source, id, now.UnixMilli())
	if err != nil {
		return false, tandem.Wrap("note an event", err)
	}
	n, err := res.RowsAffected()
	return n == 0, err
}
