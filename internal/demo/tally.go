package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem/examples/fleet/vehicle"
)

// maxWrong bounds the faults that a tally keeps.
const maxWrong = 100

// tally holds the positions that a reader sees against those that vehicles send.
type tally struct {
	want map[string]int // positions by vehicle
	all  bool           // the reader has to see each; otherwise the last of each vehicle, and those that it sees in order

	mu     sync.Mutex     // guards what follows
	last   map[string]int // the number of the last position seen, by vehicle
	seen   int
	ended  int // vehicles whose last position was seen
	wrong  []string
	faults int           // also of those that are not kept in wrong
	heard  time.Time     // when the last was seen
	done   chan struct{} // closed when all vehicles have ended
}

func newTally(tracks []vehicle.Track, all bool) *tally {
	t := &tally{want: map[string]int{}, all: all, last: map[string]int{}, heard: time.Now(), done: make(chan struct{})}
	for _, track := range tracks {
		t.want[track.Vehicle] = len(track.Positions)
	}
	return t
}

// take counts a position.
func (t *tally) take(name string, data []byte) {
	var p vehicle.Position
	err := json.Unmarshal(data, &p)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen++
	t.heard = time.Now()
	last, want := t.last[name], t.want[name]
	switch {
	case err != nil:
		t.say("vehicle %s: %v in %s", name, err, data)
		return
	case p.N < 1 || p.N > want:
		t.say("vehicle %s: position %d, it sends %d", name, p.N, want)
		return
	case p.N == last:
		t.say("vehicle %s: position %d twice", name, p.N)
	case p.N < last:
		t.say("vehicle %s: position %d behind %d", name, p.N, last)
	case p.N > last+1 && t.all:
		t.say("vehicle %s: position %d behind %d: some are missing", name, p.N, last)
	}
	t.last[name] = p.N
	if p.N == want && last < want {
		if t.ended++; t.ended == len(t.want) {
			close(t.done)
		}
	}
}

func (t *tally) say(format string, args ...any) {
	if t.faults++; len(t.wrong) < maxWrong {
		t.wrong = append(t.wrong, fmt.Sprintf(format, args...))
	}
}

// await waits until the last position of each vehicle was seen, or nothing was for too long.
func (t *tally) await(ctx context.Context, patience time.Duration) error {
	for wait := patience; wait > 0; {
		select {
		case <-t.done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
		t.mu.Lock()
		wait = patience - time.Since(t.heard)
		t.mu.Unlock()
	}
	return nil // faults says what is missing
}

// count returns how many positions were seen.
func (t *tally) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen
}

// disagreements returns what is wrong, beginning with who saw it.
func (t *tally) disagreements(who string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for _, w := range t.wrong {
		out = append(out, who+": "+w)
	}
	if more := t.faults - len(t.wrong); more > 0 {
		out = append(out, fmt.Sprintf("%s: and %d more", who, more))
	}
	var missing []string
	for name, want := range t.want {
		if last := t.last[name]; last < want {
			missing = append(missing, fmt.Sprintf("%s: vehicle %s: position %d was the last, of %d", who, name, last, want))
		}
	}
	slices.SortFunc(missing, cmp.Compare[string])
	return append(out, missing...)
}

// sent is what vehicles know of the positions that they sent.
type sent struct {
	mu         sync.Mutex // guards what follows
	changed    *sync.Cond // on mu
	over       bool       // nothing more will change
	receipts   int
	repeats    int // of them, those of positions that were stored when they were sent before
	broken     int // connections that broke
	took       latencies
	onProgress func(receipts int)
}

func newSent() *sent {
	s := &sent{}
	s.changed = sync.NewCond(&s.mu)
	return s
}

func (s *sent) stored(_ vehicle.Position, took time.Duration, repeat bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.receipts++
	if repeat {
		s.repeats++
	}
	s.took.add(took)
	if s.onProgress != nil {
		s.onProgress(s.receipts)
	}
	s.changed.Broadcast()
}

func (s *sent) again(error) { s.mu.Lock(); s.broken++; s.mu.Unlock() }

func (s *sent) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.receipts
}

func (s *sent) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.changed.Broadcast()
}

func (s *sent) wait(receipts int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.receipts < receipts {
		if s.over {
			return errOver
		}
		s.changed.Wait()
	}
	return nil
}
