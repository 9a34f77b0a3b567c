package drivertest

import (
	"fmt"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// notify: it comes before Append returns, its ends are true, and what lies before them can be read.
func (s *suite) notify() {
	const parts = 4
	t := s.create("t", parts)
	told := make(chan []driver.End, 10_000)
	s.mu.Lock()
	s.onEnds = func(ends []driver.End) {
		own := make([]driver.End, len(ends))
		copy(own, ends)
		told <- own
	}
	s.mu.Unlock()
	var readers, writers sync.WaitGroup
	readers.Go(func() {
		for ends := range told {
			for _, e := range ends {
				if b, err := s.drv.Bounds(ctx, e.Topic, e.Partition); err != nil || b.End < e.End {
					s.Errorf("Notify said that partition %d ends at %d, Bounds says %d, %v", e.Partition, e.End, b.End, err)
				}
				got, err := s.drv.Read(ctx, e.Topic, e.Partition, e.End-1, 1, 1<<20, nil)
				if err != nil || len(got) != 1 {
					s.Errorf("Notify said that partition %d ends at %d; reading before it gives %d events, %v", e.Partition, e.End, len(got), err)
				}
			}
		}
	})
	for w := range 16 {
		writers.Go(func() {
			for i := range 30 {
				b := []driver.Record{record(t, w%parts, s.event(i)), record(t, (w+i)%parts, s.event(i))}
				if err := s.drv.Append(ctx, &driver.Batch{Records: b}); err != nil {
					s.Error(err)
					return
				}
				for _, r := range b {
					if end := s.end(t.ID, r.Partition); end <= r.Offset {
						s.Errorf("Append of offset %d returned while Notify was at %d", r.Offset, end)
					}
				}
			}
		})
	}
	writers.Wait()
	s.mu.Lock()
	s.onEnds = nil
	s.mu.Unlock()
	close(told)
	readers.Wait()
}

// notifyBeforeCreate: with TotalOrder, when a creation returns all smaller numbers were told.
func (s *suite) notifyBeforeCreate() {
	if !s.drv.Info().TotalOrder {
		s.Skip("the engine does not declare TotalOrder")
	}
	t := s.create("t", 2)
	stop := make(chan struct{})
	var mu sync.Mutex
	top := uint64(0) // largest number told
	late := map[uint64]bool{}
	s.mu.Lock()
	s.onEnds = func(ends []driver.End) {
		mu.Lock()
		defer mu.Unlock()
		for _, e := range ends {
			top = max(top, e.End-1)
			late[e.End-1] = true
		}
	}
	s.mu.Unlock()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := s.drv.Append(ctx, &driver.Batch{Records: []driver.Record{record(t, w%2, s.event(0))}}); err != nil {
					s.Error(err)
					return
				}
			}
		})
	}
	for i := range 20 {
		made := s.create(fmt.Sprint("made-", i), 1)
		mu.Lock()
		clear(late) // what is told from now on must be later
		mu.Unlock()
		s.append(record(t, 0, s.event(0)))
		mu.Lock()
		for n := range late {
			if n <= made.Born {
				s.Errorf("number %d was told after the creation that took %d had returned", n, made.Born)
			}
		}
		mu.Unlock()
	}
	close(stop)
	wg.Wait()
}

// visibility: what is not synced is neither read, nor counted, nor told, nor confirmed.
func (s *suite) visibility() {
	if s.h.StallSync == nil {
		s.Skip("the harness cannot stall syncing")
	}
	t := s.create("t", 1)
	before := s.fill(t, 0, 5)
	s.put(set("k", "before"))
	at := s.boundsOf(t, 0)
	reached, resume := s.h.StallSync(s.T, s.drv)
	done := make(chan error, 8)
	for range 8 {
		go func() {
			done <- s.drv.Append(ctx, &driver.Batch{Records: []driver.Record{record(t, 0, s.event(9)), record(t, 0, s.event(9))}})
		}()
	}
	<-reached
	told := s.end(t.ID, 0)
	for range 20 {
		s.same(t, s.readFrom(t, 0, 0), before)
		s.same(t, s.readFrom(t, 0, at.End), nil)
		if b := s.boundsOf(t, 0); b != at {
			s.Fatalf("bounds are %+v before and %+v during a stalled sync", at, b)
		}
		if o, err := s.drv.OffsetAt(ctx, t.ID, 0, epoch.Add(time.Hour)); err != nil || o != at.End {
			s.Fatalf("OffsetAt sees the end at %d, %v; it is %d", o, err, at.End)
		}
		if end := s.end(t.ID, 0); end != told {
			s.Fatalf("Notify told of the end %d during a stalled sync", end)
		}
		select {
		case err := <-done:
			s.Fatalf("Append returned (%v) during a stalled sync", err)
		case <-time.After(time.Millisecond):
		}
	}
	resume()
	for range 8 {
		s.ok(<-done)
	}
	if n := len(s.readFrom(t, 0, 0)); n != 5+16 {
		s.Errorf("%d events are there after the sync, want %d", n, 5+16)
	}
}

// reopen: all that was confirmed is there, and everything goes on where it was.
func (s *suite) reopen() {
	if s.h.Reopen == nil {
		s.Skip("the engine keeps nothing")
	}
	info := s.drv.Info()
	t, gone := s.create("t", 2), s.create("gone", 1)
	s.fill(gone, 0, 10)
	all := s.fill(t, 0, 100)
	s.put(set("a", "1"), set("b", "2"), set("c", ""))
	s.put(driver.StateOp{Key: "b"})
	fence, err := s.drv.Own(ctx, "duty")
	s.ok(err)
	last := s.fill(gone, 0, 1)[0].Offset // the largest number belongs to a topic that is deleted
	s.ok(s.drv.DeleteTopic(ctx, "gone"))
	for range 2 {
		b := s.boundsOf(t, 0)
		s.reopenNow()
		now := s.drv.Info()
		now.Warnings = info.Warnings // they may speak of topics
		if d := cmp.Diff(info, now); d != "" {
			s.Fatalf("Info changed (-was +is):\n%s", d)
		}
		topics, err := s.drv.Topics(ctx)
		s.ok(err)
		if len(topics) != 1 || topics[0] != t {
			s.Fatalf("topics are %+v, want %+v", topics, t)
		}
		s.same(t, s.readFrom(t, 0, 0), all)
		s.states("", "", pair{"a", "1"}, pair{"c", ""})
		again := s.boundsOf(t, 0)
		if info.SparseSeq && again.End >= b.End && again.EndSeq >= b.EndSeq { // what is no event may count at the end, and the size be an estimate
			again.End, again.EndSeq, again.Bytes = b.End, b.EndSeq, b.Bytes
		}
		if again != b {
			s.Errorf("bounds were %+v and are %+v", b, again)
		}
		next := s.append(record(t, 0, s.event(5)))
		dense := next[0].Seq == uint64(len(all)+1) || info.SparseSeq && next[0].Seq > all[len(all)-1].Seq
		if !dense || next[0].Offset <= all[len(all)-1].Offset || info.TotalOrder && next[0].Offset <= last {
			s.Fatalf("after opening again the next event has Seq %d, offset %d; %d and %d were given", next[0].Seq, next[0].Offset, len(all), last)
		}
		all, last = append(all, next...), next[0].Offset
	}
	s.ok(s.drv.Append(ctx, &driver.Batch{Records: []driver.Record{record(t, 1, s.event(1))}, Fence: &fence}))
	anew, err := s.drv.Own(ctx, "duty")
	s.ok(err)
	if anew.Epoch <= fence.Epoch {
		s.Errorf("an epoch after opening again is %d, it was %d", anew.Epoch, fence.Epoch)
	}
	back := s.create("gone", 1)
	if back.ID == gone.ID || back.ID == t.ID || info.TotalOrder && back.Replaced == 0 {
		s.Errorf("a topic recreated after opening again is %+v; the old one was %+v", back, gone)
	}
	s.code(s.drv.Append(ctx, &driver.Batch{Records: []driver.Record{record(gone, 0, s.event(1))}}), tandem.CodeNotFound)
}
