package natslog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// runs are the places at which somebody stopped reading a stream and may go on. Who is far behind the end and goes on a second time is served
// by a consumer, which sends the next messages while the last ones are being worked on; it costs the server and this process less than direct
// gets do. Whatever goes wrong with a consumer ends it, and direct gets take over.
//
// A consumer is held in the memory of one server, and is removed there when nobody has asked it for runGone: nothing is left of a process that
// was killed. Up to runsOpen have two requests under way each, of runBatch messages and runBytes at most.
type runs struct {
	e *Engine

	mu     sync.Mutex
	idle   []*run // of which nobody reads, those that were read last at the end
	open   int    // consumers, also of runs that are not idle
	closed bool
	later  time.Time // no consumer is made before: the last one could not be, or gave nothing
}

const (
	runsKept = 64
	runsOpen = 32
	runBatch = 500
	runBytes = 512 << 10
	runFar   = 4 * getBatch // messages before the end from which a consumer is worth its making
	runIdle  = 2 * time.Second
	runGone  = 30 * time.Second
	runRetry = 5 * time.Second
)

// run is one place. It belongs to the one who took it.
type run struct {
	stream string
	next   uint64 // sequence from which nothing was given out
	used   time.Time
	again  bool      // it was gone on from before
	direct time.Time // no consumer is made for it before

	// The consumer, if there is one.
	name    string
	nc      *nats.Conn
	sub     *nats.Subscription
	ch      chan *nats.Msg
	inbox   string
	asked   int     // messages that were asked for and not received
	last    uint64  // the consumer's own number of the message received last
	pending uint64  // messages that the stream had after it
	ahead   *stored // received, and not given out
}

// readOn is getters.batch for those who read a stream page by page. There are messages up to end. A message for which fn fails is given out
// again to whoever reads on from it.
func (e *Engine) readOn(ctx context.Context, stream string, from, end uint64, count, maxBytes int, fn func(*stored) error) error {
	r := e.runs.take(stream, from)
	defer func() { e.runs.put(r, end) }()
	if r.sub == nil && r.again && end-from >= runFar {
		if err := e.runs.start(ctx, r); err != nil {
			e.log.Debug("no consumer for reading on", "stream", stream, "error", err)
		}
	}
	r.again = true
	took := func(m *stored) error {
		if err := fn(m); err != nil {
			return err
		}
		r.next = m.seq + 1
		return nil
	}
	if r.sub != nil {
		why, err := r.read(ctx, e.runs.wait(), count, maxBytes, took)
		if errors.Is(err, errBehind) { // the server that has the consumer is: another may have more
			why = err
		}
		if why == nil {
			return err
		}
		e.log.Debug("a consumer is given up", "stream", stream, "next", r.next, "error", why)
		if e.runs.giveUp(r, why); r.next > from || ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return e.gets.batch(ctx, stream, from, count, maxBytes, took)
}

// read gives out messages of the consumer. It returns what is wrong with the consumer, or the error of fn.
func (r *run) read(ctx context.Context, wait time.Duration, count, maxBytes int, fn func(*stored) error) (why, err error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for ; count > 0 && maxBytes > 0; count-- {
		if r.ahead == nil {
			if r.ahead, why = r.receive(ctx, timer.C); why != nil {
				return why, nil
			}
		}
		if err := fn(r.ahead); err != nil {
			return nil, err
		}
		maxBytes -= len(r.ahead.data)
		r.ahead = nil
	}
	return nil, nil
}

// errLarge is why a consumer cannot go on for now: others like that message may follow.
var errLarge = errors.New("the next message is larger than a consumer is asked for")

// receive returns the next message. It asks for more in time.
func (r *run) receive(ctx context.Context, wait <-chan time.Time) (*stored, error) {
	if r.last > 0 && r.pending == 0 {
		return nil, errors.New("the stream had no more")
	}
	for range 4 { // ends of requests that may come one after the other
		if r.asked < runBatch {
			if err := r.ask(); err != nil {
				return nil, err
			}
		}
		var m *nats.Msg
		select {
		case m = <-r.ch:
		case <-wait:
			return nil, errLost
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if m.Reply == "" { // a request has ended
			left, err := strconv.Atoi(m.Header.Get(headerPending))
			if err != nil {
				return nil, fmt.Errorf("the consumer answers %s %s", m.Header.Get(headerStatus), m.Header.Get(headerStatusText))
			}
			r.asked -= left
			continue
		}
		meta, err := m.Metadata()
		if err != nil {
			return nil, err
		}
		if meta.Sequence.Consumer != r.last+1 {
			return nil, fmt.Errorf("%w: the message before %d was lost on the way", errBehind, meta.Sequence.Stream)
		}
		r.asked, r.last, r.pending = r.asked-1, r.last+1, meta.NumPending
		return &stored{stream: r.stream, subject: m.Subject, seq: meta.Sequence.Stream, time: meta.Timestamp.UTC(), header: m.Header, data: m.Data}, nil
	}
	return nil, errLarge
}

// ask requests a batch. The server answers it with messages, and with a note when it has ended before.
func (r *run) ask() error {
	body, err := json.Marshal(map[string]any{"batch": runBatch, "max_bytes": runBytes, "expires": runGone})
	if err != nil {
		return err
	}
	r.asked += runBatch
	return r.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+r.stream+"."+r.name, r.inbox, body)
}

// wait is how long a consumer may take for a page, before direct gets are tried.
func (s *runs) wait() time.Duration { return s.e.opts.Timeout / 4 }

// take returns the run that stopped at a sequence, or a new one without a consumer.
func (s *runs) take(stream string, from uint64) *run {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range s.idle {
		if r.next == from && r.stream == stream {
			s.idle = slices.Delete(s.idle, i, i+1)
			return r
		}
	}
	return &run{stream: stream, next: from}
}

// put keeps a run for whoever goes on with it, if that is not at the end.
func (s *runs) put(r *run, end uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.next >= end || s.closed {
		s.stopLocked(r)
		return
	}
	r.used = time.Now()
	if s.idle = append(s.idle, r); len(s.idle) > runsKept {
		i := max(0, slices.IndexFunc(s.idle, func(r *run) bool { return r.sub == nil }))
		s.stopLocked(s.idle[i])
		s.idle = slices.Delete(s.idle, i, i+1)
	}
}

// start makes a consumer for a run, if there may be one more. A run that rested for a while gives its own up for it.
func (s *runs) start(ctx context.Context, r *run) error {
	now := time.Now()
	s.mu.Lock()
	if s.open >= runsOpen {
		s.rest(now.Add(-runIdle), 1)
	}
	if s.open >= runsOpen || s.closed || now.Before(s.later) || now.Before(r.direct) {
		s.mu.Unlock()
		return nil
	}
	s.open++
	s.mu.Unlock()
	err := s.create(ctx, r)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open--
		s.later = now.Add(runRetry)
	}
	return err
}

func (s *runs) create(ctx context.Context, r *run) error {
	ctx, cancel := context.WithTimeout(ctx, s.wait())
	defer cancel()
	c, err := s.e.js.CreateConsumer(ctx, r.stream, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(r.next, 1),
		AckPolicy: jetstream.AckNonePolicy, Replicas: 1, MemoryStorage: true, InactiveThreshold: runGone})
	if err != nil {
		return err
	}
	ch, inbox := make(chan *nats.Msg, 2*runBatch+16), s.e.nc.NewInbox()
	sub, err := s.e.nc.ChanSubscribe(inbox, ch)
	if err != nil {
		return err
	}
	*r = run{stream: r.stream, next: r.next, name: c.CachedInfo().Name, nc: s.e.nc, sub: sub, ch: ch, inbox: inbox}
	return nil
}

// giveUp ends the consumer of a run. Where the next one would fare no better, it is not made for a while.
func (s *runs) giveUp(r *run, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(why, errLarge):
		r.direct = time.Now().Add(runRetry)
	case errors.Is(why, errLost) && r.last == 0:
		s.later = time.Now().Add(runRetry)
	}
	s.stopLocked(r)
}

func (s *runs) stopLocked(r *run) {
	if r.sub == nil {
		return
	}
	_ = r.sub.Unsubscribe()
	// Nobody waits for the answer, without which the server would not look at it. Where it does not arrive, the server removes it after runGone.
	_ = r.nc.PublishRequest("$JS.API.CONSUMER.DELETE."+r.stream+"."+r.name, r.inbox, nil)
	*r = run{stream: r.stream, next: r.next, direct: r.direct}
	s.open--
}

// rest ends up to most consumers of runs that nobody has read since a time, the oldest first. Its caller holds mu.
func (s *runs) rest(since time.Time, most int) {
	for i := 0; i < len(s.idle) && most > 0; i++ {
		if r := s.idle[i]; r.sub != nil && r.used.Before(since) {
			s.stopLocked(r)
			most--
		}
	}
}

// expire ends the consumers that nobody reads, before the server does.
func (s *runs) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest(time.Now().Add(-runGone/2), runsOpen)
}

// close ends all that are idle; the others end when they are put back.
func (s *runs) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, r := range s.idle {
		s.stopLocked(r)
	}
	s.idle = nil
}
