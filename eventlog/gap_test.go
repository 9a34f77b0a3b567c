package eventlog_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

// expiring is a log on an engine whose clock the test moves.
type expiring struct {
	*eventlog.Log
	engine *memlog.Engine
	now    time.Time
}

func newExpiring(t *testing.T, opts memlog.Options) *expiring {
	x := &expiring{now: time.Now()}
	clock := func() time.Time { return x.now }
	opts.Now = clock
	x.engine = memlog.New(opts)
	x.Log = open(t, x.engine, eventlog.Options{Now: clock})
	for name, age := range map[string]time.Duration{"short": time.Hour, "long": -1} {
		if _, err := x.CreateTopic(context.Background(), tandem.Topic{Name: name, Partitions: 3, Retention: tandem.Duration(age)}); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

// expire lets all that is stored in short run out.
func (x *expiring) expire() {
	x.now = x.now.Add(2 * time.Hour)
	x.engine.RunRetention()
}

func onExpiring(t *testing.T, fn func(t *testing.T, x *expiring)) {
	for name, opts := range engines {
		t.Run(name, func(t *testing.T) { fn(t, newExpiring(t, opts)) })
	}
}

func oneGap(t *testing.T, gaps []*tandem.Gap, reason string) *tandem.Gap {
	t.Helper()
	if len(gaps) != 1 || gaps[0].Reason != reason {
		t.Fatalf("%d gaps, want one of %s: %+v", len(gaps), reason, gaps)
	}
	return gaps[0]
}

func TestGapRetentionOnResume(t *testing.T) {
	onExpiring(t, func(t *testing.T, x *expiring) {
		publish(t, x.Log, "short", 50)
		r := reader(t, x.Log, tandem.Start{Earliest: true}, "short")
		if _, err := r.Read(context.Background(), tandem.Filter{}, 20); err != nil {
			t.Fatal(err)
		}
		at := r.Cursor()
		x.expire()
		young := publish(t, x.Log, "short", 40)

		again := reader(t, x.Log, tandem.Start{Cursor: at}, "short")
		p, err := again.Read(context.Background(), tandem.Filter{}, 10)
		if err != nil || p.Gap == nil || len(p.Events) == 0 {
			t.Fatalf("the first page is %+v, %v", p, err)
		}
		rest, gaps := readAll(t, again, 7)
		if len(gaps) != 0 || len(p.Events)+len(rest) != len(young) {
			t.Fatalf("after the gap: %d events, want %d, and %d more gaps", len(p.Events)+len(rest), len(young), len(gaps))
		}
		if p.Gap.Reason != tandem.GapRetention || p.Gap.From != at {
			t.Errorf("the gap is %+v, the cursor was %s", p.Gap, at)
		}
		// Reading goes on at To without loss and without another gap.
		all, gaps := readAll(t, reader(t, x.Log, tandem.Start{Cursor: p.Gap.To}, "short"), 100)
		if len(all) != len(young) || len(gaps) != 0 {
			t.Errorf("from the end of the gap: %d events, want %d, and %d gaps", len(all), len(young), len(gaps))
		}
		if x.Stats().Gaps != 1 {
			t.Errorf("%d gaps are counted", x.Stats().Gaps)
		}
	})
}

func TestGapRetentionOfALiveReader(t *testing.T) {
	onExpiring(t, func(t *testing.T, x *expiring) {
		r := reader(t, x.Log, tandem.Start{Earliest: true}, "**")
		publish(t, x.Log, "short", 30)
		publish(t, x.Log, "long", 30)
		if got, gaps := readAll(t, r, 1000); len(got) != 60 || len(gaps) != 0 {
			t.Fatalf("%d events and %d gaps", len(got), len(gaps))
		}
		for range 3 { // each loss has its own gap
			publish(t, x.Log, "short", 10)
			publish(t, x.Log, "long", 10)
			from := r.Cursor()
			x.expire()
			publish(t, x.Log, "short", 5)
			got, gaps := readAll(t, r, 1000)
			if g := oneGap(t, gaps, tandem.GapRetention); g.From != from {
				t.Errorf("the gap begins at %s, the cursor was %s", g.From, from)
			}
			if len(got) != 15 {
				t.Errorf("%d events around the gap, want 15", len(got))
			}
		}
		// What was read before it went is no loss.
		publish(t, x.Log, "short", 10)
		readAll(t, r, 1000)
		x.expire()
		publish(t, x.Log, "short", 1)
		if got, gaps := readAll(t, r, 1000); len(gaps) != 0 || len(got) != 1 {
			t.Errorf("%d events and %d gaps, after retention removed what had been read", len(got), len(gaps))
		}
	})
}

// A reader that has looked ahead hands out what it holds, and is told of the loss behind it.
func TestGapBehindWhatWasReadAhead(t *testing.T) {
	x := newExpiring(t, memlog.Options{})
	publish(t, x.Log, "short", 2000)
	r := reader(t, x.Log, tandem.Start{Earliest: true}, "short")
	p, err := r.Read(context.Background(), tandem.Filter{}, 100)
	if err != nil || len(p.Events) != 100 {
		t.Fatal(err)
	}
	x.expire()
	young := publish(t, x.Log, "short", 20)
	last := uint64(0)
	gaps, events := 0, 0
	for range 1000 {
		p, err := r.Read(context.Background(), tandem.Filter{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		if p.Gap != nil {
			gaps++
		}
		for _, e := range p.Events {
			if e.Position.Offset <= last {
				t.Fatalf("number %d follows %d", e.Position.Offset, last)
			}
			last = e.Position.Offset
			events++
		}
	}
	if gaps == 0 || last != young[19].Offset || events >= 1920 {
		t.Errorf("%d gaps, %d events up to %d, want the last to be %d", gaps, events, last, young[19].Offset)
	}
}

func TestEarliestIsNoGap(t *testing.T) {
	onExpiring(t, func(t *testing.T, x *expiring) {
		publish(t, x.Log, "short", 50)
		x.expire()
		for _, start := range []tandem.Start{{Earliest: true}, {}, {Time: x.now.Format(time.RFC3339)}, {Time: "2001-01-01T00:00:00Z"}} {
			r := reader(t, x.Log, start, "short")
			want := publish(t, x.Log, "short", 5)
			got, gaps := readAll(t, r, 100)
			if len(gaps) != 0 || len(got) < len(want) {
				t.Errorf("from %+v: %d events and %d gaps", start, len(got), len(gaps))
			}
		}
	})
}

func TestGapRecreated(t *testing.T) {
	ctx := context.Background()
	onEngines(t, func(t *testing.T, l *eventlog.Log, _ *memlog.Engine) {
		create(t, l, "t", 2)
		create(t, l, "other", 1)
		live := reader(t, l, tandem.Start{}, "t", "other")
		last := publish(t, l, "t", 10)[9]
		readAll(t, live, 100)
		if err := l.DeleteTopic(ctx, "t"); err != nil {
			t.Fatal(err)
		}
		if _, err := l.NewReader(ctx, selection(t, "t"), tandem.Start{}); tandem.CodeOf(err) != tandem.CodeNotFound {
			t.Errorf("a reader of a deleted topic: %v", err)
		}
		readAll(t, live, 100)
		create(t, l, "t", 2)

		latest := reader(t, l, tandem.Start{}, "t").Cursor()
		if _, gaps := readAll(t, reader(t, l, tandem.Start{Cursor: latest}, "t"), 100); len(gaps) != 0 {
			t.Errorf("the latest place of the new incarnation is a gap: %+v", gaps[0])
		}
		// Even before it has an event.
		_, gaps := readAll(t, reader(t, l, tandem.Start{Cursor: last.Cursor}, "t"), 100)
		g := oneGap(t, gaps, tandem.GapRecreated)
		if g.From != last.Cursor {
			t.Errorf("the gap begins at %s, the cursor was %s", g.From, last.Cursor)
		}
		publish(t, l, "t", 4)
		got, gaps := readAll(t, reader(t, l, tandem.Start{Cursor: g.To}, "t"), 100)
		if len(got) != 4 || len(gaps) != 0 {
			t.Errorf("from the end of the gap: %d events, %d gaps", len(got), len(gaps))
		}
		got, gaps = readAll(t, reader(t, l, tandem.Start{Cursor: last.Cursor}, "t"), 100)
		oneGap(t, gaps, tandem.GapRecreated)
		if len(got) != 4 {
			t.Errorf("%d events after the gap, want 4", len(got))
		}
		got, gaps = readAll(t, live, 100)
		oneGap(t, gaps, tandem.GapRecreated)
		if len(got) != 4 {
			t.Errorf("the live reader has %d events after the gap, want 4", len(got))
		}
	})
}

func TestGapForeign(t *testing.T) {
	onEngines(t, func(t *testing.T, l *eventlog.Log, _ *memlog.Engine) {
		create(t, l, "t", 2)
		publish(t, l, "t", 10)
		for name, opts := range engines {
			other := open(t, memlog.New(opts), eventlog.Options{})
			create(t, other, "t", 2)
			c := publish(t, other, "t", 100)[99].Cursor
			got, gaps := readAll(t, reader(t, l, tandem.Start{Cursor: c}, "t"), 100)
			if g := oneGap(t, gaps, tandem.GapForeign); g.From != c || len(got) != 10 {
				t.Errorf("a cursor of another log (%s): %+v and %d events", name, g, len(got))
			}
		}
		for _, c := range []tandem.Cursor{"x", "AQEB", "a cursor"} {
			if _, err := l.NewReader(context.Background(), selection(t, "t"), tandem.Start{Cursor: c}); tandem.CodeOf(err) != tandem.CodeInvalid {
				t.Errorf("cursor %q: %v", c, err)
			}
		}
	})
}

// A topic that appears is read from its start, whether the reader lives or resumes.
func TestTopicThatAppears(t *testing.T) {
	onEngines(t, func(t *testing.T, l *eventlog.Log, _ *memlog.Engine) {
		create(t, l, "t.a", 2)
		publish(t, l, "t.a", 5)
		live := reader(t, l, tandem.Start{Earliest: true}, "t.*")
		readAll(t, live, 100)
		at := live.Cursor()
		for i := range 3 {
			name := fmt.Sprint("t.new", i)
			create(t, l, name, 3)
			publish(t, l, name, 6)
			if got, gaps := readAll(t, live, 4); len(got) != 6 || len(gaps) != 0 {
				t.Fatalf("the live reader has %d events of a new topic, and %d gaps", len(got), len(gaps))
			}
		}
		if got, gaps := readAll(t, reader(t, l, tandem.Start{Cursor: at}, "t.*"), 100); len(got) != 18 || len(gaps) != 0 {
			t.Fatalf("resumed, %d events and %d gaps", len(got), len(gaps))
		}
	})
}

func selection(t testing.TB, patterns ...string) eventlog.Selection {
	t.Helper()
	sel, err := eventlog.Select(patterns...)
	if err != nil {
		t.Fatal(err)
	}
	return sel
}

// racing runs retention between a look at the bounds and the read that follows.
type racing struct {
	driver.Driver
	before func()
}

func (d *racing) Read(ctx context.Context, id driver.ID, part int, from uint64, max, maxBytes int, dst []tandem.Record) ([]tandem.Record, error) {
	if d.before != nil {
		d.before()
		d.before = nil
	}
	return d.Driver.Read(ctx, id, part, from, max, maxBytes, dst)
}

func TestGapWhileReading(t *testing.T) {
	for name, opts := range engines {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			opts.Now = func() time.Time { return now }
			e := memlog.New(opts)
			d := &racing{Driver: e}
			l := open(t, d, eventlog.Options{Now: opts.Now})
			if _, err := l.CreateTopic(ctx, tandem.Topic{Name: "t", Partitions: 1, Retention: tandem.Duration(time.Hour)}); err != nil {
				t.Fatal(err)
			}
			from := publish(t, l, "t", 5)[4].Cursor
			publish(t, l, "t", 10)
			now = now.Add(2 * time.Hour)
			publish(t, l, "t", 3)
			r := reader(t, l, tandem.Start{Cursor: from}, "t")
			d.before = e.RunRetention
			got, gaps := readAll(t, r, 100)
			if g := oneGap(t, gaps, tandem.GapRetention); g.From != from || len(got) != 3 {
				t.Errorf("%+v and %d events, want 3; the cursor was %s", g, len(got), from)
			}
		})
	}
}

// failing refuses the reads after the first few.
type failing struct {
	driver.Driver
	left int
}

func (d *failing) Read(ctx context.Context, id driver.ID, part int, from uint64, max, maxBytes int, dst []tandem.Record) ([]tandem.Record, error) {
	if d.left--; d.left < 0 {
		return dst, tandem.Errorf(tandem.CodeUnavailable, "no")
	}
	return d.Driver.Read(ctx, id, part, from, max, maxBytes, dst)
}

// A gap is told once, so it must not go down with a read that fails behind it.
func TestGapBeforeAnError(t *testing.T) {
	for name, opts := range engines {
		for left := range 5 {
			t.Run(fmt.Sprint(name, left), func(t *testing.T) { gapBeforeAnError(t, opts, left) })
		}
	}
}

// gapBeforeAnError lets the engine fail once, after some reads.
func gapBeforeAnError(t *testing.T, opts memlog.Options, left int) {
	now := time.Now()
	opts.Now = func() time.Time { return now }
	e := memlog.New(opts)
	d := &failing{Driver: e, left: left}
	l := open(t, d, eventlog.Options{Now: opts.Now})
	if _, err := l.CreateTopic(ctx, tandem.Topic{Name: "t", Partitions: 2, Retention: tandem.Duration(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	from := publish(t, l, "t", 5)[4].Cursor
	publish(t, l, "t", 40)
	now = now.Add(2 * time.Hour)
	e.RunRetention()
	publish(t, l, "t", 1000)
	none, err := tandem.ParseFilter([]byte(`{"type":"none"}`))
	if err != nil {
		t.Fatal(err)
	}
	r := reader(t, l, tandem.Start{Cursor: from}, "t")
	for range 10 {
		p, err := r.Read(ctx, none, 10)
		if p.Gap != nil {
			return
		}
		if err != nil {
			d.left = 1000
		}
	}
	t.Error("the gap was never told")
}

// overtaking calls a function after so many calls of Bounds.
type overtaking struct {
	driver.Driver
	left  int
	after func()
}

func (o *overtaking) Bounds(ctx context.Context, id driver.ID, part int) (driver.Bounds, error) {
	b, err := o.Driver.Bounds(ctx, id, part)
	if o.left--; o.left == 0 {
		o.after()
	}
	return b, err
}

// TestGapIsNotInACursorBeforeIt: where retention overtakes a reader in the middle of a page, whoever goes on from the page's cursor is told.
func TestGapIsNotInACursorBeforeIt(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	engine := memlog.New(memlog.Options{Partitioned: true, Now: clock})
	o := &overtaking{Driver: engine}
	log := open(t, o, eventlog.Options{Now: clock})
	if _, err := log.CreateTopic(t.Context(), tandem.Topic{Name: "short", Partitions: 2, Retention: tandem.Duration(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	publish(t, log, "short", 40) // over both partitions
	o.after = func() {
		now = now.Add(2 * time.Hour)
		engine.RunRetention()
	}
	r := reader(t, log, tandem.Start{Earliest: true}, "short")
	o.left = 4 // one for each partition before the page, two for the first that is read
	p, err := r.Read(t.Context(), tandem.Filter{}, 100)
	if err != nil || len(p.Events) == 0 || len(p.Events) == 40 || p.Gap != nil {
		t.Fatalf("the page has %d events, a gap %+v, %v", len(p.Events), p.Gap, err)
	}
	for name, r := range map[string]*eventlog.Reader{"the same": r, "another": reader(t, log, tandem.Start{Cursor: p.Cursor}, "short")} {
		_, gaps := readAll(t, r, 100)
		if g := oneGap(t, gaps, tandem.GapRetention); g.From != p.Cursor {
			t.Errorf("%s reader: the gap is from %s, the page ended at %s", name, g.From, p.Cursor)
		}
	}
}
