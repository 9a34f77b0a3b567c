package operation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a log with a topic and the operations on it.
type house struct {
	t   *testing.T
	eng *memlog.Engine
	log *eventlog.Log
	*Operations
}

func build(t *testing.T, eng *memlog.Engine, opts Options) *house {
	t.Helper()
	log, err := eventlog.Open(t.Context(), eng, eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Topic(t.Context(), "orders"); err != nil {
		if _, err := log.CreateTopic(t.Context(), tandem.Topic{Name: "orders", Partitions: 2}); err != nil {
			t.Fatal(err)
		}
	}
	opts.Logger = slog.New(slog.DiscardHandler)
	h := &house{t, eng, log, New(log, opts)}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

func newHouse(t *testing.T, opts Options) *house {
	h := build(t, memlog.New(memlog.Options{}), opts)
	t.Cleanup(h.close)
	return h
}

func (h *house) close() {
	if err := h.Stop(context.Background()); err != nil {
		h.t.Error(err)
	}
	h.log.Close()
}

// crash stops everything and starts it again on what is stored.
func (h *house) crash(opts Options) *house {
	if err := h.Stop(context.Background()); err != nil {
		h.t.Fatal(err)
	}
	return build(h.t, h.eng, opts)
}

var orderSpec = tandem.OperationSpec{Topics: []string{"orders"}, Succeed: []string{"order.done"}, Fail: []string{"order.failed"},
	Timeout: tandem.Duration(time.Minute)}

func (h *house) begin() tandem.Operation {
	h.t.Helper()
	op, state, err := h.Begin(h.t.Context(), orderSpec, "flow")
	if err == nil {
		_, err = h.log.Commit(h.t.Context(), &eventlog.Tx{State: []driver.StateOp{state}})
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return op
}

func (h *house) publish(typ, operation string) {
	h.t.Helper()
	ev := tandem.Event{Source: "/test", Type: typ, Data: []byte(`{"a":1}`), Meta: tandem.Meta{Operation: operation}}
	if _, err := h.log.Append(h.t.Context(), "orders", []tandem.Event{ev}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) wait(id string) tandem.Operation {
	h.t.Helper()
	op, err := h.Wait(h.t.Context(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	return op
}

func TestEndsByEvent(t *testing.T) {
	h := newHouse(t, Options{})
	for typ, want := range map[string]tandem.OperationState{"order.done": tandem.OperationSucceeded, "order.failed": tandem.OperationFailed} {
		op := h.begin()
		other := h.begin()
		h.publish("order.placed", op.ID) // of no declared type
		h.publish(typ, "")               // of no operation
		h.publish(typ, op.ID)
		got := h.wait(op.ID)
		if got.State != want || got.Result == nil || got.Result.Type != typ || string(got.Result.Data) != `{"a":1}` || got.Ended == "" {
			t.Errorf("%s: got %+v, want %s with the event", typ, got, want)
		}
		if op, _ := h.Get(t.Context(), other.ID); op.State != tandem.OperationRunning {
			t.Errorf("another operation ended, too: %+v", op)
		}
		// The end is final.
		h.publish("order.failed", op.ID)
		if _, err := h.Cancel(t.Context(), op.ID); (err == nil) || tandem.CodeOf(err) != tandem.CodeConflict {
			t.Errorf("cancel of an ended operation: %v, want a conflict", err)
		}
		if again, err := h.Get(t.Context(), op.ID); err != nil || again.State != want || again.Result == nil || again.Result.ID != got.Result.ID {
			t.Errorf("read again: %+v, %v", again, err)
		}
	}
}

func TestEventBeforeConfirm(t *testing.T) {
	h := newHouse(t, Options{})
	op, _, err := h.Begin(t.Context(), orderSpec, "")
	if err != nil {
		t.Fatal(err)
	}
	h.publish("order.done", op.ID)
	h.wait(op.ID)
	if err := h.Confirm(t.Context(), op.ID); err != nil {
		t.Fatal(err)
	}
	h2 := h.crash(Options{})
	if got, err := h2.Get(t.Context(), op.ID); err != nil || got.State != tandem.OperationSucceeded {
		t.Errorf("after a restart: %+v, %v; want succeeded", got, err)
	}
	if n := h2.Running(); n != 0 {
		t.Errorf("%d operations run after a restart, want 0: an operation that had ended was confirmed as running", n)
	}
	h2.close()
}

func TestRestartMissesNothing(t *testing.T) {
	h := newHouse(t, Options{})
	var ids []string
	for range 20 {
		ids = append(ids, h.begin().ID)
	}
	for _, id := range ids[:5] {
		h.publish("order.done", id)
		h.wait(id)
	}
	if err := h.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Stored while nobody reads.
	for _, id := range ids[5:10] {
		h.publish("order.done", id)
	}
	h2 := build(t, h.eng, Options{})
	defer h2.close()
	for _, id := range ids[10:15] {
		h2.publish("order.done", id)
	}
	for i, id := range ids[:15] {
		if op := h2.wait(id); op.State != tandem.OperationSucceeded {
			t.Errorf("operation %d is %s, want succeeded", i, op.State)
		}
	}
	if op, err := h2.Cancel(t.Context(), ids[19]); err != nil || op.State != tandem.OperationCancelled {
		t.Errorf("cancel after restart: %+v, %v", op, err)
	}
	if n := h2.Running(); n != 4 {
		t.Errorf("%d run, want 4", n)
	}
}

// A reader that starts at the present after a crash would miss the event stored before it.
func TestCursorMovesWithTheEnds(t *testing.T) {
	h := newHouse(t, Options{})
	a, b := h.begin(), h.begin()
	h.publish("order.done", a.ID)
	h.wait(a.ID)

	// From here on nothing can be stored by the keeper: as if the process died before it could.
	h.eng.Fail(tandem.Errorf(tandem.CodeUnavailable, "broken"))

	if _, err := h.Cancel(t.Context(), b.ID); tandem.CodeOf(err) != tandem.CodeUnavailable {
		t.Fatalf("cancel on a broken log: %v, want unavailable", err)
	}
	if op, _ := h.Get(t.Context(), b.ID); op.State != tandem.OperationRunning {
		t.Errorf("an operation whose end was not stored shows %s", op.State)
	}
	h.eng.Fail(nil)
	h2 := h.crash(Options{})
	defer h2.close()
	h2.publish("order.failed", b.ID)
	if op := h2.wait(b.ID); op.State != tandem.OperationFailed {
		t.Errorf("got %s", op.State)
	}
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, memlog.New(memlog.Options{}), Options{})
		defer h.close()
		began := time.Now()
		op := h.begin()
		got := h.wait(op.ID)
		if got.State != tandem.OperationFailed || got.Problem == nil || got.Problem.Status != 504 || got.Result != nil {
			t.Errorf("got %+v, want failed with a problem", got)
		}
		if d := time.Since(began); d != time.Minute {
			t.Errorf("ended after %s, want 1m", d)
		}
	})
}

func TestTimeoutsInOrderAndAfterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, memlog.New(memlog.Options{}), Options{})
		defer h.close()
		spec := orderSpec
		var ids []string
		for i := range 300 {
			spec.Timeout = tandem.Duration(time.Duration(i%7+1) * time.Second)
			op, _, err := h.Begin(t.Context(), spec, "")
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, op.ID)
		}
		time.Sleep(3500 * time.Millisecond) // virtual
		synctest.Wait()
		for i, id := range ids {
			op, err := h.Get(t.Context(), id)
			if err != nil || op.State.Final() != (i%7 < 3) {
				t.Fatalf("operation %d with %ds is %s after 3.5s (%v)", i, i%7+1, op.State, err)
			}
		}
		h.eng.Fail(errors.New("full"))
		time.Sleep(10 * time.Second)
		if n := h.Running(); n == 0 {
			t.Error("operations ended though nothing could be stored")
		}
		h.eng.Fail(nil)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := h.Running(); n != 0 {
			t.Errorf("%d run after their time", n)
		}
	})
}

func TestTimeoutWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, memlog.New(memlog.Options{}), Options{})
		late, inTime := h.begin(), h.begin()
		h.Stop(context.Background())
		h.publish("order.done", inTime.ID)
		time.Sleep(time.Hour)
		h2 := build(t, h.eng, Options{})
		defer h2.close()
		defer h.log.Close()
		if op := h2.wait(inTime.ID); op.State != tandem.OperationSucceeded {
			t.Errorf("the event was stored in time, but the operation is %s", op.State)
		}
		if op := h2.wait(late.ID); op.State != tandem.OperationFailed {
			t.Errorf("got %s, want failed", op.State)
		}
	})
}

func TestKeptThenForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, memlog.New(memlog.Options{}), Options{Keep: time.Hour})
		defer h.close()
		old := h.begin()
		h.publish("order.done", old.ID)
		h.wait(old.ID)
		time.Sleep(50 * time.Minute)
		if _, err := h.Get(t.Context(), old.ID); err != nil {
			t.Errorf("after 50m: %v", err)
		}
		time.Sleep(12 * time.Minute)
		if _, err := h.Get(t.Context(), old.ID); tandem.CodeOf(err) != tandem.CodeNotFound {
			t.Errorf("after 62m: %v, want not found", err)
		}
		n := 0
		h.log.ScanState(t.Context(), "op/", func(string, []byte) bool { n++; return true })
		if n != 1 { // the cursor of the reader
			t.Errorf("%d records are left, want 1", n)
		}
	})
}

func TestCancel(t *testing.T) {
	h := newHouse(t, Options{})
	op := h.begin()
	for range 2 {
		got, err := h.Cancel(t.Context(), op.ID)
		if err != nil || got.State != tandem.OperationCancelled {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for _, id := range []string{"", "x", tandem.NewID(), "../../end/aaaaaaaaaaaaaaaaaaaaaaaaaaa"} {
		if _, err := h.Get(t.Context(), id); tandem.CodeOf(err) != tandem.CodeNotFound {
			t.Errorf("get %q: %v", id, err)
		}
	}
}

func TestBounds(t *testing.T) {
	h := newHouse(t, Options{MaxRunning: 3})
	for range 3 {
		h.begin()
	}
	op, _, err := h.Begin(t.Context(), orderSpec, "")
	if tandem.CodeOf(err) != tandem.CodeOverloaded {
		t.Fatalf("the fourth of three: %v, %v", op, err)
	}
	spec := orderSpec
	spec.Topics = []string{"nowhere"}
	if _, _, err := h.Begin(t.Context(), spec, ""); tandem.CodeOf(err) != tandem.CodeNotFound {
		t.Errorf("a topic that is not there: %v", err)
	}
	spec = tandem.OperationSpec{}
	if _, _, err := h.Begin(t.Context(), spec, ""); tandem.CodeOf(err) != tandem.CodeInvalid {
		t.Errorf("an empty spec: %v", err)
	}
}

func TestAbandon(t *testing.T) {
	h := newHouse(t, Options{})
	op := h.begin()
	h.Abandon(op.ID, true)
	if _, err := h.Get(t.Context(), op.ID); tandem.CodeOf(err) != tandem.CodeNotFound {
		t.Errorf("an abandoned operation: %v", err)
	}
	// The keeper takes asks in order: when the next one is done, so is the removal.
	next := h.begin()
	if _, err := h.Cancel(t.Context(), next.ID); err != nil {
		t.Fatal(err)
	}
	if v, err := h.log.State(t.Context(), prefixRun+op.ID); v != nil || err != nil {
		t.Errorf("the record is still there: %q, %v", v, err)
	}
}

// Whatever ends it first, everybody sees the same end.
func TestRacingEnds(t *testing.T) {
	h := newHouse(t, Options{})
	for i := range 50 {
		op := h.begin()
		var wg sync.WaitGroup
		var seen [3]tandem.Operation
		wg.Go(func() { seen[0] = h.wait(op.ID) })
		wg.Go(func() { seen[1] = h.wait(op.ID) })
		wg.Go(func() { h.publish("order.done", op.ID) })
		wg.Go(func() { h.Cancel(context.Background(), op.ID) })
		wg.Wait()
		seen[2], _ = h.Get(t.Context(), op.ID)
		if fmt.Sprint(seen[0].State, seen[0].Ended) != fmt.Sprint(seen[1].State, seen[1].Ended) || seen[2].State != seen[0].State || !seen[0].State.Final() {
			t.Fatalf("round %d: %v %v %v", i, seen[0].State, seen[1].State, seen[2].State)
		}
	}
}

func TestUnknownFormatIsRefused(t *testing.T) {
	h := newHouse(t, Options{})
	h.begin()
	h.Stop(t.Context())
	_, err := h.log.Commit(t.Context(), &eventlog.Tx{State: []driver.StateOp{{Key: prefixRun + tandem.NewID(), Value: []byte{99, 0}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := New(h.log, Options{}).Start(t.Context()); err == nil {
		t.Error("a record of a newer version was accepted")
	}
}

// An event can end an operation while Confirm waits for the keeper, or in the same commit.
func TestConfirmBehindTheEnd(t *testing.T) {
	h := newHouse(t, Options{})
	for name, together := range map[string]bool{"same commit": true, "later commit": false} {
		op, _, err := h.Begin(t.Context(), orderSpec, "")
		if err != nil {
			t.Fatal(err)
		}
		e := h.entry(op.ID)
		final := e.op
		final.State = tandem.OperationSucceeded
		confirm := &ask{confirm: e, done: make(chan error, 1)}
		end := &ask{ends: []ending{{e, &final}}, done: make(chan error, 1)}
		if together {
			err = h.settle(t.Context(), []*ask{confirm, end})
		} else {
			err = errors.Join(h.settle(t.Context(), []*ask{end}), h.settle(t.Context(), []*ask{confirm}))
		}
		if err != nil {
			t.Fatal(err)
		}
		if v, _ := h.log.State(t.Context(), prefixRun+op.ID); v != nil {
			t.Errorf("%s: the record of a running operation is there after its end", name)
		}
	}
}
