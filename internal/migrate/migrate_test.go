package migrate

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/offsetmap"
)

var pairs = []struct {
	name     string
	from, to func(testing.TB) driver.Driver
}{
	{"embedded to vectors", embedded, vectors},
	{"vectors to embedded", vectors, embedded},
	{"embedded to embedded", embedded, embedded},
	{"vectors to vectors", vectors, vectors},
}

// TestCopies: every partition has the same events in the same order, and a second run finds nothing to do.
func TestCopies(t *testing.T) {
	for _, pair := range pairs {
		t.Run(pair.name, func(t *testing.T) {
			from, to := pair.from(t), pair.to(t)
			fill(t, from, source(1), 500)
			m := New(from, to, Options{BatchEvents: 37, Rooms: testRooms()})
			plan, err := m.Plan(context.Background())
			if err != nil || plan.Events < 500 || plan.Begun || len(plan.Topics) != 4 {
				t.Fatalf("plan %+v, %v", plan, err)
			}
			if topics, _ := to.Topics(context.Background()); len(topics) > 0 {
				t.Fatal("a plan stores something")
			}
			s := copyAll(t, from, to, Options{BatchEvents: 37, Rooms: testRooms()})
			if s.Events != plan.Events || s.Retired != 0 || s.Found != 0 {
				t.Fatalf("summary %+v", s)
			}
			sameContents(t, from, to)
			if v, err := New(from, to, Options{Rooms: testRooms()}).Verify(context.Background()); err != nil || v.Events != s.Events {
				t.Fatalf("verify: %+v, %v", v, err)
			}
			if _, err := New(from, to, Options{Rooms: testRooms()}).Run(context.Background()); tandem.CodeOf(err) != tandem.CodeConflict {
				t.Fatalf("a finished migration is run again: %v", err)
			}
			if _, err := New(vectors(t), to, Options{Rooms: testRooms()}).Run(context.Background()); tandem.CodeOf(err) != tandem.CodeConflict {
				t.Fatalf("a target is filled from two logs: %v", err)
			}
		})
	}
}

// TestTotalOrderIsKept: from one engine with one sequence to another, events lie in the same order over the whole log.
func TestTotalOrderIsKept(t *testing.T) {
	from, to := embedded(t), numbers(t)
	fill(t, from, source(2), 300)
	copyAll(t, from, to, Options{BatchEvents: 7, Rooms: testRooms()})
	read := func(d driver.Driver) (ids []string) {
		openLog(t, d, func(l *eventlog.Log) {
			sel, _ := eventlog.Select("orders", "positions", "_tandem.operator")
			r, err := l.NewReader(context.Background(), sel, tandem.Start{Earliest: true})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			for {
				page, err := r.Read(context.Background(), tandem.Filter{}, 100)
				if err != nil {
					t.Fatal(err)
				}
				for i := range page.Events {
					ids = append(ids, page.Events[i].ID)
				}
				if len(page.Events) == 0 {
					return
				}
			}
		})
		return ids
	}
	if a, b := fmt.Sprint(read(from)), fmt.Sprint(read(to)); a != b {
		t.Fatalf("%s\n%s", a, b)
	}
}

// TestKilled: a copy that ends at any append, stored or not, or in part, goes on where it was and doubles nothing.
func TestKilled(t *testing.T) {
	for _, pair := range pairs {
		t.Run(pair.name, func(t *testing.T) {
			from := pair.from(t)
			fill(t, from, source(3), 300)
			for seed := range uint64(40) {
				rnd := source(seed)
				to := pair.to(t)
				opts := Options{BatchEvents: 1 + rnd.IntN(40), Rooms: testRooms()}
				kills := 0
				for ; ; kills++ {
					f := &fragile{Driver: to, stored: rnd.IntN(2) == 0, half: !to.Info().TotalOrder && rnd.IntN(3) == 0}
					f.left.Store(1 + rnd.Int64N(12))
					_, err := New(from, f, opts).Run(context.Background())
					run := journal(t, to)
					if err == nil || run != nil && !run.Finished.IsZero() {
						break
					}
					if !errors.Is(err, errKilled) || kills > 500 {
						t.Fatalf("seed %d: %v", seed, err)
					}
					if _, err := eventlog.Open(context.Background(), kept{to}, eventlog.Options{}); run != nil && tandem.CodeOf(err) != tandem.CodeConflict {
						t.Fatalf("seed %d: a log that is not whole is opened: %v", seed, err)
					}
				}
				sameContents(t, from, to)
				if _, err := New(from, to, opts).Verify(context.Background()); err != nil {
					t.Fatalf("seed %d, after %d kills: %v", seed, kills, err)
				}
			}
		})
	}
}

// journal returns what the target knows of a migration into it.
func journal(t testing.TB, d driver.Driver) *offsetmap.Run {
	t.Helper()
	value, err := offsetmap.Get(context.Background(), d, offsetmap.RunKey)
	if err != nil {
		t.Fatal(err)
	}
	if value == nil {
		return nil
	}
	run, err := offsetmap.ParseRun(value)
	if err != nil {
		t.Fatal(err)
	}
	return &run
}

// TestRetired: what retention removed before the copy is not there, who comes with a cursor of before it is told, and what retention removes
// after the copy began, on either side, is no difference.
func TestRetired(t *testing.T) {
	ctx := context.Background()
	for _, partitioned := range []bool{false, true} {
		now := time.Now()
		clock := func() time.Time { return now }
		from, to := memlog.New(memlog.Options{Partitioned: !partitioned, Now: clock}), memlog.New(memlog.Options{Partitioned: partitioned, Now: clock})
		l, err := eventlog.Open(ctx, kept{from}, eventlog.Options{Now: clock})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.CreateTopic(ctx, tandem.Topic{Name: "orders", Partitions: 1, Retention: tandem.Duration(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		var cursors []tandem.Cursor
		for i := range 30 {
			now = now.Add(time.Minute)
			r, err := l.Append(ctx, "orders", []tandem.Event{anEvent(source(uint64(i)), i)})
			if err != nil {
				t.Fatal(err)
			}
			cursors = append(cursors, r[0].Cursor)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		now = now.Add(40*time.Minute + time.Second) // the first ten are too old
		from.RunRetention()
		at := 0
		s := copyAll(t, from, to, Options{BatchEvents: 3, Progress: func(p Progress) {
			if at++; at == 4 { // twelve were copied, of which retention removes five
				now = now.Add(5 * time.Minute)
				from.RunRetention()
				now = now.Add(2 * time.Minute)
				to.RunRetention()
			}
		}})
		if s.Events != 13 || s.Retired != 7 {
			t.Fatalf("%+v", s)
		}
		openLog(t, to, func(l *eventlog.Log) {
			sel, _ := eventlog.Select("orders")
			for i, c := range cursors {
				r, err := l.NewReader(ctx, sel, tandem.Start{Cursor: c})
				if err != nil {
					t.Fatal(err)
				}
				page, err := r.Read(ctx, tandem.Filter{}, 100)
				if err != nil {
					t.Fatal(err)
				}
				reason := ""
				if page.Gap != nil {
					reason = page.Gap.Reason
				}
				want := tandem.GapMigrated
				if i >= 9 {
					want = tandem.GapRetention
				}
				if i >= 16 {
					want = ""
				}
				if reason != want || len(page.Events) != min(13, 29-i) {
					t.Fatalf("cursor %d: gap %q, %d events", i, reason, len(page.Events))
				}
				r.Close()
			}
		})
	}
}

// TestIdsThatCameTwice: an id that was published again when it was forgotten is there twice, in its place, on any engine.
func TestIdsThatCameTwice(t *testing.T) {
	ctx := context.Background()
	from, to := vectors(t), embedded(t)
	dt, err := from.CreateTopic(ctx, tandem.Topic{Name: "orders", Partitions: 1, Retention: -1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		ev := tandem.Event{ID: fmt.Sprint(i % 7), Source: "/t", Type: "t", Data: []byte(fmt.Sprint(i % 2)), Meta: tandem.Meta{Accepted: time.Now().UTC().Truncate(time.Millisecond)}}
		if err := from.Append(ctx, &driver.Batch{Records: []driver.Record{{Topic: dt.ID, Event: &ev}}}); err != nil {
			t.Fatal(err)
		}
	}
	for left := int64(3); ; left++ {
		f := &fragile{Driver: to, stored: left%2 == 0}
		f.left.Store(left)
		if _, err := New(from, f, Options{BatchEvents: 4}).Run(ctx); err == nil {
			break
		} else if !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
	}
	sameContents(t, from, to)
}

// TestRepeatsAreLeftOut: a repeat that the source keeps, and gives to nobody, is not copied.
func TestRepeatsAreLeftOut(t *testing.T) {
	ctx := context.Background()
	for _, to := range []driver.Driver{embedded(t), vectors(t), memlog.New(memlog.Options{Partitioned: true, LateDedup: true})} {
		from := memlog.New(memlog.Options{Partitioned: true, LateDedup: true})
		var cursor tandem.Cursor
		openLog(t, from, func(l *eventlog.Log) {
			if _, err := l.CreateTopic(ctx, tandem.Topic{Name: "orders", Partitions: 1}); err != nil {
				t.Fatal(err)
			}
			for i := range 60 {
				r, err := l.Append(ctx, "orders", []tandem.Event{{ID: fmt.Sprint(i % 20), Source: "/t", Type: "t", Data: []byte("1")}})
				if err != nil {
					t.Fatal(err)
				}
				if i == 9 {
					cursor = r[0].Cursor
				}
			}
		})
		for left := int64(3); ; left++ {
			f := &fragile{Driver: to, stored: left%2 == 0}
			f.left.Store(left)
			s, err := New(from, f, Options{BatchEvents: 4}).Run(ctx)
			if err == nil && s.Events == 20 {
				break
			}
			if !errors.Is(err, errKilled) {
				t.Fatal(s.Events, err)
			}
		}
		openLog(t, to, func(l *eventlog.Log) {
			sel, _ := eventlog.Select("orders")
			r, err := l.NewReader(ctx, sel, tandem.Start{Cursor: cursor})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			page, err := r.Read(ctx, tandem.Filter{}, 100)
			if err != nil || page.Gap != nil || len(page.Events) != 10 || page.Events[0].ID != "10" {
				t.Fatalf("%+v, %v", page, err)
			}
			if rec, err := l.Append(ctx, "orders", []tandem.Event{{ID: "3", Source: "/t", Type: "t", Data: []byte("1")}}); err != nil || rec[0].Duplicate == tandem.DuplicateNo {
				t.Fatalf("a repeat is stored again: %+v, %v", rec, err)
			}
			if page, err = r.Read(ctx, tandem.Filter{}, 100); err != nil || len(page.Events) != 0 {
				t.Fatalf("a repeat is read: %+v, %v", page, err)
			}
		})
	}
}
