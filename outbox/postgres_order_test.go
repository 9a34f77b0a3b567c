package outbox

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tandem-hybrid/tandem"
)

// orderRows is how many rows the tests of order write: a thousand, a million in the soak, or TANDEM_OUTBOX_ROWS.
func orderRows(t *testing.T) int {
	if s := os.Getenv("TANDEM_OUTBOX_ROWS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if os.Getenv("TANDEM_SOAK") != "" {
		return 1_000_000
	}
	return 1000
}

// ledger is what services say happened: a counter for each key, changed in the transaction that writes the event of the
// change, so that transactions of one key come one after the other, while those of different keys overlap.
const ledgerTable = "CREATE TABLE ledger (key text PRIMARY KEY, n int NOT NULL)"

// services starts writers of at least a number of rows, whose transactions overlap, commit in another order than they wrote, and now and then roll back.
func services(t *testing.T, schema string, rows int) (wait func()) {
	const writers, keys = 8, 60
	db := connect(t, schema, "services", pgx.QueryExecModeCacheStatement)
	if _, err := db.Exec(ledgerTable); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO ledger SELECT 'k' || i, 0 FROM generate_series(1, $1::int) i", keys); err != nil {
		t.Fatal(err)
	}
	o := open(t, db, &standIn{}, Options{Hold: -1})
	perTx := 3
	if rows >= 100_000 {
		perTx = 20
	}
	var left atomic.Int64
	left.Store(int64(rows))
	var all sync.WaitGroup
	for w := range writers {
		rnd := rand.New(rand.NewPCG(1, uint64(w)))
		all.Go(func() {
			for {
				if left.Load() <= 0 {
					return
				}
				n, err := change(t.Context(), o, db, rnd, 1+rnd.IntN(perTx), keys)
				if err != nil {
					t.Error(err)
					return
				}
				left.Add(-int64(n))
			}
		})
	}
	return all.Wait
}

// change is one transaction of a service. It locks its keys in order, so that no two wait
// for each other. It returns how many events it committed.
func change(ctx context.Context, o *Outbox, db *sql.DB, rnd *rand.Rand, n, keys int) (int, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	touched := make([]int, n)
	for i := range touched {
		touched[i] = 1 + rnd.IntN(keys)
	}
	slices.Sort(touched)
	for _, k := range touched {
		key := fmt.Sprint("k", k)
		var count int
		if err := tx.QueryRowContext(ctx, "UPDATE ledger SET n = n + 1 WHERE key = $1 RETURNING n", key).Scan(&count); err != nil {
			return 0, err
		}
		if _, err := o.WriteTx(ctx, tx, "orders", event(key, "."+strconv.Itoa(count))); err != nil {
			return 0, err
		}
		if rnd.IntN(4) == 0 {
			pause(time.Duration(rnd.IntN(int(time.Millisecond)))) // others overtake it
		}
	}
	if rnd.IntN(8) == 0 {
		return 0, nil // changed its mind
	}
	return n, tx.Commit()
}

// wantLedger checks that the log has, of each key, what the ledger counts: from the first to the last, in order.
func wantLedger(t *testing.T, db *sql.DB, log *standIn) {
	t.Helper()
	got := make(map[string][]string)
	for _, e := range log.stored {
		got[e.Subject] = append(got[e.Subject], e.Type)
	}
	rows, err := db.Query("SELECT key, n FROM ledger")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	sum := 0
	for rows.Next() {
		var key string
		var n int
		if err := rows.Scan(&key, &n); err != nil {
			t.Fatal(err)
		}
		sum += n
		if len(got[key]) != n {
			t.Errorf("%s: %d events in the log, %d in the ledger", key, len(got[key]), n)
		}
		for i, typ := range got[key] {
			if typ != "."+strconv.Itoa(i+1) {
				t.Errorf("%s: event %d is %s", key, i+1, typ)
				break
			}
		}
	}
	if err := rows.Err(); err != nil || sum != len(log.stored) {
		t.Errorf("%d events in the log, %d in the ledger, %v", len(log.stored), sum, err)
	}
	t.Logf("%d events in order", sum)
}

// Four relays beside each other, while services write: each event is sent once, in the order of its key.
func TestPostgresFourRelays(t *testing.T) {
	schema := testSchema(t)
	log := &standIn{}
	var requests atomic.Int64
	underway := make(map[string]bool) // keys in a request
	var mu sync.Mutex
	log.answer = func(_ context.Context, _ string, events []tandem.Event) error {
		requests.Add(1)
		mine := make(map[string]bool)
		mu.Lock()
		for _, e := range events {
			if underway[e.Subject] && !mine[e.Subject] {
				t.Errorf("two requests with events of %s at a time", e.Subject)
			}
			underway[e.Subject], mine[e.Subject] = true, true
		}
		mu.Unlock()
		pause(time.Millisecond)
		mu.Lock()
		for key := range mine {
			delete(underway, key)
		}
		mu.Unlock()
		return nil
	}
	db := connect(t, schema, "test", pgx.QueryExecModeCacheStatement)
	o := open(t, db, log, quick(Options{}))
	for range 4 {
		startRelay(t, open(t, connect(t, schema, "relay", pgx.QueryExecModeCacheDescribe), log, quick(Options{Logger: testLogger(t)})))
	}
	begin := time.Now()
	services(t, schema, orderRows(t))()
	wrote := time.Since(begin)
	await(t, o)
	t.Logf("written in %s, sent %s later, in %d requests", wrote, time.Since(begin)-wrote, requests.Load())
	wantLedger(t, db, log)
	if log.repeats != 0 {
		t.Errorf("%d events were sent more than once, although nothing failed", log.repeats)
	}
}

// The same while connections of relays are cut, answers of the log are lost, and relays are stopped in the middle.
func TestPostgresRelaysAreCutOff(t *testing.T) {
	schema := testSchema(t)
	db := connect(t, schema, "test", pgx.QueryExecModeCacheStatement)
	var calls atomic.Int64
	log := &standIn{answer: func(ctx context.Context, _ string, _ []tandem.Event) error {
		if calls.Add(1)%7 == 0 {
			return tandem.Errorf(tandem.CodeUnavailable, "away")
		}
		pause(time.Millisecond)
		return ctx.Err()
	}}
	log.lose = func() error {
		if calls.Load()%5 == 0 {
			return fmt.Errorf("connection reset")
		}
		return nil
	}
	o := open(t, db, log, quick(Options{}))
	name := "relay-" + schema
	relays := make([]*Relay, 4)
	for i := range relays {
		relays[i] = startRelay(t, open(t, connect(t, schema, name, pgx.QueryExecModeCacheDescribe), log, quick(Options{})))
	}
	stop := make(chan struct{})
	var chaos sync.WaitGroup
	cuts := 0
	chaos.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			var cut int
			if err := db.QueryRow(`SELECT COUNT(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
				WHERE application_name = $1 ORDER BY random() LIMIT 2) s`, name).Scan(&cut); err != nil {
				t.Error(err)
			}
			cuts += cut
			if r := relays[i%4]; i%5 == 0 {
				at := context.Background()
				ctx, cancel := context.WithCancel(at)
				cancel()
				_ = r.Stop(ctx) // cancels what is under way
				if err := r.Start(at); err != nil {
					t.Error(err)
				}
			}
		}
	})
	wait := services(t, schema, orderRows(t))
	wait()
	await(t, o)
	close(stop)
	chaos.Wait()
	t.Logf("%d connections cut, %d events sent more than once", cuts, log.repeats)
	if cuts == 0 || log.repeats == 0 {
		t.Error("nothing was cut off in the middle")
	}
	wantLedger(t, db, log)
}

// await waits until the outbox is empty. It fails when nothing happens any more.
func await(t *testing.T, o *Outbox) {
	t.Helper()
	last, since := -1, time.Now()
	for {
		n := waiting(t, o)
		if n == 0 {
			wantStats(t, o, 0, 0)
			return
		}
		if n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) > 30*time.Second {
			t.Fatalf("%d rows wait, and nothing happens", n)
		}
		pause(20 * time.Millisecond)
	}
}

func testLogger(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

// A transaction that wrote earlier and commits later is not forgotten behind those that overtook it: ids are no high-water
// mark.
func TestPostgresLateCommit(t *testing.T) {
	db := openPostgres(t)
	log := &standIn{}
	o := open(t, db, log, quick(Options{Hold: -1}))
	startRelay(t, o)
	late, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Rollback()
	if _, err := o.WriteTx(t.Context(), late, "orders", event("a", "late")); err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // of the same bucket, since of the same key: whoever does not wait for the other has no order
		write(t, o, event("a", fmt.Sprint(i)))
		o.Wake()
		eventually(t, "the row is sent", func() bool { return len(log.data()) == i+1 })
	}
	if err := late.Commit(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no row waits", func() bool { return waiting(t, o) == 0 })
	wantSent(t, log, "a0", "a1", "a2", "alate")
}
