package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
)

func TestABacklogGoesInOrderAndInBatches(t *testing.T) {
	log := &standIn{}
	relaying(t, log, Options{Hold: -1}, func(t *testing.T, o *Outbox) {
		var want []string
		var events []tandem.Event
		for i := range 250 {
			e := event(fmt.Sprintf("k%d-", i%7), fmt.Sprint(i))
			events = append(events, e)
			want = append(want, e.Subject+e.Type)
		}
		write(t, o, events...)
		o.Wake()
		time.Sleep(time.Second)
		wantSent(t, log, want...)
		if log.calls != 3 {
			t.Errorf("%d calls for 250 rows, want 3", log.calls)
		}
		wantStats(t, o, 0, 0)
	})
}

func TestBatchesAreBoundInBytes(t *testing.T) {
	log := &standIn{}
	relaying(t, log, Options{Hold: -1}, func(t *testing.T, o *Outbox) {
		big := make([]byte, 700<<10)
		for i := range big {
			big[i] = 'x'
		}
		for i := range 4 {
			e := event("", fmt.Sprint(i))
			e.Data, e.DataContentType = big, "text/plain"
			write(t, o, e)
		}
		o.Wake()
		time.Sleep(time.Second)
		wantSent(t, log, "0", "1", "2", "3")
		if log.calls != 2 {
			t.Errorf("%d calls for four events of 700 KiB, want 2", log.calls)
		}
	})
}

func TestPoisonIsSetAside(t *testing.T) {
	var asides []string
	log := &standIn{answer: func(_ context.Context, _ string, events []tandem.Event) error {
		for _, e := range events {
			if e.Type == "bad" {
				return tandem.Errorf(tandem.CodeConflict, "other data under the same id")
			}
		}
		return nil
	}}
	opts := Options{Hold: -1, SetAside: func(ctx context.Context, tx *sql.Tx, row Row) error {
		asides = append(asides, row.Event.Subject+": "+row.Reason.Error())
		return nil
	}}
	relaying(t, log, opts, func(t *testing.T, o *Outbox) {
		write(t, o, event("a", "1"), event("a", "bad"), event("a", "2"), event("b", "1"))
		o.Wake()
		time.Sleep(time.Second)
		wantSent(t, log, "a1", "a2", "b1")
		wantStats(t, o, 0, 1)
		if len(asides) != 1 || asides[0] != "a: other data under the same id" {
			t.Errorf("set aside: %q", asides)
		}
		var reason string
		if err := o.db.QueryRowContext(t.Context(), "SELECT reason FROM tandem_outbox").Scan(&reason); err != nil || reason == "" {
			t.Errorf("reason %q, %v", reason, err)
		}
		// As the package comment says: NULL has it sent again.
		log.set(func() { log.answer = nil })
		if _, err := o.db.ExecContext(t.Context(), "UPDATE tandem_outbox SET reason = NULL"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		wantSent(t, log, "a1", "a2", "b1", "abad")
	})
}

func TestAHookThatFailsKeepsTheRow(t *testing.T) {
	fails := 3
	log := &standIn{answer: func(context.Context, string, []tandem.Event) error { return tandem.Errorf(tandem.CodeInvalid, "no") }}
	opts := Options{Hold: -1, SetAside: func(context.Context, *sql.Tx, Row) error {
		if fails--; fails >= 0 {
			return errors.New("disk full")
		}
		return nil
	}}
	relaying(t, log, opts, func(t *testing.T, o *Outbox) {
		write(t, o, event("a", "1"))
		o.Wake()
		time.Sleep(time.Minute)
		wantStats(t, o, 0, 1)
		if fails != -1 {
			t.Errorf("the hook was called %d times, want 4", 3-fails)
		}
	})
}

// A relay that stalled for longer than its lease must not touch what another one is sending by now.
func TestALateRelayLeavesWhatAnotherHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openDB(t, t.TempDir())
		defer db.Close()
		o := open(t, db, &standIn{}, Options{Hold: -1, SetAside: func(context.Context, *sql.Tx, Row) error {
			t.Error("the hook was called for a row of another relay")
			return nil
		}})
		write(t, o, event("a", "1"), event("a", "2"))
		late, other, third := &leases{NewRelay(o)}, &leases{NewRelay(o)}, &leases{NewRelay(o)}
		rows, _, err := late.claim(t.Context())
		if err != nil || len(rows) != 2 {
			t.Fatalf("claimed %d rows, %v", len(rows), err)
		}
		time.Sleep(defaultHold + time.Second)
		if rows, _, err := other.claim(t.Context()); err != nil || len(rows) != 2 {
			t.Fatalf("after the lease the other claimed %d rows, %v", len(rows), err)
		}
		rows[0].Reason = errors.New("no")
		if err := late.aside(t.Context(), rows[0].Row); err != nil {
			t.Error(err)
		}
		late.later(t.Context(), rows, 0, 1)
		if rows, _, err := third.claim(t.Context()); err != nil || len(rows) != 0 {
			t.Errorf("a third took %d rows that are being sent, %v", len(rows), err)
		}
		wantStats(t, o, 2, 0)
	})
}

func TestBackoffStaysInItsBounds(t *testing.T) {
	for _, b := range []tandem.Backoff{
		{Base: tandem.Duration(100 * time.Millisecond), Max: tandem.Duration(30 * time.Second)},
		{Base: tandem.Duration(time.Hour), Max: tandem.Duration(1<<63 - 1)},
		{Base: tandem.Duration(time.Minute), Max: tandem.Duration(time.Second)},
		{Base: 1, Max: 1},
	} {
		o := &Outbox{opts: Options{Backoff: b}}
		for failures := 1; failures < 100; failures++ {
			if wait := o.backoff(failures, nil); wait < 1 || wait > time.Duration(b.Max) {
				t.Errorf("%v after %d failures: %s", b, failures, wait)
			}
		}
	}
}

// A topic that is not there holds back its own rows, and no other topic's.
func TestAMissingTopicWaitsAlone(t *testing.T) {
	missing := true
	log := &standIn{}
	log.answer = func(_ context.Context, topic string, _ []tandem.Event) error {
		if topic == "late" && missing {
			return tandem.Errorf(tandem.CodeNotFound, "no topic late")
		}
		return nil
	}
	relaying(t, log, Options{Hold: -1}, func(t *testing.T, o *Outbox) {
		tx, err := o.db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, topic := range []string{"late", "orders", "late"} {
			if _, err := o.WriteTx(t.Context(), tx, topic, event("a", topic)); err != nil {
				t.Fatal(err)
			}
		}
		tx.Commit()
		o.Wake()
		time.Sleep(time.Second)
		wantSent(t, log, "aorders")
		wantStats(t, o, 2, 0)
		log.set(func() { missing = false })
		time.Sleep(time.Minute)
		wantSent(t, log, "aorders", "alate", "alate")
	})
}

// While the log is away the relay tries seldom, and not once for each new row.
func TestAClosedWayIsTriedSeldom(t *testing.T) {
	log := &standIn{answer: func(context.Context, string, []tandem.Event) error {
		return tandem.Errorf(tandem.CodeUnavailable, "away").WithRetryAfter(10 * time.Second)
	}}
	relaying(t, log, Options{Hold: -1}, func(t *testing.T, o *Outbox) {
		for i := range 60 {
			write(t, o, event("a", fmt.Sprint(i)))
			o.Wake()
			time.Sleep(time.Second)
		}
		var calls int
		log.set(func() { calls, log.answer = log.calls, nil })
		if calls > 7 {
			t.Errorf("%d calls in a minute with Retry-After 10", calls)
		}
		time.Sleep(time.Minute)
		wantStats(t, o, 0, 0)
	})
}

func TestStopLetsTheBatchFinishOrCancelsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &standIn{answer: func(ctx context.Context, _ string, _ []tandem.Event) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		o := open(t, openDB(t, t.TempDir()), log, Options{Hold: -1})
		r := NewRelay(o)
		if err := r.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		write(t, o, event("a", "1"))
		for range 2 {
			if err := r.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop with a stuck batch: %v", err)
		}
		wantStats(t, o, 1, 0)
		// The row is free again for the next relay.
		log.set(func() { log.answer = nil })
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		wantSent(t, log, "a1")
		if err := r.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		o.db.Close()
	})
}

// A row that has to wait holds back the later rows of its key, and of no other.
func TestARowThatWaitsHoldsBackItsKey(t *testing.T) {
	log := &standIn{answer: func(_ context.Context, _ string, events []tandem.Event) error {
		for _, e := range events {
			if e.Type == "1" {
				return tandem.Errorf(tandem.CodeNotFound, "no topic yet").WithRetryAfter(20 * time.Second)
			}
		}
		return nil
	}}
	relaying(t, log, Options{Hold: -1}, func(t *testing.T, o *Outbox) {
		write(t, o, event("a", "1"), event("a", "2"))
		o.Wake()
		time.Sleep(time.Second)
		write(t, o, event("a", "3"), event("b", "3"))
		o.Wake()
		time.Sleep(time.Second)
		wantSent(t, log, "b3")
		log.set(func() { log.answer = nil })
		time.Sleep(time.Minute)
		wantSent(t, log, "b3", "a1", "a2", "a3")
	})
}

// A lease that is long lets the log take its time: what it took is written down all the same.
func TestASlowAnswerIsWrittenDown(t *testing.T) {
	log := &standIn{answer: func(context.Context, string, []tandem.Event) error {
		time.Sleep(20 * time.Second)
		return nil
	}}
	relaying(t, log, Options{Hold: time.Minute}, func(t *testing.T, o *Outbox) {
		write(t, o, event("a", "1"))
		time.Sleep(3 * time.Minute)
		wantSent(t, log, "a1")
		wantStats(t, o, 0, 0)
		if log.calls != 1 {
			t.Errorf("%d calls for one event", log.calls)
		}
	})
}

// One bad row among a hundred does not make a hundred requests.
func TestPoisonIsFoundByHalves(t *testing.T) {
	log := &standIn{answer: func(_ context.Context, _ string, events []tandem.Event) error {
		for _, e := range events {
			if e.Type == "bad" {
				return tandem.Errorf(tandem.CodeInvalid, "no")
			}
		}
		return nil
	}}
	relaying(t, log, Options{Hold: -1}, func(t *testing.T, o *Outbox) {
		var events []tandem.Event
		var want []string
		for i := range 100 {
			if i == 61 {
				events = append(events, event("a", "bad"))
				continue
			}
			events = append(events, event("a", fmt.Sprint(i)))
			want = append(want, fmt.Sprint("a", i))
		}
		write(t, o, events...)
		o.Wake()
		time.Sleep(time.Second)
		wantSent(t, log, want...)
		wantStats(t, o, 0, 1)
		if log.calls > 15 {
			t.Errorf("%d calls for 100 rows of which one is bad", log.calls)
		}
	})
}

// forgetful is a log whose answer lacks the last receipt, or has another one, until it is told not to.
type forgetful struct {
	standIn
	keep bool
}

func (f *forgetful) Publish(ctx context.Context, topic string, events ...tandem.Event) ([]tandem.Receipt, error) {
	receipts, err := f.standIn.Publish(ctx, topic, events...)
	switch {
	case f.keep || err != nil:
		return receipts, err
	case f.calls%2 == 0:
		receipts[len(receipts)-1].ID = "another"
		return receipts, nil
	}
	return receipts[:len(receipts)-1], nil
}

// A row without a receipt is not deleted, whatever else the answer says.
func TestNoReceiptNoDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &forgetful{}
		o := open(t, openDB(t, t.TempDir()), log, Options{Hold: -1})
		r := &leases{NewRelay(o)}
		write(t, o, event("a", "1"), event("a", "2"))
		for range 4 {
			if _, err := r.round(t.Context(), nil); tandem.CodeOf(err) != tandem.CodeInternal {
				t.Errorf("an answer without a receipt: %v", err)
			}
			wantStats(t, o, 2, 0)
		}
		log.keep = true
		if _, err := r.round(t.Context(), nil); err != nil {
			t.Error(err)
		}
		wantStats(t, o, 0, 0)
		o.db.Close()
	})
}
