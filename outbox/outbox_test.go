package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"

	"github.com/tandem-hybrid/tandem"
)

// standIn is a log that recognises repeats, and answers as it is told.
type standIn struct {
	mu     sync.Mutex
	stored []tandem.Event
	ids    map[string]bool
	calls  int
	// repeats are events that came again.
	repeats int
	// answer, when set, is asked before events are stored.
	answer func(ctx context.Context, topic string, events []tandem.Event) error
	// lose, when set, stores the events and then fails: the receipt is lost.
	lose func() error
}

func (s *standIn) Publish(ctx context.Context, topic string, events ...tandem.Event) ([]tandem.Receipt, error) {
	s.mu.Lock()
	s.calls++
	answer, lose := s.answer, s.lose
	s.mu.Unlock()
	if answer != nil {
		if err := answer(ctx, topic, events); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	receipts := make([]tandem.Receipt, len(events))
	for i, e := range events {
		key := e.Source + "\x00" + e.ID
		receipts[i] = tandem.Receipt{ID: e.ID, Topic: topic}
		if s.ids[key] {
			receipts[i].Duplicate = tandem.DuplicateYes
			s.repeats++
		} else {
			if s.ids == nil {
				s.ids = map[string]bool{}
			}
			s.ids[key] = true
			s.stored = append(s.stored, e)
		}
	}
	if lose != nil {
		if err := lose(); err != nil {
			return nil, err
		}
	}
	return receipts, nil
}

func (s *standIn) set(fn func()) { s.mu.Lock(); defer s.mu.Unlock(); fn() }

func (s *standIn) data() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var d []string
	for _, e := range s.stored {
		d = append(d, e.Subject+e.Type)
	}
	return d
}

func openDB(t testing.TB, dir string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "service.db")+
		"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func open(t testing.TB, db *sql.DB, pub Publisher, opts Options) *Outbox {
	t.Helper()
	if opts.Source == "" {
		opts.Source = "/test"
	}
	o, err := Open(t.Context(), db, pub, opts)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func event(key, typ string) tandem.Event {
	return tandem.Event{Type: typ, Subject: key, Data: []byte(`{"n":1}`)}
}

func write(t testing.TB, o *Outbox, events ...tandem.Event) []int64 {
	t.Helper()
	tx, err := o.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	ids, err := o.WriteTx(t.Context(), tx, "orders", events...)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	return ids
}

func wantStats(t testing.TB, o *Outbox, waiting, aside int) {
	t.Helper()
	s, err := o.Stats(t.Context())
	if err != nil || s.Waiting != waiting || s.SetAside != aside {
		t.Errorf("the outbox holds %+v (%v), want %d waiting and %d set aside", s, err, waiting, aside)
	}
}

func wantSent(t testing.TB, log *standIn, want ...string) {
	t.Helper()
	if got := log.data(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("sent %v, want %v", got, want)
	}
}

// relaying runs fn beside a relay, in virtual time.
func relaying(t *testing.T, log *standIn, opts Options, fn func(t *testing.T, o *Outbox)) {
	synctest.Test(t, func(t *testing.T) {
		db := openDB(t, t.TempDir())
		o := open(t, db, log, opts)
		r := NewRelay(o)
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer r.Stop(context.WithoutCancel(t.Context()))
		fn(t, o)
		if err := r.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		db.Close()
	})
}

func TestWriteThenPublishNow(t *testing.T) { onEach(t, testWriteThenPublishNow) }

func testWriteThenPublishNow(t *testing.T, db *sql.DB) {
	log := &standIn{}
	o := open(t, db, log, Options{})
	e := event("o1", "order.placed")
	e.Meta = tandem.Meta{Key: "customer-7", Flow: "f", Causes: []string{"c"}, Operation: "op"}
	ids := write(t, o, e)
	res, err := o.PublishNow(t.Context(), ids...)
	if err != nil || len(res) != 1 || res[0].Requested {
		t.Fatalf("PublishNow: %+v, %v", res, err)
	}
	wantStats(t, o, 0, 0)
	got := log.stored[0]
	if got.ID == "" || got.ID != res[0].Receipt.ID || got.Source != "/test" || got.Time == "" || string(got.Data) != `{"n":1}` ||
		got.Meta.Key != "customer-7" || got.Meta.Flow != "f" || got.Meta.Causes[0] != "c" || got.Meta.Operation != "op" {
		t.Errorf("sent %+v", got)
	}
	if _, err := o.PublishNow(t.Context(), ids...); tandem.CodeOf(err) != tandem.CodeNotFound {
		t.Errorf("a row that is gone: %v", err)
	}
	// One that failed is free for the relay, and goes before those of its key.
	log.set(func() {
		log.answer = func(context.Context, string, []tandem.Event) error { return errors.New("no route to host") }
	})
	ids = write(t, o, event("a", "1"), event("a", "2"))
	if _, err := o.PublishNow(t.Context(), ids...); err == nil {
		t.Error("the stand-in took it")
	}
	log.set(func() { log.answer = nil })
	if _, err := o.PublishNow(t.Context(), ids[1]); tandem.CodeOf(err) != tandem.CodeConflict {
		t.Errorf("a later event of the key: %v", err)
	}
	r := NewRelay(o)
	if _, err := r.sender.round(t.Context(), nil); err != nil {
		t.Error(err)
	}
	wantSent(t, log, "o1order.placed", "a1", "a2")
	wantStats(t, o, 0, 0)
}

func TestRolledBackIsNotPublished(t *testing.T) {
	relaying(t, &standIn{}, Options{Hold: -1}, func(t *testing.T, o *Outbox) {
		tx, err := o.db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.WriteTx(t.Context(), tx, "orders", event("a", "1")); err != nil {
			t.Fatal(err)
		}
		tx.Rollback()
		o.Wake()
		time.Sleep(time.Minute)
		wantSent(t, o.pub.(*standIn))
	})
}

func TestWriteRefusesWhatTheLogWould(t *testing.T) { onEach(t, testWriteRefuses) }

func testWriteRefuses(t *testing.T, db *sql.DB) {
	o := open(t, db, &standIn{}, Options{})
	for name, e := range map[string]tandem.Event{"no type": {Subject: "a"}, "bad data": {Type: "t", Data: []byte("{")}} {
		tx, err := o.db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.WriteTx(t.Context(), tx, "orders", event("ok", "t"), e); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	wantStats(t, o, 0, 0)
}

// A process that dies between commit and publish leaves a row that is held by nobody alive.
func TestCrashBetweenCommitAndPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, log := t.TempDir(), &standIn{}
		dead := open(t, openDB(t, dir), log, Options{})
		write(t, dead, event("a", "1"))
		dead.db.Close()

		o := open(t, openDB(t, dir), log, Options{})
		r := NewRelay(o)
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Second)
		wantSent(t, log) // the lease of the dead one
		time.Sleep(2 * time.Second)
		wantSent(t, log, "a1")
		wantStats(t, o, 0, 0)
		if err := r.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		o.db.Close()
	})
}

// A process that dies between publish and delete sends the event again, under the same id.
func TestLostReceiptIsARepeat(t *testing.T) {
	lost := errors.New("connection reset")
	log := &standIn{lose: func() error { return lost }}
	relaying(t, log, Options{}, func(t *testing.T, o *Outbox) {
		ids := write(t, o, event("a", "1"))
		if _, err := o.PublishNow(t.Context(), ids...); !errors.Is(err, lost) {
			t.Fatalf("got %v", err)
		}
		log.set(func() { log.lose = nil })
		time.Sleep(time.Second)
		wantSent(t, log, "a1")
		if log.calls < 2 {
			t.Errorf("%d calls: nothing was repeated", log.calls)
		}
		wantStats(t, o, 0, 0)
	})
}

func TestRelayLeavesWhatPublishNowHolds(t *testing.T) {
	log := &standIn{}
	relaying(t, log, Options{}, func(t *testing.T, o *Outbox) {
		sending, goOn := make(chan struct{}), make(chan struct{})
		log.set(func() {
			log.answer = func(context.Context, string, []tandem.Event) error {
				close(sending)
				<-goOn
				return nil
			}
		})
		ids := write(t, o, event("a", "1"))
		result := make(chan error)
		go func() {
			_, err := o.PublishNow(t.Context(), ids...)
			result <- err
		}()
		<-sending
		log.set(func() { log.answer = nil })
		o.Wake()
		time.Sleep(5 * time.Second) // the lease is 10s
		if log.calls != 1 {
			t.Errorf("%d calls while PublishNow holds the row, want 1", log.calls)
		}
		close(goOn)
		if err := <-result; err != nil {
			t.Error(err)
		}
		wantSent(t, log, "a1")
		wantStats(t, o, 0, 0)
	})
}

func TestPublishNowLeavesWhatTheRelayHolds(t *testing.T) {
	log := &standIn{}
	relaying(t, log, Options{Hold: -1}, func(t *testing.T, o *Outbox) {
		sending, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		log.set(func() {
			log.answer = func(context.Context, string, []tandem.Event) error {
				once.Do(func() { close(sending) })
				<-goOn
				return nil
			}
		})
		ids := write(t, o, event("a", "1"))
		o.Wake()
		<-sending
		if _, err := o.PublishNow(t.Context(), ids...); tandem.CodeOf(err) != tandem.CodeConflict {
			t.Errorf("PublishNow of a row that the relay sends: %v", err)
		}
		close(goOn)
		synctest.Wait()
		time.Sleep(time.Second)
		if log.calls != 1 {
			t.Errorf("%d calls, want 1", log.calls)
		}
		wantStats(t, o, 0, 0)
	})
}

func TestOrderOfAKey(t *testing.T) {
	log := &standIn{}
	relaying(t, log, Options{}, func(t *testing.T, o *Outbox) {
		log.set(func() {
			log.answer = func(_ context.Context, _ string, events []tandem.Event) error {
				if events[0].Subject == "a" {
					return errors.New("no route to host")
				}
				return nil
			}
		})
		first := write(t, o, event("a", "1"))
		if _, err := o.PublishNow(t.Context(), first...); err == nil {
			t.Fatal("the stand-in took it")
		}
		second := write(t, o, event("a", "2"), event("b", "1"))
		if _, err := o.PublishNow(t.Context(), second[0]); tandem.CodeOf(err) != tandem.CodeConflict {
			t.Errorf("a later event of the key: %v", err)
		}
		if _, err := o.PublishNow(t.Context(), second[1]); err != nil {
			t.Errorf("another key: %v", err)
		}
		log.set(func() { log.answer = nil })
		time.Sleep(time.Minute)
		wantSent(t, log, "b1", "a1", "a2")
		wantStats(t, o, 0, 0)
	})
}

func TestDropTx(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		no := tandem.Errorf(tandem.CodeRequestLink, "payments said no")
		no.Link = &tandem.RequestLink{Link: "payments", Outcome: tandem.LinkRefused}
		log := &standIn{answer: func(context.Context, string, []tandem.Event) error { return no }}
		o := open(t, openDB(t, t.TempDir()), log, Options{})
		drop := func(id int64) error {
			tx, err := o.db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback()
			if err := o.DropTx(t.Context(), tx, id); err != nil {
				return err
			}
			return tx.Commit()
		}
		ids := write(t, o, event("a", "1"))
		if _, err := o.PublishNow(t.Context(), ids...); tandem.CodeOf(err) != tandem.CodeRequestLink {
			t.Fatal(err)
		}
		wantStats(t, o, 1, 0)
		if err := drop(ids[0]); err != nil {
			t.Errorf("drop a row that a link refused: %v", err)
		}
		wantStats(t, o, 0, 0)

		ids = write(t, o, event("b", "1"))
		time.Sleep(11 * time.Second)
		if err := drop(ids[0]); tandem.CodeOf(err) != tandem.CodeConflict {
			t.Errorf("drop a row whose lease is out: %v", err)
		}
		o.db.Close()
	})
}
