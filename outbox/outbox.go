package outbox

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Publisher sends events to a topic, all or nothing, and returns after they are durable. client.Client is one. Errors
// carry the codes of package tandem; one without a code counts as a failure of the way there and is tried again.
type Publisher interface {
	Publish(ctx context.Context, topic string, events ...tandem.Event) ([]tandem.Receipt, error)
}

// Requester is a Publisher that also returns what the request-mode subscriptions of a topic answered. PublishNow
// prefers Request where the Publisher has it.
type Requester interface {
	// Request publishes one event. Replies is nil when the topic has no request-mode subscription (201), else the reply
	// events in order, possibly none (200).
	Request(ctx context.Context, topic string, event tandem.Event) (receipt tandem.Receipt, replies []tandem.Event, err error)
}

// Options configure an Outbox. The zero value works.
type Options struct {
	// Source is given to events without one. Empty leaves them as they are, and they are refused.
	Source string
	// Hold is how long a row belongs to who wrote it, or to who sends it, before the relay may take it: the time that
	// PublishNow has. Zero means 10s. Negative writes free rows, which the relay takes at once: for a service that does
	// not call PublishNow.
	Hold time.Duration
	// Poll is the longest wait of an idle relay, for rows that another process wrote. Zero means 30s, on PostgreSQL 500ms.
	// Rows of this Outbox wake it by themselves; so do leases that end and retries, which on PostgreSQL may be late by Poll.
	Poll time.Duration
	// Parallel is how many batches a relay sends at a time on PostgreSQL, each with a connection of its own to the
	// database. Zero means 4. On SQLite it is one.
	Parallel int
	// Backoff is the wait after failures, base times two to the number of failures, capped, with full jitter. Zero
	// fields mean 100ms and 30s.
	Backoff tandem.Backoff
	// SetAside, when set, is called in the transaction that sets a row aside, so that the service can note in its own
	// tables that the event will not be published. An error undoes what it did, and the row is tried again. On PostgreSQL
	// it may be called by several goroutines at a time, each with a transaction of its own.
	SetAside func(ctx context.Context, tx *sql.Tx, row Row) error
	// Logger gets what nobody is returned: failures of the relay. Nil discards.
	Logger *slog.Logger

	now func() time.Time // tests
}

// Row is an event in the table.
type Row struct {
	ID       int64
	Topic    string
	Event    tandem.Event
	Attempts int   // that failed
	Reason   error // why it is set aside
}

// Outbox writes events to the table and sends them. Safe for concurrent use.
type Outbox struct {
	db     *sql.DB
	pub    Publisher
	opts   Options
	sql    dialect
	holder string        // names this Outbox in leases
	wake   chan struct{} // to the relay; room for one, so that no signal is lost and none pile up
}

const (
	defaultHold     = 10 * time.Second
	defaultPoll     = 30 * time.Second       // where others who write are rare
	bucketPoll      = 500 * time.Millisecond // where they are the rule
	defaultParallel = 4
)

// Open creates the tables in db where they are missing and returns an Outbox that sends to pub. The caller keeps db and
// closes it, after the relay is stopped. db is SQLite or PostgreSQL, which Open finds out. Code: Unsupported when it is
// neither.
func Open(ctx context.Context, db *sql.DB, pub Publisher, opts Options) (*Outbox, error) {
	if opts.Hold == 0 {
		opts.Hold = defaultHold
	}
	if opts.Parallel <= 0 {
		opts.Parallel = defaultParallel
	}
	if opts.Backoff.Base <= 0 {
		opts.Backoff.Base = tandem.Duration(100 * time.Millisecond)
	}
	if opts.Backoff.Max <= 0 {
		opts.Backoff.Max = tandem.Duration(30 * time.Second)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.now == nil {
		opts.now = time.Now
	}
	dialect, err := detect(ctx, db)
	if err != nil {
		return nil, tandem.Wrap("open the outbox", err)
	}
	if err := dialect.create(ctx, db, dialect.outboxSchema); err != nil {
		return nil, tandem.Wrap("create the outbox", err)
	}
	if opts.Poll <= 0 {
		opts.Poll = dialect.poll
	}
	return &Outbox{db: db, pub: pub, opts: opts, sql: dialect, holder: tandem.NewID(), wake: make(chan struct{}, 1)}, nil
}

// WriteTx writes events to the table in the caller's transaction and returns the ids of their rows, in the order given.
// An event without an id gets one now, so that however often it is sent, the log takes it once; one without a source
// gets Options.Source, one without a time the current one. The caller's events are not modified.
//
// The rows are held for Options.Hold: call PublishNow after the commit, or let the relay have them when that time is out.
// Code: Invalid, when an event is not one that the log would take; nothing was written.
func (o *Outbox) WriteTx(ctx context.Context, tx *sql.Tx, topic string, events ...tandem.Event) ([]int64, error) {
	if !tandem.ValidTopicName(topic) {
		return nil, tandem.Errorf(tandem.CodeInvalid, "%q is not the name of a topic", topic)
	}
	now := o.opts.now()
	holder, until := o.holder, now.Add(o.opts.Hold).UnixMilli()
	if o.opts.Hold < 0 {
		holder, until = "", 0
	}
	checked := make([]tandem.Event, len(events))
	for i, e := range events {
		if e.ID == "" {
			e.ID = tandem.NewID()
		}
		if e.Source == "" {
			e.Source = o.opts.Source
		}
		if e.Time == "" {
			e.Time = now.UTC().Format(time.RFC3339Nano)
		}
		if err := tandem.CheckEvent(&e); err != nil {
			return nil, tandem.Wrap("write to the outbox", err)
		}
		checked[i] = e
	}
	ids := make([]int64, len(events))
	for i := range checked {
		e := &checked[i]
		body := o.sql.event(tandem.AppendEventJSON(nil, e))
		err := tx.QueryRowContext(ctx, o.sql.insert, topic, e.Ordering(), body, now.UnixMilli(), holder, until).Scan(&ids[i])
		if err != nil {
			return nil, tandem.Wrap("write to the outbox", err)
		}
	}
	return ids, nil
}

// DropTx deletes rows in the caller's transaction, so that their events are not published: after PublishNow said that a
// request link refused them. Code: Conflict when a row is no longer held by this Outbox, since the relay may be sending
// it; the caller then rolls back.
func (o *Outbox) DropTx(ctx context.Context, tx *sql.Tx, ids ...int64) error {
	for _, id := range ids {
		res, err := tx.ExecContext(ctx, o.sql.drop, id, o.holder, o.opts.now().UnixMilli())
		if err != nil {
			return tandem.Wrap("drop from the outbox", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return tandem.Errorf(tandem.CodeConflict, "row %d of the outbox is no longer held", id)
		}
	}
	return nil
}

// Wake tells the relay that there are free rows, after the commit of a transaction that wrote them with a negative Hold.
func (o *Outbox) Wake() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// Stats is what the table holds.
type Stats struct {
	Waiting  int       // rows that will be sent
	SetAside int       // rows that will not
	Oldest   time.Time // when the oldest waiting row was written; zero when none waits
}

// Stats counts the rows.
func (o *Outbox) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	var oldest sql.NullInt64
	if err := o.db.QueryRowContext(ctx, o.sql.stats).Scan(&s.Waiting, &s.SetAside, &oldest); err != nil {
		return Stats{}, tandem.Wrap("count the outbox", err)
	}
	if oldest.Valid {
		s.Oldest = time.UnixMilli(oldest.Int64)
	}
	return s, nil
}

// release frees the rows that a holder still has, to be sent not before due. A failure is left to the lease, which ends
// by itself.
func (o *Outbox) release(ctx context.Context, holder string, ids []int64, due time.Time, failed int) {
	if len(ids) == 0 {
		return
	}
	if _, err := o.db.ExecContext(ctx, o.sql.release, jsonIDs(ids), due.UnixMilli(), failed, holder); err != nil {
		o.opts.Logger.WarnContext(ctx, "outbox: rows stay held until their lease is out", "rows", len(ids), "error", err)
	}
}

// remove deletes rows that were sent. A failure sends them once more, and the log recognises them.
func (o *Outbox) remove(ctx context.Context, ids []int64) {
	if len(ids) == 0 {
		return
	}
	if _, err := o.db.ExecContext(ctx, o.sql.remove, jsonIDs(ids)); err != nil {
		o.opts.Logger.WarnContext(ctx, "outbox: rows that were sent will be sent again", "rows", len(ids), "error", err)
	}
}

func jsonIDs(ids []int64) string {
	b, _ := json.Marshal(ids) // integers cannot fail
	return string(b)
}

// afterwards is for the book-keeping of what has happened already: the caller's end must not undo it.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
}

// codeOf is tandem.CodeOf for errors of a Publisher: what has no code did not come from the log.
func codeOf(err error) tandem.Code {
	var e *tandem.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return tandem.CodeUnavailable
}
