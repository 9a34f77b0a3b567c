package delivery

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// A slow endpoint, one that hangs and one that is down delay no other subscription.
func TestNobodyWaitsForAStranger(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.endpoint("slow").set(func(attemptSeen) *http.Response { return after(2*time.Second, status(204)) })
		b.endpoint("hangs").set(func(attemptSeen) *http.Response { return after(time.Hour, status(204)) })
		b.endpoint("down").set(func(attemptSeen) *http.Response { return nil })
		subs := []tandem.Subscription{sub("fast")}
		for _, name := range []string{"slow", "hangs", "down"} {
			s := sub(name)
			s.Service = name
			subs = append(subs, s)
		}
		b.start(subs...)
		for range 20 {
			b.publish(keys(100, 500)...)
			b.wait(100 * time.Millisecond)
			if st := b.status("fast"); st.Lag != 0 {
				t.Fatalf("status %+v", st)
			}
		}
		for _, name := range []string{"slow", "hangs", "down"} {
			s, err := b.m.find(name)
			if err != nil {
				t.Fatal(err)
			}
			s.mu.Lock()
			if s.held > maxHeld {
				t.Errorf("%s holds %d events", name, s.held)
			}
			s.mu.Unlock()
		}
		b.endpoint("down").set(nil)
		b.wait(5 * time.Minute)
		b.settled("down")
		inKeyOrder(t, b.endpoint("down"))
		b.wait(time.Hour)
		b.settled("slow")
		inKeyOrder(t, b.endpoint("slow"))
	})
}

func TestManySubscriptionsShareOneRead(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		var subs []tandem.Subscription
		for i := range 1000 {
			s := sub(fmt.Sprintf("s%d", i))
			s.Filter = filter(t, fmt.Sprintf(`{"type":"t%d"}`, i))
			subs = append(subs, s)
		}
		b.start(subs...)
		b.publishType("t7", 3)
		b.publishType("t8", 1)
		b.publishType("none", 10)
		b.wait(time.Second)
		if n := len(f.all()); n != 4 {
			t.Fatalf("%d deliveries, want 4", n)
		}
		for _, r := range b.m.readers {
			found := 0
			r.buildIndex(0).entries.Candidates(&tandem.Event{Type: "t7"}, func(*entry) { found++ })
			if found != 1 {
				t.Fatalf("%d candidates", found)
			}
		}
		b.settled("s500")
	})
}

func TestRetentionIsRecorded(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		if _, err := b.log.CreateTopic(b.ctx, tandem.Topic{Name: "short", Partitions: 1, Retention: tandem.Duration(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		s := sub("s")
		s.Topics = []string{"short"}
		f.set(func(a attemptSeen) *http.Response {
			if a.key == "bad" {
				return status(404)
			}
			return status(204)
		})
		s.Backoff = tandem.Backoff{Base: tandem.Duration(8 * time.Hour), Max: tandem.Duration(8 * time.Hour)}
		b.start(s)
		b.publishTo("short", "bad", "bad", "bad", "good")
		b.wait(time.Second)
		if st := b.status("s"); st.Waiting != 2 || st.Delivered != 1 {
			t.Fatalf("status %+v", st)
		}
		if err := b.m.Pause(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		b.publishTo("short", "x", "y", "z")
		b.wait(4 * time.Hour)
		b.eng.RunRetention()
		last := b.publishTo("short", "w")
		f.set(nil)
		if err := b.m.Resume(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		b.wait(24 * time.Hour)
		b.settled("s")
		ids := f.ids()
		if n := len(ids); n != 3 || ids[2] != last[0] && ids[1] != last[0] {
			t.Fatalf("sent %v", ids)
		}
		count := b.expired("s")
		if count != 5 {
			t.Fatalf("%d events are recorded as expired, want 5", count)
		}
	})
}
