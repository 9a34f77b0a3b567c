// Package idindex remembers, in a local store, the ids of events that were read, for engines that cannot recognise every repeat when
// they store events (promise 6). Of the events of one identity the first counts, by time of acceptance, then partition and offset; the
// others are repeats of it, whoever reads them and how often. So a store that is lost and built anew from the log comes to the same.
//
// Ids are kept for a time or up to a size, whichever ends first, in generations that are dropped whole. Nothing is synced: the store says
// for each partition how far it goes, and what a crash took is read again.
package idindex

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/internal/localstore"
)

// Options bound what is remembered. The zero value works.
type Options struct {
	Keep     time.Duration // zero means 24h
	MaxBytes int64         // of fingerprints; zero means 256 MiB
	Now      func() time.Time
}

// DefaultKeep is how long an id is remembered.
const DefaultKeep = 24 * time.Hour

// EntryBytes is about what one id takes in the store.
const EntryBytes = 64

// Verdict is what an event is.
type Verdict uint8

// The verdicts.
const (
	First    Verdict = iota // the event that counts
	Repeat                  // of an event with the same content
	Conflict                // other content under the id of an event
)

// Entry is an event as the index sees it.
type Entry struct {
	Identity [16]byte
	Sum      uint64
	Accepted time.Time
	Offset   uint64
	Verdict  Verdict // set by Look
}

// Index is open. All methods are safe for concurrent use.
type Index struct {
	db   *localstore.DB
	opts Options
	max  uint64 // entries

	mu   sync.Mutex
	gens []generation // oldest first; the last is written to
	next map[part]uint64
	// fresh is what the Look under way remembers.
	fresh map[[16]byte]place
}

type part struct {
	topic     driver.ID
	partition int
}

// generation is a share of the entries, under one prefix of their keys.
type generation struct {
	number  uint32
	entries uint64
	oldest  int64 // when its first and last entry came, in milliseconds since 1970; zero while it is empty
	newest  int64
}

const (
	format      = 1
	generations = 4 // that share the bounds
)

// The keys begin with one of these: a generation by its number; how far the store goes, by topic and partition; an entry by generation,
// topic and identity.
const (
	keyGeneration = 1 + iota
	keyNext
	keyEntry
)

// Open opens the store in a directory, which it makes, and which nothing else may use. An empty dir keeps everything in memory. A store of
// another log is emptied.
func Open(dir string, logID [8]byte, opts Options) (*Index, error) {
	if opts.Keep == 0 {
		opts.Keep = DefaultKeep
	}
	if opts.MaxBytes == 0 {
		opts.MaxBytes = 256 << 20
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	db, err := localstore.Open(dir, format, logID)
	if err != nil {
		return nil, fmt.Errorf("the index of ids: %w", err)
	}
	x := &Index{db: db, opts: opts, max: max(generations, uint64(opts.MaxBytes)/EntryBytes), next: map[part]uint64{}, fresh: map[[16]byte]place{}}
	if err := x.restore(); err != nil {
		return nil, fmt.Errorf("the index of ids: %w", errors.Join(err, db.Close()))
	}
	return x, nil
}

// restore reads generations and places.
func (x *Index) restore() error {
	it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyGeneration}, UpperBound: []byte{keyEntry}})
	if err != nil {
		return err
	}
	be := binary.BigEndian
	for it.First(); it.Valid(); it.Next() {
		k, v := it.Key(), it.Value()
		if k[0] == keyGeneration {
			x.gens = append(x.gens, generation{be.Uint32(k[1:]), be.Uint64(v), int64(be.Uint64(v[8:])), int64(be.Uint64(v[16:]))})
		} else {
			x.next[part{driver.ID(be.Uint64(k[1:])), int(be.Uint32(k[9:]))}] = be.Uint64(v)
		}
	}
	if len(x.gens) == 0 {
		x.gens = []generation{{number: 1}}
	}
	return errors.Join(it.Error(), it.Close())
}

// Next returns the offset of a partition up to which every event was looked at, and whether any was.
func (x *Index) Next(topic driver.ID, partition int) (uint64, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n, ok := x.next[part{topic, partition}]
	return n, ok
}

// Look judges events of a partition, remembers those that count, and notes that every event of it below next was looked at. It fails while
// the volume is nearly full.
func (x *Index) Look(topic driver.ID, partition int, next uint64, entries []Entry) error {
	if err := x.db.Room(); err != nil {
		return fmt.Errorf("the index of ids: %w", err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	b := x.db.NewBatch()
	defer b.Close()
	clear(x.fresh)
	g, now := x.generation(b), x.opts.Now().UnixMilli()
	p := part{topic, partition}
	seen := x.next[p]
	for i := range entries {
		e := &entries[i]
		own := place{e.Accepted.UnixMilli(), uint32(partition), e.Offset, e.Sum}
		first, known := x.fresh[e.Identity]
		var err error
		if !known {
			first, known, err = x.find(topic, e.Identity)
		}
		switch {
		case err != nil:
			return err
		case known && first.same(own):
			e.Verdict = First
			continue
		case known && first.before(own) && own.at-first.at <= x.opts.Keep.Milliseconds():
			if e.Verdict = Repeat; first.sum != own.sum {
				e.Verdict = Conflict
			}
			continue
		}
		e.Verdict = First
		if e.Offset < seen {
			continue // it was remembered once, and is forgotten for good
		}
		d := b.SetDeferred(entryKeyLen, placeLen)
		putEntryKey(d.Key, g.number, topic, e.Identity)
		own.append(d.Value[:0])
		if err := d.Finish(); err != nil {
			return err
		}
		x.fresh[e.Identity] = own
		g.add(now)
	}
	if next > seen {
		k := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64([]byte{keyNext}, uint64(topic)), uint32(partition))
		if err := b.Set(k, binary.BigEndian.AppendUint64(nil, next), nil); err != nil {
			return err
		}
	}
	if b.Empty() {
		return nil
	}
	if err := b.Set(g.key(), g.value(), nil); err != nil {
		return err
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return err
	}
	x.next[p] = max(seen, next)
	return nil
}

// Find returns where the event that counts of an identity lies and what it holds, if one was looked at. Others may come before it yet.
func (x *Index) Find(topic driver.ID, id [16]byte) (e Entry, partition int, ok bool, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	p, ok, err := x.find(topic, id)
	if err != nil || !ok {
		return Entry{}, 0, false, err
	}
	return Entry{Identity: id, Sum: p.sum, Accepted: time.UnixMilli(p.at).UTC(), Offset: p.offset}, int(p.partition), true, nil
}

// generation returns the one to write to. It begins another when that is full, or old, and drops those that are over a bound.
func (x *Index) generation(b *pebble.Batch) *generation {
	g := &x.gens[len(x.gens)-1]
	if g.entries < x.max/generations && g.newest-g.oldest < x.opts.Keep.Milliseconds()/generations {
		return g
	}
	x.gens = append(x.gens, generation{number: g.number + 1})
	total := uint64(0)
	for i := range x.gens {
		total += x.gens[i].entries
	}
	for len(x.gens) > 1 {
		old := &x.gens[0]
		if total <= x.max-x.max/generations && x.gens[len(x.gens)-2].newest-old.newest <= x.opts.Keep.Milliseconds() {
			break
		}
		// An error of these shows in the commit, and makes the batch fail whole.
		_ = b.DeleteRange(entries(old.number), entries(old.number+1), nil)
		_ = b.Delete(old.key(), nil)
		total -= old.entries
		x.gens = x.gens[1:]
	}
	return &x.gens[len(x.gens)-1]
}

// find returns what is remembered of an identity, newest generation first.
func (x *Index) find(topic driver.ID, id [16]byte) (place, bool, error) {
	var key [entryKeyLen]byte
	putEntryKey(key[:], 0, topic, id)
	for i := len(x.gens) - 1; i >= 0; i-- {
		binary.BigEndian.PutUint32(key[1:], x.gens[i].number)
		v, closer, err := x.db.Get(key[:])
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return place{}, false, err
		}
		p := parsePlace(v)
		return p, true, closer.Close()
	}
	return place{}, false, nil
}

// Forget drops how far the partitions of a topic were looked at, from memory alone while the volume is nearly full. Its ids go with their generations.
func (x *Index) Forget(topic driver.ID) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	for p := range x.next {
		if p.topic == topic {
			delete(x.next, p)
		}
	}
	if err := x.db.Room(); err != nil {
		return fmt.Errorf("the index of ids: %w", err)
	}
	from := binary.BigEndian.AppendUint64([]byte{keyNext}, uint64(topic))
	to := binary.BigEndian.AppendUint32(append([]byte(nil), from...), 1<<32-1)
	return x.db.DeleteRange(from, to, pebble.NoSync)
}

// Window says how far back repeats are recognised.
type Window struct {
	Entries int
	Max     int
	Bytes   int64
	Keep    time.Duration
	Oldest  time.Time // when the oldest came; zero when there is none
}

// Window reports the bounds and what is remembered.
func (x *Index) Window() Window {
	x.mu.Lock()
	defer x.mu.Unlock()
	w := Window{Max: int(x.max), Keep: x.opts.Keep}
	for i := range x.gens {
		w.Entries += int(x.gens[i].entries)
		if o := x.gens[i].oldest; o != 0 && (w.Oldest.IsZero() || o < w.Oldest.UnixMilli()) {
			w.Oldest = time.UnixMilli(o).UTC()
		}
	}
	w.Bytes = int64(w.Entries) * EntryBytes
	return w
}

// Close closes the store. No other call may be under way.
func (x *Index) Close() error { return x.db.Close() }

const (
	entryKeyLen = 1 + 4 + 8 + 16
	placeLen    = 8 + 4 + 8 + 8
)

func putEntryKey(k []byte, generation uint32, topic driver.ID, id [16]byte) {
	k[0] = keyEntry
	binary.BigEndian.PutUint32(k[1:], generation)
	binary.BigEndian.PutUint64(k[5:], uint64(topic))
	copy(k[13:], id[:])
}

// entries is where the entries of a generation begin.
func entries(generation uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{keyEntry}, generation)
}

func (g *generation) key() []byte {
	return binary.BigEndian.AppendUint32([]byte{keyGeneration}, g.number)
}

func (g *generation) value() []byte {
	be := binary.BigEndian
	return be.AppendUint64(be.AppendUint64(be.AppendUint64(nil, g.entries), uint64(g.oldest)), uint64(g.newest))
}

func (g *generation) add(now int64) {
	if g.entries == 0 {
		g.oldest = now
	}
	g.newest = now
	g.entries++
}

// place is where an event lies, and what it holds.
type place struct {
	at        int64
	partition uint32
	offset    uint64
	sum       uint64
}

func (p place) same(o place) bool { return p.partition == o.partition && p.offset == o.offset }

// before is the order in which the events of one identity count.
func (p place) before(o place) bool {
	return cmp.Or(cmp.Compare(p.at, o.at), cmp.Compare(p.partition, o.partition), cmp.Compare(p.offset, o.offset)) < 0
}

func (p place) append(b []byte) []byte {
	be := binary.BigEndian
	return be.AppendUint64(be.AppendUint64(be.AppendUint32(be.AppendUint64(b, uint64(p.at)), p.partition), p.offset), p.sum)
}

func parsePlace(v []byte) place {
	be := binary.BigEndian
	return place{int64(be.Uint64(v)), be.Uint32(v[8:]), be.Uint64(v[12:]), be.Uint64(v[20:])}
}
