package migrate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

// altered is an engine of which some events are not read as they were stored.
type altered struct {
	driver.Driver
	alter func(recs []tandem.Record) []tandem.Record
}

func (a *altered) Read(ctx context.Context, id driver.ID, part int, from uint64, n, bytes int, dst []tandem.Record) ([]tandem.Record, error) {
	recs, err := a.Driver.Read(ctx, id, part, from, n, bytes, nil)
	return append(dst, a.alter(recs)...), err
}

// TestVerify: each kind of difference is found, and named by the event, or the record, that is the first to differ.
func TestVerify(t *testing.T) {
	ctx := context.Background()
	rooms := []Room{{Prefix: "file/"}}
	begin := func(t *testing.T) (from, to driver.Driver) {
		from, to = vectors(t), embedded(t)
		openLog(t, from, func(l *eventlog.Log) {
			if _, err := l.CreateTopic(ctx, tandem.Topic{Name: "orders", Partitions: 1, Retention: -1}); err != nil {
				t.Fatal(err)
			}
			rnd := source(9)
			for i := range 50 {
				if _, err := l.Append(ctx, "orders", []tandem.Event{anEvent(rnd, i)}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := l.Commit(ctx, &eventlog.Tx{State: []driver.StateOp{{Key: "file/topics", Value: []byte("x")}}}); err != nil {
				t.Fatal(err)
			}
		})
		copyAll(t, from, to, Options{Rooms: rooms})
		return from, to
	}
	at := func(offset uint64, do func(recs []tandem.Record, i int) []tandem.Record) func(recs []tandem.Record) []tandem.Record {
		return func(recs []tandem.Record) []tandem.Record {
			for i := range recs {
				if recs[i].Position.Offset == offset {
					return do(recs, i)
				}
			}
			return recs
		}
	}
	put := func(d driver.Driver, op driver.StateOp) {
		if err := d.Append(ctx, &driver.Batch{State: []driver.StateOp{op}}); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		spoil func(from, to driver.Driver) (driver.Driver, driver.Driver)
		says  string
	}{
		"nothing": {func(from, to driver.Driver) (driver.Driver, driver.Driver) { return from, to }, ""},
		"data": {func(from, to driver.Driver) (driver.Driver, driver.Driver) {
			return from, &altered{to, at(12, func(recs []tandem.Record, i int) []tandem.Record {
				recs[i].Data = []byte("spoilt")
				return recs
			})}
		}, "orders/0/10"},
		"time of acceptance": {func(from, to driver.Driver) (driver.Driver, driver.Driver) {
			return from, &altered{to, at(30, func(recs []tandem.Record, i int) []tandem.Record {
				recs[i].Meta.Accepted = recs[i].Meta.Accepted.Add(1)
				return recs
			})}
		}, "orders/0/28"},
		"a lost event": {func(from, to driver.Driver) (driver.Driver, driver.Driver) {
			return from, &altered{to, at(12, func(recs []tandem.Record, i int) []tandem.Record { return slices.Delete(recs, i, i+1) })}
		}, "orders/0/10"},
		"the last event": {func(from, to driver.Driver) (driver.Driver, driver.Driver) {
			return from, &altered{to, at(51, func(recs []tandem.Record, i int) []tandem.Record { return recs[:i] })}
		}, "orders/0/49"},
		"another event in the source": {func(from, to driver.Driver) (driver.Driver, driver.Driver) {
			openLog(t, from, func(l *eventlog.Log) {
				if _, err := l.Append(ctx, "orders", []tandem.Event{anEvent(source(1), 1)}); err != nil {
					t.Fatal(err)
				}
			})
			return from, to
		}, "orders/0/50"},
		"other state": {func(from, to driver.Driver) (driver.Driver, driver.Driver) {
			put(to, driver.StateOp{Key: "file/topics", Value: []byte("y")})
			return from, to
		}, "file/topics"},
		"lost state": {func(from, to driver.Driver) (driver.Driver, driver.Driver) {
			put(to, driver.StateOp{Key: "file/topics"})
			return from, to
		}, "file/topics"},
		"more state": {func(from, to driver.Driver) (driver.Driver, driver.Driver) {
			put(to, driver.StateOp{Key: "file/more", Value: []byte("y")})
			return from, to
		}, "file/"},
		"strange state": {func(from, to driver.Driver) (driver.Driver, driver.Driver) {
			put(to, driver.StateOp{Key: "stranger", Value: []byte("y")})
			return from, to
		}, "stranger"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := c.spoil(begin(t))
			_, err := New(from, to, Options{Rooms: rooms, BatchEvents: 8}).Verify(ctx)
			if c.says == "" && err == nil {
				return
			}
			if tandem.CodeOf(err) != tandem.CodeConflict || c.says == "" || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v, and %q is expected", err, c.says)
			}
		})
	}
}

// TestRefuses: what cannot be copied without harm is refused before anything is stored, or as soon as it shows.
func TestRefuses(t *testing.T) {
	ctx := context.Background()
	from := vectors(t)
	fill(t, from, source(1), 20)
	code := func(err error, want tandem.Code, says string) {
		t.Helper()
		if tandem.CodeOf(err) != want || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %s with %q", err, want, says)
		}
	}
	run := func(from, to driver.Driver) error {
		_, err := New(from, to, Options{BatchEvents: 4, Rooms: testRooms()}).Run(ctx)
		return err
	}
	code(run(from, from), tandem.CodeConflict, "same log")

	code(run(vectors(t), vectors(t)), tandem.CodeNotFound, "nothing in the source")
	_, err := New(embedded(t), vectors(t), Options{}).Plan(ctx)
	code(err, tandem.CodeNotFound, "nothing in the source")

	used := vectors(t)
	fill(t, used, source(2), 1)
	code(run(from, used), tandem.CodeConflict, "not empty")

	state := vectors(t)
	if err := state.Append(ctx, &driver.Batch{State: []driver.StateOp{{Key: "delivery/c/x", Value: []byte("{}")}}}); err != nil {
		t.Fatal(err)
	}
	code(run(from, state), tandem.CodeConflict, "delivery/c/x")
	code(run(state, vectors(t)), tandem.CodeUnsupported, "delivery/c/x")

	// Somebody publishes to a target that is not whole.
	half := vectors(t)
	f := &fragile{Driver: half}
	f.left.Store(4)
	if err := run(from, f); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	code(run(half, vectors(t)), tandem.CodeConflict, "not finished")
	_, err = New(from, half, Options{Rooms: testRooms()}).Verify(ctx)
	code(err, tandem.CodeNotFound, "finished")
	topics, err := half.Topics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ev := anEvent(source(3), 1)
	if err := half.Append(ctx, &driver.Batch{Records: []driver.Record{{Topic: topics[0].ID, Event: &ev}}}); err != nil {
		t.Fatal(err)
	}
	code(run(from, half), tandem.CodeConflict, "not copied from the source")

	small := &limited{vectors(t)}
	code(run(from, small), tandem.CodeTooLarge, "the target takes 10")
}

type limited struct{ driver.Driver }

func (l *limited) Info() driver.Info {
	i := l.Driver.Info()
	i.MaxEventBytes = 10
	return i
}

// TestUnavailable: a target that fails for a moment is tried again.
func TestUnavailable(t *testing.T) {
	from, to := vectors(t), memlog.New(memlog.Options{Partitioned: true})
	fill(t, from, source(1), 100)
	flaky := &flaky{Driver: to}
	if s := copyAll(t, from, flaky, Options{BatchEvents: 9, Rooms: testRooms()}); s.Events < 100 || flaky.n < 10 {
		t.Fatalf("%+v after %d appends", s, flaky.n)
	}
	sameContents(t, from, to)
}

// flaky fails every sixth append of events, half of them after it stored them.
type flaky struct {
	driver.Driver
	n int
}

func (f *flaky) Append(ctx context.Context, b *driver.Batch) error {
	if f.n++; len(b.Records) == 0 || f.n%6 != 0 {
		return f.Driver.Append(ctx, b)
	}
	if f.n%12 == 0 {
		if err := f.Driver.Append(ctx, b); err != nil {
			return err
		}
	}
	return tandem.Errorf(tandem.CodeUnavailable, "for a moment")
}

// TestStopped: a cancelled copy says how to go on, and does.
func TestStopped(t *testing.T) {
	from, to := embedded(t), vectors(t)
	fill(t, from, source(1), 400)
	ctx, cancel := context.WithCancel(context.Background())
	opts := Options{BatchEvents: 10, Rooms: testRooms(), Progress: func(p Progress) {
		if p.Step == StepEvents && p.Done >= 100 {
			cancel()
		}
	}}
	_, err := New(from, to, opts).Run(ctx)
	if tandem.CodeOf(err) != tandem.CodeUnavailable || !strings.Contains(err.Error(), "run the same command again") {
		t.Fatal(err)
	}
	if s := copyAll(t, from, to, Options{Rooms: testRooms()}); s.Found < 100 || s.Found >= 400 {
		t.Fatalf("%+v", s)
	}
	sameContents(t, from, to)
}
