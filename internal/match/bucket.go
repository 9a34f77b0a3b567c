package match

import (
	"cmp"
	"slices"
)

// keptSlots is how many slots a bucket may keep without a use for them.
const keptSlots = 64

// bucket returns that of a value, and adds it if it is new.
func (a *attribute[T]) bucket(value string) *bucket[T] {
	b := a.by[value]
	if b == nil {
		b = &bucket[T]{of: a, value: value}
		a.by[value] = b
		a.measure(value, 1)
	}
	return b
}

func (a *attribute[T]) drop(value string) {
	delete(a.by, value)
	a.measure(value, -1)
}

// measure keeps count of the lengths of beginnings.
func (a *attribute[T]) measure(value string, change int) {
	if !a.prefix {
		return
	}
	i, ok := slices.BinarySearchFunc(a.lengths, len(value), func(l length, n int) int { return cmp.Compare(l.bytes, n) })
	if !ok {
		a.lengths = slices.Insert(a.lengths, i, length{bytes: len(value)})
	}
	if a.lengths[i].buckets += change; a.lengths[i].buckets == 0 {
		a.lengths = slices.Delete(a.lengths, i, i+1)
	}
}

func (b *bucket[T]) add(e *Entry[T], v T) {
	b.slots = append(b.slots, slot[T]{v, e, len(e.spots)})
	e.spots = append(e.spots, spot[T]{b, len(b.slots) - 1})
}

// remove fills the slot with the last one.
func (b *bucket[T]) remove(at int) {
	last := len(b.slots) - 1
	moved := b.slots[last]
	b.slots[at] = moved
	moved.entry.spots[moved.spot].at = at
	b.slots[last] = slot[T]{}
	b.slots = b.slots[:last]
	if kept := cap(b.slots); kept > keptSlots && last <= kept/4 {
		b.slots = append(make([]slot[T], 0, kept/2), b.slots...)
	}
}

func (b *bucket[T]) each(found func(T)) {
	if b == nil {
		return
	}
	for i := range b.slots {
		found(b.slots[i].value)
	}
}
