package delivery

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-hybrid/tandem"
)

// found is an outcome in the ledger.
type found struct {
	tandem.Delivery
	run bool // a run has it, which does not name the event
}

// lookup returns the outcomes that the ledger has for one place, newest epoch first. A place has at most one in each epoch: a later one,
// of a dead letter that was redriven or discarded, has taken the place of the earlier.
func (s *subscription) lookup(ctx context.Context, w where) ([]found, error) {
	var out []found
	for _, g := range s.segmentsWith(w.offset, func(g *segment) *span { return &g.events }) {
		err := s.lookupEvent(ctx, g.start, w, &out)
		if err == nil && g.runs {
			err = s.lookupRun(ctx, g.start, w, &out)
		}
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(out, func(a, b found) int { return cmp.Compare(b.Epoch, a.Epoch) })
	return slices.CompactFunc(out, func(a, b found) bool { return a.Epoch == b.Epoch }), nil // the segments came newest first
}

// segmentsWith returns the segments in which an offset may be found, newest first.
func (s *subscription) segmentsWith(offset uint64, in func(*segment) *span) []segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []segment
	all := s.ledger.segments
	for i := len(all) - 1; i >= 0; i-- {
		if in(&all[i]).has(offset) {
			out = append(out, all[i])
		}
	}
	return out
}

func (s *subscription) lookupEvent(ctx context.Context, start uint64, w where, out *[]found) error {
	prefix := s.ledgerKey(start, ledgerEvent) + w.String() + "/"
	var bad error
	err := s.m.log.ScanState(ctx, prefix, func(key string, value []byte) bool {
		epoch, err := strconv.ParseUint(key[len(prefix):], 16, 64)
		if err != nil {
			bad = damaged(key, err)
			return false
		}
		r, err := parseRow(value)
		if err != nil {
			bad = damaged(key, err)
			return false
		}
		*out = append(*out, found{Delivery: r.delivery(s.name, w, epoch)})
		return true
	})
	if err == nil {
		err = bad
	}
	return err
}

func (s *subscription) lookupRun(ctx context.Context, start uint64, w where, out *[]found) error {
	kind := s.ledgerKey(start, ledgerRun)
	from := where{w.topic, w.part, w.offset >> runBlock << runBlock}.String()
	var bad error
	err := s.m.log.ScanStateFrom(ctx, kind+from[:len(from)-offsetDigits], kind+from, func(key string, value []byte) bool {
		first, epoch, err := parseEventKey(key[len(kind):])
		if err != nil {
			bad = damaged(key, err)
			return false
		}
		if first.offset>>runBlock != w.offset>>runBlock {
			return false
		}
		e, topic, ok, err := findInRun(value, first.offset, w.offset)
		if err != nil {
			bad = damaged(key, err)
			return false
		}
		if ok {
			*out = append(*out, found{e.delivery(s.name, topic, w.part, epoch), true})
		}
		return true
	})
	if err == nil {
		err = bad
	}
	return err
}

// offsetDigits is the length of the offset that ends the text of a place.
const offsetDigits = 16

// findInRun returns the delivery of an offset in a run.
func findInRun(value []byte, first, offset uint64) (e runEntry, topic string, ok bool, err error) {
	r, err := readRun(value, first)
	for err == nil {
		if e, ok, err = r.next(); err != nil || !ok || e.offset == offset {
			break
		}
	}
	return e, r.topic, ok && err == nil, err
}

// lookupRange returns the range of an epoch that has a place. Those of one epoch and partition do not overlap, and their keys have the end, so
// that the first that ends after the place is the only one that can.
func (s *subscription) lookupRange(ctx context.Context, epoch uint64, w where) (d tandem.Delivery, ok bool, err error) {
	for _, g := range s.segmentsWith(w.offset, func(g *segment) *span { return &g.ranges }) {
		kind := s.ledgerKey(g.start, ledgerRange)
		end := w
		end.offset++
		from := rangeKey(epoch, end)
		var bad error
		err = s.m.log.ScanStateFrom(ctx, kind+from[:len(from)-offsetDigits], kind+from, func(key string, value []byte) bool {
			r, err := parseRow(value)
			if err != nil {
				bad = damaged(key, err)
			} else if r.From <= w.offset {
				d, ok = r.delivery(s.name, w, epoch), true
			}
			return false
		})
		if err == nil {
			err = bad
		}
		if err != nil || ok {
			break
		}
	}
	return d, ok, err
}

func parseEventKey(rest string) (w where, epoch uint64, err error) {
	i := strings.LastIndexByte(rest, '/')
	if i < 0 {
		return w, 0, errFormat
	}
	if w, err = parseWhere(rest[:i]); err != nil {
		return w, 0, err
	}
	epoch, err = strconv.ParseUint(rest[i+1:], 16, 64)
	return w, epoch, err
}

func parseRangeKey(rest string) (end where, epoch uint64, err error) {
	text, place, ok := strings.Cut(rest, "/")
	if !ok {
		return end, 0, errFormat
	}
	if end, err = parseWhere(place); err != nil {
		return end, 0, err
	}
	epoch, err = strconv.ParseUint(text, 16, 64)
	return end, epoch, err
}

func damaged(key string, err error) error { return tandem.Wrap("record "+key, err) }
