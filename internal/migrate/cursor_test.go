package migrate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/offsetmap"
)

// held is a cursor that a client has, and what it has read so far.
type held struct {
	sel    []string
	cursor tandem.Cursor
	read   map[string][]string // ids by partition
}

func (h *held) take(t interface{ Fatalf(string, ...any) }, rec *tandem.Record) {
	key := fmt.Sprintf("%s/%d", rec.Position.Topic, rec.Position.Partition)
	if slices.Contains(h.read[key], rec.ID) {
		t.Fatalf("%s is read again by %v", rec.ID, h.sel)
	}
	h.read[key] = append(h.read[key], rec.ID)
}

// follow reads from the cursor of a client up to n events, or all, and connects again now and then. A gap fails the test.
func (h *held) follow(t *rapid.T, l *eventlog.Log, rnd *rand.Rand, numbered bool, n int) {
	sel, err := eventlog.Select(h.sel...)
	if err != nil {
		t.Fatal(err)
	}
	start := tandem.Start{Cursor: h.cursor, Earliest: h.cursor == ""}
	for idle := 0; n > 0 && idle < 2; {
		r, err := l.NewReader(context.Background(), sel, start)
		if err != nil {
			t.Fatal(err)
		}
		for again := 1 + rnd.IntN(4); again > 0 && n > 0 && idle < 2; again-- {
			page, err := r.Read(context.Background(), tandem.Filter{}, 1+rnd.IntN(6))
			if err != nil || page.Gap != nil {
				t.Fatalf("gap %+v, %v", page.Gap, err)
			}
			h.cursor = page.Cursor
			if idle++; len(page.Events) > 0 {
				idle = 0
			}
			for i := range page.Events {
				h.take(t, &page.Events[i])
				if numbered && len(r.CursorAfter(&page.Events[i])) != 24 {
					t.Fatalf("a place among logs with one sequence is %s", r.CursorAfter(&page.Events[i]))
				}
				if n--; n == 0 || rnd.IntN(9) == 0 { // the connection ends within a page
					h.cursor = r.CursorAfter(&page.Events[i])
					again = 0
					break
				}
			}
		}
		r.Close()
		start = tandem.Start{Cursor: h.cursor}
	}
}

// TestCursors: whoever has a cursor of a log reads on in the one that it was copied to, over one step or several, where he was: nothing is lost,
// nothing comes twice, in the order of each partition, also when he connects again on the way.
func TestCursors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		engine := func(i int) *memlog.Engine {
			return memlog.New(memlog.Options{Partitioned: rapid.Bool().Draw(t, fmt.Sprint("partitioned", i))})
		}
		at := engine(0)
		numbered := at.Info().TotalOrder
		var clients []*held
		selections := [][]string{{"orders"}, {"positions"}, {"**"}, {"orders", "positions"}, {"empty", "positions", "_tandem.operator"}, {"late", "orders"}}
		ids := map[string][]string{}
		use := func(d driver.Driver, step int) {
			l, err := eventlog.Open(context.Background(), kept{d}, eventlog.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			for i, name := range []string{"orders", "positions", "_tandem.operator", "empty", "late"} {
				if step == 0 && name != "late" || step == 1 && name == "late" {
					if _, err := l.CreateTopic(context.Background(), tandem.Topic{Name: name, Partitions: 1 + i, Retention: -1}); err != nil {
						t.Fatal(err)
					}
				}
			}
			for range 6 {
				for range rnd.IntN(12) {
					topics := []string{"orders", "positions", "_tandem.operator", "late"}[:3+min(step, 1)]
					topic, ev := topics[rnd.IntN(len(topics))], anEvent(rnd, rnd.Int())
					r, err := l.Append(context.Background(), topic, []tandem.Event{ev})
					if err != nil {
						t.Fatal(err)
					}
					key := fmt.Sprintf("%s/%d", topic, r[0].Partition)
					ids[key] = append(ids[key], r[0].ID)
				}
				for _, c := range clients {
					if rnd.IntN(3) == 0 {
						c.follow(t, l, rnd, numbered, rnd.IntN(12))
					}
				}
				sel := selections[rnd.IntN(len(selections)-1+min(step, 1))]
				c := &held{sel: sel, read: map[string][]string{}}
				c.follow(t, l, rnd, numbered, 1+rnd.IntN(15))
				clients = append(clients, c)
			}
		}
		use(at, 0)
		steps := rapid.IntRange(1, 3).Draw(t, "steps")
		for step := 1; step <= steps; step++ {
			to := engine(step)
			numbered = numbered && to.Info().TotalOrder
			if _, err := New(at, to, Options{BatchEvents: 1 + rnd.IntN(20)}).Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			at = to
			use(at, step)
		}
		l, err := eventlog.Open(context.Background(), kept{at}, eventlog.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for i, c := range clients {
			c.follow(t, l, rnd, numbered, 1<<30)
			if numbered && len(c.cursor) != 24 {
				t.Fatalf("a place among logs with one sequence is %s", c.cursor)
			}
			sel, _ := eventlog.Select(c.sel...)
			for key, all := range ids {
				topic := key[:len(key)-2]
				if want := c.read[key]; sel.Match(topic) && !slices.Equal(want, all) || !sel.Match(topic) && len(want) > 0 {
					t.Fatalf("client %d of %v read %v of %s, want %v", i, c.sel, want, key, all)
				}
			}
		}
	})
}

// TestCursorGaps: a cursor whose place is not in the map is told so, once, and reading goes on at what there is.
func TestCursorGaps(t *testing.T) {
	ctx := context.Background()
	for _, pair := range pairs {
		t.Run(pair.name, func(t *testing.T) {
			from, to := pair.from(t), pair.to(t)
			fill(t, from, source(5), 40)
			var cursor, foreign tandem.Cursor
			openLog(t, from, func(l *eventlog.Log) { cursor = cursorOf(t, l, 10) })
			openLog(t, embedded(t), func(l *eventlog.Log) {
				if _, err := l.CreateTopic(ctx, tandem.Topic{Name: "orders"}); err != nil {
					t.Fatal(err)
				}
				foreign = cursorOf(t, l, 0)
			})
			copyAll(t, from, to, Options{Rooms: testRooms()})
			gap := func(c tandem.Cursor) string {
				reason := ""
				openLog(t, to, func(l *eventlog.Log) {
					sel, _ := eventlog.Select("orders")
					r, err := l.NewReader(ctx, sel, tandem.Start{Cursor: c})
					if err != nil {
						t.Fatal(err)
					}
					defer r.Close()
					page, err := r.Read(ctx, tandem.Filter{}, 1)
					if err != nil {
						t.Fatal(err)
					}
					if page.Gap != nil {
						if reason = page.Gap.Reason; page.Gap.From != c || page.Gap.To == "" {
							t.Fatalf("gap %+v", page.Gap)
						}
						if again, err := r.Read(ctx, tandem.Filter{}, 1); err != nil || again.Gap != nil {
							t.Fatalf("a gap is told twice: %+v, %v", again.Gap, err)
						}
					}
				})
				return reason
			}
			if got := gap(cursor); got != "" {
				t.Fatalf("gap %q", got)
			}
			if got := gap(foreign); got != tandem.GapForeign {
				t.Fatalf("a foreign cursor: gap %q", got)
			}
			if err := Forget(ctx, to); err != nil {
				t.Fatal(err)
			}
			if got := gap(cursor); got != tandem.GapMigrated {
				t.Fatalf("without the map: gap %q", got)
			}
			if err := to.ScanState(ctx, offsetmap.ChunksOf(from.Info().LogID), "migrated/n", func(key string, _ []byte) bool {
				t.Errorf("%s is left", key)
				return false
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// cursorOf is a place in topic orders.
func cursorOf(t testing.TB, l *eventlog.Log, n int) tandem.Cursor {
	t.Helper()
	sel, err := eventlog.Select("orders")
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.NewReader(context.Background(), sel, tandem.Start{Earliest: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n > 0 {
		if _, err := r.Read(context.Background(), tandem.Filter{}, n); err != nil {
			t.Fatal(err)
		}
	}
	return r.Cursor()
}
