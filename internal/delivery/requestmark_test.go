package delivery

import (
	"net/http"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// TestRequestConcurrency: calls of a link wait for their turn, and within the deadline of their chain.
func TestRequestConcurrency(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.linked()
		s := requestSub("s")
		s.Concurrency = 2
		b.start(s)
		f.set(func(attemptSeen) *http.Response { return after(time.Second, status(204)) })
		begun := time.Now()
		errs := make(chan error)
		for _, key := range []string{"a", "b", "c", "d", "e"} {
			go func() { _, _, err := b.ask(key); errs <- err }()
		}
		for range 5 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("5 calls of a second, two at a time, took %s", took)
		}
	})
}

// TestMarkIsOfOneSubscription: one that was made anew is sent what the one took that had its name before, and a copy of the log still knows what
// its own took.
func TestMarkIsOfOneSubscription(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bed, f *endpointFake) {
		b.linked()
		b.start()
		s := requestSub("s")
		s.From = "earliest"
		put := func() {
			t.Helper()
			if _, err := b.m.Put(b.ctx, s, ""); err != nil {
				t.Fatal(err)
			}
			b.wait(time.Minute)
		}
		put()
		_, e, err := b.ask("a")
		if err != nil {
			t.Fatal(err)
		}
		b.wait(time.Minute)
		b.stop()
		b.migrate(true)
		b.linked()
		b.start()
		if _, err := b.m.Seek(b.ctx, "s", tandem.Start{Earliest: true}, false); err != nil {
			t.Fatal(err)
		}
		b.wait(time.Minute)
		b.settled("s")
		if got := f.ids(); len(got) != 1 || len(f.all()) != 1 {
			t.Errorf("sent %v in %d requests", got, len(f.all()))
		}
		if err := b.m.Delete(b.ctx, "s"); err != nil {
			t.Fatal(err)
		}
		put()
		b.settled("s")
		all := f.all()
		if len(all) != 2 || all[1].id != e.ID || all[1].header.Get(tandem.HeaderPosition) == "" {
			t.Errorf("%d requests", len(all))
		}
	})
}
