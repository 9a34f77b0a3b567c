package eventlog_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

// watched is an engine that counts what is read and does something before a read.
type watched struct {
	driver.Driver
	calls, records int
	before         func()
}

func (d *watched) Read(ctx context.Context, id driver.ID, part int, from uint64, max, maxBytes int, dst []tandem.Record) ([]tandem.Record, error) {
	if fn := d.before; fn != nil {
		d.before = nil
		fn()
	}
	had := len(dst)
	dst, err := d.Driver.Read(ctx, id, part, from, max, maxBytes, dst)
	d.calls++
	d.records += len(dst) - had
	return dst, err
}

// ticking is a log whose clock moves with every look at it, on an engine that is watched.
type ticking struct {
	*eventlog.Log
	engine *watched
	now    time.Time
}

func onTicking(t *testing.T, fn func(t *testing.T, x *ticking)) {
	for name, opts := range engines {
		t.Run(name, func(t *testing.T) {
			x := &ticking{engine: &watched{Driver: memlog.New(opts)}, now: time.Now()}
			x.Log = open(t, x.engine, eventlog.Options{Now: func() time.Time {
				x.now = x.now.Add(time.Millisecond)
				return x.now
			}})
			fn(t, x)
		})
	}
}

func lastReader(t *testing.T, l *eventlog.Log, filter tandem.Filter, n int, patterns ...string) *eventlog.Reader {
	t.Helper()
	r, err := l.NewReaderLast(ctx, selection(t, patterns...), filter, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// lastCursor opens a reader at the place that Last says.
func lastCursor(t *testing.T, l *eventlog.Log, filter tandem.Filter, n int, patterns ...string) *eventlog.Reader {
	t.Helper()
	c, err := l.Last(ctx, selection(t, patterns...), filter, n)
	if err != nil {
		t.Fatal(err)
	}
	return reader(t, l, tandem.Start{Cursor: c}, patterns...)
}

// matching reads what passes a filter until there is nothing left. There must be no gap.
func matching(t *testing.T, r *eventlog.Reader, filter tandem.Filter) (events []tandem.Record) {
	t.Helper()
	for range 10_000 {
		from := r.Cursor()
		p, err := r.Read(ctx, filter, 100)
		if err != nil || p.Gap != nil {
			t.Fatalf("gap %+v, error %v", p.Gap, err)
		}
		events = append(events, p.Events...)
		if len(p.Events) == 0 && p.Cursor == from {
			return events
		}
	}
	t.Fatal("the reader does not come to an end")
	return nil
}

func subject(t *testing.T, s string) tandem.Filter {
	t.Helper()
	f, err := tandem.ParseFilter([]byte(fmt.Sprintf(`{"subject":%q}`, s)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// checkLast checks that got are the last n of all, or all if they are fewer: in order of numbers, or the newest of all partitions.
func checkLast(t *testing.T, total bool, all, got []tandem.Record, n int) {
	t.Helper()
	if len(got) != min(n, len(all)) {
		t.Fatalf("%d events, want %d of %d", len(got), n, len(all))
	}
	if total {
		for i, e := range all[len(all)-len(got):] {
			if got[i].ID != e.ID {
				t.Fatalf("event %d of %d is %v, want %v", i, len(got), got[i].Position, e.Position)
			}
		}
		return
	}
	inGot := map[string]bool{}
	var oldest time.Time
	for _, e := range got {
		inGot[e.ID] = true
		if oldest.IsZero() || e.Meta.Accepted.Before(oldest) {
			oldest = e.Meta.Accepted
		}
	}
	for _, e := range all {
		if !inGot[e.ID] && e.Meta.Accepted.After(oldest) {
			t.Fatalf("%v is left out and younger than another", e.Position)
		}
	}
}

// TestLast: whatever is selected, filtered and asked for, a reader begins so that it reads the last n.
func TestLast(t *testing.T) {
	onTicking(t, func(t *testing.T, x *ticking) {
		create(t, x.Log, "t.a", 4)
		create(t, x.Log, "t.b", 1)
		create(t, x.Log, "t.empty", 2)
		create(t, x.Log, "busy", 2)
		rnd := rand.New(rand.NewPCG(5, 6))
		for range 150 {
			publish(t, x.Log, "busy", rnd.IntN(200))
			if rnd.IntN(3) > 0 {
				publish(t, x.Log, "t.a", 1+rnd.IntN(40))
			}
			if rnd.IntN(8) == 0 {
				publish(t, x.Log, "t.b", 1+rnd.IntN(5))
			}
		}
		for _, patterns := range [][]string{{"t.*"}, {"t.b"}, {"t.empty"}, {"**"}} {
			for _, filter := range []tandem.Filter{{}, subject(t, "key-3"), subject(t, "none")} {
				all := matching(t, reader(t, x.Log, tandem.Start{Earliest: true}, patterns...), filter)
				for _, n := range []int{1, 2, 5, 50, 1000, 100_000} {
					got := matching(t, lastReader(t, x.Log, filter, n, patterns...), filter)
					checkLast(t, x.Info().TotalOrder, all, got, n)
					got = matching(t, lastCursor(t, x.Log, filter, n, patterns...), filter)
					checkLast(t, x.Info().TotalOrder, all, got, n)
				}
			}
		}
	})
}

func TestLastOfNothing(t *testing.T) {
	onEngines(t, func(t *testing.T, l *eventlog.Log, _ *memlog.Engine) {
		for _, open := range []func() error{
			func() error { _, err := l.Last(ctx, selection(t, "t"), tandem.Filter{}, 1); return err },
			func() error { _, err := l.NewReaderLast(ctx, selection(t, "t"), tandem.Filter{}, 1); return err },
		} {
			if err := open(); tandem.CodeOf(err) != tandem.CodeNotFound {
				t.Errorf("of a topic that is not there: %v", err)
			}
		}
		none := lastReader(t, l, tandem.Filter{}, 3, "t.*")
		create(t, l, "t.a", 2)
		publish(t, l, "t.a", 5)
		if got := matching(t, none, tandem.Filter{}); len(got) != 5 {
			t.Errorf("%d events of a topic that appeared, want 5", len(got))
		}
		for _, n := range []int{0, -1} {
			r := lastReader(t, l, tandem.Filter{}, n, "t.a")
			publish(t, l, "t.a", 4)
			if got := matching(t, r, tandem.Filter{}); len(got) != 4 {
				t.Errorf("the last %d: %d events, want those stored since", n, len(got))
			}
		}
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := l.Last(canceled, selection(t, "t.a"), tandem.Filter{}, 1); tandem.CodeOf(err) != tandem.CodeUnavailable {
			t.Errorf("canceled: %v", err)
		}
	})
}

// TestLastLooksAtLittle: what lies between the events of a selection is passed over, whatever it is, and no more is looked at than it says.
func TestLastLooksAtLittle(t *testing.T) {
	onTicking(t, func(t *testing.T, x *ticking) {
		create(t, x.Log, "rare", 1)
		create(t, x.Log, "busy", 3)
		none := subject(t, "none")
		measure := func(filter tandem.Filter, n, want, calls, records int, topics ...string) (got []tandem.Record) {
			t.Helper()
			x.engine.calls, x.engine.records = 0, 0
			r := lastReader(t, x.Log, filter, n, topics...)
			if x.engine.calls > calls || x.engine.records > records {
				t.Errorf("the last %d took %d reads of %d events", n, x.engine.calls, x.engine.records)
			}
			if got = matching(t, r, filter); len(got) != want && want >= 0 {
				t.Errorf("%d events of the last %d, want %d", len(got), n, want)
			}
			return got
		}

		publish(t, x.Log, "rare", 4000) // far behind, and close together
		for range 40 {
			publish(t, x.Log, "busy", 1000)
		}
		measure(tandem.Filter{}, 10, 10, 2, 40, "rare")
		measure(tandem.Filter{}, 10, 10, 6, 60, "busy", "rare")
		for range 20 { // one in a thousand
			publish(t, x.Log, "rare", 1)
			publish(t, x.Log, "busy", 1000)
		}
		measure(tandem.Filter{}, 1, 1, 10, 20, "rare")
		measure(tandem.Filter{}, 10, 10, 40, 100, "rare")
		measure(tandem.Filter{}, 30, 30, 60, 1500, "rare")
		measure(tandem.Filter{}, 3000, 3000, 150, 5000, "rare")
		measure(none, 10, 0, 200, 5000, "rare")

		rare := tandem.Event{Source: "/test", Type: "test.happened", Subject: "none"}
		if _, err := x.Append(ctx, "busy", []tandem.Event{rare}); err != nil {
			t.Fatal(err)
		}
		measure(none, 10, 1, 2000, 120_000, "busy")
		for range 130 {
			publish(t, x.Log, "busy", 1000)
		}
		measure(none, 10, 0, 2000, 105_000, "busy") // too far behind
		for range 20 {
			publish(t, x.Log, "rare", 1000)
		}
		// All that is found is newer than all that was not looked at.
		all := matching(t, reader(t, x.Log, tandem.Start{Earliest: true}, "busy", "rare"), tandem.Filter{})
		got := measure(tandem.Filter{}, 150_000, -1, 2000, 105_000, "busy", "rare")
		if len(got) < 80_000 || len(got) > 100_000 {
			t.Errorf("%d events of the last 150,000", len(got))
		}
		checkLast(t, x.Info().TotalOrder, all, got, len(got))
	})
}

// TestLastWhileWriting: what is stored while the end is searched comes in addition, and nothing is missing.
func TestLastWhileWriting(t *testing.T) {
	onTicking(t, func(t *testing.T, x *ticking) {
		create(t, x.Log, "a", 3)
		create(t, x.Log, "b", 1)
		publish(t, x.Log, "a", 500)
		publish(t, x.Log, "b", 20)
		for _, n := range []int{1, 30, 10_000} {
			all := matching(t, reader(t, x.Log, tandem.Start{Earliest: true}, "a", "b"), tandem.Filter{})
			x.engine.before = func() {
				publish(t, x.Log, "a", 40)
				publish(t, x.Log, "b", 10)
			}
			got := matching(t, lastReader(t, x.Log, tandem.Filter{}, n, "a", "b"), tandem.Filter{})
			ids := map[string]bool{}
			for _, e := range all {
				ids[e.ID] = true
			}
			old := slices.DeleteFunc(slices.Clone(got), func(e tandem.Record) bool { return !ids[e.ID] })
			checkLast(t, x.Info().TotalOrder, all, old, n)
			if len(got) != len(old)+50 {
				t.Errorf("%d events stored meanwhile, want 50", len(got)-len(old))
			}
		}
	})
	onEngines(t, func(t *testing.T, l *eventlog.Log, _ *memlog.Engine) {
		create(t, l, "a", 3)
		publish(t, l, "a", 100)
		var writing sync.WaitGroup
		writing.Go(func() {
			for range 200 {
				publish(t, l, "a", 7)
			}
		})
		var readers []*eventlog.Reader
		for range 100 {
			readers = append(readers, lastReader(t, l, tandem.Filter{}, 50, "a"))
		}
		writing.Wait()
		for _, r := range readers {
			got := matching(t, r, tandem.Filter{})
			seqs := map[int]uint64{}
			for _, e := range got {
				if last := seqs[e.Position.Partition]; last > 0 && e.Seq != last+1 {
					t.Fatalf("%v has Seq %d and follows %d", e.Position, e.Seq, last)
				}
				seqs[e.Position.Partition] = e.Seq
			}
			if len(got) < 50 {
				t.Fatalf("%d events", len(got))
			}
		}
	})
}

// TestLastBehindRetention: what retention removed of one topic is no gap for those who want older events of another.
func TestLastBehindRetention(t *testing.T) {
	onExpiring(t, func(t *testing.T, x *expiring) {
		publish(t, x.Log, "short", 40)
		publish(t, x.Log, "long", 30)
		publish(t, x.Log, "short", 40)
		x.expire()
		publish(t, x.Log, "short", 5)
		publish(t, x.Log, "long", 5)
		for n, want := range map[int]int{3: 3, 10: 10, 20: 20, 100: 40} {
			if got := matching(t, lastReader(t, x.Log, tandem.Filter{}, n, "**"), tandem.Filter{}); len(got) != want {
				t.Errorf("the last %d: %d events, want %d", n, len(got), want)
			}
			if x.Info().TotalOrder {
				want = min(want, 10) // the others are before the loss
			}
			if got := matching(t, lastCursor(t, x.Log, tandem.Filter{}, n, "**"), tandem.Filter{}); len(got) != want {
				t.Errorf("after the place of the last %d: %d events, want %d", n, len(got), want)
			}
		}
		if got := matching(t, lastCursor(t, x.Log, tandem.Filter{}, 10, "short"), tandem.Filter{}); len(got) != 5 {
			t.Errorf("%d events of the topic that lost some, want 5", len(got))
		}
	})
}

// TestLastOfRecreated: the events of an older topic of the same name are neither found nor missed.
func TestLastOfRecreated(t *testing.T) {
	onTicking(t, func(t *testing.T, x *ticking) {
		create(t, x.Log, "t", 2)
		create(t, x.Log, "other", 1)
		publish(t, x.Log, "other", 10)
		publish(t, x.Log, "t", 10)
		recreate := func() {
			if err := x.DeleteTopic(ctx, "t"); err != nil {
				t.Fatal(err)
			}
			create(t, x.Log, "t", 3)
		}
		recreate()
		publish(t, x.Log, "t", 4)
		for n, want := range map[int]int{2: 2, 4: 4, 8: 8, 50: 14} {
			if got := matching(t, lastReader(t, x.Log, tandem.Filter{}, n, "t", "other"), tandem.Filter{}); len(got) != want {
				t.Errorf("the last %d: %d events, want %d", n, len(got), want)
			}
			if x.Info().TotalOrder {
				want = min(want, 4)
			}
			if got := matching(t, lastCursor(t, x.Log, tandem.Filter{}, n, "t", "other"), tandem.Filter{}); len(got) != want {
				t.Errorf("after the place of the last %d: %d events, want %d", n, len(got), want)
			}
		}
		x.engine.before = recreate // while it searches
		got, gaps := readAll(t, lastReader(t, x.Log, tandem.Filter{}, 50, "t", "other"), 100)
		oneGap(t, gaps, tandem.GapRecreated)
		if len(got) != 10 {
			t.Errorf("%d events are left, want 10", len(got))
		}
	})
}

// TestLastWithAClockSetBack: the order within a partition holds, whatever the times in it.
func TestLastWithAClockSetBack(t *testing.T) {
	onTicking(t, func(t *testing.T, x *ticking) {
		create(t, x.Log, "t", 2)
		for i := range 60 {
			x.now = x.now.Add(time.Duration(i%7-3) * time.Minute)
			publish(t, x.Log, "t", 3)
		}
		all := matching(t, reader(t, x.Log, tandem.Start{Earliest: true}, "t"), tandem.Filter{})
		for n := 1; n <= len(all); n++ {
			got := matching(t, lastReader(t, x.Log, tandem.Filter{}, n, "t"), tandem.Filter{})
			if len(got) != n {
				t.Fatalf("%d events, want %d", len(got), n)
			}
			for part := range 2 {
				of := func(list []tandem.Record) (seqs []uint64) {
					for _, e := range list {
						if e.Position.Partition == part {
							seqs = append(seqs, e.Seq)
						}
					}
					slices.SortFunc(seqs, cmp.Compare)
					return seqs
				}
				had, want := of(got), of(all)
				if !slices.Equal(had, want[len(want)-len(had):]) {
					t.Fatalf("the last %d: partition %d gives %v", n, part, had)
				}
			}
		}
	})
}
