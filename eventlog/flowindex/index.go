package flowindex

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/internal/localstore"
)

// Options bound what is kept.
type Options struct {
	Age   time.Duration    // since an event was accepted; required
	Bytes int64            // of keys and values, before compression; required
	Now   func() time.Time // nil means time.Now
}

// Place is where an event lies.
type Place struct {
	Topic     driver.ID
	Partition int
	Offset    uint64
}

// Progress is how far a partition was added.
type Progress struct {
	Next uint64 // offset of the first event that was not
	Seq  uint64 // its tandem.Record.Seq, or less
}

// Index is open. All methods are safe for concurrent use.
type Index struct {
	db   *localstore.DB
	opts Options

	mu      sync.Mutex // guards what follows
	gens    []generation
	dropped int64 // no event that was accepted from then on was dropped, in milliseconds since 1970
	parts   map[partition]Progress
	names   map[driver.ID]string
	// What was added a moment ago, so that what follows from it need not be written: the flow of a ref, and a pair of trace and flow.
	flows  [recent]struct{ ref, flow Key }
	traces [recent]struct{ trace, flow Key }
}

// recent is how many of each are remembered; a newer one takes the place of another.
const recent = 1 << 13

type partition struct {
	topic driver.ID
	index int
}

const format = 2

// A key begins with one of these: a generation; how far a partition goes; the name of a topic; the time up to which entries were dropped; an entry, by generation and kind.
const (
	keyGeneration = 1 + iota
	keyProgress
	keyTopic
	keyDropped
	keyEntry
)

// Kinds of entries, with what follows in the key, and the value.
const (
	kindFlow   = 1 + iota // flow, place: ref, time of acceptance
	kindRef               // ref: flow, place
	kindEffect            // ref of a cause, place of the effect
	kindTrace             // trace id, flow
)

// Open opens the store in a directory, which it makes, and which nothing else may use. An empty dir keeps everything in memory. A store of
// another log is emptied.
func Open(dir string, logID [8]byte, opts Options) (*Index, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	db, err := localstore.Open(dir, format, logID)
	if err != nil {
		return nil, fmt.Errorf("the index of flows: %w", err)
	}
	x := &Index{db: db, opts: opts, parts: map[partition]Progress{}, names: map[driver.ID]string{}}
	if err := x.restore(); err != nil {
		return nil, fmt.Errorf("the index of flows: %w", errors.Join(err, db.Close()))
	}
	return x, nil
}

func (x *Index) restore() error {
	it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyGeneration}, UpperBound: []byte{keyEntry}})
	if err != nil {
		return err
	}
	be := binary.BigEndian
	for it.First(); it.Valid(); it.Next() {
		k, v := it.Key(), it.Value()
		switch k[0] {
		case keyGeneration:
			x.gens = append(x.gens, generation{be.Uint32(k[1:]), be.Uint16(k[5:]), be.Uint64(v), be.Uint64(v[8:])})
		case keyProgress:
			x.parts[partition{driver.ID(be.Uint64(k[1:])), int(be.Uint32(k[9:]))}] = Progress{be.Uint64(v), be.Uint64(v[8:])}
		case keyTopic:
			x.names[driver.ID(be.Uint64(k[1:]))] = string(v)
		case keyDropped:
			x.dropped = int64(be.Uint64(v))
		}
	}
	return errors.Join(it.Error(), it.Close())
}

// Progress returns how far a partition was added, and whether it ever was.
func (x *Index) Progress(topic driver.ID, index int) (Progress, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	p, ok := x.parts[partition{topic, index}]
	return p, ok
}

// TopicName returns the name of a topic of which events were added, also when it was deleted; "" when it is not known.
func (x *Index) TopicName(topic driver.ID) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.names[topic]
}

// Add adds events of a partition, and notes that every event of it below next was added. It keeps no reference to them.
// It fails while the volume is nearly full.
func (x *Index) Add(topic driver.ID, index int, next Progress, recs []tandem.Record) (err error) {
	if err := x.db.Room(); err != nil {
		return fmt.Errorf("the index of flows: %w", err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	defer func() {
		if err != nil {
			clear(x.traces[:]) // those of this batch were not written
		}
	}()
	w := writer{x: x, b: x.db.NewBatch(), oldest: x.opts.Now().Add(-x.opts.Age)}
	defer w.b.Close()
	for i := range recs {
		w.add(topic, index, &recs[i])
	}
	be := binary.BigEndian
	name := ""
	if len(recs) > 0 && x.names[topic] == "" {
		name = recs[0].Position.Topic
		w.set(be.AppendUint64([]byte{keyTopic}, uint64(topic)), []byte(name))
	}
	w.set(be.AppendUint32(be.AppendUint64([]byte{keyProgress}, uint64(topic)), uint32(index)), be.AppendUint64(be.AppendUint64(nil, next.Next), next.Seq))
	for _, at := range w.touched {
		g := &x.gens[at]
		w.set(g.key(), g.value())
	}
	if w.err != nil {
		return w.err
	}
	if err := w.b.Commit(pebble.NoSync); err != nil {
		return err
	}
	x.parts[partition{topic, index}] = next
	if name != "" {
		x.names[topic] = name
	}
	return nil
}

// Forget drops how far the partitions of a topic were added. Its entries go with their generations. It fails while the volume is nearly full.
func (x *Index) Forget(topic driver.ID) error {
	if err := x.db.Room(); err != nil {
		return fmt.Errorf("the index of flows: %w", err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for p := range x.parts {
		if p.topic == topic {
			delete(x.parts, p)
		}
	}
	from := binary.BigEndian.AppendUint64([]byte{keyProgress}, uint64(topic))
	return x.db.DeleteRange(from, append(slices.Clone(from), 0xff, 0xff, 0xff, 0xff), pebble.NoSync)
}

// Topics returns those of which the progress is known.
func (x *Index) Topics() map[driver.ID]bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := make(map[driver.ID]bool, len(x.names))
	for p := range x.parts {
		all[p.topic] = true
	}
	return all
}

// Bytes returns how large the entries are, before compression.
func (x *Index) Bytes() (n int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range x.gens {
		n += int64(x.gens[i].bytes)
	}
	return n
}

// Close closes the store. No other call may be under way.
func (x *Index) Close() error { return x.db.Close() }
