package eventlog_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

// readTo reads up to a mark and returns the events and gaps.
func readTo(t testing.TB, r *eventlog.Reader, filter tandem.Filter, mark eventlog.Mark, max int) (events []tandem.Record, gaps []*tandem.Gap) {
	t.Helper()
	for range 10_000 {
		p, err := r.ReadWithin(ctx, filter, eventlog.Limits{Events: max, To: &mark})
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, p.Events...)
		if p.Gap != nil {
			gaps = append(gaps, p.Gap)
		}
		if !r.More() {
			return events, gaps
		}
	}
	t.Fatal("the reader does not come to the mark")
	return nil, nil
}

func TestMark(t *testing.T) {
	onEngines(t, func(t *testing.T, l *eventlog.Log, _ *memlog.Engine) {
		create(t, l, "a", 3)
		create(t, l, "b.c", 2)
		first, second := reader(t, l, tandem.Start{}, "**"), reader(t, l, tandem.Start{}, "**")
		publish(t, l, "a", 200)
		publish(t, l, "b.c", 100)
		readAll(t, first, 64)
		mark, at := first.Mark(), first.Cursor()
		publish(t, l, "a", 50)
		readAll(t, first, 64)
		if second.Ahead(mark) {
			t.Error("one that has read nothing is ahead")
		}
		for _, r := range []*eventlog.Reader{second, second} { // again: nothing
			got, gaps := readTo(t, r, tandem.Filter{}, mark, 17)
			if r.Cursor() != at || len(gaps) != 0 || r.Ahead(mark) {
				t.Errorf("at %s with %d gaps, want %s", r.Cursor(), len(gaps), at)
			}
			if want := 300; len(got) != want && len(got) != 0 {
				t.Errorf("%d events, want %d", len(got), want)
			}
		}
		if p, err := second.ReadWithin(ctx, tandem.Filter{}, eventlog.Limits{Events: 10, Bytes: 1}); err != nil || len(p.Events) != 1 || !second.More() {
			t.Errorf("%d events beyond a byte, %v", len(p.Events), err)
		}
		if !second.Ahead(mark) {
			t.Error("one that has read behind it is not ahead")
		}
		if rest, _ := readAll(t, second, 1000); len(rest) != 49 {
			t.Errorf("then %d events", len(rest))
		}
	})
}

// TestMarkKnowsTopics: a reader that has been told of a topic which the mark's reader does not know yet is ahead of it, since that one will tell of it, too.
func TestMarkKnowsTopics(t *testing.T) {
	onEngines(t, func(t *testing.T, l *eventlog.Log, _ *memlog.Engine) {
		create(t, l, "a", 2)
		publish(t, l, "a", 5)
		shared, own, late := reader(t, l, tandem.Start{}, "a"), reader(t, l, tandem.Start{}, "a"), reader(t, l, tandem.Start{}, "a")
		if err := l.DeleteTopic(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		create(t, l, "a", 2)
		_, gaps := readAll(t, own, 10)
		oneGap(t, gaps, tandem.GapRecreated)
		if !own.Ahead(shared.Mark()) {
			t.Error("it would be told of the topic twice")
		}
		if _, gaps = readTo(t, late, tandem.Filter{}, shared.Mark(), 10); len(gaps) > 0 || late.Ahead(shared.Mark()) {
			t.Errorf("%d gaps on the way to a mark before the topic", len(gaps))
		}
		_, gaps = readAll(t, shared, 10)
		oneGap(t, gaps, tandem.GapRecreated)
		if own.Ahead(shared.Mark()) {
			t.Error("they are at the same place")
		}
	})
}

// TestMarkUnderRetention: a reader that is overtaken on its way to a mark does not come out behind it.
func TestMarkUnderRetention(t *testing.T) {
	onExpiring(t, func(t *testing.T, x *expiring) {
		r := reader(t, x.Log, tandem.Start{}, "*")
		shared := reader(t, x.Log, tandem.Start{}, "*")
		publish(t, x.Log, "short", 50)
		readAll(t, shared, 100)
		mark, at := shared.Mark(), shared.Cursor()
		publish(t, x.Log, "short", 50)
		kept, _ := readAll(t, shared, 100) // handed on by the mark's reader
		x.expire()
		got, gaps := readTo(t, r, tandem.Filter{}, mark, 10)
		if g := oneGap(t, gaps, tandem.GapRetention); g.To != at || r.Cursor() != at || len(got) != 0 || len(kept) != 50 {
			t.Errorf("%+v and %d events, then at %s; the mark is at %s", g, len(got), r.Cursor(), at)
		}
	})
}

// TestMarkProperty: whatever happens to the log, who reads up to the mark of another and is then handed what that one reads has each event
// once and in the order of its partition, and what it has not was removed and told of.
func TestMarkProperty(t *testing.T) {
	for name, opts := range engines {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(150) {
				m := newMarked(t, opts, seed)
				for range 60 {
					m.step()
				}
				m.join()
				m.pull()
				m.check()
				m.log.Close()
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

// marked is a shared reader and a member that is now joined to it and now reads for itself.
type marked struct {
	t      *testing.T
	total  bool
	rng    *rand.Rand
	log    *eventlog.Log
	engine *memlog.Engine
	now    time.Time
	filter tandem.Filter
	shared *eventlog.Reader
	own    *eventlog.Reader // nil while joined
	at     tandem.Cursor    // of the member
	stored map[string]fate  // of the events that pass, by their data
	topics map[string]bool
	got    map[string]int
	last   map[string]uint64 // offset by topic, incarnation and partition
	gaps   int
	count  int
}

// fate is what happened to an event.
type fate int

const (
	kept fate = iota
	expired
	deleted // with its topic, which nobody is told of
)

func newMarked(t *testing.T, opts memlog.Options, seed uint64) *marked {
	m := &marked{t: t, total: !opts.Partitioned, rng: rand.New(rand.NewPCG(seed, 3)), now: time.Now(), stored: map[string]fate{}, topics: map[string]bool{}, got: map[string]int{}, last: map[string]uint64{}}
	opts.Now = func() time.Time { return m.now }
	m.engine = memlog.New(opts)
	m.log = open(t, m.engine, eventlog.Options{Now: opts.Now})
	if seed%2 == 1 {
		m.filter, _ = tandem.FilterOf(map[string]any{"type": "even"})
	}
	m.topic("a")
	sel := selection(t, "a", "x.*")
	var err error
	if m.shared, err = m.log.NewReader(ctx, sel, tandem.Start{}); err != nil {
		t.Fatal(err)
	}
	m.at = m.shared.Cursor()
	m.own = reader(t, m.log, tandem.Start{Cursor: m.at}, "a", "x.*")
	return m
}

// topic creates a topic, or deletes it with what it holds.
func (m *marked) topic(name string) {
	if m.topics[name] {
		if err := m.log.DeleteTopic(ctx, name); err != nil {
			m.t.Fatal(err)
		}
		for data := range m.stored {
			if strings.HasPrefix(data, `"`+name+"-") {
				m.stored[data] = deleted
			}
		}
	} else if _, err := m.log.CreateTopic(ctx, tandem.Topic{Name: name, Partitions: 1 + m.rng.IntN(3), Retention: tandem.Duration(time.Hour)}); err != nil {
		m.t.Fatal(err)
	}
	m.topics[name] = !m.topics[name]
}

func (m *marked) step() {
	names := []string{"a", "x.1", "x.2", "other"}
	name := names[m.rng.IntN(len(names))]
	switch m.rng.IntN(12) {
	case 0, 1, 2, 3:
		if m.topics[name] {
			m.append(name, 1+m.rng.IntN(40))
		}
	case 4:
		if name != "a" {
			m.topic(name)
		}
	case 5, 6:
		m.page(m.shared, m.own == nil)
	case 7, 8:
		m.join()
	case 9, 10:
		if m.own != nil {
			m.page(m.own, true)
		} else { // fell behind
			m.own = reader(m.t, m.log, tandem.Start{Cursor: m.at}, "a", "x.*")
		}
	case 11:
		if m.rng.IntN(3) == 0 {
			m.now = m.now.Add(2 * time.Hour)
			m.engine.RunRetention()
			for data, f := range m.stored {
				m.stored[data] = max(f, expired)
			}
		}
	}
}
