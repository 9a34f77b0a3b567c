package eventlog

import "github.com/tandem-hybrid/tandem/eventlog/driver"

// Watch is a registration for wake-ups.
type Watch struct {
	C chan struct{} // has room for one signal, so that none is lost and none pile up

	log *Log
	sel Selection
}

// Watch signals that topics of a selection have new events, were deleted, or that another topic matches. Topics that
// appear later are included. A commit costs nothing for the watches of topics that it does not touch. Close it.
func (l *Log) Watch(sel Selection) *Watch {
	w := &Watch{C: make(chan struct{}, 1), log: l, sel: sel}
	tt := &l.topics
	tt.mu.Lock()
	defer tt.mu.Unlock()
	tt.watches[w] = struct{}{}
	for _, t := range tt.matchLocked(sel) {
		t.live.watches[w] = struct{}{}
	}
	return w
}

// Close unregisters. It may be repeated.
func (w *Watch) Close() {
	tt := &w.log.topics
	tt.mu.Lock()
	defer tt.mu.Unlock()
	delete(tt.watches, w)
	for _, t := range tt.matchLocked(w.sel) {
		delete(t.live.watches, w)
	}
}

func (w *Watch) signal() {
	select {
	case w.C <- struct{}{}:
	default: // a signal is waiting already
	}
}

// notified is what the engine calls when events became readable. Ends are stored before the horizon, so that who loads
// the horizon first sees the end of every partition that has an event below it.
func (l *Log) notified(ends []driver.End) {
	l.topics.mu.RLock()
	defer l.topics.mu.RUnlock()
	top := uint64(0)
	for _, e := range ends {
		top = max(top, e.End)
		if t := l.topics.byID[e.Topic]; t != nil && e.Partition < len(t.live.ends) {
			t.live.raise(e.Partition, e.End)
		}
	}
	l.raise(top)
	var last driver.ID
	for _, e := range ends {
		if e.Topic == last { // engines tend to put the partitions of a topic together
			continue
		}
		last = e.Topic
		if t := l.topics.byID[e.Topic]; t != nil {
			for w := range t.live.watches {
				w.signal()
			}
		}
	}
}

// raise moves the horizon up. Only the engine's goroutine and CreateTopic do so.
func (l *Log) raise(to uint64) {
	for {
		cur := l.horizon.Load()
		if to <= cur || l.horizon.CompareAndSwap(cur, to) {
			return
		}
	}
}
