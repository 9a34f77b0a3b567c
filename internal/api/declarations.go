package api

import (
	"sync"
	"sync/atomic"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// declarations is the topics as they are declared, for the defaults of plain JSON. The list is made when it is asked for
// after a change, so that creating many topics costs nothing here.
type declarations struct {
	log     *eventlog.Log
	stop    func()
	changes atomic.Uint64

	mu   sync.Mutex // held while the list is made
	list atomic.Pointer[declared]
}

type declared struct {
	changes uint64 // that it has seen
	topics  map[string]tandem.Topic
}

func newDeclarations(log *eventlog.Log) *declarations {
	d := &declarations{log: log}
	d.list.Store(new(declared))
	d.changes.Store(1)
	d.stop = log.OnTopics(func() { d.changes.Add(1) })
	return d
}

// get returns the declaration of a topic, the zero Topic if there is none.
func (d *declarations) get(name string) tandem.Topic {
	l := d.list.Load()
	if l.changes != d.changes.Load() {
		l = d.make()
	}
	return l.topics[name]
}

func (d *declarations) make() *declared {
	d.mu.Lock()
	defer d.mu.Unlock()
	changes := d.changes.Load() // before the topics, so that a change meanwhile is seen next time
	if l := d.list.Load(); l.changes == changes {
		return l
	}
	l := &declared{changes: changes, topics: map[string]tandem.Topic{}}
	for _, info := range d.log.Topics() {
		l.topics[info.Name] = info.Topic
	}
	d.list.Store(l)
	return l
}
