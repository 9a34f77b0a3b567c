package natslog

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-hybrid/tandem"
)

// watch notices what others publish, and what retention removes.
//
// The subjects of all partitions are followed without JetStream: the server does not send back what this process publishes itself, so a message
// is a hint that others have written. The stream is then asked for what comes after the known end. Hints can be lost; all streams are
// asked how far they reach from time to time, and after the connection was lost.
type watch struct {
	sub, stateSub *nats.Subscription
	look          chan *partition // who has hints, each once
	sweepNow      chan struct{}
	trouble       atomic.Bool
}

const (
	watchers  = 4
	lookQueue = 4096
)

func (w *watch) init() {
	w.look, w.sweepNow = make(chan *partition, lookQueue), make(chan struct{}, 1)
}

// all has every stream asked now.
func (w *watch) all() {
	select {
	case w.sweepNow <- struct{}{}:
	default:
	}
}

// soon has the streams asked every second until the server answers again.
func (w *watch) soon() {
	if !w.trouble.Swap(true) {
		w.all()
	}
}

func (e *Engine) startWatch() error {
	var err error
	if e.watch.sub, err = e.nc.Subscribe(e.names.eventSubjects(), func(m *nats.Msg) { e.hint(m.Subject) }); err != nil {
		return err
	}
	if err := e.watch.sub.SetPendingLimits(1<<16, 64<<20); err != nil {
		return err
	}
	if e.watch.stateSub, err = e.nc.Subscribe(e.names.stateSubjects(), func(*nats.Msg) { e.state.hint() }); err != nil {
		return err
	}
	if err := e.nc.FlushTimeout(e.opts.Timeout); err != nil {
		return err
	}
	for range watchers {
		e.spawn(e.follow)
	}
	e.spawn(e.tick)
	e.spawn(e.sweeps)
	return nil
}

// hint is called for each message of others.
func (e *Engine) hint(subject string) {
	e.table.RLock()
	p := e.bySubject[subject]
	e.table.RUnlock()
	if p != nil {
		p.again.Store(true)
		e.lookAt(p)
	}
}

func (e *Engine) lookAt(p *partition) {
	if p.checking.CompareAndSwap(false, true) {
		select {
		case e.watch.look <- p:
		default:
			p.checking.Store(false)
		}
	}
}

func (e *Engine) follow() {
	for {
		select {
		case p := <-e.watch.look:
			e.catchUp(p, 0)
		case <-e.closing:
			return
		}
	}
}

// looks is how often a hint is looked after, each time after twice the time: a second in all.
const looks = 10

// catchUp reads what comes after the known end of a partition. A hint comes before its message is stored, so it looks more than once.
func (e *Engine) catchUp(p *partition, tries int) {
	p.again.Store(false)
	got := e.readEnd(p)
	switch {
	case p.isGone():
	case got: // others have their turn before there is more of this one
		select {
		case e.watch.look <- p:
			return
		default:
		}
	case p.again.Load(), tries < looks:
		if p.again.Load() {
			tries = 0
		}
		time.AfterFunc(time.Duration(1<<tries)*time.Millisecond, func() {
			e.spawn(func() { e.catchUp(p, tries+1) })
		})
		return
	}
	p.checking.Store(false)
	if p.again.Load() {
		e.lookAt(p)
	}
}

// readEnd reads events after the known end, and tells of them. It reports whether there were any. What it could not read is found by a sweep.
func (e *Engine) readEnd(p *partition) bool {
	ctx, cancel := context.WithTimeout(e.ctx, e.opts.Timeout)
	defer cancel()
	from := p.endNow()
	var records []tandem.Record
	bytes := int64(0)
	_ = e.gets.batch(ctx, p.stream, from, 256, 1<<20, func(m *stored) error {
		rec := tandem.Record{Seq: m.seq, Position: tandem.Position{Topic: p.name, Partition: p.index, Offset: m.seq}}
		decode(m, &rec)
		if n := len(records); n > 0 && records[n-1].Seq+1 != m.seq {
			return errEnough
		}
		records = append(records, rec)
		bytes += int64(storedSize(m.subject, 200, len(m.data)))
		return nil
	})
	if len(records) == 0 {
		return false
	}
	kept := records
	if !e.active(p) {
		kept = nil
	}
	p.stored(&e.cache, records[0].Seq, len(records), bytes, kept)
	e.tell(p)
	return true
}

// tick runs the clock, and ends publishes whose time is out.
func (e *Engine) tick() {
	t := time.NewTicker(250 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			e.clock.Store(now.Unix())
			e.acks.expire(now)
		case <-e.closing:
			return
		}
	}
}

// sweeps asks the streams from time to time, and more often while something is wrong.
func (e *Engine) sweeps() {
	for {
		every := e.opts.RefreshEvery
		if e.watch.trouble.Load() {
			every = min(every, time.Second)
		}
		timer := time.NewTimer(every)
		select {
		case <-timer.C:
		case <-e.watch.sweepNow:
		case <-e.closing:
		}
		timer.Stop()
		if e.isClosed() {
			return
		}
		e.runs.expire()
		if err := e.sweep(); err == nil {
			e.watch.trouble.Store(false)
		}
	}
}

// sweep asks all streams how far they reach.
func (e *Engine) sweep() error {
	if !e.nc.IsConnected() {
		return errLost
	}
	e.state.hint()
	infos, err := e.listStreams()
	if err != nil {
		return e.unavailable(err)
	}
	for _, info := range infos {
		id, part, ok := e.names.parseStream(info.Config.Name)
		if !ok {
			continue
		}
		p, err := e.find(id, part)
		if err != nil {
			continue
		}
		more, lost := p.observe(&e.cache, info)
		if lost > 0 {
			e.log.Error("the NATS server has lost events that it had confirmed", "topic", p.name, "partition", p.index, "events", lost)
		}
		e.tell(p)
		if more {
			p.again.Store(true)
			e.lookAt(p)
		}
	}
	e.health.wrote()
	return nil
}

// listStreams returns all streams of events.
func (e *Engine) listStreams() ([]*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(e.ctx, e.opts.Timeout)
	defer cancel()
	var all []*jetstream.StreamInfo
	l := e.js.ListStreams(ctx, jetstream.WithStreamListSubject(e.names.eventSubjects()))
	for info := range l.Info() {
		if strings.HasPrefix(info.Config.Name, e.opts.Prefix+"_") {
			all = append(all, info)
		}
	}
	if err := l.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return nil, err
	}
	return all, nil
}
