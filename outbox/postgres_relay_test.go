package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

func TestPostgresPoisonIsSetAside(t *testing.T) {
	db := openPostgres(t)
	log := &standIn{answer: func(_ context.Context, _ string, events []tandem.Event) error {
		for _, e := range events {
			if e.Type == "bad" {
				return tandem.Errorf(tandem.CodeConflict, "other data under the same id \x00\xff")
			}
		}
		return nil
	}}
	if _, err := db.Exec("CREATE TABLE noted (subject text UNIQUE)"); err != nil {
		t.Fatal(err)
	}
	fails := 3
	o := open(t, db, log, quick(Options{Hold: -1, SetAside: func(ctx context.Context, tx *sql.Tx, row Row) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO noted VALUES ($1)", row.Event.Subject); err != nil {
			return err
		}
		if fails--; fails >= 0 {
			_, err := tx.ExecContext(ctx, "INSERT INTO noted VALUES ($1)", row.Event.Subject) // breaks the transaction
			return err
		}
		return nil
	}}))
	write(t, o, event("a", "1"), event("a", "bad"), event("a", "2"), event("a", "3"))
	startRelay(t, o)
	eventually(t, "no row waits", func() bool { return waiting(t, o) == 0 })
	wantSent(t, log, "a1", "a2", "a3")
	wantStats(t, o, 0, 1)
	var noted, attempts int
	var reason string
	if err := db.QueryRow("SELECT (SELECT COUNT(*) FROM noted), attempts, reason FROM tandem_outbox").Scan(&noted, &attempts, &reason); err != nil ||
		noted != 1 || attempts != 4 || !strings.HasPrefix(reason, "other data under the same id") {
		t.Errorf("noted %d, attempts %d, reason %q, %v", noted, attempts, reason, err)
	}
	log.set(func() { log.answer = nil })
	if _, err := db.Exec("UPDATE tandem_outbox SET reason = NULL"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no row waits", func() bool { return waiting(t, o) == 0 })
	wantSent(t, log, "a1", "a2", "a3", "abad")
}

// A topic that is not there, or an event that has to wait, holds back what is behind it, and nothing else.
func TestPostgresWhatHasToWaitHoldsBackItsKey(t *testing.T) {
	db := openPostgres(t)
	var missing sync.Map
	missing.Store("orders/a1", true)
	log := &standIn{answer: func(_ context.Context, topic string, events []tandem.Event) error {
		for _, e := range events {
			if _, no := missing.Load(topic + "/" + e.Subject + e.Type); no {
				return tandem.Errorf(tandem.CodePrecondition, "not yet")
			}
		}
		return nil
	}}
	o := open(t, db, log, quick(Options{Hold: -1}))
	write(t, o, event("a", "1"), event("a", "2"), event("b", "1"), event("", "1"))
	startRelay(t, o)
	eventually(t, "the others are sent", func() bool { return waiting(t, o) == 2 })
	write(t, o, event("a", "3"), event("b", "2"))
	eventually(t, "b2 is sent", func() bool { return waiting(t, o) == 3 })
	missing.Delete("orders/a1")
	eventually(t, "no row waits", func() bool { return waiting(t, o) == 0 })
	var a []string
	for _, s := range log.data() {
		if s[0] == 'a' {
			a = append(a, s)
		}
	}
	if fmt.Sprint(a) != "[a1 a2 a3]" {
		t.Errorf("sent %v", a)
	}
}

// While the log is away nothing is written to the table, and it is tried seldom.
func TestPostgresClosedWay(t *testing.T) {
	db := openPostgres(t)
	log := &standIn{answer: func(context.Context, string, []tandem.Event) error {
		return tandem.Errorf(tandem.CodeUnavailable, "away").WithRetryAfter(300 * time.Millisecond)
	}}
	o := open(t, db, log, quick(Options{Hold: -1, Parallel: 1}))
	for i := range 30 {
		write(t, o, event(fmt.Sprint("k", i), "1"))
	}
	r := startRelay(t, o)
	eventually(t, "it was tried three times", func() bool { log.mu.Lock(); defer log.mu.Unlock(); return log.calls >= 3 })
	if err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if log.calls > 4 {
		t.Errorf("%d calls where each said to come back later", log.calls)
	}
	var touched int
	if err := db.QueryRow("SELECT COUNT(*) FROM tandem_outbox WHERE attempts > 0 OR due_at > 'epoch'").Scan(&touched); err != nil || touched != 0 {
		t.Errorf("%d rows were written to, %v", touched, err)
	}
	log.set(func() { log.answer = nil })
	startRelay(t, o)
	eventually(t, "no row waits", func() bool { return waiting(t, o) == 0 })
}

func TestPostgresRelayLeavesWhatPublishNowHolds(t *testing.T) {
	db := openPostgres(t)
	log := &standIn{}
	o := open(t, db, log, quick(Options{}))
	ids := write(t, o, event("a", "1"))
	write(t, o, event("b", "1"))
	if _, err := db.Exec("UPDATE tandem_outbox SET held_by = '', held_until = 'epoch' WHERE key = 'b'"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`INSERT INTO tandem_outbox (topic, key, event) VALUES ('orders', 'a', '{"specversion":"1.0","id":"2","source":"/x","type":"2","subject":"a"}')`); err != nil {
		t.Fatal(err)
	}
	startRelay(t, o)
	eventually(t, "b is sent", func() bool { return waiting(t, o) == 2 })
	wantSent(t, log, "b1")
	if _, err := o.PublishNow(t.Context(), ids...); err != nil {
		t.Error(err)
	}
	eventually(t, "no row waits", func() bool { return waiting(t, o) == 0 })
	wantSent(t, log, "b1", "a1", "a2")
	if log.calls != 3 {
		t.Errorf("%d calls for three events", log.calls)
	}
}

func TestPostgresPublishNowLeavesWhatARelayHolds(t *testing.T) {
	sending, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	log := &standIn{answer: func(ctx context.Context, _ string, _ []tandem.Event) error {
		once.Do(func() { close(sending) })
		select {
		case <-goOn:
		case <-ctx.Done():
		}
		return ctx.Err()
	}}
	o := open(t, openPostgres(t), log, quick(Options{Hold: -1}))
	ids := write(t, o, event("a", "1"))
	startRelay(t, o)
	<-sending
	later := write(t, o, event("a", "2"))
	for _, id := range []int64{ids[0], later[0]} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if _, err := o.PublishNow(ctx, id); tandem.CodeOf(err) != tandem.CodeConflict {
			t.Errorf("PublishNow of row %d while the relay sends the first: %v", id, err)
		}
		cancel()
	}
	close(goOn)
	eventually(t, "no row waits", func() bool { return waiting(t, o) == 0 })
	wantSent(t, log, "a1", "a2")
	if log.calls != 2 {
		t.Errorf("%d calls, want 2", log.calls)
	}
}

// A service that died between commit and PublishNow is succeeded by the relay, by the clock of the database: its own may
// be wrong.
func TestPostgresLeaseOfADeadService(t *testing.T) {
	db := openPostgres(t)
	log := &standIn{}
	wrong := func() time.Time { return time.Now().Add(-time.Hour) }
	dead := open(t, db, &standIn{}, Options{Hold: 700 * time.Millisecond, now: wrong})
	write(t, dead, event("a", "1"))
	o := open(t, db, log, quick(Options{}))
	startRelay(t, o)
	pause(200 * time.Millisecond) // it must not be sent in this time
	wantSent(t, log)
	eventually(t, "no row waits", func() bool { return waiting(t, o) == 0 })
	wantSent(t, log, "a1")
}

// A transaction that drops a row decides, however long it takes, and holds back no more than the key.
func TestPostgresRelayLeavesWhatIsBeingDropped(t *testing.T) {
	for _, commits := range []bool{true, false} {
		db := openPostgres(t)
		log := &standIn{}
		o := open(t, db, log, quick(Options{Hold: 300 * time.Millisecond}))
		ids := write(t, o, event("a", "1"))
		free := open(t, db, log, quick(Options{Hold: -1}))
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.DropTx(t.Context(), tx, ids...); err != nil {
			t.Fatal(err)
		}
		write(t, free, event("a", "2"), event("b", "1"))
		startRelay(t, free)
		eventually(t, "b is sent", func() bool { return len(log.data()) == 1 })
		pause(500 * time.Millisecond) // the lease of a1 is over
		wantSent(t, log, "b1")
		if commits {
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
		} else {
			tx.Rollback()
		}
		eventually(t, "no row waits", func() bool { return waiting(t, free) == 0 })
		if commits {
			wantSent(t, log, "b1", "a2")
		} else {
			wantSent(t, log, "b1", "a1", "a2")
		}
	}
}

// A relay leaves a bucket whose row another has locked, whatever that is: docs/outbox.md lets anybody be a relay.
func TestPostgresBucketOfAnotherIsLeft(t *testing.T) {
	db := openPostgres(t)
	log := &standIn{}
	o := open(t, db, log, quick(Options{Hold: -1}))
	write(t, o, event("a", "1"), event("b", "1"))
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec("SELECT 1 FROM tandem_outbox_bucket WHERE bucket = $1 FOR UPDATE", bucketOf(t, db, "a")); err != nil {
		t.Fatal(err)
	}
	startRelay(t, o)
	eventually(t, "b is sent", func() bool { return waiting(t, o) == 1 })
	pause(200 * time.Millisecond)
	wantSent(t, log, "b1")
	tx.Rollback()
	eventually(t, "no row waits", func() bool { return waiting(t, o) == 0 })
	wantSent(t, log, "b1", "a1")
}

// The machine of a relay is gone, and TCP has not noticed: its bucket is free when the time of a lease is out.
func TestPostgresRelayThatIsGone(t *testing.T) {
	db := openPostgres(t)
	log := &standIn{}
	o := open(t, db, log, quick(Options{Hold: -1}))
	write(t, o, event("a", "1"))
	gone, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	tx, err := gone.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := newBuckets(NewRelay(o)).take(t.Context(), tx, bucketOf(t, db, "a"), 500*time.Millisecond)
	if err != nil || len(rows) != 1 {
		t.Fatalf("took %d rows, %v", len(rows), err)
	}
	startRelay(t, o)
	pause(200 * time.Millisecond)
	wantSent(t, log)
	eventually(t, "no row waits", func() bool { return waiting(t, o) == 0 })
	wantSent(t, log, "a1")
	if err := tx.Commit(); err == nil {
		t.Error("the transaction of the one that was gone could be committed")
	}
}

func bucketOf(t *testing.T, db *sql.DB, key string) (bucket int) {
	if err := db.QueryRow("SELECT bucket FROM tandem_outbox WHERE key = $1 LIMIT 1", key).Scan(&bucket); err != nil {
		t.Fatal(err)
	}
	return bucket
}

func TestPostgresStop(t *testing.T) {
	db := openPostgres(t)
	sending := make(chan struct{}, 10)
	log := &standIn{answer: func(ctx context.Context, _ string, _ []tandem.Event) error {
		sending <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}}
	o := open(t, db, log, quick(Options{Hold: -1}))
	write(t, o, event("a", "1"))
	r := NewRelay(o)
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-sending
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := r.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stop with a stuck batch: %v", err)
	}
	wantStats(t, o, 1, 0)
	// Now one that can finish.
	goOn := make(chan struct{})
	log.set(func() {
		log.answer = func(context.Context, string, []tandem.Event) error { sending <- struct{}{}; <-goOn; return nil }
	})
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-sending
	stopped := make(chan error)
	go func() { stopped <- r.Stop(context.Background()) }()
	close(goOn)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	wantStats(t, o, 0, 0)
	wantSent(t, log, "a1")
}
