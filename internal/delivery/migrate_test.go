package delivery

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/chain"
	"github.com/tandem-hybrid/tandem/internal/migrate"
	"github.com/tandem-hybrid/tandem/internal/offsetmap"
)

// kept is an engine that stays open when the log over it is closed.
type kept struct{ driver.Driver }

func (kept) Close() error { return nil }

// over lets the bed go on with a log over another engine.
func (b *bed) over(eng *memlog.Engine) {
	b.t.Helper()
	if err := b.log.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.eng = eng
	var err error
	if b.log, err = eventlog.Open(b.ctx, kept{eng}, eventlog.Options{Logger: b.opts.Logger, MaxEventBytes: 64 << 10}); err != nil {
		b.t.Fatal(err)
	}
}

// rooms translate the state of deliveries alone.
func rooms() []migrate.Room {
	return []migrate.Room{{Prefix: chain.Prefix}, {Prefix: Prefix, Translate: func(ctx context.Context, from offsetmap.State, to *migrate.Moved, put func(string, []byte) error) error {
		return Migrate(ctx, from, to, put)
	}}}
}

// migrate copies the log of the bed, whose manager is stopped, and goes on with the copy.
func (b *bed) migrate(partitioned bool) {
	b.t.Helper()
	to := memlog.New(memlog.Options{Partitioned: partitioned})
	if _, err := migrate.New(b.eng, to, migrate.Options{Rooms: rooms(), BatchEvents: 7}).Run(b.ctx); err != nil {
		b.t.Fatal(err)
	}
	if _, err := migrate.New(b.eng, to, migrate.Options{Rooms: rooms()}).Verify(b.ctx); err != nil {
		b.t.Fatal(err)
	}
	b.over(to)
	b.m = nil
}

// told is what the ledger says of each stored event, by subscription and id of the event, without what names a place.
func (b *bed) told(subs ...string) map[string]string {
	b.t.Helper()
	out := map[string]string{}
	for _, t := range b.log.Topics() {
		for p := range t.Partitions {
			recs, err := b.log.ReadPartition(b.ctx, t.ID, p, 0, 10_000, nil)
			if err != nil {
				b.t.Fatal(err)
			}
			for i := range recs {
				for _, name := range subs {
					page, err := b.m.Deliveries(b.ctx, name, tandem.DeliveryQuery{Position: &recs[i].Position})
					if err != nil {
						b.t.Fatal(err)
					}
					text := ""
					for _, d := range page.Deliveries {
						if d.DeadLetter != "" {
							if l, err := b.m.DeadLetter(b.ctx, name, d.DeadLetter); d.State == tandem.DeliveryDead && (err != nil || l.Event.ID != d.ID || l.Event.Position != d.Position) {
								b.t.Fatalf("dead letter %s of %s: %+v, %v", d.DeadLetter, name, l, err)
							}
							d.DeadLetter = "yes"
						}
						if d.Behind != nil {
							d.Behind = &tandem.Position{}
						}
						d.Position = tandem.Position{}
						text += fmt.Sprintf("%+v\n", d)
					}
					out[name+" "+t.Name+" "+recs[i].ID] = text
				}
			}
		}
	}
	return out
}

// letters are the dead letters of a subscription, without what names a place.
func (b *bed) letters(name string) (all []string) {
	b.t.Helper()
	page, _, err := b.m.DeadLetters(b.ctx, name, "", 0)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, l := range page {
		l.ID, l.Event.Position, l.Event.Seq = "", tandem.Position{}, 0
		all = append(all, fmt.Sprintf("%+v", l))
	}
	slices.Sort(all)
	return all
}

// same compares what was told before and after, with the paths of a failure short enough to read.
func same(t *testing.T, what string, before, after map[string]string) {
	t.Helper()
	if len(before) != len(after) {
		t.Fatalf("%s: %d before, %d after", what, len(before), len(after))
	}
	for k, v := range before {
		if after[k] != v {
			t.Fatalf("%s of %s:\n%s\nafter:\n%s", what, k, v, after[k])
		}
	}
}

// TestMigrate: subscriptions in all states go on in the new log, and in the one after that: what was delivered is not delivered again, what failed is
// tried on, what is dead stays dead, paused stays paused, and the ledger tells the same.
func TestMigrate(t *testing.T) {
	for _, kinds := range [][]bool{{false, true, false}, {true, false, true}, {false, false}, {true, true}} {
		t.Run(fmt.Sprint(kinds), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
				b.over(memlog.New(memlog.Options{Partitioned: kinds[0]}))
				b.topic("orders", 4)
				b.topic("other", 2)
				healed := false
				f.set(func(a attemptSeen) *http.Response {
					switch {
					case healed || strings.HasPrefix(a.key, "good"):
						return status(204)
					case strings.HasPrefix(a.key, "dead"):
						return status(422)
					}
					return status(503)
				})
				live, paused := sub("live"), sub("paused")
				live.Topics = []string{"orders", "other"}
				pulled := pulledSub("s")
				calm := sub("calm") // runs throughout, with nothing left to do
				calm.Service = "well"
				b.start(live, paused, pulled, calm)
				names := []string{"live", "paused", "s", "calm"}
				for i := range 40 {
					b.publishTo([]string{"orders", "orders", "other"}[i%3], fmt.Sprint([]string{"good", "dead", "sick"}[i%7%3], i%4))
					b.idle() // so that it is the same keys that fail, and not the endpoint, whatever runs first
				}
				b.wait(3 * time.Second)
				if err := b.m.Pause(b.ctx, "paused"); err != nil {
					t.Fatal(err)
				}
				b.publish("good1", "good2", "sick1", "good1")
				b.wait(time.Second)
				if _, err := b.m.Seek(b.ctx, "paused", tandem.Start{Earliest: true}, false); err != nil {
					t.Fatal(err)
				}
				late := sub("late")
				late.From, late.Topics = "latest", []string{"**"}
				if err := b.m.Apply(b.ctx, []tandem.Subscription{live, paused, pulled, calm, late}); err != nil {
					t.Fatal(err)
				}
				if err := b.m.Pause(b.ctx, "late"); err != nil {
					t.Fatal(err)
				}
				leases := b.pull(6, 0)
				b.ack(leases[:2]...)
				b.nack(time.Hour, leases[2])
				for i, rate := range []float64{0.001, 0} { // both wait, since the subscription is paused
					dead, _, err := b.m.DeadLetters(b.ctx, "paused", "", 0)
					if err != nil || len(dead) < 4 {
						t.Fatal(dead, err)
					}
					if _, err := b.m.Redrive(b.ctx, "paused", tandem.DeadLetterSelection{IDs: []string{dead[2*i].ID, dead[2*i+1].ID}, Rate: rate}); err != nil {
						t.Fatal(err)
					}
				}
				b.wait(time.Second)
				held := leases[3:]
				if st := b.status("live"); st.ParkedKeys == 0 || st.Dead == 0 || st.Waiting == 0 {
					t.Fatalf("the test lost its point: %+v", st)
				}
				for _, partitioned := range kinds[1:] {
					// A start tries at once what waits, which would change what is compared.
					if err := b.m.Pause(b.ctx, "live"); err != nil {
						t.Fatal(err)
					}
					letters, stats := append(b.letters("live"), b.letters("paused")...), map[string]tandem.SubscriptionStatus{}
					b.stop()
					b.m = nil
					b.over(b.eng)
					b.start() // what it is right after a start
					ledger := b.told(names...)
					for _, n := range names {
						stats[n] = b.status(n)
					}
					b.stop()
					b.forget("late")
					b.migrate(partitioned)
					b.start()
					same(t, "the ledger", ledger, b.told(names...))
					if got := append(b.letters("live"), b.letters("paused")...); !slices.Equal(got, letters) {
						t.Fatalf("dead letters:\n%s\nafter:\n%s", letters, got)
					}
					for _, n := range names {
						got, want := b.status(n), stats[n]
						got.Cursor, want.Cursor = "", ""
						if got != want {
							t.Fatalf("status of %s:\n%+v\nafter:\n%+v", n, want, got)
						}
					}
					if err := b.m.Resume(b.ctx, "live"); err != nil {
						t.Fatal(err)
					}
					b.idle()
				}
				// A lease of before counts, of an event that nobody else has.
				if got := b.ack(held[0]); got[0] != tandem.LeaseAcknowledged {
					t.Fatalf("a lease of before is %v", got)
				}
				if got := b.nack(0, held[1]); got[0] != tandem.LeaseLost {
					t.Fatalf("a lease of before is %v when it is given back", got)
				}
				healed = true
				if err := b.m.Resume(b.ctx, "paused"); err != nil {
					t.Fatal(err)
				}
				if err := b.m.Resume(b.ctx, "late"); err != nil {
					t.Fatal(err)
				}
				fresh := append(b.publish("good1", "sick1", "sick2"), b.publishTo("other", "good1")...)
				b.wait(time.Hour)
				b.settled("live")
				b.settled("paused")
				if n := len(b.endpoint("well").all()); n != 34 {
					t.Fatalf("what was delivered before is delivered again: %d attempts", n)
				}
				for {
					more := b.pull(100, 0)
					if len(more) == 0 {
						break
					}
					for _, l := range more {
						if l.Event.ID == held[0].Event.ID || slices.Contains(leaseIDs(leases[:2]), l.Event.ID) {
							t.Fatalf("%s was acknowledged and comes again", l.Event.ID)
						}
					}
					b.ack(more...)
				}
				b.settled("s")
				for k, text := range b.told("live", "s") {
					if strings.HasPrefix(k, "s other") || strings.Contains(k, "_tandem") {
						continue
					}
					if n := strings.Count(text, "State:delivered") + strings.Count(text, "State:dead"); n != 1 {
						t.Fatalf("%s has %d outcomes:\n%s", k, n, text)
					}
				}
				b.onceEach(f, "live")
				slices.Sort(fresh)
				var got []string
				for _, a := range f.all() {
					if a.header.Get(tandem.HeaderSubscription) == "late" {
						got = append(got, a.id)
					}
				}
				if slices.Sort(got); !slices.Equal(got, fresh) {
					t.Fatalf("a subscription to what comes later got %v, want %v", got, fresh)
				}
			})
		})
	}
}

// forget removes the cursors of a subscription, as if it had been declared a moment ago: its configuration says where it begins.
func (b *bed) forget(name string) {
	b.t.Helper()
	var tx eventlog.Tx
	if err := b.log.ScanState(b.ctx, subPrefix(name)+kindAt, func(key string, _ []byte) bool {
		tx.State = append(tx.State, driver.StateOp{Key: key})
		return true
	}); err != nil || len(tx.State) == 0 {
		b.t.Fatal(len(tx.State), err)
	}
	if _, err := b.log.Commit(b.ctx, &tx); err != nil {
		b.t.Fatal(err)
	}
}

// onceEach fails if a subscription was sent an event again after it had taken it.
func (b *bed) onceEach(f *endpointFake, name string) {
	b.t.Helper()
	taken := map[string]int{}
	for _, a := range f.all() {
		if a.header.Get(tandem.HeaderSubscription) == name && strings.HasPrefix(a.key, "good") {
			if taken[a.id]++; taken[a.id] > 1 {
				b.t.Fatalf("%s was taken %d times by %s", a.id, taken[a.id], name)
			}
		}
	}
}

// TestMigrateRetired: what retention removed before it was copied, and before its delivery had an outcome, is recorded as expired.
func TestMigrateRetired(t *testing.T) {
	for _, kinds := range [][2]bool{{false, true}, {true, false}} {
		t.Run(fmt.Sprint(kinds), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
				b.over(memlog.New(memlog.Options{Partitioned: kinds[0]}))
				if _, err := b.log.CreateTopic(b.ctx, tandem.Topic{Name: "orders", Partitions: 1, Retention: tandem.Duration(time.Hour)}); err != nil {
					t.Fatal(err)
				}
				down, paused := sub("down"), sub("paused")
				b.start(down, paused)
				f.set(nil)
				b.publish("first")
				b.wait(time.Second)
				f.set(func(attemptSeen) *http.Response { return nil })
				if err := b.m.Pause(b.ctx, "paused"); err != nil {
					t.Fatal(err)
				}
				b.publish("a", "b", "c")
				b.wait(time.Minute)
				b.stop()
				b.wait(90 * time.Minute)
				b.over(b.eng)
				b.publish("d")
				b.eng.RunRetention()
				b.migrate(kinds[1])
				f.set(nil)
				b.start()
				if err := b.m.Resume(b.ctx, "paused"); err != nil {
					t.Fatal(err)
				}
				b.wait(time.Hour)
				for _, n := range []string{"down", "paused"} {
					if st := b.status(n); st.Expired != 3 || st.Lag != 0 {
						t.Fatalf("%s: %+v", n, st)
					}
					page, err := b.m.Deliveries(b.ctx, n, tandem.DeliveryQuery{State: tandem.DeliveryExpired})
					if err != nil || len(page.Deliveries) == 0 || page.Deliveries[0].Position.Topic != "orders" {
						t.Fatalf("%s: %+v, %v", n, page, err)
					}
				}
				synctest.Wait()
			})
		})
	}
}

// move migrates the log of a model into another one.
func (m *model) move() {
	if m.moves {
		m.b.migrate(m.rng.IntN(2) == 0)
	}
}

// TestMigrateModel is TestModel with a migration, between logs of both kinds, after each crash and each stop. TANDEM_SOAK=1 runs 10,000 seeds,
// TANDEM_SEED=N runs that one.
func TestMigrateModel(t *testing.T) {
	seeds, first := 80, 1
	if os.Getenv("TANDEM_SOAK") != "" {
		seeds = 10_000
	}
	if one, err := strconv.Atoi(os.Getenv("TANDEM_SEED")); err == nil {
		seeds, first = 1, one
	}
	moved := 0
	for seed := first; seed < first+seeds && !t.Failed(); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
				b.over(memlog.New(memlog.Options{Partitioned: seed%2 == 0}))
				b.topic("orders", 4)
				m := newModel(t, b, uint64(seed))
				m.moves = true
				m.run()
				moved += len(m.ends)
			})
		})
	}
	if moved < seeds/2 {
		t.Fatalf("only %d migrations", moved)
	}
}

// TestMigrateThenRetired: what retention removes in the new log before it is delivered is counted there as it would have been in the old one.
func TestMigrateThenRetired(t *testing.T) {
	for _, kinds := range [][2]bool{{false, true}, {true, false}} {
		t.Run(fmt.Sprint(kinds), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
				b.over(memlog.New(memlog.Options{Partitioned: kinds[0]}))
				if _, err := b.log.CreateTopic(b.ctx, tandem.Topic{Name: "orders", Partitions: 1, Retention: tandem.Duration(time.Hour)}); err != nil {
					t.Fatal(err)
				}
				b.start(sub("s"))
				b.publish("a", "b", "c", "d", "e")
				b.wait(2 * time.Hour)
				b.eng.RunRetention() // so that numbers begin anew in the new log
				if err := b.m.Pause(b.ctx, "s"); err != nil {
					t.Fatal(err)
				}
				b.publish("f", "g")
				b.wait(50 * time.Minute)
				b.publish("h")
				b.stop()
				b.migrate(kinds[1])
				b.wait(20 * time.Minute)
				b.eng.RunRetention()
				b.start()
				if err := b.m.Resume(b.ctx, "s"); err != nil {
					t.Fatal(err)
				}
				b.wait(time.Minute)
				if st := b.status("s"); st.Expired != 2 || st.Lag != 0 || st.Delivered != 1 {
					t.Fatalf("%+v", st)
				}
			})
		})
	}
}
