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

// TestLogIsAskedFirst: nobody is called while the log stores nothing.
func TestLogIsAskedFirst(t *testing.T) {
	b := newBed(t, memlog.Options{}, chain.Options{}, tree()...)
	b.eng.Fail(tandem.Errorf(tandem.CodeUnavailable, "the disk is full"))
	for _, id := range []string{"", "1"} {
		if _, err := b.publish(placed(id)); tandem.CodeOf(err) != tandem.CodeUnavailable {
			t.Errorf("%v", err)
		}
	}
	if _, err := b.chain.Follow(t.Context(), []eventlog.TopicEvent{{Topic: "orders", Event: placed("1")}}); tandem.CodeOf(err) != tandem.CodeUnavailable {
		t.Errorf("%v", err)
	}
	b.calls()
}

// TestTooMuchBeforeCalls: what the engine cannot take with its mark is refused before anybody is called.
func TestTooMuchBeforeCalls(t *testing.T) {
	full := placed("1")
	full.Meta.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	b := newBedOn(t, narrow{memlog.New(memlog.Options{}), eventlog.SizeOf(&full) + len(full.Meta.TraceParent)}, chain.Options{}, tree()...)
	if _, err := b.log.Append(t.Context(), "results", []tandem.Event{full}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.publish(full); tandem.CodeOf(err) != tandem.CodeTooLarge {
		t.Errorf("%v", err)
	}
	b.calls()
}

// TestMarkFits: an event that more links take than its mark can name is refused before anybody is called, since clients could not read it.
func TestMarkFits(t *testing.T) {
	links := make([]*fake, 20)
	for i := range links {
		links[i] = &fake{name: fmt.Sprintf("%s%02d", strings.Repeat("n", 198), i), topic: "orders"}
	}
	b := newBed(t, memlog.Options{}, chain.Options{}, links...)
	if _, err := b.publish(placed("1")); tandem.CodeOf(err) != tandem.CodeUnsupported {
		t.Errorf("%v", err)
	}
	b.calls()
	b.use(links[1:]...)
	if _, err := b.publish(placed("1")); err != nil {
		t.Error(err)
	}
	if _, err := tandem.ParseEventJSON(tandem.AppendEventJSON(nil, &b.records("orders")[0].Event)); err != nil {
		t.Error(err)
	}
}

// TestRecordFits: a chain whose names are more than the engine takes in one record is not stored.
func TestRecordFits(t *testing.T) {
	many := make([]string, 30)
	for i := range many {
		many[i] = fmt.Sprint("t", i)
	}
	b := newBedOn(t, narrow{memlog.New(memlog.Options{}), 2000}, chain.Options{}, &fake{name: "a", topic: "orders", call: replying("a", "results", many...)})
	_, err := b.publish(placed("1"))
	var e *tandem.Error
	if !errors.As(err, &e) || e.Link == nil || e.Link.Link != "a" || b.stored() != "" {
		t.Errorf("%v, stored %q", err, b.stored())
	}
	if _, err := b.publish(placed("")); err != nil { // it has no record
		t.Error(err)
	}
}

// narrow is an engine that takes few bytes for an event.
type narrow struct {
	*memlog.Engine
	most int
}

func (n narrow) Info() driver.Info {
	info := n.Engine.Info()
	info.MaxEventBytes = n.most
	return info
}

// TestChainsAreBounded: beyond the bound nobody is called, and who waits for a chain takes no place.
func TestChainsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, memlog.Options{}, chain.Options{Chains: 2}, &fake{name: "a", topic: "orders", call: func(context.Context, *tandem.Record) chain.Answer {
			time.Sleep(time.Second)
			return chain.Answer{Status: 204}
		}})
		errs := make(chan error)
		for _, id := range []string{"1", "1", "2"} {
			go func() { _, err := b.publish(placed(id)); errs <- err }()
		}
		synctest.Wait()
		var e *tandem.Error
		if _, err := b.publish(placed("3")); !errors.As(err, &e) || e.Code != tandem.CodeOverloaded || e.RetryAfter <= 0 {
			t.Errorf("%v", err)
		}
		for range 3 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if _, err := b.publish(placed("3")); err != nil {
			t.Error(err)
		}
		b.calls("a placed", "a placed", "a placed")
	})
}

// TestClientLeaves: a chain under way goes on, and the rest of a batch is not begun.
func TestClientLeaves(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	b := newBed(t, memlog.Options{}, chain.Options{}, &fake{name: "a", topic: "orders", call: func(ctx context.Context, rec *tandem.Record) chain.Answer {
		leave()
		if ctx.Err() != nil {
			return chain.Answer{Outcome: tandem.LinkTimeout}
		}
		return replying("a", "results", "a1")(ctx, rec)
	}})
	got := b.chain.AppendEach(ctx, "orders", []tandem.Event{placed("1"), placed("2"), placed("")})
	if got[0].Err != nil {
		t.Errorf("the first failed with %v", got[0].Err)
	}
	for _, s := range got[1:] {
		if tandem.CodeOf(s.Err) != tandem.CodeUnavailable {
			t.Errorf("%+v", s)
		}
	}
	b.calls("a placed")
	if got := b.stored(); got != "placed a1" {
		t.Errorf("stored %s", got)
	}
}

// TestStoringOutlivesTheDeadline: when all have succeeded, the deadline of the chain is over, and not in the way of the log.
func TestStoringOutlivesTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, memlog.Options{}, chain.Options{Timeout: 3 * time.Second}, tree()...)
		reached, resume := b.eng.Stall()
		errs := make(chan error)
		go func() { _, err := b.publish(placed("1")); errs <- err }()
		<-reached
		time.Sleep(time.Minute)
		resume()
		if err := <-errs; err != nil {
			t.Error(err)
		}
		if got := b.stored(); got != "placed b1 a1 a2 c1" {
			t.Errorf("stored %s", got)
		}
	})
}

// TestRepliesAreBounded: a chain that answers more than memory holds is refused, with the link that was too much.
func TestRepliesAreBounded(t *testing.T) {
	big := []byte(`"` + strings.Repeat("d", 1000_000) + `"`)
	for name, tt := range map[string]struct {
		n    int
		data []byte
	}{"number": {10_001, nil}, "bytes": {68, big}} {
		t.Run(name, func(t *testing.T) {
			two := &fake{name: "b", topic: "orders", call: answering(func(e tandem.Event) chain.Answer {
				a := chain.Answer{Status: 200, Replies: make([]eventlog.TopicEvent, tt.n-1)}
				for i := range a.Replies {
					a.Replies[i] = eventlog.TopicEvent{Topic: "results", Event: tandem.Event{ID: fmt.Sprint("r", i), Source: "/b", Type: "b1", Data: tt.data}}
				}
				return a
			})}
			b := newBed(t, memlog.Options{}, chain.Options{}, two)
			if _, err := b.publish(placed("1")); err != nil {
				t.Fatalf("one less: %v", err)
			}
			b.use(&fake{name: "a", topic: "orders", call: answering(func(e tandem.Event) chain.Answer {
				return chain.Answer{Status: 200, Replies: []eventlog.TopicEvent{{Topic: "results", Event: tandem.Event{ID: "r", Source: "/a", Type: "a1", Data: tt.data}}}}
			})}, two, &fake{name: "c", topic: "orders"})
			b.trace.take()
			_, err := b.publish(placed("2"))
			var e *tandem.Error
			if !errors.As(err, &e) || e.Link == nil || e.Link.Link != "b" || e.Link.Outcome != tandem.LinkRefused || !strings.Contains(e.Error(), "10000 replies or 64 MiB") {
				t.Errorf("%v", err)
			}
			b.calls("a placed", "b placed")
		})
	}
}
