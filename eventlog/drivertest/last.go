package drivertest

import "github.com/tandem-hybrid/tandem"

// last reads the last events, for each of some numbers, and finds as many, up to the end of each partition.
func (s *scene) last(numbers ...int) {
	for _, n := range numbers {
		r, err := s.log.NewReaderLast(ctx, s.sel, tandem.Filter{}, n)
		if err != nil {
			s.Fatal(err)
		}
		lowest, count := map[tandem.Position]uint64{}, 0
		for {
			p, err := r.Read(ctx, tandem.Filter{}, 50)
			if err != nil || p.Gap != nil {
				s.Fatalf("gap %+v, error %v", p.Gap, err)
			}
			if len(p.Events) == 0 {
				break
			}
			for i := range p.Events {
				part := p.Events[i].Position
				part.Offset = 0
				if _, ok := lowest[part]; !ok {
					lowest[part] = p.Events[i].Position.Offset
				}
			}
			count += len(p.Events)
		}
		r.Close()
		if want := min(n, len(s.wrote)); count != want {
			s.Errorf("the last %d are %d events, want %d", n, count, want)
		}
		held := 0
		for part, offset := range lowest {
			info, err := s.log.Topic(ctx, part.Topic)
			if err != nil {
				s.Fatal(err)
			}
			got, err := s.log.ReadPartition(ctx, info.ID, part.Partition, offset, len(s.wrote), nil)
			if err != nil {
				s.Fatal(err)
			}
			held += len(got)
		}
		if held != count {
			s.Errorf("the last %d leave out %d events between them", n, held-count)
		}
	}
}
