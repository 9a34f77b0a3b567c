package outbox

import (
	"context"
	"database/sql"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

func TestInbox(t *testing.T) { onEach(t, testInbox) }

func testInbox(t *testing.T, db *sql.DB) {
	in, err := OpenInbox(t.Context(), db, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	clock := time.Now()
	in.now = func() time.Time { return clock }
	seen := func(id string, commit bool) bool {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		s, err := in.Seen(t.Context(), tx, "/x", id)
		if err != nil {
			t.Fatal(err)
		}
		if commit {
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	if seen("1", false) || seen("1", true) {
		t.Error("an event that took no effect was seen")
	}
	if !seen("1", true) {
		t.Error("a repeat was not seen")
	}
	for i := range 20 {
		seen(fmt.Sprint("old", i), true)
	}
	clock = clock.Add(2 * time.Hour)
	for i := range 5 {
		seen(fmt.Sprint("new", i), true)
	}
	var n int
	if err := db.QueryRow("SELECT COUNT(*) FROM tandem_inbox").Scan(&n); err != nil || n != 5 {
		t.Errorf("%d rows after an hour, want the 5 new ones (%v)", n, err)
	}
}

// Transactions beside each other wait only where both are about the same event, and then for each other's end.
func TestPostgresInboxOfTwo(t *testing.T) {
	db := openPostgres(t)
	in, err := OpenInbox(t.Context(), db, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO tandem_inbox SELECT '/x', 'old' || i, now() - interval '2 hours' FROM generate_series(1, 20) i"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	begin := func() *sql.Tx {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tx.Rollback() })
		return tx
	}
	for _, commits := range []bool{false, true} {
		one, two := begin(), begin()
		if seen, err := in.Seen(ctx, one, "/x", "1"); seen || err != nil {
			t.Fatal(seen, err)
		}
		if seen, err := in.Seen(ctx, two, "/x", "2"); seen || err != nil {
			t.Fatalf("beside a transaction about another event: %v, %v", seen, err)
		}
		answer := make(chan error)
		go func() {
			seen, err := in.Seen(ctx, two, "/x", "1")
			if err == nil && seen != commits {
				err = fmt.Errorf("seen is %v after the other ended with commit=%v", seen, commits)
			}
			answer <- err
		}()
		select {
		case err := <-answer:
			t.Fatalf("it did not wait for the other: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
		if commits {
			one.Commit()
		} else {
			one.Rollback()
		}
		if err := <-answer; err != nil {
			t.Error(err)
		}
		two.Rollback()
	}
}

func TestFromRequest(t *testing.T) {
	r := httptest.NewRequest("POST", "/orders", nil)
	if got := FromRequest(r).Stamp(event("a", "t")); got.Meta.Flow != "" || len(got.Meta.Causes) != 0 {
		t.Errorf("a bare request stamped %+v", got.Meta)
	}
	r.Header.Set(tandem.HeaderFlow, "flow")
	r.Header.Set(tandem.HeaderCause, "c1 c2")
	r.Header.Set(tandem.HeaderOperation, "op")
	r.Header.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	r.Header.Set("tracestate", "x=1")
	m := FromRequest(r).Stamp(event("a", "t")).Meta
	if m.Flow != "flow" || fmt.Sprint(m.Causes) != "[c1 c2]" || m.Operation != "op" || m.TraceParent == "" || m.TraceState != "x=1" {
		t.Errorf("stamped %+v", m)
	}
	own := event("a", "t")
	own.Meta.Flow = "own"
	if got := FromRequest(r).Stamp(own); got.Meta.Flow != "own" {
		t.Errorf("the event's own flow became %q", got.Meta.Flow)
	}
}
