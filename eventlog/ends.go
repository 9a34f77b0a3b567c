package eventlog

import "github.com/tandem-hybrid/tandem/eventlog/driver"

// Ends calls fn with the offset behind the last readable event of each partition, in no order, without I/O. It is for readers that keep
// their own place in each partition, and visits all of them in the time of a map. Fn must not call the Log.
func (l *Log) Ends(fn func(topic driver.ID, partition int, end uint64)) {
	l.topics.mu.RLock()
	defer l.topics.mu.RUnlock()
	for id, t := range l.topics.byID {
		for i := range t.live.ends {
			fn(id, i, t.live.ends[i].Load())
		}
	}
}
