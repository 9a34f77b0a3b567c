package outbox

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// keeper writes down what became of rows that a relay has taken. The contexts that it gets do not end: it bounds its time.
type keeper interface {
	// sent removes rows whose receipts are there.
	sent(ctx context.Context, rows []stored)
	// later leaves rows to be sent after a wait. failed is added to their attempts.
	later(ctx context.Context, rows []stored, wait time.Duration, failed int)
	// aside sets a row aside. After an error it is still to be sent.
	aside(ctx context.Context, row Row) error
}

// batch sends rows that a relay has taken.
type batch struct {
	box  *Outbox
	keep keeper
	held map[orderKey]bool // keys with a row that has to wait
}

type orderKey struct{ topic, key string }

// sendBatch sends rows of any topics, in order per key. An error means that the way is closed; all rows are then accounted
// for nevertheless. ctx bounds the sending; what became of rows is written down beyond its end.
func (o *Outbox) sendBatch(ctx context.Context, keep keeper, rows []stored) error {
	after := context.WithoutCancel(ctx)
	b := &batch{box: o, keep: keep, held: make(map[orderKey]bool)}
	var err error
	for _, g := range groups(rows) {
		if err != nil {
			keep.later(after, g, 0, 0)
			continue
		}
		err = b.send(ctx, after, g)
	}
	return err
}

// groups parts rows into those that can be published together, which are of one topic, in the order of the first of
// each. Rows of a key stay together and in order.
func groups(rows []stored) [][]stored {
	// A key that is not the subject is said once for all events of a request. Events that have the same one as their
	// subject go with them, or they would be overtaken.
	said := make(map[orderKey]bool)
	for i := range rows {
		if key := rows[i].Event.Meta.Key; key != "" {
			said[orderKey{rows[i].Topic, key}] = true
		}
	}
	index := make(map[orderKey]int)
	var out [][]stored
	for _, row := range rows {
		at := orderKey{topic: row.Topic}
		if k := (orderKey{row.Topic, row.key}); row.key != "" && said[k] {
			at, row.Event.Meta.Key = k, row.key
		}
		i, ok := index[at]
		if !ok {
			i = len(out)
			index[at] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], row)
	}
	return out
}

// send sends rows of a group together if they can be. If one of them is at fault, each half by itself shows which.
func (b *batch) send(ctx, after context.Context, rows []stored) error {
	rows = b.notHeld(after, rows)
	if len(rows) == 0 {
		return nil
	}
	err := b.publish(ctx, rows)
	topic := rows[0].Topic
	fate := fateOf(err)
	switch {
	case fate == fateSent:
		b.keep.sent(after, rows)
	case fate == fateClosed:
		b.keep.later(after, rows, 0, 1)
		return err
	case fate == fateLater && (len(rows) == 1 || tandem.CodeOf(err) == tandem.CodeNotFound): // it is the topic, for all of them
		wait := b.box.backoff(rows[0].Attempts+1, err)
		b.box.opts.Logger.WarnContext(ctx, "outbox: rows have to wait", "row", rows[0].ID, "rows", len(rows), "topic", topic, "in", wait, "error", err)
		b.hold(rows)
		b.keep.later(after, rows, wait, 1)
	case len(rows) > 1:
		half := len(rows) / 2
		if err := b.send(ctx, after, rows[:half]); err != nil {
			b.keep.later(after, rows[half:], 0, 0)
			return err
		}
		return b.send(ctx, after, rows[half:])
	default:
		row := rows[0].Row
		row.Reason, row.Attempts = err, row.Attempts+1
		if aerr := b.keep.aside(after, row); aerr != nil {
			b.box.opts.Logger.WarnContext(ctx, "outbox: cannot set a row aside", "row", row.ID, "topic", topic, "error", aerr)
			b.hold(rows)
			b.keep.later(after, rows, b.box.backoff(row.Attempts, aerr), 1)
		}
	}
	return nil
}

// notHeld returns the rows whose keys do not have to wait. The others are left as they are.
func (b *batch) notHeld(after context.Context, rows []stored) []stored {
	if len(b.held) == 0 {
		return rows
	}
	var free, held []stored
	for _, row := range rows {
		if row.key != "" && b.held[orderKey{row.Topic, row.key}] {
			held = append(held, row)
		} else {
			free = append(free, row)
		}
	}
	if len(held) > 0 {
		b.keep.later(after, held, 0, 0)
	}
	return free
}

func (b *batch) hold(rows []stored) {
	for i := range rows {
		if rows[i].key != "" {
			b.held[orderKey{rows[i].Topic, rows[i].key}] = true
		}
	}
}

// publish sends rows in one request. A row that cannot be read is as bad as one that the log refuses.
func (b *batch) publish(ctx context.Context, rows []stored) error {
	events := make([]tandem.Event, len(rows))
	for i := range rows {
		if rows[i].Reason != nil {
			return rows[i].Reason
		}
		events[i] = rows[i].Event
	}
	receipts, err := b.box.pub.Publish(ctx, rows[0].Topic, events...)
	if err != nil {
		return err
	}
	// A row is deleted for its receipt, and for nothing else that an answer may mean.
	for i := range events {
		if i >= len(receipts) || receipts[i].ID != events[i].ID {
			return tandem.Errorf(tandem.CodeInternal, "the answer has no receipt for event %s, %d of %d, of topic %s", events[i].ID, i+1, len(events), rows[0].Topic).
				WithHint("is this the API listener of a Tandem server?")
		}
	}
	return nil
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
