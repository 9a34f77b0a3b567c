package delivery

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Clients that vanish with everything they lease fill neither the parked keys nor the waiting events, and what they had is handed
// out to the next.
func TestDeadConsumers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		s := pulledSub("s")
		s.Attempts = 100
		b.start(s)
		n := 3000
		for i := range n {
			b.publish(fmt.Sprint("k", i%400))
		}
		b.wait(time.Second)
		for range 5 {
			if got := len(b.pull(300, 0)); got != 300 {
				t.Fatalf("%d leases", got)
			}
			b.wait(31 * time.Second)
			st := b.status("s")
			if st.ParkedKeys != 0 || st.Waiting != 0 || st.State != "running" || st.InFlight != 0 || st.Lag != uint64(n) {
				t.Fatalf("status %+v", st)
			}
		}
		for got := 0; got < n; {
			leases := b.pull(1000, time.Minute)
			b.ack(leases...)
			if got += len(leases); len(leases) == 0 {
				t.Fatalf("%d of %d: %+v", got, n, b.status("s"))
			}
		}
		b.settled("s")
	})
}

// A key that nobody can handle does not stop the others, though thousands of events wait behind it: neither while its lease expires
// again and again, nor while it is released with a delay, nor while it is held for long.
func TestPoisonedKeyPulled(t *testing.T) {
	for name, handle := range map[string]func(*bed, tandem.Lease){
		"expires":  func(*bed, tandem.Lease) {},
		"released": func(b *bed, l tandem.Lease) { b.nack(time.Hour, l) },
		"held":     func(b *bed, l tandem.Lease) { b.extend(10*time.Hour, l) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
				s := pulledSub("s")
				s.Attempts = 1000
				b.start(s)
				bad := b.publish(slices.Repeat([]string{"bad"}, 2000)...)
				good := b.publish("a", "b", "c", "a")
				var seen []string
				start := time.Now()
				for len(seen) < len(good) {
					if time.Since(start) > 5*time.Minute {
						t.Fatalf("%v of %v: %+v", seen, good, b.status("s"))
					}
					for _, l := range b.pull(10, time.Minute) {
						if l.Event.Subject == "bad" {
							if l.Event.ID != bad[0] {
								t.Fatalf("%s is leased before %s has its outcome", l.Event.ID, bad[0])
							}
							handle(b, l)
							continue
						}
						b.ack(l)
						seen = append(seen, l.Event.ID)
					}
				}
				// When it can be handled all that waited follows, in order, also what a restart brings back.
				b.stop()
				b.start()
				b.wait(11 * time.Hour)
				for i := 0; i < len(bad); {
					leases := b.pull(10, time.Minute)
					for _, l := range leases {
						if l.Event.ID != bad[i] {
							t.Fatalf("%s is leased, %s is next", l.Event.ID, bad[i])
						}
						i++
					}
					if len(leases) == 0 {
						t.Fatalf("stuck at %d: %+v", i, b.status("s"))
					}
					b.ack(leases...)
				}
				b.settled("s")
			})
		})
	}
}

func TestPullPause(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		b.start(pulledSub("s"))
		b.publish("a", "b")
		b.wait(time.Second)
		held := b.pull(1, 0)
		if err := b.m.Pause(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		expect(t, "while paused", leaseIDs(b.pull(10, time.Second)))
		expect(t, "ack while paused", b.ack(held...), tandem.LeaseAcknowledged)
		got := make(chan []tandem.Lease)
		go func() { got <- b.pull(10, time.Minute) }()
		b.wait(time.Second)
		if err := b.m.Resume(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		if l := <-got; len(l) != 1 {
			t.Fatalf("after resume: %v", leaseIDs(l))
		}
	})
}

// A seek ends all leases: what they are of counts as new.
func TestPullSeek(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		b.start(pulledSub("s"))
		ids := b.publish("a", "b")
		b.wait(time.Second)
		old := b.pull(10, 0)
		if _, err := b.m.Seek(b.ctx, "s", tandem.Start{Earliest: true}, false); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		if st := b.status("s"); st.InFlight != 0 || st.Lag != 2 {
			t.Fatalf("status %+v", st)
		}
		expect(t, "old lease", b.ack(old[0]), tandem.LeaseLost)
		leases := b.pull(10, 0)
		if len(leases) != len(ids) || leases[0].ID == old[0].ID || leases[0].Attempt != 1 {
			t.Fatalf("%+v", leases)
		}
		expect(t, "old leases", b.ack(old...), tandem.LeaseLost, tandem.LeaseLost)
		b.wait(31 * time.Second)
		b.ack(b.pull(10, 0)...)
		b.settled("s")
	})
}

// A dead letter that is redriven is leased again; discarding it ends its lease.
func TestPullRedrive(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		s := pulledSub("s")
		s.Attempts = 1
		b.start(s)
		ids := b.publish("a", "a", "b")
		b.wait(time.Second)
		for range 2 {
			b.nack(0, b.pull(10, 0)...)
			b.wait(time.Second)
		}
		redrive := func() []tandem.Lease {
			t.Helper()
			if n, err := b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{}); err != nil || n.Count != 3 {
				t.Fatalf("%+v, %v", n, err)
			}
			leases := b.pull(10, time.Second)
			slices.SortFunc(leases, func(x, y tandem.Lease) int { return strings.Compare(x.Event.ID, y.Event.ID) })
			return leases
		}
		leases := redrive()
		expect(t, "redriven", leaseIDs(leases), ids...)
		b.crash()
		b.start()
		b.wait(time.Second)
		expect(t, "ack over a crash", b.ack(leases[0]), tandem.LeaseAcknowledged)
		b.wait(time.Second)
		// The attempt under way was the last; the end of the process was the end of it.
		expect(t, "pull", leaseIDs(b.pull(10, time.Second)))
		if st := b.status("s"); st.Dead != 2 || st.InFlight != 0 {
			t.Fatalf("status %+v", st)
		}
		if n, err := b.m.Redrive(b.ctx, "s", tandem.DeadLetterSelection{}); err != nil || n.Count != 2 {
			t.Fatalf("%+v, %v", n, err)
		}
		leases = b.pull(10, time.Second)
		if _, err := b.m.Discard(b.ctx, "s", tandem.DeadLetterSelection{}); err != nil {
			t.Fatal(err)
		}
		expect(t, "discarded", b.ack(leases...), tandem.LeaseLost, tandem.LeaseLost)
		b.settled("s")
		if st := b.status("s"); st.Dead != 0 {
			t.Fatalf("status %+v", st)
		}
	})
}

// A subscription may change from being sent to being pulled, and back, with what is under way.
func TestPullRetarget(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		f.set(func(attemptSeen) *http.Response { return nil })
		b.start(sub("s"))
		b.publish("a", "a", "b", "c", "d")
		b.wait(time.Second)
		if st := b.status("s"); st.State != "failing" {
			t.Fatalf("status %+v", st)
		}
		if err := b.m.Apply(b.ctx, []tandem.Subscription{pulledSub("s")}); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		if st := b.status("s"); st.State != "running" {
			t.Fatalf("status %+v", st)
		}
		seen := len(f.all())
		leases := b.pull(10, 0)
		if len(leases) != 4 {
			t.Fatalf("%v: %+v", leaseIDs(leases), b.status("s"))
		}
		late := b.publish("e") // is read, though the endpoint was not there
		b.wait(10 * time.Second)
		if more := b.pull(10, 0); !slices.Contains(leaseIDs(more), late[0]) {
			t.Fatalf("%v: %+v", leaseIDs(more), b.status("s"))
		}
		b.ack(leases[0])
		if n := len(f.all()); n != seen {
			t.Fatalf("%d requests since it is pulled", n-seen)
		}
		f.set(nil)
		if err := b.m.Apply(b.ctx, []tandem.Subscription{sub("s")}); err != nil {
			t.Fatal(err)
		}
		expect(t, "lease of before", b.ack(leases[1]), tandem.LeaseAcknowledged)
		b.wait(time.Minute)
		b.settled("s")
		if _, err := b.m.Pull(b.ctx, "s", tandem.PullRequest{}); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Fatal(err)
		}
		if _, err := b.m.Ack(b.ctx, "s", []string{leases[0].Token}); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Fatal(err)
		}
	})
}

// While outcomes cannot be stored an acknowledgement waits, and nothing more is leased.
func TestAckWaitsForTheLog(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		b.start(pulledSub("s"))
		b.publish("a", "b")
		b.wait(time.Second)
		leases := b.pull(1, 0)
		b.eng.Fail(errors.New("disk full"))
		ctx, cancel := ctxAfter(5 * time.Second)
		defer cancel()
		start := time.Now()
		if _, err := b.m.Ack(ctx, "s", tokensOf(leases)); tandem.CodeOf(err) != tandem.CodeUnavailable || time.Since(start) != 5*time.Second {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		expect(t, "while nothing can be stored", leaseIDs(b.pull(1, time.Second)))
		b.eng.Fail(nil)
		b.wait(10 * time.Second)
		b.ack(b.pull(1, 0)...)
		b.settled("s")
	})
}

// What stands in a declaration beside pull and would mean nothing is refused, and so are requests beyond the limits.
func TestPullChecks(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		b.start(pulledSub("s"), sub("hook"))
		for at, set := range map[string]func(*tandem.Subscription){
			"/service":         func(s *tandem.Subscription) { s.Service = "svc" },
			"/url":             func(s *tandem.Subscription) { s.URL = "http://a.example" },
			"/path":            func(s *tandem.Subscription) { s.Path = "/x" },
			"/secret":          func(s *tandem.Subscription) { s.Secret = "env:X" },
			"/oldSecrets":      func(s *tandem.Subscription) { s.OldSecrets = []tandem.OldSecret{{}} },
			"/headers":         func(s *tandem.Subscription) { s.Headers = map[string]string{"A": "b"} },
			"/auth":            func(s *tandem.Subscription) { s.Auth = &tandem.TargetAuth{} },
			"/handshake":       func(s *tandem.Subscription) { s.Handshake = true },
			"/content":         func(s *tandem.Subscription) { s.Content = tandem.ContentBinary },
			"/batchSize":       func(s *tandem.Subscription) { s.BatchSize = 2 },
			"/replies":         func(s *tandem.Subscription) { s.Replies = "orders" },
			"/timeout":         func(s *tandem.Subscription) { s.Timeout = 1 },
			"/retryAfter":      func(s *tandem.Subscription) { s.RetryAfter = 1 },
			"/answers":         func(s *tandem.Subscription) { s.Answers = map[string]string{"404": "dead"} },
			"/breaker":         func(s *tandem.Subscription) { s.Breaker.Failures = 3 },
			"/pull/visibility": func(s *tandem.Subscription) { s.Pull.Visibility = tandem.Duration(13 * time.Hour) },
		} {
			s := pulledSub("x")
			set(&s)
			var e *tandem.Error
			if _, err := b.m.Put(b.ctx, s, ""); !errors.As(err, &e) || e.Code != tandem.CodeInvalid || len(e.Fields) != 1 || e.Fields[0].Pointer != at {
				t.Errorf("%s: %v", at, err)
			}
		}
		pull := func(name string, req tandem.PullRequest) error {
			_, err := b.m.Pull(b.ctx, name, req)
			return err
		}
		tokens := func(n int) []string { return make([]string, n) }
		ack := func(name string, tokens []string) error { _, err := b.m.Ack(b.ctx, name, tokens); return err }
		_, long := b.m.Nack(b.ctx, "s", tokens(1), 13*time.Hour)
		_, short := b.m.Extend(b.ctx, "s", tokens(1), time.Millisecond)
		for name, c := range map[string]struct {
			err  error
			code tandem.Code
		}{
			"max":             {pull("s", tandem.PullRequest{Max: 1001}), tandem.CodeInvalid},
			"negative max":    {pull("s", tandem.PullRequest{Max: -1}), tandem.CodeInvalid},
			"wait":            {pull("s", tandem.PullRequest{Wait: tandem.Duration(2 * time.Minute)}), tandem.CodeInvalid},
			"negative wait":   {pull("s", tandem.PullRequest{Wait: -1}), tandem.CodeInvalid},
			"visibility":      {pull("s", tandem.PullRequest{Visibility: 1}), tandem.CodeInvalid},
			"webhook":         {pull("hook", tandem.PullRequest{}), tandem.CodeInvalid},
			"nobody":          {pull("nobody", tandem.PullRequest{}), tandem.CodeNotFound},
			"ack of none":     {ack("s", nil), tandem.CodeInvalid},
			"ack of too many": {ack("s", tokens(1001)), tandem.CodeInvalid},
			"ack of nobody":   {ack("nobody", tokens(1)), tandem.CodeNotFound},
			"ack of webhook":  {ack("hook", tokens(1)), tandem.CodeInvalid},
			"nack":            {long, tandem.CodeInvalid},
			"extend":          {short, tandem.CodeInvalid},
		} {
			if tandem.CodeOf(c.err) != c.code {
				t.Errorf("%s: %v", name, c.err)
			}
		}
	})
}

// Calls that wait are bounded.
func TestPullersAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		b.start(pulledSub("s"))
		ended := make(chan error, maxPullers)
		for range maxPullers {
			go func() {
				_, err := b.m.Pull(b.ctx, "s", tandem.PullRequest{Wait: tandem.Duration(10 * time.Second)})
				ended <- err
			}()
		}
		synctest.Wait()
		if _, err := b.m.Pull(b.ctx, "s", tandem.PullRequest{Wait: tandem.Duration(time.Second)}); tandem.CodeOf(err) != tandem.CodeOverloaded {
			t.Fatal(err)
		}
		for range maxPullers {
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A token is good for its subscription alone, and not for another one of the same name that comes later.
func TestTokenOfAnother(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		b.start()
		for _, name := range []string{"s", "other"} {
			if _, err := b.m.Put(b.ctx, pulledSub(name), ""); err != nil {
				t.Fatal(err)
			}
		}
		b.publish("a")
		b.wait(time.Second)
		leases, err := b.m.Pull(b.ctx, "other", tandem.PullRequest{})
		if err != nil || len(leases) != 1 {
			t.Fatal(leases, err)
		}
		expect(t, "of another", b.ack(leases...), tandem.LeaseInvalid)
		leases = b.pull(1, 0)
		b.nack(0, leases...)
		if err := b.m.Delete(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		if _, err := b.m.Put(b.ctx, pulledSub("s"), ""); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		expect(t, "of one that was deleted", b.ack(leases...), tandem.LeaseInvalid)
		if st := b.status("s"); st.Lag != 1 || st.Delivered != 0 {
			t.Fatalf("status %+v", st)
		}
	})
}

// With ordering none the events of a key are leased at once.
func TestPullWithoutOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		s := pulledSub("s")
		s.Ordering = tandem.OrderingNone
		b.start(s)
		ids := b.publish("a", "a", "a")
		b.wait(time.Second)
		leases := b.pull(10, 0)
		expect(t, "all of the key", leaseIDs(leases), ids...)
		b.ack(leases[1])
		b.wait(31 * time.Second)
		again := b.pull(10, 0)
		expect(t, "those that were not acknowledged", leaseIDs(again), ids[0], ids[2])
		b.ack(again...)
		b.settled("s")
	})
}

// The rate bounds what is leased, by how many clients ever, with what is leased again.
func TestPullRate(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		s := pulledSub("s")
		s.Rate = 10
		b.start(s)
		for i := range 300 {
			b.publish(fmt.Sprint("k", i))
		}
		b.wait(time.Second)
		start, got := time.Now(), 0
		for time.Since(start) < 10*time.Second {
			if leases := b.pull(100, 2*time.Second); len(leases) > 0 {
				got += len(leases)
				b.nack(0, leases...)
			}
		}
		if got < 90 || got > 120 {
			t.Fatalf("%d leases in ten seconds at ten a second", got)
		}
	})
}

// With exhausted pause nothing dies: the subscription is paused before the event, and goes on with it.
func TestPullPausesWhenExhausted(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		s := pulledSub("s")
		s.Attempts, s.Exhausted, s.PauseAfter = 2, tandem.ExhaustedPause, tandem.Duration(time.Minute)
		b.start(s)
		ids := b.publish("a")
		b.wait(time.Second)
		for range 4 {
			if len(b.pull(1, 0)) == 0 {
				break
			}
			b.wait(31 * time.Second)
		}
		if st := b.status("s"); st.State != "paused" || st.Dead != 0 || st.InFlight != 0 || st.Lag != 1 {
			t.Fatalf("status %+v", st)
		}
		if err := b.m.Resume(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		leases := b.pull(1, time.Second)
		expect(t, "after resume", leaseIDs(leases), ids...)
		b.ack(leases...)
		b.settled("s")
	})
}

// The replay of a subscription that is pulled is pulled by its own name, with the ids that clients have seen.
func TestPullReplay(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
		b.start(pulledSub("s"))
		ids := b.publish("a", "b", "a")
		b.wait(time.Second)
		seen := map[string]string{}
		for range 2 {
			leases := b.pull(10, 0)
			for _, l := range leases {
				seen[l.Event.ID] = l.ID
			}
			b.ack(leases...)
		}
		replay, err := b.m.Replay(b.ctx, "s", tandem.ReplayRequest{From: tandem.Start{Earliest: true}})
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "the live one", leaseIDs(b.pull(10, time.Second)))
		var got []string
		for range 2 {
			leases, err := b.m.Pull(b.ctx, replay.Name, tandem.PullRequest{Max: 10, Wait: tandem.Duration(time.Second)})
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range leases {
				if got = append(got, l.Event.ID); l.ID != seen[l.Event.ID] {
					t.Errorf("%s has the id %s, before %s", l.Event.ID, l.ID, seen[l.Event.ID])
				}
			}
			if out, err := b.m.Ack(b.ctx, replay.Name, tokensOf(leases)); err != nil || slices.ContainsFunc(out, func(r tandem.LeaseResult) bool {
				return r.Outcome != tandem.LeaseAcknowledged
			}) {
				t.Fatal(out, err)
			}
		}
		slices.Sort(got)
		expect(t, "replayed", got, slices.Sorted(slices.Values(ids))...)
		b.wait(time.Minute)
		if st := b.status(replay.Name); st.State != "ended" {
			t.Fatalf("status %+v", st)
		}
	})
}
