package delivery

import (
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// gate is a condition that is true, and takes what a test says.
type gate struct{ match func(*tandem.Event) }

func (g *gate) Match(e *tandem.Event) bool {
	g.match(e)
	return true
}

func (g *gate) Bounds() []tandem.Bound { return nil }

func (g *gate) Clause(*tandem.Event) tandem.FilterClause { return tandem.FilterClause{} }

func gated(match func(*tandem.Event)) func(string, string) (tandem.Condition, error) {
	return func(string, string) (tandem.Condition, error) { return &gate{match}, nil }
}

// A subscription whose conditions take long reads for itself: it delays nobody, and misses nothing.
func TestCostlyConditionDelaysNobody(t *testing.T) {
	var costly, blocks atomic.Bool
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	s := newSink(t, httptest.NewServer, nil)
	m, publish := running(t, Options{Conditions: gated(func(*tandem.Event) {
		if !costly.Load() {
			return
		}
		for begun := time.Now(); time.Since(begun) < filterTime/20; {
		}
		if blocks.Load() {
			<-release
		}
	})})
	t.Cleanup(free)
	fast, slow := toURL("fast", s.URL+"/fast"), toURL("slow", s.URL+"/slow")
	slow.Filter = filter(t, `{"cel":"x"}`)
	if err := m.Apply(t.Context(), []tandem.Subscription{fast, slow}); err != nil {
		t.Fatal(err)
	}
	publish()
	s.next(t)
	s.next(t)
	attached := func(name string) bool {
		sub, err := m.find(name)
		if err != nil {
			t.Fatal(err)
		}
		sub.mu.Lock()
		defer sub.mu.Unlock()
		for _, tr := range sub.tracks {
			for i := range tr.parts {
				if tr.parts[i].shared == nil {
					return false
				}
			}
		}
		return len(sub.tracks) > 0
	}
	until(t, func() bool { return attached("fast") && attached("slow") })

	const events = 100
	costly.Store(true)
	batch := make([]tandem.Event, events)
	for i := range batch {
		batch[i] = event("k")
		batch[i].ID = "e" + strconv.Itoa(i)
	}
	if _, err := m.log.Append(t.Context(), "orders", batch); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return !attached("slow") })
	blocks.Store(true) // in the shared reader nobody would get anything from now on
	for range 10 {
		publish()
	}
	to := func(path string) (n int) { // different events
		s.mu.Lock()
		defer s.mu.Unlock()
		seen := map[string]bool{}
		for _, r := range s.got {
			if r.URL.Path == path {
				seen[r.Header.Get(tandem.HeaderPosition)] = true
			}
		}
		return len(seen)
	}
	const all = 1 + events + 10
	until(t, func() bool { return to("/fast") == all })
	blocks.Store(false)
	costly.Store(false)
	free()
	until(t, func() bool { return to("/slow") == all })
	if n := s.count(); n != 2*all {
		t.Errorf("%d deliveries of %d events to two", n, all)
	}
	publish() // who is apart is told of what is new
	until(t, func() bool { return to("/slow") == all+1 })
	sub, err := m.find("slow")
	if err != nil {
		t.Fatal(err)
	}
	sub.mu.Lock()
	sub.apartUntil = time.Now()
	sub.mu.Unlock()
	publish()
	until(t, func() bool { return to("/slow") == all+2 && to("/fast") == all+2 && attached("slow") })
}

// A condition that takes long holds nothing that others need: neither the shared readers nor the API.
func TestConditionHoldsNoLock(t *testing.T) {
	entered, release := make(chan struct{}, 100), make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	s := newSink(t, httptest.NewServer, nil)
	m, publish := running(t, Options{Conditions: gated(func(*tandem.Event) {
		entered <- struct{}{}
		<-release
	})})
	t.Cleanup(free)
	publish()
	slow := toURL("slow", s.URL)
	slow.Filter = filter(t, `{"cel":"x"}`)
	if err := m.Apply(t.Context(), []tandem.Subscription{slow}); err != nil {
		t.Fatal(err)
	}
	<-entered
	done := make(chan error, 1)
	go func() {
		_, err := m.Status(t.Context(), "slow")
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the status waits for a condition")
	}
	free()
	s.next(t)
}

// until waits for what other goroutines do.
func until(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come about")
		}
	}
}
