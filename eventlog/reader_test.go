package eventlog_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/drivertest"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

// What every engine has to do below a Log, on the two kinds of memlog.
func TestLogOnEngines(t *testing.T) {
	for name, opts := range engines {
		t.Run(name, func(t *testing.T) {
			drivertest.RunLog(t, drivertest.Harness{Open: func(testing.TB) driver.Driver { return memlog.New(opts) }})
		})
	}
}

// lagging holds back Notify: what the engine shows already is not told yet.
type lagging struct {
	driver.Driver
	mu   sync.Mutex
	fn   func([]driver.End)
	hold bool
	late [][]driver.End
}

func (d *lagging) Notify(fn func([]driver.End)) {
	d.fn = fn
	d.Driver.Notify(func(ends []driver.End) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.hold {
			d.late = append(d.late, ends)
			return
		}
		fn(ends)
	})
}

func (d *lagging) set(hold bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, ends := range d.late {
		d.fn(ends)
	}
	d.hold, d.late = hold, nil
}

// A number is not passed before all smaller ones were told, even if the engine shows it.
func TestHorizon(t *testing.T) {
	d := &lagging{Driver: memlog.New(memlog.Options{})}
	l, err := eventlog.Open(ctx, d, eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	create(t, l, "a", 1)
	create(t, l, "b", 1)
	r := reader(t, l, tandem.Start{}, "*")
	publish(t, l, "a", 1)
	d.set(true)
	publish(t, l, "b", 2)
	publish(t, l, "a", 2) // readable in the partition of a, whose end is known
	if got, _ := readAll(t, r, 10); len(got) != 1 {
		t.Fatalf("read %d events, want only the one that was told", len(got))
	}
	d.set(false)
	got, _ := readAll(t, r, 10)
	if len(got) != 4 || got[0].Position.Topic != "b" || got[3].Position.Topic != "a" {
		t.Fatalf("then %+v", got)
	}
}

func TestFilterMovesTheCursor(t *testing.T) {
	onEngines(t, func(t *testing.T, l *eventlog.Log, _ *memlog.Engine) {
		create(t, l, "t", 4)
		r := reader(t, l, tandem.Start{Earliest: true}, "t")
		for range 12 {
			publish(t, l, "t", 1000)
		}
		rare := event("rare", "1")
		if _, err := l.Append(ctx, "t", []tandem.Event{rare}); err != nil {
			t.Fatal(err)
		}
		var f tandem.Filter
		if err := f.UnmarshalJSON([]byte(`{"exact":{"subject":"rare"}}`)); err != nil {
			t.Fatal(err)
		}
		first, err := r.Read(ctx, f, 10)
		if err != nil || len(first.Events) != 0 {
			t.Fatalf("one Read looked at all 12,000 events: %v", err)
		}
		resumed := reader(t, l, tandem.Start{Cursor: first.Cursor}, "t")
		if rest, _ := readAll(t, resumed, 1000); len(rest) >= 12_001 || len(rest) < 5000 {
			t.Errorf("the cursor after a filtered read leaves %d events", len(rest))
		}
		p, err := r.Next(ctx, f, 10)
		if err != nil || len(p.Events) != 1 || p.Events[0].Subject != "rare" {
			t.Errorf("Next gives %+v, %v", p.Events, err)
		}
	})
}

func TestNextWaits(t *testing.T) {
	for name, opts := range engines {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, err := eventlog.Open(ctx, memlog.New(opts), eventlog.Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				create(t, l, "t", 2)
				r := reader(t, l, tandem.Start{}, "t", "later.*")
				pages := make(chan tandem.Page)
				next := func(ctx context.Context, want error) {
					p, err := r.Next(ctx, tandem.Filter{}, 10)
					if !errors.Is(err, want) || p.Cursor == "" {
						t.Errorf("Next: %+v, %v", p, err)
					}
					pages <- p
				}
				go next(ctx, nil)
				synctest.Wait()
				publish(t, l, "t", 2)
				if p := <-pages; len(p.Events) == 0 {
					t.Error("woken without events")
				}
				readAll(t, r, 10)

				short, cancel := context.WithTimeout(ctx, time.Minute)
				defer cancel()
				begun := time.Now()
				go next(short, context.DeadlineExceeded)
				if p := <-pages; len(p.Events) != 0 || time.Since(begun) != time.Minute {
					t.Errorf("after %v: %+v", time.Since(begun), p)
				}

				go next(ctx, nil)
				synctest.Wait()
				create(t, l, "later.one", 1)
				synctest.Wait()
				publish(t, l, "later.one", 1)
				if p := <-pages; len(p.Events) != 1 {
					t.Errorf("of a topic that appeared: %+v", p)
				}

				go next(ctx, nil)
				synctest.Wait()
				if err := l.DeleteTopic(ctx, "t"); err != nil {
					t.Fatal(err)
				}
				create(t, l, "t", 1)
				if p := <-pages; p.Gap == nil || p.Gap.Reason != tandem.GapRecreated {
					t.Errorf("of a topic that was recreated: %+v", p)
				}
			})
		})
	}
}

func TestWatchWakesWhoIsMeant(t *testing.T) {
	l := open(t, memlog.New(memlog.Options{}), eventlog.Options{})
	create(t, l, "busy", 4)
	create(t, l, "idle.one", 4)
	idle := make([]*eventlog.Watch, 10_000)
	for i := range idle {
		idle[i] = l.Watch(selection(t, "idle.*"))
	}
	busy := l.Watch(selection(t, "busy"))
	publish(t, l, "busy", 100)
	publish(t, l, "busy", 100)
	if len(busy.C) != 1 {
		t.Error("the watch of the topic has no signal, or more than one")
	}
	for _, w := range idle {
		if len(w.C) != 0 {
			t.Fatal("a watch of another topic was woken")
		}
	}
	create(t, l, "idle.two", 1)
	for _, w := range idle {
		if len(w.C) == 1 {
			<-w.C
		}
	}
	publish(t, l, "idle.two", 1)
	if len(idle[0].C) != 1 || len(idle[9_999].C) != 1 {
		t.Error("a topic that appeared does not wake")
	}
	<-busy.C
	busy.Close()
	busy.Close()
	publish(t, l, "busy", 1)
	if len(busy.C) != 0 {
		t.Error("a closed watch was woken")
	}
}

func TestStartAtTime(t *testing.T) {
	onExpiring(t, func(t *testing.T, x *expiring) {
		x.now = x.now.Truncate(time.Second)
		publish(t, x.Log, "long", 20)
		x.now = x.now.Add(time.Minute)
		at := x.now
		want := publish(t, x.Log, "long", 30)
		for d, n := range map[time.Duration]int{0: len(want), time.Millisecond: 0, -time.Second: len(want), -time.Hour: 50} {
			r := reader(t, x.Log, tandem.Start{Time: at.Add(d).Format(time.RFC3339Nano)}, "long")
			if got, gaps := readAll(t, r, 7); len(got) != n || len(gaps) != 0 {
				t.Errorf("from %v: %d events, want %d", d, len(got), n)
			}
		}
	})
}

func TestReadOfNothing(t *testing.T) {
	onEngines(t, func(t *testing.T, l *eventlog.Log, _ *memlog.Engine) {
		create(t, l, "t", 1)
		publish(t, l, "t", 3)
		r := reader(t, l, tandem.Start{Earliest: true}, "t")
		for _, max := range []int{0, -1} {
			if p, err := r.Next(ctx, tandem.Filter{}, max); err != nil || len(p.Events) != 1 {
				t.Errorf("at most %d events: %+v, %v", max, p, err)
			}
		}
	})
}

func TestSelect(t *testing.T) {
	for _, bad := range [][]string{nil, {""}, {"a", "B"}, {"a.**.b"}, {"a*"}} {
		if _, err := eventlog.Select(bad...); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%q is accepted: %v", bad, err)
		}
	}
	s := selection(t, "b.*", "a", "a", "c.**")
	for name, want := range map[string]bool{"a": true, "b": false, "b.x": true, "b.x.y": false, "c.x.y": true, "aa": false} {
		if s.Match(name) != want {
			t.Errorf("%s matches: %v", name, !want)
		}
	}
	if s.String() != "a,b.*,c.**" {
		t.Error(s)
	}
}

func TestOpenAgain(t *testing.T) {
	for name, opts := range engines {
		t.Run(name, func(t *testing.T) {
			e := memlog.New(opts)
			l := open(t, unclosed{e}, eventlog.Options{})
			create(t, l, "t", 3)
			cursor := publish(t, l, "t", 20)[19].Cursor
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open(t, e, eventlog.Options{})
			latest := reader(t, l, tandem.Start{}, "t")
			resumed := reader(t, l, tandem.Start{Cursor: cursor}, "t")
			publish(t, l, "t", 5)
			for _, r := range []*eventlog.Reader{latest, resumed} {
				if got, gaps := readAll(t, r, 10); len(got) < 5 || len(gaps) != 0 || len(got) != 5 && opts.Partitioned == false {
					t.Errorf("%d events and %d gaps, want 5 events", len(got), len(gaps))
				}
			}
			if n := len(readN(t, l, "t")); n != 25 {
				t.Errorf("%d events in all", n)
			}
		})
	}
}

// A topic that is gone may have had the newest numbers: a place among them is no place of another log.
func TestOpenAgainAfterDelete(t *testing.T) {
	for name, opts := range engines {
		t.Run(name, func(t *testing.T) {
			e := memlog.New(opts)
			l := open(t, unclosed{e}, eventlog.Options{})
			create(t, l, "a.old", 1)
			create(t, l, "a.gone", 1)
			publish(t, l, "a.old", 3)
			publish(t, l, "a.gone", 5)
			r := reader(t, l, tandem.Start{Earliest: true}, "a.*")
			readAll(t, r, 10)
			if err := l.DeleteTopic(ctx, "a.gone"); err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open(t, e, eventlog.Options{})
			resumed := reader(t, l, tandem.Start{Cursor: r.Cursor()}, "a.*")
			publish(t, l, "a.old", 2)
			if got, gaps := readAll(t, resumed, 10); len(got) != 2 || len(gaps) != 0 {
				t.Errorf("%d events and %d gaps, want 2 events", len(got), len(gaps))
			}
		})
	}
}

// unclosed is an engine that survives the log, as if it were opened again.
type unclosed struct{ *memlog.Engine }

func (unclosed) Close() error { return nil }
