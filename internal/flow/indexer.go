package flow

import (
	"context"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/flowindex"
)

const (
	// rest is between two rounds, so that pages are large where there is much to do, and scanShare how many times as long as it took to find
	// out where that is: with very many partitions the index falls behind rather than take the machine.
	rest       = 50 * time.Millisecond
	scanShare  = 20
	retryEvery = time.Second
	sweepEvery = time.Minute
	// pageEvents is what one batch adds at most.
	pageEvents = 1000
	// freshWait is how long who asks waits for what was stored by then.
	freshWait = time.Second
)

// keep builds the index until ctx is done.
func (f *Flows) keep(ctx context.Context) {
	all, err := eventlog.Select("**")
	if err != nil {
		panic(err) // it is a pattern
	}
	watch := f.log.Watch(all)
	defer watch.Close()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	again := make(<-chan time.Time)
	failed := false
	for {
		began := time.Now()
		err := f.round(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			failed = false
			f.whole.Store(began.UnixMilli())
		default:
			if !failed {
				f.opts.Logger.Warn("flows: the index falls behind; tried again", "error", err)
			}
			failed = true
			again = time.After(retryEvery)
		}
		var answer chan bool
		pause := time.NewTimer(max(rest, scanShare*f.scan))
		select { // who asks need not wait for the pause
		case <-pause.C:
			select {
			case <-watch.C:
			case <-again:
			case answer = <-f.asks:
			case <-sweep.C:
				if err := f.forget(); err != nil {
					f.opts.Logger.Warn("flows: places in deleted topics are kept a while longer", "error", err)
				}
			case <-ctx.Done():
				return
			}
		case answer = <-f.asks:
			pause.Stop()
		case <-ctx.Done():
			return
		}
		if answer != nil {
			began := time.Now()
			err := f.round(ctx)
			if err == nil {
				f.whole.Store(began.UnixMilli())
			}
			answer <- err == nil
		}
	}
}

// fresh waits until what is stored now is in the index, and reports whether it is: it waits a moment at most.
func (f *Flows) fresh(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, freshWait)
	defer cancel()
	answer := make(chan bool, 1)
	select {
	case f.asks <- answer:
	case <-ctx.Done():
		return false
	case <-f.done:
		return false
	}
	select {
	case ok := <-answer:
		return ok
	case <-ctx.Done():
	case <-f.done:
	}
	return false
}

// round adds what is readable now of every partition, and drops what is too old.
func (f *Flows) round(ctx context.Context) error {
	if err := f.log.Health(); err != nil {
		return tandem.Wrap("the log cannot be written to", err) // as on a full disk: the index must not take what is left
	}
	began := time.Now()
	parts := f.pending()
	f.scan = time.Since(began)
	var page []tandem.Record
	for _, p := range parts {
		var err error
		if page, err = f.catchUp(ctx, p, page); err != nil {
			return err
		}
	}
	return f.index.Sweep()
}

// catchUp adds the events of a partition up to an end. It returns page for the next.
func (f *Flows) catchUp(ctx context.Context, p part, page []tandem.Record) ([]tandem.Record, error) {
	at, known := f.index.Progress(p.topic, p.index)
	b, err := f.log.Bounds(ctx, p.topic, p.index)
	if err != nil {
		return page, ignoreNotFound(err)
	}
	lost := uint64(0)
	if known && b.Removed > at.Next {
		lost = b.StartSeq - min(b.StartSeq, at.Seq)
	}
	if !known { // what is older than the index goes back need not be read
		if at.Next, err = f.log.OffsetAt(ctx, p.topic, p.index, time.Now().Add(-f.opts.Age)); err != nil {
			return page, ignoreNotFound(err)
		}
	}
	at.Seq = max(at.Seq, b.StartSeq)
	for at.Next < p.end || !known {
		if err := ctx.Err(); err != nil {
			return page, err
		}
		page, err = f.log.ReadPartition(ctx, p.topic, p.index, at.Next, pageEvents, page[:0])
		if err != nil {
			return page, ignoreNotFound(err)
		}
		next := flowindex.Progress{Next: p.end, Seq: at.Seq}
		if n := len(page); n > 0 {
			last := &page[n-1]
			next = flowindex.Progress{Next: last.Position.Offset + 1, Seq: last.Seq + 1}
		}
		if err := f.index.Add(p.topic, p.index, next, page); err != nil {
			return page, err
		}
		f.lost.Add(lost) // once, however often it was tried
		at, lost, known = next, 0, true
		clear(page) // it holds the data of events
		if err := f.index.Sweep(); err != nil {
			return page, err
		}
	}
	return page, nil
}

// ignoreNotFound returns an error unless it is that a topic was deleted meanwhile.
func ignoreNotFound(err error) error {
	if tandem.CodeOf(err) == tandem.CodeNotFound {
		return nil
	}
	return err
}

// forget drops the progress of topics that were deleted.
func (f *Flows) forget() error {
	known := f.index.Topics()
	f.log.Ends(func(topic driver.ID, _ int, _ uint64) { delete(known, topic) })
	for topic := range known {
		if err := f.index.Forget(topic); err != nil {
			return err
		}
	}
	return nil
}
