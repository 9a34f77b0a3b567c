package match

import (
	"slices"
	"strings"

	"github.com/tandem-hybrid/tandem"
)

// maxOthers bounds the attributes that are looked at for each event beside type, source and subject. Filters bound by others only
// are looked at for every event.
const maxOthers = 16

// Index finds the values whose filters an event may match. The zero value is empty and ready; it must not be copied once it is used.
// Candidates may be called concurrently, but not while Add or Remove runs.
type Index[T any] struct {
	exact  []*attribute[T]
	prefix []*attribute[T]
	others int       // of both, those that maxOthers bounds
	rest   bucket[T] // filters that are not bound
}

// Entry is one filter in an Index.
type Entry[T any] struct {
	spots []spot[T]
}

// spot is where a bucket has an entry.
type spot[T any] struct {
	in *bucket[T]
	at int
}

// attribute has the entries that are looked up by one attribute.
type attribute[T any] struct {
	name    string
	prefix  bool
	by      map[string]*bucket[T] // by value, or by beginning; none is empty
	lengths []length              // of the beginnings, rising
}

type length struct{ bytes, buckets int }

// bucket has the entries that are found together.
type bucket[T any] struct {
	of    *attribute[T] // nil for those that are not bound
	value string
	slots []slot[T]
}

type slot[T any] struct {
	value T
	entry *Entry[T]
	spot  int // of the entry
}

// Add puts v where an event finds the fewest of those that are there already with it: of the filters type=a, subject=1 to type=a,
// subject=1000 all but one at most are found by their subject. The cost is that of f.Bounds and of a look-up for each value in them.
func (ix *Index[T]) Add(f tandem.Filter, v T) *Entry[T] {
	e := &Entry[T]{}
	b, bound := ix.best(f.Bounds())
	switch {
	case !bound:
		e.spots = make([]spot[T], 0, 1)
		ix.rest.add(e, v)
	case len(b.Values) > 0: // otherwise nothing matches
		a := ix.attribute(b)
		values := b.apart()
		e.spots = make([]spot[T], 0, len(values))
		for _, value := range values {
			a.bucket(value).add(e, v)
		}
	}
	return e
}

// Remove takes an entry out. The cost does not depend on how many are found with it. A second Remove does nothing.
func (ix *Index[T]) Remove(e *Entry[T]) {
	for _, s := range e.spots {
		s.in.remove(s.at)
		if a := s.in.of; a != nil && len(s.in.slots) == 0 {
			a.drop(s.in.value)
			if len(a.by) == 0 {
				ix.drop(a)
			}
		}
	}
	e.spots = nil
}

// Candidates calls found with the value of every entry whose filter e may match, once for each, in no order. It does not allocate
// for itself. found must not change the index.
func (ix *Index[T]) Candidates(e *tandem.Event, found func(T)) {
	for _, a := range ix.exact {
		if v, ok := e.Attribute(a.name); ok {
			a.by[v].each(found)
		}
	}
	for _, a := range ix.prefix {
		v, ok := e.Attribute(a.name)
		for _, n := range a.lengths {
			if !ok || n.bytes > len(v) {
				break
			}
			a.by[v[:n.bytes]].each(found)
		}
	}
	ix.rest.each(found)
}

type bound struct{ tandem.Bound }

// apart returns the values of which an event has at most one.
func (b bound) apart() []string {
	if !b.Prefix {
		return b.Values
	}
	var list []string
	for _, v := range b.Values { // sorted
		if n := len(list); n == 0 || !strings.HasPrefix(v, list[n-1]) {
			list = append(list, v)
		}
	}
	return list
}

// best returns the bound by which the fewest are found. ok is false when there is none that can be indexed.
func (ix *Index[T]) best(bounds []tandem.Bound) (best bound, ok bool) {
	least := 0
	for _, b := range bounds {
		a := ix.find(b.Attribute, b.Prefix)
		if a == nil && ix.others >= maxOthers && counts(b.Attribute) {
			continue
		}
		n := 0
		for _, v := range b.Values {
			if a != nil && a.by[v] != nil {
				n += len(a.by[v].slots)
			}
		}
		if !ok || n < least || n == least && best.Prefix {
			best, least, ok = bound{b}, n, true
		}
	}
	return best, ok
}

// counts reports whether maxOthers bounds an attribute. What most filters look at stays indexed whatever else is looked at.
func counts(name string) bool {
	return name != "type" && name != "source" && name != "subject"
}

func (ix *Index[T]) list(prefix bool) *[]*attribute[T] {
	if prefix {
		return &ix.prefix
	}
	return &ix.exact
}

func (ix *Index[T]) find(name string, prefix bool) *attribute[T] {
	list := *ix.list(prefix)
	if i := slices.IndexFunc(list, func(a *attribute[T]) bool { return a.name == name }); i >= 0 {
		return list[i]
	}
	return nil
}

// attribute returns that of a bound, and adds it if it is new.
func (ix *Index[T]) attribute(b bound) *attribute[T] {
	a := ix.find(b.Attribute, b.Prefix)
	if a == nil {
		a = &attribute[T]{name: b.Attribute, prefix: b.Prefix, by: map[string]*bucket[T]{}}
		list := ix.list(b.Prefix)
		*list = append(*list, a)
		if counts(a.name) {
			ix.others++
		}
	}
	return a
}

func (ix *Index[T]) drop(a *attribute[T]) {
	list := ix.list(a.prefix)
	*list = slices.DeleteFunc(*list, func(x *attribute[T]) bool { return x == a })
	if counts(a.name) {
		ix.others--
	}
}
