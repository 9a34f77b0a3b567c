package chain_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/chain"
)

// repeated publishes an event that is stored: nobody may be called, and the replies are those of the first.
func (b *bed) repeated(id, replies string) {
	b.t.Helper()
	b.trace.take()
	res, err := b.publish(placed(id))
	if err != nil || res.Receipt.Duplicate != tandem.DuplicateYes || types(res.Replies) != replies || res.Receipt.Cursor == "" {
		b.t.Errorf("%+v, replies %q, %v", res.Receipt, types(res.Replies), err)
	}
	other := placed(id)
	other.Data = []byte(`{"n":2}`)
	if _, err := b.publish(other); tandem.CodeOf(err) != tandem.CodeConflict {
		b.t.Errorf("other data: %v", err)
	}
	b.calls()
}

// onEngines runs a test on each engine, in virtual time.
func onEngines(t *testing.T, test func(*bed)) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(newBed(t, engine, chain.Options{}, tree()...)) })
		})
	}
}

// TestRepeatOfOld: the window is a day, and not as long as what is searched first.
func TestRepeatOfOld(t *testing.T) {
	onEngines(t, func(b *bed) {
		if _, err := b.publish(placed("1")); err != nil {
			b.t.Fatal(err)
		}
		for range 3 {
			time.Sleep(7 * time.Hour)
			b.repeated("1", "a1 b1 a2 c1")
		}
	})
}

// TestRepeatOfUnlinked: an event that was stored past the links, or before there were any, is stored.
func TestRepeatOfUnlinked(t *testing.T) {
	onEngines(t, func(b *bed) {
		if _, err := b.log.Append(b.t.Context(), "orders", []tandem.Event{placed("1")}); err != nil {
			b.t.Fatal(err)
		}
		b.records("orders") // an engine that finds repeats late finds them among what was read
		time.Sleep(time.Hour)
		b.repeated("1", "")
		b.repeated("1", "")
		if got := b.stored(); got != "placed" {
			b.t.Errorf("stored %s", got)
		}
	})
}

// TestRepeatOfBeginning: where a crash came between the cause and its replies, the repeat calls, once, and what it completed is found again.
func TestRepeatOfBeginning(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBedOn(t, stepwise{memlog.New(engine)}, chain.Options{}, tree()...)
				begun := &eventlog.Tx{Events: []eventlog.TopicEvent{{Topic: "orders", Event: placed("1"), Links: "a=x"}}}
				if _, err := b.log.Commit(t.Context(), begun); err != nil {
					t.Fatal(err)
				}
				b.records("orders")
				time.Sleep(time.Hour)
				if _, err := b.publish(placed("1")); err != nil {
					t.Fatal(err)
				}
				b.calls("a placed", "b a1", "d b1", "c a2", "d placed")
				time.Sleep(time.Hour)
				b.repeated("1", "a1 b1 a2 c1")
				if got := b.stored(); got != "placed b1 a1 a2 c1" {
					t.Errorf("stored %s", got)
				}
			})
		})
	}
}

// stepwise is an engine that does not store events and state in one step.
type stepwise struct{ *memlog.Engine }

func (s stepwise) Info() driver.Info {
	info := s.Engine.Info()
	info.Atomic = false
	return info
}

// TestRecordAlone: the record finds a chain whose ids the engine has forgotten.
func TestRecordAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBedOn(t, forgetful{memlog.New(memlog.Options{Partitioned: true})}, chain.Options{}, tree()...)
		if _, err := b.publish(placed("1")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		b.repeated("1", "a1 b1 a2 c1")
	})
}

// forgetful is an engine that finds no ids.
type forgetful struct{ *memlog.Engine }

func (forgetful) Find(context.Context, *driver.Record) error { return nil }

// TestWaiters: each of those who wait for a chain that fails has an error of its own, which it makes fit its request, and the flow in which
// the calls are found.
func TestWaiters(t *testing.T) {
	for name, fails := range map[string]bool{"failed": true, "stored": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, memlog.Options{}, chain.Options{}, &fake{name: "a", topic: "orders", call: func(context.Context, *tandem.Record) chain.Answer {
					time.Sleep(time.Second)
					if fails {
						return chain.Answer{Outcome: tandem.LinkRefused, Status: 422}
					}
					return chain.Answer{Status: 204}
				}})
				type outcome struct {
					flow string
					err  error
				}
				out := make(chan outcome)
				for i := range 3 {
					go func() {
						e := placed("1")
						e.Meta.Flow = fmt.Sprint("flow-", i)
						tx := &eventlog.Tx{Events: []eventlog.TopicEvent{{Topic: "orders", Event: e}}}
						_, err := b.chain.Publish(t.Context(), tx)
						out <- outcome{tx.Events[0].Event.Meta.Flow, err}
					}()
				}
				seen, flows := map[*tandem.Error]bool{}, map[string]bool{}
				for range 3 {
					o := <-out
					flows[o.flow] = true
					var e *tandem.Error
					if errors.As(o.err, &e) != fails {
						t.Fatal(o.err)
					}
					if fails {
						seen[e] = true
						e.WithField("/a", "is changed")
						if len(e.Fields) != 1 {
							t.Errorf("changed by others: %+v", e.Fields)
						}
					}
				}
				if fails && len(seen) != 3 || len(flows) != 1 {
					t.Errorf("%d errors, flows %v", len(seen), flows)
				}
				b.calls("a placed")
			})
		})
	}
}

// TestInvalidReply: what was wrong with an answer of success is said, and not its status.
func TestInvalidReply(t *testing.T) {
	b := newBed(t, memlog.Options{}, chain.Options{}, &fake{name: "a", topic: "orders", call: answering(func(tandem.Event) chain.Answer {
		return chain.Answer{Outcome: tandem.LinkRefused, Status: 200, Reason: "its reply is not a CloudEvent", Detail: "secret"}
	})})
	_, err := b.publish(placed("1"))
	if p := tandem.ProblemOf(err); !strings.Contains(p.Detail, "its reply is not a CloudEvent") || strings.Contains(p.Detail, "secret") || strings.Contains(p.Detail, "200") {
		t.Errorf("%+v", p)
	}
}
