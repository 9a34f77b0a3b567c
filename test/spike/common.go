package spike

import (
	"bytes"
	"encoding/gob"
	"hash/fnv"
	"slices"
	"sync"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

type wire struct {
	Event   event
	NilData bool // gob does not tell nil from empty
}

// event has the fields of tandem.Event without its methods.
type event tandem.Event

func encode(ev *tandem.Event) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(wire{event(*ev), ev.Data == nil})
	return b.Bytes(), err
}

func decode(b []byte) (tandem.Event, error) {
	var w wire
	err := gob.NewDecoder(bytes.NewReader(b)).Decode(&w)
	if !w.NilData && w.Event.Data == nil {
		w.Event.Data = []byte{}
	}
	return tandem.Event(w.Event), err
}

func hash64(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}

// directory is the list of topics, and the local index of the state records that both engines need: neither can scan
// records in order of their keys.
type directory struct {
	mu     sync.Mutex
	byName map[string]driver.Topic
	byID   map[driver.ID]driver.Topic
	state  map[string][]byte
	notify func([]driver.End)
}

func newDirectory() directory {
	return directory{byName: map[string]driver.Topic{}, byID: map[driver.ID]driver.Topic{}, state: map[string][]byte{}, notify: func([]driver.End) {}}
}

func (d *directory) Notify(fn func([]driver.End)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notify = fn
}

func (d *directory) topic(id driver.ID, partition int) (driver.Topic, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t, ok := d.byID[id]
	if !ok || partition < 0 || partition >= t.Partitions {
		return t, tandem.Errorf(tandem.CodeNotFound, "no partition %d of topic %d", partition, id)
	}
	return t, nil
}

// holds is called with mu held.
func (d *directory) holds(op *driver.StateOp) bool {
	v, ok := d.state[op.Key]
	switch {
	case op.If == nil:
		return true
	case len(op.If) == 0:
		return !ok
	}
	return ok && bytes.Equal(v, op.If)
}

// apply is called with mu held.
func (d *directory) apply(op *driver.StateOp) {
	if op.Value == nil {
		delete(d.state, op.Key)
	} else {
		d.state[op.Key] = bytes.Clone(op.Value)
	}
}

func (d *directory) scan(from, to string, fn func(string, []byte) bool) {
	d.mu.Lock()
	var keys []string
	values := map[string][]byte{}
	for k, v := range d.state {
		if k >= from && (to == "" || k < to) {
			keys = append(keys, k)
			values[k] = v
		}
	}
	d.mu.Unlock()
	slices.Sort(keys)
	for _, k := range keys {
		if !fn(k, values[k]) {
			return
		}
	}
}

// ends lists the ends of the partitions that a batch touched.
func ends(records []driver.Record) []driver.End {
	last := map[driver.End]uint64{}
	for _, r := range records {
		k := driver.End{Topic: r.Topic, Partition: r.Partition}
		last[k] = max(last[k], r.Offset+1)
	}
	var out []driver.End
	for k, end := range last {
		k.End = end
		out = append(out, k)
	}
	return out
}
