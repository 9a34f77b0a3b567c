package drivertest

import (
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// retention by age: nothing goes before its time, all goes some time after, and Bounds says so.
func (s *suite) retention() {
	if s.h.Retain == nil {
		s.Skip("the harness cannot run retention")
	}
	const age = 24 * time.Hour
	t, err := s.drv.CreateTopic(ctx, tandem.Topic{Name: "short", Partitions: 2, Retention: tandem.Duration(age)})
	s.ok(err)
	forever := s.create("forever", 1)
	kept := s.fill(forever, 0, 20)
	old := s.fill(t, 0, 50)
	s.fill(t, 1, 3)

	s.h.Retain(s.T, s.drv, epoch.Add(age-time.Hour))
	s.same(t, s.readFrom(t, 0, 0), old)

	later := s.event(0)
	later.Meta.Accepted = epoch.Add(3*age + 48*time.Hour)
	young := s.append(record(t, 0, later))
	s.h.Retain(s.T, s.drv, epoch.Add(3*age+49*time.Hour))
	s.same(t, s.readFrom(t, 0, 0), young)
	s.same(t, s.readFrom(t, 0, old[7].Offset), young)
	s.same(forever, s.readFrom(forever, 0, 0), kept)

	b := s.boundsOf(t, 0)
	if b.Removed <= old[49].Offset || b.Removed > young[0].Offset || b.Start != young[0].Offset || b.StartSeq != young[0].Seq || b.EndSeq != young[0].Seq+1 {
		s.Errorf("after retention of offsets up to %d, with %d (seq %d) left: %+v", old[49].Offset, young[0].Offset, young[0].Seq, b)
	}
	b = s.boundsOf(t, 1)
	if b.Start != b.End || b.StartSeq != 4 || b.EndSeq != 4 || b.Removed == 0 || b.Bytes != 0 {
		s.Errorf("after retention of all 3 events of a partition: %+v", b)
	}
	if b := s.boundsOf(forever, 0); b.Removed != 0 {
		s.Errorf("a topic that is kept for ever has Removed %d", b.Removed)
	}
}

// retentionBytes: what is over the size goes, oldest first, and something stays.
func (s *suite) retentionBytes() {
	if s.h.Retain == nil {
		s.Skip("the harness cannot run retention")
	}
	const limit = 256 << 10
	t, err := s.drv.CreateTopic(ctx, tandem.Topic{Name: "small", Partitions: 1, Retention: -1, RetentionBytes: limit})
	s.ok(err)
	var all []driver.Record
	for i := range 600 {
		ev := s.event(i * 60_000)
		ev.Data = make([]byte, 4<<10)
		ev.Encoding = tandem.DataBinary
		all = append(all, s.append(record(t, 0, ev))...)
	}
	s.h.Retain(s.T, s.drv, epoch.Add(10*time.Hour))
	left := s.readFrom(t, 0, 0)
	if len(left) == 0 || len(left) > len(all)/2 {
		s.Fatalf("%d of %d events are left, with room for about %d", len(left), len(all), limit/(4<<10))
	}
	s.same(t, left, all[len(all)-len(left):])
}
