package stream

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

// counted counts how often events are read from an engine.
type counted struct {
	driver.Driver
	reads atomic.Int32
}

func (c *counted) Read(ctx context.Context, id driver.ID, part int, from uint64, most, maxBytes int, dst []tandem.Record) ([]tandem.Record, error) {
	c.reads.Add(1)
	return c.Driver.Read(ctx, id, part, from, most, maxBytes, dst)
}

// TestWhoWaitsHoldsNothing: what was read ahead is given back by who waits for a slot, however many do, and kept by who gets one at once.
func TestWhoWaitsHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := &counted{Driver: memlog.New(memlog.Options{})}
		log, err := eventlog.Open(t.Context(), eng, eventlog.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		if _, err := log.CreateTopic(t.Context(), tandem.Topic{Name: "orders", Partitions: 2}); err != nil {
			t.Fatal(err)
		}
		events := make([]tandem.Event, 20)
		for i := range events {
			events[i] = tandem.Event{Source: "/s", Type: "t", Subject: fmt.Sprint(i)}
		}
		if _, err := log.Append(t.Context(), "orders", events); err != nil {
			t.Fatal(err)
		}
		s := New(log, Options{})
		defer s.Stop(t.Context())
		sel, err := eventlog.Select("orders")
		if err != nil {
			t.Fatal(err)
		}
		r, err := log.NewReader(t.Context(), sel, tandem.Start{Earliest: true})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		c := &catchUp{m: &member{s: s}, r: r}
		one := func() int32 {
			before := eng.reads.Load()
			if p, err := r.ReadWithin(t.Context(), tandem.Filter{}, eventlog.Limits{Events: 1, Bytes: 1 << 20}); err != nil || len(p.Events) != 1 {
				t.Fatalf("%+v, %v", p, err)
			}
			return eng.reads.Load() - before
		}
		one() // and it has read ahead
		if !c.slot(t.Context()) {
			t.Fatal("no slot")
		}
		if n := one(); n != 0 {
			t.Errorf("who need not wait read %d times again", n)
		}
		for len(s.reading) < cap(s.reading) {
			s.reading <- struct{}{}
		}
		got := make(chan bool)
		go func() { got <- c.slot(t.Context()) }()
		synctest.Wait()
		<-s.reading
		if !<-got {
			t.Fatal("no slot")
		}
		if n := one(); n == 0 {
			t.Error("what was read ahead was kept while waiting")
		}
	})
}
