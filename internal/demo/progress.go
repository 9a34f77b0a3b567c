package demo

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// keepLatencies bounds the measurements that are kept, the newest of them, in a run without end.
const keepLatencies = 100_000

// progress is what is known of the orders so far. Those that have not ended are kept by id, the others only counted.
type progress struct {
	mu      sync.Mutex
	changed *sync.Cond // on mu
	over    bool       // nothing more will change

	placed   int
	open     map[string]time.Time // placed, not ended: when the customer sent the order
	early    map[string]early     // ended before the customer had the answer
	states   map[string]int       // ended, by state
	outcomes map[string]string    // state by order, when keep is set
	steps    map[string]string    // types of the events of each order, in the order of the log, when keep is set
	keep     bool

	events     int // seen in the log
	lastEvent  time.Time
	requests   latencies
	toFinal    latencies
	resent     int // requests that customers sent again
	onProgress func(placed, ended int)
}

type early struct {
	state string
	at    time.Time
}

func newProgress(keep bool) *progress {
	p := &progress{open: map[string]time.Time{}, early: map[string]early{}, states: map[string]int{}, outcomes: map[string]string{},
		steps: map[string]string{}, keep: keep, lastEvent: time.Now()}
	p.changed = sync.NewCond(&p.mu)
	return p
}

func (p *progress) ended() int { // with mu held
	n := 0
	for _, c := range p.states {
		n += c
	}
	return n
}

// ordered notes an order that the shop has taken.
func (p *progress) ordered(id string, sent time.Time, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.placed++
	p.requests.add(took)
	if e, ok := p.early[id]; ok {
		delete(p.early, id)
		p.finish(id, e.state, e.at.Sub(sent))
	} else {
		p.open[id] = sent
	}
	p.change()
}

// again notes that a customer sent a request once more.
func (p *progress) again() { p.mu.Lock(); p.resent++; p.mu.Unlock() }

// event notes an event that was read from the log.
func (p *progress) event(order, typ string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events++
	p.lastEvent = time.Now()
	if p.keep {
		p.steps[order] += " " + typ
	}
	if state, ok := finals[typ]; ok {
		p.end(order, state)
	}
	p.change()
}

// finals are the events that end an order, and the state that it then has.
var finals = map[string]string{"order.confirmed": "confirmed", "order.cancelled": "cancelled", "order.returned": "returned"}

// failed notes an order that ended without an event.
func (p *progress) failed(order string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(order, "failed")
	p.change()
}

func (p *progress) end(order, state string) {
	if sent, ok := p.open[order]; ok {
		delete(p.open, order)
		p.finish(order, state, time.Since(sent))
	} else if _, done := p.outcomes[order]; !done && len(p.early) < 10_000 { // of a customer whose answer is on its way
		p.early[order] = early{state, time.Now()}
	}
}

func (p *progress) finish(order, state string, took time.Duration) {
	p.states[state]++
	p.toFinal.add(took)
	if p.keep {
		p.outcomes[order] = state
	}
}

func (p *progress) change() {
	if p.onProgress != nil {
		p.onProgress(p.placed, p.ended())
	}
	p.changed.Broadcast()
}

// unended returns the orders that have not ended.
func (p *progress) unended() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make([]string, 0, len(p.open))
	for id := range p.open {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// close wakes who waits: nothing more will change.
func (p *progress) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.changed.Broadcast()
}

var errOver = errors.New("the run is over")

func (p *progress) wait(until func(*progress) bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !until(p) {
		if p.over {
			return errOver
		}
		p.changed.Wait()
	}
	return nil
}

// latencies is a bounded list of measurements.
type latencies struct {
	list []time.Duration
	next int
}

func (l *latencies) add(d time.Duration) {
	if len(l.list) < keepLatencies {
		l.list = append(l.list, d)
		return
	}
	l.list[l.next] = d
	l.next = (l.next + 1) % keepLatencies
}

// percentile returns the smallest measurement that p of 100 are not above, or 0 when there is none.
func (l *latencies) percentile(p int) time.Duration {
	if len(l.list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(l.list))
	return sorted[(len(sorted)*p+99)/100-1]
}
