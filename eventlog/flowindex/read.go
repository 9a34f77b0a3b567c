package flowindex

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

var errDamaged = errors.New("an entry of the index of flows is damaged")

// Event is an event of a flow.
type Event struct {
	Place
	Ref      [16]byte // as tandem.Fingerprint makes it
	Accepted time.Time
}

// Events returns the events of a flow, at most max, in no order.
func (x *Index) Events(flow Key, max int) ([]Event, error) {
	var out []Event
	seen := map[Place]bool{}
	err := x.each(kindFlow, flow[:], func(rest, value []byte) (more bool, err error) {
		p, ok := parsePlace(rest)
		if !ok || len(value) < 16 {
			return false, errDamaged
		}
		ms, n := binary.Uvarint(value[16:])
		if n <= 0 {
			return false, errDamaged
		}
		if !seen[p] { // else it was added again after a crash
			seen[p] = true
			out = append(out, Event{p, [16]byte(value), time.UnixMilli(int64(ms)).UTC()})
		}
		return len(out) < max, nil
	})
	return out, err
}

// Find returns the flow and the place of an event by its ref.
func (x *Index) Find(ref [16]byte) (flow Key, p Place, ok bool, err error) {
	gens := x.generations()
	for _, g := range slices.Backward(gens) {
		v, closer, err := x.db.Get(append(append(g.entries(), kindRef), ref[:]...))
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return flow, p, false, err
		}
		if len(v) >= len(flow) {
			flow = Key(v)
			p, ok = parsePlace(v[len(flow):])
		}
		if err = closer.Close(); err == nil && !ok {
			err = errDamaged
		}
		return flow, p, ok, err
	}
	return flow, p, false, nil
}

// Effects returns where events lie that name a cause, at most max, as far as they may be in other flows than it is.
func (x *Index) Effects(cause [16]byte, max int) ([]Place, error) {
	var out []Place
	err := x.each(kindEffect, cause[:], func(rest, _ []byte) (bool, error) {
		p, ok := parsePlace(rest)
		if !ok {
			return false, errDamaged
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
		return len(out) < max, nil
	})
	return out, err
}

// ByTrace returns the flows of a trace, at most max.
func (x *Index) ByTrace(trace [16]byte, max int) ([]Key, error) {
	var out []Key
	own := Key{keyTimed}
	copy(own[1:], trace[:])
	events, err := x.Events(own, 1)
	if len(events) > 0 {
		out = append(out, own)
	}
	if err != nil {
		return nil, err
	}
	err = x.each(kindTrace, trace[:], func(rest, _ []byte) (bool, error) {
		if len(rest) != len(Key{}) {
			return false, errDamaged
		}
		if k := Key(rest); !slices.Contains(out, k) {
			out = append(out, k)
		}
		return len(out) < max, nil
	})
	return out, err
}

// Newest calls fn for the flows that began before a time and before a flow, each if it is not zero, the newest first, until fn returns
// false. Flows whose ids have no time are not among them.
func (x *Index) Newest(before time.Time, after Key, fn func(Key) bool) error {
	upper := Key{keyTimed + 1}
	if !before.IsZero() {
		upper = keyAt(before)
	}
	if after != (Key{}) && bytes.Compare(after[:], upper[:]) < 0 {
		upper = after
	}
	type tail struct {
		it     *pebble.Iterator
		prefix []byte
	}
	var tails []tail
	var err error
	defer func() {
		for _, t := range tails {
			_ = t.it.Close()
		}
	}()
	for _, g := range x.generations() {
		prefix := append(g.entries(), kindFlow)
		it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: append(slices.Clone(prefix), keyTimed+1)})
		if err != nil {
			return err
		}
		tails = append(tails, tail{it, prefix})
	}
	for {
		var next Key
		for _, t := range tails {
			// The tail of one flow may be long: it is jumped over.
			if t.it.SeekLT(append(slices.Clone(t.prefix), upper[:]...)) {
				if k := Key(t.it.Key()[len(t.prefix):]); bytes.Compare(k[:], next[:]) > 0 {
					next = k
				}
			}
			err = errors.Join(err, t.it.Error())
		}
		if err != nil || next == (Key{}) || !fn(next) {
			return err
		}
		upper = next
	}
}

// Horizon returns the time from which on nothing is missing of what was added.
func (x *Index) Horizon() time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	return time.UnixMilli(max(x.dropped, x.opts.Now().Add(-x.opts.Age).UnixMilli())).UTC()
}

func (x *Index) generations() []generation {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.gens)
}

// each calls fn for the entries of a kind that begin with something, with what follows it, oldest generation first.
func (x *Index) each(kind byte, with []byte, fn func(rest, value []byte) (more bool, err error)) error {
	for _, g := range x.generations() {
		prefix := append(append(g.entries(), kind), with...)
		it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
		if err != nil {
			return err
		}
		more := true
		for it.First(); it.Valid() && more && err == nil; it.Next() {
			more, err = fn(it.Key()[len(prefix):], it.Value())
		}
		if err = errors.Join(err, it.Error(), it.Close()); err != nil || !more {
			return err
		}
	}
	return nil
}

// after returns the first key that does not begin with a prefix.
func after(prefix []byte) []byte {
	out := slices.Clone(prefix)
	for i := len(out) - 1; i >= 0; i-- {
		if out[i]++; out[i] != 0 {
			break
		}
	}
	return out
}
