package drivertest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// RunLog tests what readers of an eventlog.Log see on an engine: with one cursor over many topics, every event once and in
// order, while many write. Run includes it.
func RunLog(t *testing.T, h Harness) {
	t.Run("ReadWhileWriting", func(t *testing.T) {
		s := openScene(t, h)
		written := make(chan struct{})
		go func() {
			defer close(written)
			s.write(8, 30)
		}()
		s.readAll(tandem.Start{Earliest: true}, written, nil)
		<-written
		s.check()
	})
	t.Run("Resume", func(t *testing.T) {
		s := openScene(t, h)
		s.write(8, 15)
		rnd := rand.New(rand.NewPCG(1, 2))
		done := make(chan struct{})
		close(done)
		s.readAll(tandem.Start{Earliest: true}, done, func() bool { return rnd.IntN(20) == 0 })
		s.check()
	})
	t.Run("Last", func(t *testing.T) {
		s := openScene(t, h)
		s.write(8, 30)
		s.last(1, 7, 100, len(s.wrote)+1)
	})
	t.Run("Recreated", func(t *testing.T) {
		if why, ok := h.Skip["Recreate"]; ok {
			t.Skip(why)
		}
		openScene(t, h).recreated()
	})
}

// scene is a log with a few topics, what was written to it, and what was read.
type scene struct {
	*testing.T
	log *eventlog.Log
	sel eventlog.Selection

	mu    sync.Mutex
	wrote map[string]bool // ids

	read  map[string]bool
	seqs  map[tandem.Position]uint64 // by partition
	place uint64                     // with TotalOrder, the last number read
}

func openScene(t *testing.T, h Harness) *scene {
	l, err := eventlog.Open(ctx, h.Open(t), eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := &scene{T: t, log: l, wrote: map[string]bool{}, read: map[string]bool{}, seqs: map[tandem.Position]uint64{}}
	if s.sel, err = eventlog.Select("t.*"); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if _, err := l.CreateTopic(ctx, tandem.Topic{Name: fmt.Sprint("t.", i), Partitions: 1 + i}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// write has many append to all topics at once.
func (s *scene) write(writers, batches int) {
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range batches {
				events := make([]tandem.Event, 1+(i+w)%5)
				for j := range events {
					events[j] = tandem.Event{Source: "/drivertest", Type: "written", Subject: fmt.Sprint(w, j), Data: []byte("1")}
				}
				got, err := s.log.Append(ctx, fmt.Sprint("t.", (w+i)%4), events)
				if err != nil {
					s.Error(err)
					return
				}
				s.mu.Lock()
				for _, r := range got {
					s.wrote[r.ID] = true
				}
				s.mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// readAll reads until there is nothing left after written is closed. Where leave says so, the reader is left at an event
// in the middle of a page, and another resumes there.
func (s *scene) readAll(start tandem.Start, written <-chan struct{}, leave func() bool) {
	r := s.open(start)
	defer func() { r.Close() }()
	for max := 1; ; max = max%50 + 1 {
		over := false
		select {
		case <-written:
			over = true
		default:
		}
		p, err := r.Read(ctx, tandem.Filter{}, max)
		if err != nil || p.Gap != nil {
			s.Errorf("gap %+v, error %v", p.Gap, err)
			return
		}
		for i := range p.Events {
			e := &p.Events[i]
			if !s.saw(e) {
				return
			}
			if leave != nil && leave() {
				c := r.CursorAfter(e)
				r.Close()
				r = s.open(tandem.Start{Cursor: c})
				break
			}
		}
		if over && len(p.Events) == 0 {
			return
		}
	}
}

func (s *scene) open(start tandem.Start) *eventlog.Reader {
	s.Helper()
	r, err := s.log.NewReader(ctx, s.sel, start)
	if err != nil {
		s.Fatal(err)
	}
	return r
}

// saw checks that an event comes in order and for the first time.
func (s *scene) saw(e *tandem.Record) bool {
	part := e.Position
	part.Offset = 0
	info := s.log.Info()
	switch last := s.seqs[part]; {
	case s.read[e.ID]:
		s.Errorf("%v was read twice", e.Position)
	case e.Seq != last+1 && !info.SparseSeq || e.Seq <= last:
		s.Errorf("%v has Seq %d and follows %d of its partition", e.Position, e.Seq, last)
	case info.TotalOrder && e.Position.Offset <= s.place:
		s.Errorf("%v follows number %d", e.Position, s.place)
	default:
		s.read[e.ID], s.seqs[part], s.place = true, e.Seq, e.Position.Offset
		return true
	}
	return false
}

func (s *scene) check() {
	if !maps.Equal(s.read, s.wrote) {
		s.Errorf("%d events were written and %d read", len(s.wrote), len(s.read))
	}
}

// recreated: a cursor that lies in the old incarnation is a gap, one of the new is none, and a live reader is told.
func (s *scene) recreated() {
	live := s.open(tandem.Start{})
	defer live.Close()
	s.write(2, 8)
	all := func(r *eventlog.Reader) (events int, gaps []*tandem.Gap) {
		for {
			p, err := r.Read(ctx, tandem.Filter{}, 100)
			if err != nil {
				s.Fatal(err)
			}
			events += len(p.Events)
			if p.Gap != nil {
				gaps = append(gaps, p.Gap)
			}
			if len(p.Events) == 0 && p.Gap == nil {
				return events, gaps
			}
		}
	}
	all(live)
	old := live.Cursor()
	if err := s.log.DeleteTopic(ctx, "t.1"); err != nil {
		s.Fatal(err)
	}
	if _, err := s.log.CreateTopic(ctx, tandem.Topic{Name: "t.1", Partitions: 2}); err != nil {
		s.Fatal(err)
	}
	latest := s.open(tandem.Start{})
	defer latest.Close()
	if _, err := s.log.Append(ctx, "t.1", []tandem.Event{{Source: "/drivertest", Type: "written"}}); err != nil {
		s.Fatal(err)
	}
	for name, c := range map[string]struct {
		r    *eventlog.Reader
		gaps int
	}{"live": {live, 1}, "resumed": {s.open(tandem.Start{Cursor: old}), 1}, "latest": {latest, 0}} {
		events, gaps := all(c.r)
		if events != 1 || len(gaps) != c.gaps || c.gaps > 0 && gaps[0].Reason != tandem.GapRecreated {
			s.Errorf("the %s reader has %d events and the gaps %+v, want one event and %d", name, events, gaps, c.gaps)
		}
		c.r.Close()
	}
}
