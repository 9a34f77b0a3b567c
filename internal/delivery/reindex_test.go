package delivery

import (
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// TestSubscriptionsAppearWhileReading: subscriptions that start one after the other while the shared reader is at work
// each get every event. A reader that goes on with an index from before one of them appeared passes its events over.
func TestSubscriptionsAppearWhileReading(t *testing.T) {
	for name, settle := range map[string]time.Duration{"new": 0, "with a stored cursor": time.Second} {
		t.Run(name, func(t *testing.T) {
			for range 25 {
				inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) { appearWhileReading(t, b, settle) })
			}
		})
	}
}

func appearWhileReading(t *testing.T, b *bed, settle time.Duration) {
	names := []string{"a", "b", "c", "d", "e", "f"}
	var subs []tandem.Subscription
	for _, name := range names {
		s := sub(name)
		s.Service = name
		b.endpoint(name)
		subs = append(subs, s)
	}
	b.publish("k")
	b.start(subs...)
	b.wait(settle)
	b.crash()

	var publishing sync.WaitGroup
	publishing.Go(func() { b.publish(keys(20, 200)...) })
	b.start()
	publishing.Wait()
	b.wait(time.Minute)
	for _, name := range names {
		if n := len(b.endpoint(name).ids()); n != 201 {
			t.Fatalf("%s got %d of 201 events", name, n)
		}
	}
}

// A subscription that comes back with its cursor after the shared reader has begun is offered what the reader brings.
func TestSubscriptionComesBackLate(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.start(sub("early"), sub("late"))
		b.publish("k")
		b.wait(time.Second)
		b.stop()

		f.set(nil)
		b.m = New(b.log, b.opts)
		b.m.ops.Lock()
		if err := b.m.load(b.ctx); err != nil {
			t.Fatal(err)
		}
		b.m.ctx, b.m.cancel = b.ctx, func(error) {}
		b.m.running = true
		early, _ := b.m.find("early")
		late, _ := b.m.find("late")
		if err := b.m.runAll(b.ctx, []*subscription{early}); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		b.publish("k")
		b.wait(time.Second)
		if err := b.m.runAll(b.ctx, []*subscription{late}); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Second)
		b.publish("k")
		b.wait(time.Second)
		b.m.ops.Unlock()
		b.settled("late")
		if st := b.status("late"); st.Delivered != 2 {
			t.Fatalf("%d of 2 events delivered", st.Delivered)
		}
	})
}
