package chain_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/chain"
)

// tree is a chain with a branch: a answers with two events that b and c take, then d is called with the cause.
func tree() []*fake {
	return []*fake{
		{name: "a", topic: "orders", types: []string{"placed"}, call: replying("a", "results", "a1", "a2")},
		{name: "b", topic: "results", types: []string{"a1"}, call: replying("b", "orders", "b1")},
		{name: "c", topic: "results", types: []string{"a2"}, call: replying("c", "results", "c1")},
		{name: "d", topic: "orders", types: []string{"placed", "b1"}},
	}
}

func TestDepthFirst(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			links := tree()
			b := newBed(t, engine, chain.Options{}, links...)
			res, err := b.publish(placed("1"))
			if err != nil {
				t.Fatal(err)
			}
			b.calls("a placed", "b a1", "d b1", "c a2", "d placed")
			if got := types(res.Replies); got != "a1 b1 a2 c1" {
				t.Errorf("replies %s", got)
			}
			if got := b.stored(); got != "placed b1 a1 a2 c1" {
				t.Errorf("stored %s", got)
			}
			if res.Receipt.ID != "1" || res.Receipt.Topic != "orders" || res.Receipt.Cursor == "" {
				t.Errorf("receipt %+v", res.Receipt)
			}
			for _, l := range links {
				for _, n := range l.noted {
					if !n.Stored || n.Event.Position.Offset == 0 && !engine.Partitioned {
						t.Errorf("%s noted %+v", l.name, n)
					}
				}
			}
			info, _ := b.log.Topic(t.Context(), "orders")
			recs, err := b.log.ReadPartition(t.Context(), info.ID, res.Receipt.Partition, res.Receipt.Offset, 1, nil)
			if err != nil || len(recs) != 1 || !chain.Took(&recs[0], "a", 0) || !chain.Took(&recs[0], "d", 0) || chain.Took(&recs[0], "b", 0) {
				t.Errorf("the cause is marked as %+v, %v", recs, err)
			}
		})
	}
}

// TestNothingUntilAllSucceeded has each link of the tree fail in turn.
func TestNothingUntilAllSucceeded(t *testing.T) {
	done := map[string]string{"a": "", "b": "a", "c": "a b d", "d": "a b"}
	for i, l := range tree() {
		t.Run(l.name, func(t *testing.T) {
			links := tree()
			links[i].call = failing(tandem.LinkRefused, 422)
			b := newBed(t, memlog.Options{}, chain.Options{}, links...)
			_, err := b.publish(placed("1"))
			var e *tandem.Error
			if !errors.As(err, &e) || e.Code != tandem.CodeRequestLink || e.Link == nil {
				t.Fatalf("failed with %v", err)
			}
			if got := strings.Join(e.Link.Done, " "); e.Link.Link != l.name || e.Link.Outcome != tandem.LinkRefused || got != done[l.name] {
				t.Errorf("failed with %+v", e.Link)
			}
			if p := tandem.ProblemOf(err); p.Status != 502 || strings.Contains(p.Detail, "secret") || !strings.Contains(p.Detail, "422") {
				t.Errorf("problem %+v", p)
			}
			if got := b.stored(); got != "" {
				t.Errorf("stored %s", got)
			}
			for _, l := range links {
				for _, n := range l.noted {
					if n.Stored || (n.Because == "") == (n.Answer.Outcome == "") {
						t.Errorf("%s noted %+v", l.name, n)
					}
				}
			}
			// The repeat calls all again, and takes effect.
			links[i].call = tree()[i].call
			b.trace.take()
			if _, err := b.publish(placed("1")); err != nil {
				t.Fatal(err)
			}
			b.calls("a placed", "b a1", "d b1", "c a2", "d placed")
			if got := b.stored(); got != "placed b1 a1 a2 c1" {
				t.Errorf("stored %s", got)
			}
		})
	}
}

func TestRepeatOfStored(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, engine, chain.Options{}, tree()...)
			first, err := b.publish(placed("1"))
			if err != nil {
				t.Fatal(err)
			}
			b.trace.take()
			for range 2 {
				again, err := b.publish(placed("1"))
				if err != nil {
					t.Fatal(err)
				}
				b.calls()
				r := again.Receipt
				if r.Duplicate != tandem.DuplicateYes || r.Partition != first.Receipt.Partition || r.Offset != first.Receipt.Offset {
					t.Errorf("receipt %+v, the first %+v", r, first.Receipt)
				}
				if types(again.Replies) != types(first.Replies) || again.Replies[0].ID != first.Replies[0].ID {
					t.Errorf("replies %s", types(again.Replies))
				}
			}
			other := placed("1")
			other.Data = []byte(`{"n":2}`)
			if _, err := b.publish(other); tandem.CodeOf(err) != tandem.CodeConflict {
				t.Errorf("other data: %v", err)
			}
			b.calls()
			if got := b.stored(); got != "placed b1 a1 a2 c1" {
				t.Errorf("stored %s", got)
			}
		})
	}
}

// TestSingleFlight: who repeats an event while its chain runs waits for that, and other data is a conflict at once.
func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &fake{name: "a", topic: "orders", call: func(ctx context.Context, rec *tandem.Record) chain.Answer {
			time.Sleep(time.Second)
			return replying("a", "results", "a1")(ctx, rec)
		}}
		b := newBed(t, memlog.Options{}, chain.Options{}, slow)
		type outcome struct {
			res chain.Result
			err error
		}
		out := make(chan outcome, 5)
		for range cap(out) {
			go func() {
				res, err := b.publish(placed("1"))
				out <- outcome{res, err}
			}()
		}
		synctest.Wait()
		other := placed("1")
		other.Type = "changed"
		if _, err := b.publish(other); tandem.CodeOf(err) != tandem.CodeConflict {
			t.Errorf("other data meanwhile: %v", err)
		}
		fresh := 0
		for range cap(out) {
			o := <-out
			if o.err != nil || types(o.res.Replies) != "a1" {
				t.Errorf("%v, replies %s", o.err, types(o.res.Replies))
			}
			if o.res.Receipt.Duplicate == tandem.DuplicateNo {
				fresh++
			}
		}
		if fresh != 1 {
			t.Errorf("%d were the first", fresh)
		}
		b.calls("a placed")
	})
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wait := func(d time.Duration) func(context.Context, *tandem.Record) chain.Answer {
			return func(ctx context.Context, _ *tandem.Record) chain.Answer {
				select {
				case <-time.After(d):
					return chain.Answer{Status: 204}
				case <-ctx.Done():
					return chain.Answer{Outcome: tandem.LinkUnavailable}
				}
			}
		}
		b := newBed(t, memlog.Options{}, chain.Options{Timeout: 3 * time.Second},
			&fake{name: "a", topic: "orders", call: wait(2 * time.Second)}, &fake{name: "b", topic: "orders", call: wait(2 * time.Second)})
		begun := time.Now()
		_, err := b.publish(placed("1"))
		var e *tandem.Error
		if !errors.As(err, &e) || e.Link == nil || e.Link.Link != "b" || e.Link.Outcome != tandem.LinkTimeout || !slices.Equal(e.Link.Done, []string{"a"}) {
			t.Errorf("%v", err)
		}
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("took %s", took)
		}
		if tandem.ProblemOf(err).Status != 504 || b.stored() != "" {
			t.Errorf("status %d, stored %q", tandem.ProblemOf(err).Status, b.stored())
		}
	})
}

// TestParallel: neighbours that are parallel are called together, one that is not waits for all before it, and the order of what is
// stored is the declared one.
func TestParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		after := func(d time.Duration, name string) func(context.Context, *tandem.Record) chain.Answer {
			return func(ctx context.Context, rec *tandem.Record) chain.Answer {
				time.Sleep(d)
				return replying(name, "results", name+"1")(ctx, rec)
			}
		}
		links := []*fake{
			{name: "a", topic: "orders", parallel: true, call: after(3*time.Second, "a")},
			{name: "b", topic: "orders", parallel: true, call: after(2*time.Second, "b")},
			{name: "c", topic: "orders", call: after(time.Second, "c")},
		}
		b := newBed(t, memlog.Options{}, chain.Options{}, links...)
		begun := time.Now()
		res, err := b.publish(placed("1"))
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took != 4*time.Second {
			t.Errorf("took %s", took)
		}
		if got := types(res.Replies); got != "a1 b1 c1" {
			t.Errorf("replies %s", got)
		}
		// One fails while its neighbour works: the neighbour ends, and counts as done.
		links[1].call = func(ctx context.Context, rec *tandem.Record) chain.Answer {
			time.Sleep(time.Second) // its neighbour has begun by then
			return failing(tandem.LinkUnavailable, 503)(ctx, rec)
		}
		_, err = b.publish(placed("2"))
		var e *tandem.Error
		if !errors.As(err, &e) || e.Link == nil || e.Link.Link != "b" || !slices.Equal(e.Link.Done, []string{"a"}) {
			t.Errorf("%v", err)
		}
	})
}

func TestLoop(t *testing.T) {
	b := newBed(t, memlog.Options{}, chain.Options{}, &fake{name: "a", topic: "results"})
	again := &fake{name: "a", topic: "orders", call: replying("a", "orders", "again")}
	b.use(again)
	_, err := b.publish(placed("1"))
	var e *tandem.Error
	if !errors.As(err, &e) || e.Link == nil || e.Link.Outcome != tandem.LinkRefused || !strings.Contains(e.Error(), "loop") {
		t.Errorf("%v", err)
	}
	if n := len(b.trace.take()); n != tandem.MaxHops+1 || b.stored() != "" {
		t.Errorf("%d calls, stored %q", n, b.stored())
	}
}

// TestFirstBad: what cannot be stored is refused before anybody is called.
func TestFirstBad(t *testing.T) {
	b := newBed(t, memlog.Options{}, chain.Options{}, &fake{name: "a", topic: "orders"})
	bad := placed("1")
	bad.Type = ""
	if _, err := b.publish(bad); tandem.CodeOf(err) != tandem.CodeInvalid {
		t.Errorf("%v", err)
	}
	b.calls()
}

// TestBadReply: a reply that the log would not take is the fault of its link.
func TestBadReply(t *testing.T) {
	b := newBed(t, memlog.Options{}, chain.Options{}, &fake{name: "a", topic: "orders", call: replying("a", "nowhere", "a1")})
	_, err := b.publish(placed("1"))
	var e *tandem.Error
	if !errors.As(err, &e) || e.Link == nil || e.Link.Link != "a" || e.Link.Outcome != tandem.LinkRefused || len(e.Link.Done) != 0 {
		t.Errorf("%v", err)
	}
}

func TestStopEndsChains(t *testing.T) {
	called := make(chan struct{})
	b := newBed(t, memlog.Options{}, chain.Options{}, &fake{name: "a", topic: "orders", call: func(ctx context.Context, _ *tandem.Record) chain.Answer {
		close(called)
		<-ctx.Done()
		return chain.Answer{Outcome: tandem.LinkTimeout}
	}})
	errs := make(chan error, 1)
	go func() { _, err := b.publish(placed("1")); errs <- err }()
	<-called
	b.chain.Stop(t.Context())
	if err := <-errs; tandem.ProblemOf(err).Status != 503 {
		t.Errorf("%v", err)
	}
}
