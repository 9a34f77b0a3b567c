package drivertest

import (
	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

func (s *suite) needDedup() {
	if s.drv.Info().Dedup == driver.DedupAtDelivery {
		s.Skip("the engine recognises repeats at delivery")
	}
}

// dedup: a repeat is answered with the place of the first, wherever it comes.
func (s *suite) dedup() {
	s.needDedup()
	t, other := s.create("t", 2), s.create("other", 1)
	ev := s.event(1)
	first := s.append(record(t, 0, s.event(0)), deduped(t, 1, ev))[1]
	if first.Duplicate {
		s.Fatal("the first is called a duplicate")
	}
	again := func(rs ...driver.Record) {
		s.Helper()
		for _, r := range rs {
			if !r.Duplicate || r.Offset != first.Offset || r.Stored != 1 {
				s.Errorf("a repeat of %d/%d has Duplicate %v, %d/%d", 1, first.Offset, r.Duplicate, r.Stored, r.Offset)
			}
		}
	}
	again(s.append(deduped(t, 1, ev))...)
	if f, ok := s.drv.(driver.Foreteller); ok {
		s.ok(f.Takes())
		asked := deduped(t, 1, ev)
		found := driver.Record{Topic: t.ID, Identity: asked.Identity}
		s.ok(f.Find(ctx, &found))
		if again(found); found.Sum != asked.Sum {
			s.Errorf("the sum that is found is %d, not %d", found.Sum, asked.Sum)
		}
		asked = deduped(other, 0, ev)
		found = driver.Record{Topic: other.ID, Identity: asked.Identity}
		if s.ok(f.Find(ctx, &found)); found.Duplicate {
			s.Error("an id of another topic is found")
		}
	}
	if s.drv.Info().Dedup == driver.DedupAtAppend {
		again(s.append(deduped(t, 0, ev))[0]) // its key changed
	}
	mixed := s.append(record(t, 1, s.event(2)), deduped(t, 1, ev), record(t, 1, s.event(3)), deduped(t, 1, ev))
	again(mixed[1], mixed[3])
	if mixed[0].Duplicate || mixed[2].Duplicate || mixed[2].Offset <= mixed[0].Offset || mixed[2].Seq != mixed[0].Seq+1 {
		s.Errorf("beside repeats, new events are %+v and %+v", mixed[0], mixed[2])
	}
	if r := s.append(deduped(other, 0, ev))[0]; r.Duplicate {
		s.Error("an id of another topic is called a duplicate")
	}
	twice := s.event(5)
	both := s.append(deduped(t, 0, twice), deduped(t, 0, twice))
	if both[0].Duplicate || !both[1].Duplicate || both[1].Offset != both[0].Offset {
		s.Errorf("the same id twice in a batch is %+v and %+v", both[0], both[1])
	}
	// What is beside a repeat is stored: a delivery is acknowledged even if its replies were stored before.
	s.ok(s.drv.Append(ctx, &driver.Batch{Records: []driver.Record{deduped(t, 1, ev)}, State: []driver.StateOp{set("acknowledged", "1")}}))
	s.states("", "", pair{"acknowledged", "1"})
	if n := len(s.readFrom(t, 1, 0)); n != 3 {
		s.Errorf("partition 1 has %d events, want 3", n)
	}
	// Without Dedup the same id is another event.
	if r := s.append(record(t, 1, ev))[0]; r.Duplicate || r.Offset == first.Offset {
		s.Error("an event that did not ask for it was de-duplicated")
	}
	if s.h.Reopen != nil {
		s.reopenNow()
		again(s.append(deduped(t, 1, ev))...)
	}
}

// dedupRace: of many that send one id at once, one stores it and all are told the same place.
func (s *suite) dedupRace() {
	s.needDedup()
	t := s.create("t", 1)
	for range 10 {
		ev := s.event(1)
		got := make(chan driver.Record)
		for range 32 {
			go func() {
				b := &driver.Batch{Records: []driver.Record{deduped(t, 0, ev)}}
				if err := s.drv.Append(ctx, b); err != nil {
					s.Error(err)
				}
				got <- b.Records[0]
			}()
		}
		stored, places := 0, map[uint64]bool{}
		for range 32 {
			r := <-got
			places[r.Offset] = true
			if !r.Duplicate {
				stored++
			}
		}
		if stored != 1 || len(places) != 1 {
			s.Fatalf("one id was stored %d times, at %d places", stored, len(places))
		}
	}
	if n := len(s.readFrom(t, 0, 0)); n != 10 {
		s.Errorf("%d events are stored, want 10", n)
	}
}

// dedupConflict: other data under the same id is refused with its index, in the window, in the batch, and in a group.
func (s *suite) dedupConflict() {
	s.needDedup()
	t := s.create("t", 1)
	ev := s.event(1)
	other := *ev
	other.Data = []byte("other")
	refused := func(failed int, records ...driver.Record) {
		s.Helper()
		b := &driver.Batch{Records: records, Failed: -1}
		s.code(s.drv.Append(ctx, b), tandem.CodeConflict)
		if b.Failed != failed {
			s.Errorf("Failed is %d, want %d", b.Failed, failed)
		}
	}
	refused(1, deduped(t, 0, ev), deduped(t, 0, &other))
	if n := len(s.readFrom(t, 0, 0)); n != 0 {
		s.Fatalf("a refused batch stored %d events", n)
	}
	s.append(deduped(t, 0, &other)) // the refused one left no identity behind
	refused(2, record(t, 0, s.event(0)), record(t, 0, s.event(0)), deduped(t, 0, ev))
	if n := len(s.readFrom(t, 0, 0)); n != 1 {
		s.Fatalf("%d events are stored, want 1", n)
	}

	// One writer's conflict is none of its neighbours' business.
	results := make(chan error)
	const writers = 32
	for i := range writers {
		go func() {
			r := record(t, 0, s.event(0))
			if i%4 == 0 {
				r = deduped(t, 0, ev)
			}
			results <- s.drv.Append(ctx, &driver.Batch{Records: []driver.Record{r}})
		}()
	}
	conflicts := 0
	for range writers {
		switch err := <-results; tandem.CodeOf(err) {
		case "":
		case tandem.CodeConflict:
			conflicts++
		default:
			s.Error(err)
		}
	}
	if n := len(s.readFrom(t, 0, 0)); conflicts != writers/4 || n != 1+writers-writers/4 {
		s.Errorf("%d conflicts and %d events, want %d and %d", conflicts, n, writers/4, 1+writers-writers/4)
	}
}
