package drivertest

import (
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

func (s *suite) topics() {
	spec := tandem.Topic{Name: "orders.eu", Partitions: 3, Retention: tandem.Duration(48 * time.Hour), RetentionBytes: 1 << 40,
		Key: "data.id", Source: "/shop", Type: "order.placed"}
	made, err := s.drv.CreateTopic(ctx, spec)
	s.ok(err)
	if d := cmp.Diff(spec, made.Topic); d != "" || made.ID == 0 {
		s.Fatalf("created %+v:\n%s", made, d)
	}
	_, err = s.drv.CreateTopic(ctx, spec)
	s.code(err, tandem.CodeConflict)

	spec.Retention, spec.Key, spec.Source = tandem.Duration(time.Hour), "", "/other"
	changed, err := s.drv.UpdateTopic(ctx, spec)
	s.ok(err)
	want := made
	want.Topic = spec
	if d := cmp.Diff(want, changed); d != "" {
		s.Fatalf("after the update:\n%s", d)
	}
	_, err = s.drv.UpdateTopic(ctx, tandem.Topic{Name: "none", Partitions: 1})
	s.code(err, tandem.CodeNotFound)

	other := s.create("orders", 1)
	list := func() []driver.Topic {
		all, err := s.drv.Topics(ctx)
		s.ok(err)
		slices.SortFunc(all, func(a, b driver.Topic) int { return strings.Compare(a.Name, b.Name) })
		return all
	}
	if d := cmp.Diff([]driver.Topic{other, changed}, list()); d != "" {
		s.Fatalf("topics:\n%s", d)
	}
	s.ok(s.drv.DeleteTopic(ctx, "orders.eu"))
	s.code(s.drv.DeleteTopic(ctx, "orders.eu"), tandem.CodeNotFound)
	if d := cmp.Diff([]driver.Topic{other}, list()); d != "" {
		s.Fatalf("topics after a deletion:\n%s", d)
	}
	s.code(s.drv.Append(ctx, &driver.Batch{Records: []driver.Record{record(other, 1, s.event(0))}}), tandem.CodeNotFound)
}

// recreate: an incarnation shares nothing with the one before.
func (s *suite) recreate() {
	keep := s.create("keep", 2)
	kept := s.fill(keep, 1, 5)
	old := s.create("t", 2)
	if old.Replaced != 0 {
		s.Errorf("the first incarnation has Replaced %d", old.Replaced)
	}
	last := s.fill(old, 0, 10)[9].Offset
	id := s.event(1)
	s.append(deduped(old, 1, id))

	s.ok(s.drv.DeleteTopic(ctx, "t"))
	_, err := s.drv.Read(ctx, old.ID, 0, 0, 10, 1<<20, nil)
	s.code(err, tandem.CodeNotFound)
	_, err = s.drv.Bounds(ctx, old.ID, 0)
	s.code(err, tandem.CodeNotFound)
	s.code(s.drv.Append(ctx, &driver.Batch{Records: []driver.Record{record(old, 0, s.event(1))}}), tandem.CodeNotFound)

	anew := s.create("t", 1)
	if anew.ID == old.ID {
		s.Fatal("a recreated topic has the old ID")
	}
	s.code(s.drv.Append(ctx, &driver.Batch{Records: []driver.Record{record(old, 0, s.event(1))}}), tandem.CodeNotFound)
	if got := s.readFrom(anew, 0, 0); len(got) != 0 {
		s.Fatalf("a recreated topic begins with %d events", len(got))
	}
	r := deduped(anew, 0, id)
	stored := s.append(r)
	if stored[0].Duplicate || stored[0].Seq != 1 {
		s.Fatalf("the first event of a recreated topic has Seq %d, Duplicate %v", stored[0].Seq, stored[0].Duplicate)
	}
	s.same(anew, s.readFrom(anew, 0, 0), stored)
	s.same(keep, s.readFrom(keep, 1, 0), kept)
	if s.drv.Info().TotalOrder {
		if anew.Born <= last || anew.Replaced != anew.Born || stored[0].Offset <= anew.Born {
			s.Errorf("offsets up to %d, then Born %d, Replaced %d, then offset %d: they must rise", last, anew.Born, anew.Replaced, stored[0].Offset)
		}
	}
}

// close: what comes later is refused, and what is under way ends.
func (s *suite) close() {
	t := s.create("t", 1)
	done := make(chan error)
	for range 8 {
		go func() {
			for {
				if err := s.drv.Append(ctx, &driver.Batch{Records: []driver.Record{record(t, 0, s.event(0))}}); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	for range 20 {
		s.append(record(t, 0, s.event(0)))
	}
	s.ok(s.drv.Close())
	for range 8 {
		s.code(<-done, tandem.CodeUnavailable)
	}
	s.code(s.drv.Append(ctx, &driver.Batch{State: []driver.StateOp{{Key: "k", Value: []byte("v")}}}), tandem.CodeUnavailable)
	if s.drv.Health() == nil {
		s.Error("a closed engine says that it can write")
	}
}
