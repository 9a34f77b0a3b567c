package outbox

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Bounds of what a relay takes at a time from a bucket: rows, and bytes of events beyond the first.
const (
	bucketRows  = 500
	bucketBytes = 1 << 20
)

// soon is the wait of a relay after it found nothing for the first time; each time after that it is twice as long, up to
// Options.Poll.
const soon = 10 * time.Millisecond

// buckets is the sender of a database that many machines use. The rows are parted into buckets by key. Who sends rows of
// a bucket has locked the bucket in a transaction, and deletes them in the same one: if it dies, the database frees the
// bucket, and the rows are there as they were. Nothing is remembered of how far it came: transactions that began earlier may
// commit later, so that rows with lower ids turn up behind higher ones.
type buckets struct {
	*Relay
	idle int // rounds in a row that found nothing
}

func newBuckets(r *Relay) *buckets { return &buckets{Relay: r} }

// round sends a batch from each bucket that has something to send and that no other relay is at.
func (b *buckets) round(ctx context.Context, stop <-chan struct{}) (time.Duration, error) {
	due, err := b.due(ctx)
	if err != nil {
		return 0, err
	}
	// Relays that begin at the same time do not all go for the same bucket.
	rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
	var (
		mu     sync.Mutex // guards what follows
		done   int
		failed error
	)
	next := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		select {
		case <-stop:
			return 0, false
		default:
		}
		if failed != nil || len(due) == 0 {
			return 0, false
		}
		bucket := due[0]
		due = due[1:]
		return bucket, true
	}
	var workers sync.WaitGroup
	for range min(b.box.opts.Parallel, len(due)) {
		workers.Go(func() {
			for {
				bucket, ok := next()
				if !ok {
					return
				}
				n, err := b.send(ctx, bucket)
				mu.Lock()
				done += n
				if failed == nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	if done > 0 || failed != nil {
		b.idle = 0
		return 0, failed
	}
	wait := b.box.opts.Poll
	if w := soon << min(b.idle, 20); w < wait {
		wait = w
	}
	b.idle++
	return wait, nil
}

// due returns the buckets that have something to send.
func (b *buckets) due(ctx context.Context) ([]int, error) {
	ctx, cancel := context.WithTimeout(ctx, b.box.hold())
	defer cancel()
	const op = "look into the outbox"
	tx, err := b.box.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, tandem.Wrap(op, err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, b.box.sql.plan); err != nil {
		return nil, tandem.Wrap(op, err)
	}
	result, err := tx.QueryContext(ctx, b.box.sql.due)
	if err != nil {
		return nil, tandem.Wrap(op, err)
	}
	defer result.Close()
	var due []int
	for result.Next() {
		var bucket int
		var lockable bool
		if err := result.Scan(&bucket, &lockable); err != nil {
			return nil, tandem.Wrap(op, err)
		}
		if !lockable {
			return nil, tandem.Wrap(op, tandem.Errorf(tandem.CodePrecondition, "table tandem_outbox_bucket has no row for bucket %d", bucket).
				WithHint("it needs the rows 0 to 63: INSERT INTO tandem_outbox_bucket SELECT generate_series(0, 63) ON CONFLICT DO NOTHING"))
		}
		due = append(due, bucket)
	}
	return due, tandem.Wrap(op, result.Err())
}

// send sends a batch of a bucket, unless somebody else is at it, and returns the number of rows that were sent or set
// aside. The transaction ends within the time of a lease, and a little for the book-keeping.
func (b *buckets) send(ctx context.Context, bucket int) (int, error) {
	o := b.box
	hold := o.hold()
	begun := time.Now()
	// Up to the sending the end of ctx ends the transaction; after it, what was sent is to be written down.
	txCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hold+10*time.Second)
	defer cancel()
	unbind := context.AfterFunc(ctx, cancel)
	defer unbind()
	tx, err := o.db.BeginTx(txCtx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return 0, tandem.Wrap("begin to take rows of the outbox", err)
	}
	defer tx.Rollback()
	rows, err := b.take(txCtx, tx, bucket, hold)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	if !unbind() {
		return 0, context.Cause(ctx)
	}
	sendCtx, cancelSend := context.WithDeadline(ctx, begun.Add(hold*9/10))
	defer cancelSend()
	k := &bucketKeeper{box: o, tx: tx}
	closed := o.sendBatch(sendCtx, k, rows)
	if err := k.settle(txCtx); err != nil {
		if k.done() > 0 {
			o.opts.Logger.WarnContext(ctx, "outbox: rows that were sent will be sent again", "rows", k.done(), "error", err)
		}
		return 0, err
	}
	return k.done(), closed
}

// take locks the bucket and reads its first rows that may be sent. It returns none when the bucket is locked by another.
func (b *buckets) take(ctx context.Context, tx *sql.Tx, bucket int, hold time.Duration) ([]stored, error) {
	const op = "take rows of the outbox"
	o := b.box
	var ignored any
	err := tx.QueryRowContext(ctx, o.sql.lock, bucket, strconv.FormatInt(hold.Milliseconds(), 10)).Scan(&ignored, &ignored, &ignored, &ignored, &ignored, &ignored)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, tandem.Wrap(op, err)
	}
	// A statement of its own: it has to see what whoever locked the bucket before has committed.
	result, err := tx.QueryContext(ctx, o.sql.read, bucket, bucketRows, bucketBytes)
	if err != nil {
		return nil, tandem.Wrap(op, err)
	}
	defer result.Close()
	var rows []stored
	var busy map[orderKey]bool // keys with a row that somebody else is at
	for result.Next() {
		var row stored
		var body []byte
		var free bool
		if err := result.Scan(&row.ID, &row.Topic, &row.key, &body, &row.Attempts, &free); err != nil {
			return nil, tandem.Wrap(op, err)
		}
		key := orderKey{row.Topic, row.key}
		if !free {
			if busy == nil {
				busy = make(map[orderKey]bool)
			}
			busy[key] = true
		}
		if !free || row.key != "" && busy[key] {
			continue
		}
		if row.Event, err = parse(body, row.key); err != nil {
			row.Reason = tandem.Wrap("read the row", err)
		}
		rows = append(rows, row)
	}
	return rows, tandem.Wrap(op, result.Err())
}
