package eventlog

import (
	"context"
	"slices"
	"sync"

	"github.com/tandem-hybrid/tandem"
)

// Accept checks events as Append does, queues them and returns without waiting for the engine (ack=accepted): the receipts
// have ids but no position, and the events may be lost. The queue keeps the Data of the events: do not change it
// afterwards. Codes: Invalid, TooLarge, NotFound, Overloaded (the queue is full; nothing was taken), Unavailable (closed).
func (l *Log) Accept(ctx context.Context, topic string, events []tandem.Event) ([]tandem.Receipt, error) {
	if len(events) == 0 {
		return nil, nil
	}
	if err := l.drv.Health(); err != nil {
		return nil, tandem.Wrap("accept "+topic, err)
	}
	t, err := l.publishTopic(ctx, topic)
	if err != nil {
		return nil, tandem.Wrap("accept", err)
	}
	b := new(batch) // not pooled: the queue keeps it
	b.Records, b.topics = slices.Grow(b.Records, len(events)), slices.Grow(b.topics, len(events))
	p := l.newPreparer(len(events))
	own := slices.Clone(events)
	for i := range own {
		b.add(&p, t, &own[i], "", i)
	}
	if err := p.err(); err != nil {
		return nil, tandem.Wrap("accept "+topic, err)
	}
	if err := l.accepted.put(b, &l.opts); err != nil {
		return nil, tandem.Wrap("accept "+topic, err)
	}
	out := make([]tandem.Receipt, len(own))
	for i := range own {
		events[i].ID, events[i].Meta = own[i].ID, own[i].Meta
		out[i] = tandem.Receipt{ID: own[i].ID, Topic: topic}
	}
	return out, nil
}

// acceptQueue holds what Accept took, within Options.AcceptEvents and AcceptBytes. One goroutine takes all that waits
// and appends it in one batch, so that a slow engine makes batches longer, not the queue.
type acceptQueue struct {
	mu      sync.Mutex
	waiting []*batch
	events  int   // waiting or being appended
	bytes   int64 // of those
	closed  bool

	wake chan struct{} // room for one
	done chan struct{}
}

func (q *acceptQueue) start(l *Log) {
	q.wake, q.done = make(chan struct{}, 1), make(chan struct{})
	go q.run(l)
}

// stop refuses what comes, appends what waits, and returns when the goroutine has ended.
func (q *acceptQueue) stop() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
	<-q.done
}

func (q *acceptQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *acceptQueue) held() (events int, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.events, q.bytes
}

func (q *acceptQueue) put(b *batch, opts *Options) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return tandem.Errorf(tandem.CodeUnavailable, "the log is closed")
	}
	if q.events+len(b.Records) > opts.AcceptEvents || q.bytes+b.bytes > opts.AcceptBytes {
		return tandem.Errorf(tandem.CodeOverloaded, "%d events wait to be stored", q.events).
			WithHint("publish without ack=accepted to wait for the disk, or send less")
	}
	q.events += len(b.Records)
	q.bytes += b.bytes
	q.waiting = append(q.waiting, b)
	q.signal()
	return nil
}

func (q *acceptQueue) run(l *Log) {
	defer close(q.done)
	for {
		q.mu.Lock()
		n := groupLen(q.waiting)
		group, closed := q.waiting[:n:n], q.closed
		q.waiting = q.waiting[n:]
		q.mu.Unlock()
		if len(group) > 0 {
			l.appendGroup(group)
			q.forget(group)
			continue
		}
		if closed {
			return
		}
		<-q.wake
	}
}

// The bounds of a group: the engine has others to serve.
const (
	groupEvents = 2000
	groupBytes  = 4 << 20
)

// groupLen returns how many of the waiting batches make the next group: at least one if there is any.
func groupLen(waiting []*batch) int {
	events, size := 0, int64(0)
	for i, b := range waiting {
		events += len(b.Records)
		size += b.bytes
		if i > 0 && (events > groupEvents || size > groupBytes) {
			return i
		}
	}
	return len(waiting)
}

func (q *acceptQueue) forget(group []*batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, b := range group {
		q.events -= len(b.Records)
		q.bytes -= b.bytes
	}
	clear(group) // what still waits shares the array, which would keep events that count no more
}

// appendGroup stores the batches in one step. If that is refused because of one of them, each goes on its own; what fails
// then is lost, as ack=accepted allows, counted and logged.
func (l *Log) appendGroup(group []*batch) {
	ctx := context.Background() // drained on Close, when nobody waits any longer
	if len(group) > 1 && l.info.Atomic {
		var all batch
		for _, b := range group {
			all.Records = append(all.Records, b.Records...)
			all.topics = append(all.topics, b.topics...)
			all.bytes += b.bytes
		}
		err := l.store(ctx, &all)
		switch tandem.CodeOf(err) {
		case "":
			return
		case tandem.CodeUnavailable: // it may have been stored after all: once more would be twice
			l.dropped(group, err)
			return
		}
	}
	for i, b := range group {
		if err := l.store(ctx, b); err != nil {
			l.dropped(group[i:i+1], err)
		}
	}
}

func (l *Log) dropped(group []*batch, err error) {
	for _, b := range group {
		l.stats.dropped.Add(uint64(len(b.Records)))
		l.opts.Logger.Warn("accepted events were not stored", "topic", b.topics[0].Name, "events", len(b.Records), "error", err)
	}
}
