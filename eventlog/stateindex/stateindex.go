// Package stateindex keeps, in a local store, the state records of an engine that keeps them elsewhere: Kafka and JetStream hold them
// in order of writing and cannot scan keys.
//
// The store is a copy. It says up to which place of the original it goes, and each change moves that place in the same step, so
// that after a crash, which may take the last changes, the engine applies again from there. A store that is lost, or of another log, begins
// empty. Nothing is synced.
package stateindex

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tandem-hybrid/tandem/eventlog/internal/localstore"
)

// Index is open. All methods are safe for concurrent use; two Apply calls at once come in either order.
type Index struct {
	db *localstore.DB
}

// Op puts or deletes one record.
type Op struct {
	Key   string
	Value []byte // nil deletes
	Rev   uint64 // of the record in the original: an offset, a sequence
}

const format = 1

// The keys: how far the store goes, then each record under its key.
const (
	keyNext   = 1
	keyRecord = 2
)

var nextKey = []byte{keyNext}

// Open opens the store in a directory, which it makes, and which nothing else may use. An empty dir keeps everything in memory. A store of
// another log is emptied.
func Open(dir string, logID [8]byte) (*Index, error) {
	db, err := localstore.Open(dir, format, logID)
	if err != nil {
		return nil, fmt.Errorf("the index of state: %w", err)
	}
	return &Index{db: db}, nil
}

// Next returns the place of the original from which nothing has been applied; zero for an empty store.
func (x *Index) Next() (uint64, error) {
	v, closer, err := x.db.Get(nextKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer closer.Close()
	return binary.BigEndian.Uint64(v), nil
}

// Apply makes changes, the later of the same key last, and moves the place to next, in one step. Index keeps no reference to ops.
func (x *Index) Apply(next uint64, ops []Op) error {
	b := x.db.NewBatch()
	defer b.Close()
	var key []byte
	for i := range ops {
		op := &ops[i]
		key = append(append(key[:0], keyRecord), op.Key...)
		if op.Value == nil {
			if err := b.Delete(key, nil); err != nil {
				return err
			}
			continue
		}
		d := b.SetDeferred(len(key), 8+len(op.Value))
		copy(d.Key, key)
		binary.BigEndian.PutUint64(d.Value, op.Rev)
		copy(d.Value[8:], op.Value)
		if err := d.Finish(); err != nil {
			return err
		}
	}
	if err := b.Set(nextKey, binary.BigEndian.AppendUint64(nil, next), nil); err != nil {
		return err
	}
	return b.Commit(pebble.NoSync)
}

// Get returns a record and its revision. The value is the caller's.
func (x *Index) Get(key string) (value []byte, rev uint64, ok bool, err error) {
	v, closer, err := x.db.Get(append([]byte{keyRecord}, key...))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, 0, false, nil
	}
	if err != nil {
		return nil, 0, false, err
	}
	defer closer.Close()
	return append([]byte{}, v[8:]...), binary.BigEndian.Uint64(v), true, nil
}

// Scan calls fn for the records with from <= key < to, in order of keys, until fn returns false. An empty to means no upper bound. Key
// and value are valid only during the call. It sees every Apply that returned before, and none after.
func (x *Index) Scan(from, to string, fn func(key string, value []byte, rev uint64) bool) error {
	bounds := &pebble.IterOptions{LowerBound: append([]byte{keyRecord}, from...), UpperBound: []byte{keyRecord + 1}}
	if to != "" {
		bounds.UpperBound = append([]byte{keyRecord}, to...)
	}
	it, err := x.db.NewIter(bounds)
	if err != nil {
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		v := it.Value()
		if !fn(string(it.Key()[1:]), v[8:], binary.BigEndian.Uint64(v)) {
			break
		}
	}
	return errors.Join(it.Error(), it.Close())
}

// Close closes the store. No other call may be under way.
func (x *Index) Close() error { return x.db.Close() }
