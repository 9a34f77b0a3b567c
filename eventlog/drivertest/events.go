package drivertest

import (
	"bytes"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// exact: every field comes back as it was given, and the data byte for byte.
func (s *suite) exact() {
	t := s.create("exact", 1)
	full := &tandem.Event{
		ID: "id/ü \x7f", Source: "https://example.com/a?b=c#d", Type: "com.example.tested", Subject: "subject é", Time: "2026-11-21T03:04:05.123456789+01:00",
		DataContentType: "application/json; charset=utf-8", DataSchema: "https://example.com/schema",
		Extensions: []tandem.Extension{{Name: "zeta", Value: "text", Kind: tandem.ExtensionString}, {Name: "alpha", Value: "-42", Kind: tandem.ExtensionInteger},
			{Name: "flag", Value: "true", Kind: tandem.ExtensionBoolean}, {Name: "empty"}},
		Data: []byte(`{"b": 1,  "a" :[1.0]}`), Encoding: tandem.DataJSON,
		Meta: tandem.Meta{Key: "key", Flow: "flow", Causes: []string{"one", "two"}, Operation: "operation", Hops: 3, Producer: "producer", Route: "POST /orders",
			TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", TraceState: "a=b", Accepted: epoch.Add(1234 * time.Millisecond)},
	}
	events := []*tandem.Event{full}
	add := func(change func(*tandem.Event)) {
		ev := s.event(1)
		change(ev)
		events = append(events, ev)
	}
	for _, data := range [][]byte{nil, {}, {0}, []byte("text"), {0xff, 0xfe, 0, 1, 0xc3, 0x28}, bytes.Repeat([]byte("long "), 40_000)} {
		for enc := tandem.DataAuto; enc <= tandem.DataBinary; enc++ {
			add(func(ev *tandem.Event) { ev.Data, ev.Encoding = data, enc })
		}
	}
	add(func(ev *tandem.Event) { ev.Meta.Hops = tandem.MaxHops })
	add(func(ev *tandem.Event) { ev.Meta.Causes = []string{"only"} })
	add(func(ev *tandem.Event) { ev.Subject = string(bytes.Repeat([]byte("s"), 3000)) })

	var want []driver.Record
	for _, ev := range events {
		own := *ev
		r := record(t, 0, &own)
		s.append(r)
		batch := []driver.Record{r, r}
		s.append(batch...) // alone, and beside others
		want = append(want, driver.Record{}, batch[0], batch[1])
	}
	got := s.readFrom(t, 0, 0)
	if len(got) != len(want) {
		s.Fatalf("read %d events, want %d", len(got), len(want))
	}
	for i := 0; i < len(want); i += 3 { // append has its own copy of a single record
		want[i] = want[i+1]
		want[i].Offset, want[i].Seq = got[i].Position.Offset, got[i].Seq
	}
	s.same(t, got, want)
	// The engine keeps no reference: what the caller does with its event afterwards is not seen.
	mine := s.event(7)
	mine.Extensions = []tandem.Extension{{Name: "a", Value: "b"}}
	stored := s.append(record(t, 0, mine))[0].Offset
	mine.Data[0], mine.Extensions[0].Value = 'X', "c"
	last := s.readFrom(t, 0, stored)
	if string(last[0].Data) != "7" || last[0].Extensions[0].Value != "b" {
		s.Errorf("the engine kept a reference to what it was given: %q %v", last[0].Data, last[0].Extensions)
	}
}

// order: offsets rise, Seq is dense, and with TotalOrder the numbers rise over all partitions.
func (s *suite) order() {
	a, b := s.create("a", 3), s.create("b", 2)
	seqs := map[partKey]uint64{}
	last := map[partKey]uint64{}
	top := uint64(0)
	for i := range 100 {
		batch := []driver.Record{record(a, i%3, s.event(i)), record(b, i%2, s.event(i)), record(a, i%3, s.event(i)), record(a, (i+1)%3, s.event(i))}
		s.append(batch...)
		for _, r := range batch {
			k := partKey{r.Topic, r.Partition}
			if seqs[k]++; r.Seq != seqs[k] && !s.drv.Info().SparseSeq {
				s.Fatalf("event %d of partition %v has Seq %d", seqs[k], k, r.Seq)
			}
			if r.Seq > 1 && r.Offset <= last[k] || s.drv.Info().TotalOrder && r.Offset <= top {
				s.Fatalf("offset %d follows %d in %v, and %d in the log", r.Offset, last[k], k, top)
			}
			last[k], top = r.Offset, r.Offset
			if r.Duplicate || r.Stored != r.Partition {
				s.Fatalf("a new event has Duplicate %v, Stored %d", r.Duplicate, r.Stored)
			}
		}
	}
}

// concurrent: many writers at once, each in order, nothing lost or doubled.
func (s *suite) concurrent() {
	const writers, rounds, parts = 64, 15, 4
	t := s.create("t", parts)
	var mu sync.Mutex
	byPart := make([]map[uint64]string, parts) // offset to id
	for i := range byPart {
		byPart[i] = map[uint64]string{}
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				var b []driver.Record
				for range 1 + (w+i)%3 {
					b = append(b, record(t, w%parts, s.event(i)), record(t, (w+1)%parts, s.event(i)))
				}
				if err := s.drv.Append(ctx, &driver.Batch{Records: b}); err != nil {
					s.Error(err)
					return
				}
				mu.Lock()
				for j, r := range b {
					if j >= 2 && r.Offset <= b[j-2].Offset {
						s.Errorf("a batch is stored out of order: %d after %d", r.Offset, b[j-2].Offset)
					}
					if byPart[r.Partition][r.Offset] != "" {
						s.Errorf("offset %d of partition %d was given twice", r.Offset, r.Partition)
					}
					byPart[r.Partition][r.Offset] = r.Event.ID
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for p := range parts {
		got := s.readFrom(t, p, 0)
		if len(got) != len(byPart[p]) {
			s.Fatalf("partition %d has %d events, want %d", p, len(got), len(byPart[p]))
		}
		for i, r := range got {
			dense := r.Seq == uint64(i+1) || s.drv.Info().SparseSeq && r.Seq > uint64(i)
			if r.ID != byPart[p][r.Position.Offset] || !dense || i > 0 && r.Position.Offset <= got[i-1].Position.Offset {
				s.Fatalf("partition %d, event %d: %v seq %d is %s, the writer was told %s", p, i, r.Position, r.Seq, r.ID, byPart[p][r.Position.Offset])
			}
		}
	}
}

func (s *suite) read() {
	t := s.create("t", 2)
	all := s.fill(t, 0, 250)
	s.fill(t, 1, 10)
	for _, i := range []int{0, 1, 99, 248, 249} {
		got, err := s.drv.Read(ctx, t.ID, 0, all[i].Offset, 60, 1<<20, nil)
		s.ok(err)
		s.same(t, got, all[i:min(i+60, 250)])
		got, err = s.drv.Read(ctx, t.ID, 0, all[i].Offset+1, 1000, 1<<20, nil)
		s.ok(err)
		s.same(t, got, all[i+1:])
	}
	prefix := []tandem.Record{{Seq: 99}}
	got, err := s.drv.Read(ctx, t.ID, 0, 0, 1, 1<<20, prefix)
	s.ok(err)
	if len(got) != 2 || got[0].Seq != 99 {
		s.Fatalf("Read did not append to dst: %d records", len(got))
	}
	s.same(t, got[1:], all[:1])
	got, err = s.drv.Read(ctx, t.ID, 0, 0, 10, 1, nil)
	s.ok(err)
	s.same(t, got, all[:1]) // the first is read however large
	big := s.event(0)
	big.Data, big.Encoding = make([]byte, 10_000), tandem.DataBinary
	from := s.append(record(t, 0, big), record(t, 0, big), record(t, 0, big))[0].Offset
	got, err = s.drv.Read(ctx, t.ID, 0, from, 10, 25_000, nil)
	s.ok(err)
	if len(got) != 2 {
		s.Errorf("read %d events of 10,000 bytes with room for 25,000", len(got))
	}
	got, err = s.drv.Read(ctx, t.ID, 0, s.boundsOf(t, 0).End+1000, 10, 1<<20, nil)
	s.ok(err)
	if len(got) != 0 {
		s.Errorf("read %d events beyond the end", len(got))
	}
	_, err = s.drv.Read(ctx, t.ID, 2, 0, 10, 1<<20, nil)
	s.code(err, tandem.CodeNotFound)
}

func (s *suite) bounds() {
	t := s.create("t", 2)
	b := s.boundsOf(t, 0)
	if b.Start != b.End || b.StartSeq != 1 || b.EndSeq != 1 || b.Removed != 0 || b.Bytes != 0 {
		s.Errorf("an empty partition has %+v", b)
	}
	all := s.fill(t, 0, 30)
	b = s.boundsOf(t, 0)
	dense := b.EndSeq == 31 || s.drv.Info().SparseSeq && b.EndSeq > all[29].Seq
	if b.Start != all[0].Offset || b.End <= all[29].Offset || b.StartSeq != 1 || !dense || b.Removed != 0 || b.Bytes < 30 {
		s.Errorf("a partition with offsets %d to %d has %+v", all[0].Offset, all[29].Offset, b)
	}
	next := s.append(record(t, 0, s.event(1)))
	if next[0].Offset < b.End {
		s.Errorf("the end was %d, and the next offset %d", b.End, next[0].Offset)
	}
	if b := s.boundsOf(t, 1); b.EndSeq != 1 {
		s.Errorf("the other partition has %+v", b)
	}
	_, err := s.drv.Bounds(ctx, t.ID, 2)
	s.code(err, tandem.CodeNotFound)
}

func (s *suite) offsetAt() {
	t := s.create("t", 2)
	at := func(d time.Duration) uint64 {
		o, err := s.drv.OffsetAt(ctx, t.ID, 0, epoch.Add(d))
		s.ok(err)
		return o
	}
	if o := at(0); o != s.boundsOf(t, 0).End {
		s.Errorf("in an empty partition OffsetAt is %d, the end %d", o, s.boundsOf(t, 0).End)
	}
	var all []driver.Record
	for i := range 500 {
		all = append(all, s.append(record(t, 0, s.event(i/2*10)))...) // two of each time
	}
	for _, i := range []int{0, 2, 100, 498} {
		ms := time.Duration(i/2*10) * time.Millisecond
		if o := at(ms); o != all[i].Offset {
			s.Errorf("OffsetAt the time of event %d is %d, want %d", i, o, all[i].Offset)
		}
		// The place between two times is the later event, or anything between the two.
		if o := at(ms - 5*time.Millisecond); o > all[i].Offset || i > 0 && o <= all[i-1].Offset {
			s.Errorf("OffsetAt before event %d is %d, want %d", i, o, all[i].Offset)
		}
	}
	if o := at(time.Hour); o != s.boundsOf(t, 0).End {
		s.Errorf("OffsetAt after all is %d, the end %d", o, s.boundsOf(t, 0).End)
	}
	_, err := s.drv.OffsetAt(ctx, t.ID, 5, epoch)
	s.code(err, tandem.CodeNotFound)
}
