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
	for range 200 {
		inBubble(t, func(t *testing.T, b *bed, _ *endpointFake) {
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
		})
	}
}
