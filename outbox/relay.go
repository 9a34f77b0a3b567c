package outbox

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Bounds of what a relay takes at a time: rows, and bytes of events beyond the first.
const (
	batchRows  = 100
	batchBytes = 1 << 20
)

// Relay sends in the background what PublishNow did not: rows whose sender failed or died, in order per key, in
// batches. It reads the table only when it is woken, when a lease or a wait ends, and every Options.Poll.
type Relay struct {
	box    *Outbox
	holder string

	mu     sync.Mutex // guards what follows
	cancel context.CancelFunc
	stop   chan struct{}
	done   chan struct{}
}

// NewRelay returns the relay of an Outbox. Any number may run, in any number of processes.
func NewRelay(o *Outbox) *Relay { return &Relay{box: o, holder: tandem.NewID()} }

// Start starts the relay and returns. ctx bounds nothing beyond the call: Stop ends the relay. Starting it twice is
// harmless.
func (r *Relay) Start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done != nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.cancel, r.stop, r.done = cancel, make(chan struct{}), make(chan struct{})
	go r.run(run, r.stop, r.done)
	return nil
}

// Stop takes no more rows, lets the batch under way finish until ctx is done, then cancels it, and returns when the
// relay is gone. Rows that it did not finish are free for another.
func (r *Relay) Stop(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil {
		return nil
	}
	close(r.stop)
	var err error
	select {
	case <-r.done:
	case <-ctx.Done():
		err = ctx.Err()
		r.cancel()
		<-r.done
	}
	r.cancel()
	r.cancel, r.stop, r.done = nil, nil, nil
	return err
}

func (r *Relay) run(ctx context.Context, stop, done chan struct{}) {
	defer close(done)
	failures := 0 // of the way there, in a row
	timer := time.NewTimer(0)
	defer timer.Stop()
	wake := r.box.wake
	for {
		select {
		case <-stop:
			return
		case <-wake:
		case <-timer.C:
		}
		wait, err := r.round(ctx)
		wake = r.box.wake
		if err != nil {
			failures++
			wait = r.box.backoff(failures, err)
			// While the way is closed, new rows change nothing: each wake-up would be one more attempt.
			wake = nil
			if ctx.Err() == nil {
				r.box.opts.Logger.WarnContext(ctx, "outbox: the relay will try again", "in", wait, "failures", failures, "error", err)
			}
		} else {
			failures = 0
		}
		timer.Reset(wait)
	}
}

// round takes a batch, sends it, and returns how long to wait for the next one. An error means that the way to the log
// is closed for all rows.
func (r *Relay) round(ctx context.Context) (time.Duration, error) {
	rows, deadline, err := r.claim(ctx)
	if err != nil {
		return 0, err
	}
	if len(rows) == 0 {
		return r.next(ctx)
	}
	sendCtx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	after, cancelAfter := afterwards(ctx)
	defer cancelAfter()
	for topic, group := range byTopic(rows) {
		if err == nil {
			err = r.sendGroup(sendCtx, topic, group)
		} else {
			r.giveBack(after, group, r.box.opts.now(), 0)
		}
	}
	return 0, err
}

// byTopic yields the rows of each topic, in the order of its first row; rows keep their order.
func byTopic(rows []stored) func(yield func(string, []stored) bool) {
	return func(yield func(string, []stored) bool) {
		for len(rows) > 0 {
			topic := rows[0].Topic
			var group, rest []stored
			for _, row := range rows {
				if row.Topic == topic {
					group = append(group, row)
				} else {
					rest = append(rest, row)
				}
			}
			if !yield(topic, group) {
				return
			}
			rows = rest
		}
	}
}

// claim takes rows under a lease. They must be sent by the deadline, before it ends.
func (r *Relay) claim(ctx context.Context) ([]stored, time.Time, error) {
	o := r.box
	now, hold := o.opts.now(), o.hold()
	result, err := o.db.QueryContext(ctx, o.sql.claim, r.holder, now.Add(hold).UnixMilli(), now.UnixMilli(), batchRows, batchBytes)
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

// sendGroup sends rows of one topic, together if they can be, and says of each row what became of it. An error means
// that the way is closed; all rows are then accounted for nevertheless.
func (r *Relay) sendGroup(ctx context.Context, topic string, rows []stored) error {
	o := r.box
	after, cancel := afterwards(ctx)
	defer cancel()
	whole := !slices.ContainsFunc(rows, func(row stored) bool { return row.Reason != nil })
	if whole && len(rows) > 1 {
		events := make([]tandem.Event, len(rows))
		for i := range rows {
			events[i] = rows[i].Event
		}
		_, err := o.pub.Publish(ctx, topic, events...)
		if err == nil {
			o.remove(after, idsOf(rows))
			return nil
		}
		if fateOf(err) == fateClosed {
			r.giveBack(after, rows, o.opts.now(), 1)
			return err
		}
		// One of them is at fault: each alone shows which.
	}
	held := make(map[string]bool) // keys with a row that has to wait
	for i, row := range rows {
		if row.key != "" && held[row.key] {
			r.giveBack(after, rows[i:i+1], o.opts.now(), 0)
			continue
		}
		err := row.Reason
		if err == nil {
			_, err = o.pub.Publish(ctx, topic, row.Event)
		}
		switch fateOf(err) {
		case fateSent:
			o.remove(after, []int64{row.ID})
		case fatePoison:
			row.Reason, row.Attempts = err, row.Attempts+1
			if aerr := r.setAside(after, row.Row); aerr != nil {
				o.opts.Logger.WarnContext(ctx, "outbox: cannot set a row aside", "row", row.ID, "topic", topic, "error", aerr)
				held[row.key] = true
				r.giveBack(after, rows[i:i+1], o.opts.now().Add(o.backoff(row.Attempts, aerr)), 1)
			}
		case fateLater:
			held[row.key] = true
			wait := o.backoff(row.Attempts+1, err)
			o.opts.Logger.WarnContext(ctx, "outbox: a row has to wait", "row", row.ID, "topic", topic, "in", wait, "error", err)
			r.giveBack(after, rows[i:i+1], o.opts.now().Add(wait), 1)
		case fateClosed:
			r.giveBack(after, rows[i:i+1], o.opts.now(), 1)
			r.giveBack(after, rows[i+1:], o.opts.now(), 0)
			return err
		}
	}
	return nil
}

func (r *Relay) giveBack(ctx context.Context, rows []stored, due time.Time, failed int) {
	r.box.release(ctx, r.holder, idsOf(rows), due, failed)
}

func (r *Relay) setAside(ctx context.Context, row Row) error {
	o := r.box
	tx, err := o.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	res, err := tx.ExecContext(ctx, o.sql.aside, row.ID, row.Reason.Error(), r.holder)
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
func (r *Relay) next(ctx context.Context) (time.Duration, error) {
	o := r.box
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

// fate is what an answer means for a row.
type fate int

const (
	fateSent   fate = iota
	fatePoison      // the log will never take it
	fateLater       // it, or its topic, has to wait; others go on
	fateClosed      // the way to the log is closed for all
)

func fateOf(err error) fate {
	if err == nil {
		return fateSent
	}
	switch codeOf(err) {
	case tandem.CodeInvalid, tandem.CodeConflict, tandem.CodeTooLarge, tandem.CodeMediaType, tandem.CodeUnsupported:
		return fatePoison
	case tandem.CodeNotFound, tandem.CodeGone, tandem.CodePrecondition:
		return fateLater // a topic may come into being
	case tandem.CodeRequestLink:
		var e *tandem.Error
		if errors.As(err, &e) && e.Link != nil && e.Link.Outcome == tandem.LinkRefused {
			return fatePoison
		}
		return fateLater
	}
	return fateClosed
}

// backoff is the wait after a number of failures, never shorter than the log asked for.
func (o *Outbox) backoff(failures int, err error) time.Duration {
	base, ceiling := time.Duration(o.opts.Backoff.Base), time.Duration(o.opts.Backoff.Max)
	span := ceiling
	if shift := failures - 1; base <= ceiling>>shift { // the other way round, base could overflow
		span = base << shift
	}
	wait := time.Duration(rand.Int64N(int64(span)) + 1)
	var e *tandem.Error
	if errors.As(err, &e) {
		wait = max(wait, e.RetryAfter)
	}
	return wait
}

func idsOf(rows []stored) []int64 {
	ids := make([]int64, len(rows))
	for i := range rows {
		ids[i] = rows[i].ID
	}
	return ids
}
