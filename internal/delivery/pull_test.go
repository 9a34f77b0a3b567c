package delivery

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
)

func pulledSub(name string) tandem.Subscription {
	return tandem.Subscription{Name: name, Topics: []string{"orders"}, Pull: &tandem.Pull{}, From: "earliest"}
}

// pull leases up to n events of "s" and fails the test on an error.
func (b *bed) pull(n int, wait time.Duration) []tandem.Lease {
	b.t.Helper()
	leases, err := b.m.Pull(b.ctx, "s", tandem.PullRequest{Max: n, Wait: tandem.Duration(wait)})
	if err != nil {
		b.t.Fatal(err)
	}
	return leases
}

func (b *bed) ack(leases ...tandem.Lease) (outcomes []string) {
	b.t.Helper()
	out, err := b.m.Ack(b.ctx, "s", tokensOf(leases))
	if err != nil {
		b.t.Fatal(err)
	}
	return outcomesOf(out)
}

func (b *bed) nack(delay time.Duration, leases ...tandem.Lease) []string {
	b.t.Helper()
	out, err := b.m.Nack(b.ctx, "s", tokensOf(leases), delay)
	if err != nil {
		b.t.Fatal(err)
	}
	return outcomesOf(out)
}

func (b *bed) extend(visibility time.Duration, leases ...tandem.Lease) []string {
	b.t.Helper()
	out, err := b.m.Extend(b.ctx, "s", tokensOf(leases), visibility)
	if err != nil {
		b.t.Fatal(err)
	}
	return outcomesOf(out)
}

func tokensOf(leases []tandem.Lease) (tokens []string) {
	for _, l := range leases {
		tokens = append(tokens, l.Token)
	}
	return tokens
}

func outcomesOf(results []tandem.LeaseResult) (outcomes []string) {
	for _, r := range results {
		outcomes = append(outcomes, r.Outcome)
	}
	return outcomes
}

func leaseIDs(leases []tandem.Lease) (ids []string) {
	for _, l := range leases {
		ids = append(ids, l.Event.ID)
	}
	return ids
}

func expect[T comparable](t *testing.T, what string, got []T, want ...T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// A key's next event is leased when its predecessor is acknowledged; part of what was pulled can be.
func TestPullKeepsOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		b.start(pulledSub("s"))
		ids := b.publish("a", "b", "a", "c")
		b.wait(time.Second)
		first := b.pull(10, 0)
		slices.SortFunc(first, func(x, y tandem.Lease) int { return strings.Compare(x.Event.ID, y.Event.ID) })
		expect(t, "first pull", leaseIDs(first), ids[0], ids[1], ids[3])
		if l := first[0]; l.Attempt != 1 || l.MaxAttempts != tandem.DefaultAttempts || !strings.HasPrefix(l.ID, "msg_") || l.Event.Position.Topic != "orders" {
			t.Fatalf("lease %+v", l)
		}
		if st := b.status("s"); st.InFlight != 3 || st.Lag != 4 || st.State != "running" {
			t.Fatalf("status %+v", st)
		}
		expect(t, "behind its predecessor", leaseIDs(b.pull(10, 0)))
		expect(t, "ack of one", b.ack(first[0]), tandem.LeaseAcknowledged)
		if st := b.status("s"); st.Lag != 3 || st.Delivered != 1 {
			t.Fatalf("status %+v", st)
		}
		second := b.pull(10, 0)
		expect(t, "after its predecessor", leaseIDs(second), ids[2])
		expect(t, "acks", b.ack(append(second, first[1], first[2])...), tandem.LeaseAcknowledged, tandem.LeaseAcknowledged, tandem.LeaseAcknowledged)
		expect(t, "repeated ack", b.ack(first[1]), tandem.LeaseLost)
		b.settled("s")
	})
}

// What Ack returned survives a crash; what was only leased is handed out again, and the old lease counts while nobody else has it.
func TestAckIsDurable(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		b.start(pulledSub("s"))
		ids := b.publish("a", "b", "c", "d")
		b.wait(time.Second)
		leases := b.pull(4, 0)
		slices.SortFunc(leases, func(x, y tandem.Lease) int { return strings.Compare(x.Event.ID, y.Event.ID) })
		b.ack(leases[0])
		b.crash()
		b.start()
		expect(t, "ack over a crash", b.ack(leases[1]), tandem.LeaseAcknowledged)
		again := b.pull(4, 0)
		slices.SortFunc(again, func(x, y tandem.Lease) int { return strings.Compare(x.Event.ID, y.Event.ID) })
		expect(t, "handed out again", leaseIDs(again), ids[2], ids[3])
		expect(t, "ack of what somebody else has", b.ack(leases[2]), tandem.LeaseLost)
		if again[0].ID != leases[2].ID {
			t.Fatalf("delivery id %s, before %s", again[0].ID, leases[2].ID)
		}
		b.stop()
		b.start()
		b.wait(time.Second)
		expect(t, "ack over a stop", b.ack(again...), tandem.LeaseAcknowledged, tandem.LeaseAcknowledged)
		b.settled("s")
	})
}

// An acknowledgement that comes before the event is read again after a crash is not lost.
func TestAckRightAfterRestart(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		b.start(pulledSub("s"))
		b.publish("a", "b", "c", "d")
		b.wait(time.Second)
		leases := b.pull(4, 0)
		b.crash()
		b.m = New(b.log, b.opts)
		if err := b.m.Start(b.ctx); err != nil {
			t.Fatal(err)
		}
		expect(t, "acks", b.ack(leases...), slices.Repeat([]string{tandem.LeaseAcknowledged}, 4)...)
		b.settled("s")
	})
}

// A lease that is over is a failed attempt: the event is handed out again with its count, at last it is dead, and the key goes on.
func TestLeaseExpires(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		s := pulledSub("s")
		s.Attempts, s.Pull.Visibility = 3, tandem.Duration(5*time.Second)
		b.start(s)
		ids := b.publish("a", "a", "b")
		b.wait(time.Second)
		first := b.pull(10, 0)
		b.ack(first[1])
		for attempt := 2; attempt <= 3; attempt++ {
			b.wait(4 * time.Second)
			expect(t, "too early", leaseIDs(b.pull(10, 0)))
			b.wait(2 * time.Second)
			l := b.pull(10, 0)
			expect(t, "again", leaseIDs(l), ids[0])
			if l[0].Attempt != attempt || l[0].ID != first[0].ID {
				t.Fatalf("attempt %d: %+v", attempt, l[0])
			}
		}
		if n := b.records("s", kindParked); n != 0 {
			t.Fatalf("%d parked", n)
		}
		b.wait(6 * time.Second)
		page, _, err := b.m.DeadLetters(b.ctx, "s", "", 0)
		if err != nil || len(page) != 1 || page[0].Event.ID != ids[0] || page[0].Attempts != 3 || page[0].Reason != "exhausted" {
			t.Fatalf("dead letters %+v, %v", page, err)
		}
		if h := page[0].History; len(h) != 3 || h[2].Detail != "the lease expired" || h[2].Number != 3 {
			t.Fatalf("history %+v", h)
		}
		expect(t, "ack of a dead one", b.ack(first[0]), tandem.LeaseLost)
		last := b.pull(10, 0)
		expect(t, "next of the key", leaseIDs(last), ids[1])
		b.ack(last...)
		if st := b.status("s"); st.Lag != 0 || st.Dead != 1 || st.Failed != 3 {
			t.Fatalf("status %+v", st)
		}
	})
}

// Extend moves the end; an acknowledgement after the end counts while nobody else has the event.
func TestExtendAndLateAck(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		b.start(pulledSub("s"))
		b.publish("a", "b", "c")
		b.wait(time.Second)
		leases := b.pull(3, 0)
		b.wait(20 * time.Second)
		out, err := b.m.Extend(b.ctx, "s", []string{leases[0].Token, leases[1].Token}, time.Minute)
		if err != nil || out[0].Outcome != tandem.LeaseExtended || out[0].Until != time.Now().Add(time.Minute).UTC().Format(time.RFC3339Nano) {
			t.Fatalf("%+v, %v", out, err)
		}
		b.wait(59 * time.Second)
		expect(t, "the third is due", leaseIDs(b.pull(3, 0)), leases[2].Event.ID)
		expect(t, "ack before the new end", b.ack(leases[0]), tandem.LeaseAcknowledged)
		b.wait(2 * time.Second)
		expect(t, "extended too late", b.extend(time.Minute, leases[1]), tandem.LeaseLost)
		expect(t, "nack too late", b.nack(0, leases[1]), tandem.LeaseLost)
		expect(t, "late ack", b.ack(leases[1]), tandem.LeaseAcknowledged)
		b.wait(time.Minute)
		expect(t, "late ack of one that was leased twice", b.ack(leases[2]), tandem.LeaseAcknowledged)
		expect(t, "nothing is left", leaseIDs(b.pull(3, 0)))
		b.settled("s")
	})
}

// Nack gives an event back after its delay, or the backoff.
func TestNack(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		s := pulledSub("s")
		s.Backoff = tandem.Backoff{Base: tandem.Duration(time.Minute), Max: tandem.Duration(time.Minute)}
		b.start(s)
		b.publish("a", "b", "c")
		b.wait(time.Second)
		leases := b.pull(3, 0)
		expect(t, "nack", b.nack(0, leases[0]), tandem.LeaseReleased)
		expect(t, "nack", b.nack(10*time.Second, leases[1]), tandem.LeaseReleased)
		expect(t, "nack", b.nack(-1, leases[2]), tandem.LeaseReleased)
		if st := b.status("s"); st.Retrying != 2 || st.InFlight != 0 || st.Failed != 3 {
			t.Fatalf("status %+v", st)
		}
		l := b.pull(3, 0)
		expect(t, "at once", leaseIDs(l), leases[0].Event.ID)
		if l[0].Attempt != 2 {
			t.Fatalf("attempt %d", l[0].Attempt)
		}
		b.ack(l...)
		start := time.Now()
		for _, want := range []string{leases[1].Event.ID, leases[2].Event.ID} {
			l := b.pull(3, time.Minute)
			for len(l) == 0 {
				l = b.pull(3, time.Minute)
			}
			if d := time.Since(start); want == leases[1].Event.ID && d != 10*time.Second && leaseIDs(l)[0] == want || d > time.Minute {
				t.Fatalf("%v after %v", leaseIDs(l), d)
			}
			b.ack(l...)
		}
		b.settled("s")
	})
}

// A pull waits for events, those that wait are served in turn and share, and one that is given up leaves no trace.
func TestPullWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		b.start(pulledSub("s"))
		start := time.Now()
		expect(t, "nothing", leaseIDs(b.pull(1, 20*time.Second)))
		if d := time.Since(start); d != 20*time.Second {
			t.Fatalf("waited %v", d)
		}
		ctx, cancel := context.WithCancel(b.ctx)
		gone := make(chan error)
		go func() {
			_, err := b.m.Pull(ctx, "s", tandem.PullRequest{Wait: tandem.Duration(time.Minute)})
			gone <- err
		}()
		synctest.Wait()
		got := make(chan string, 10)
		for range 3 {
			go func() {
				got <- strings.Join(leaseIDs(b.pull(100, time.Minute)), " ")
			}()
			synctest.Wait()
		}
		cancel()
		if err := <-gone; err == nil {
			t.Fatal("the call that was given up has no error")
		}
		for i := range 3 {
			b.wait(time.Second)
			want := b.publish(fmt.Sprint("k", i))
			if l := <-got; l != want[0] {
				t.Fatalf("%q, want %q", l, want[0])
			}
		}
		if st := b.status("s"); st.InFlight != 3 {
			t.Fatalf("status %+v", st)
		}
	})
}

// Those that wait when several events come at once share them.
func TestPullersShare(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		b.start(pulledSub("s"))
		for i := range 40 {
			b.publish(fmt.Sprint("k", i))
		}
		b.wait(time.Second)
		if n := len(b.pull(1000, 0)); n != 40 {
			t.Fatalf("%d of 40", n)
		}
		got := make(chan int, 4)
		for range 4 {
			go func() { got <- len(b.pull(1000, time.Minute)) }()
		}
		for range 4 {
			if n := <-got; n != 10 { // when all 40 leases are over
				t.Fatalf("%d for one of four", n)
			}
		}
	})
}

func TestPullEnds(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(*bed) error
		code tandem.Code
	}{
		"stop":    {func(b *bed) error { return b.m.Stop(b.ctx) }, tandem.CodeUnavailable},
		"delete":  {func(b *bed) error { return b.m.Delete(b.ctx, "s") }, tandem.CodeNotFound},
		"webhook": {func(b *bed) error { _, err := b.m.Put(b.ctx, sub("s"), ""); return err }, tandem.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
				b.start()
				if _, err := b.m.Put(b.ctx, pulledSub("s"), ""); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error)
				go func() {
					_, err := b.m.Pull(b.ctx, "s", tandem.PullRequest{Wait: tandem.Duration(time.Minute)})
					ended <- err
				}()
				synctest.Wait()
				start := time.Now()
				if err := c.do(b); err != nil {
					t.Fatal(err)
				}
				if err := <-ended; tandem.CodeOf(err) != c.code || time.Since(start) > time.Second {
					t.Fatalf("%v after %v", err, time.Since(start))
				}
			})
		})
	}
}
