package pebblelog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// control runs fn in the committer, in a group of its own, and returns when what it put into the batch is durable.
func (e *Engine) control(ctx context.Context, full bool, fn func(g *group) error) error {
	_, err := e.submit(ctx, &request{control: fn, full: full, done: make(chan struct{}, 1)})
	return err
}

// CreateTopic implements driver.Driver.
func (e *Engine) CreateTopic(ctx context.Context, spec tandem.Topic) (driver.Topic, error) {
	if spec.Partitions < 1 || spec.Partitions > tandem.MaxPartitions {
		return driver.Topic{}, tandem.Errorf(tandem.CodeInvalid, "a topic has 1 to %d partitions", tandem.MaxPartitions).
			WithField("/partitions", "is %d", spec.Partitions)
	}
	var made driver.Topic
	err := e.control(ctx, false, func(g *group) error {
		if e.names[spec.Name] != nil {
			return tandem.Errorf(tandem.CodeConflict, "topic %s exists", spec.Name)
		}
		again, err := e.has(nameKey(spaceTomb, spec.Name))
		if err != nil {
			return err
		}
		e.lastID++
		r := topicRecord{Topic: spec, ID: e.lastID, Slot: slotOf(spec, e.lastID), Born: e.next}
		// The creation takes a number, so that the last place in an older incarnation lies before it.
		e.next++
		if again {
			r.Replaced = r.Born
		}
		if err := errors.Join(e.putTopic(g.batch, r), e.putCounters(g.batch)); err != nil {
			return err
		}
		t := newTopic(r)
		made = t.meta
		e.names[spec.Name] = t
		g.after = append(g.after, func() { e.addTopic(t) })
		return nil
	})
	if err != nil {
		return driver.Topic{}, tandem.Wrap("create topic "+spec.Name, err) // after a failure the committer may still hold made
	}
	return made, nil
}

// UpdateTopic implements driver.Driver. A new retention holds for events that are stored already, too, so
// it works below the free-space mark: a shorter one makes room.
func (e *Engine) UpdateTopic(ctx context.Context, spec tandem.Topic) (driver.Topic, error) {
	var made driver.Topic
	err := e.control(ctx, true, func(g *group) error {
		t := e.names[spec.Name]
		if t == nil {
			return errNoTopic(spec.Name)
		}
		spec.Partitions = len(t.parts)
		r := topicRecord{Topic: spec, ID: t.id, Slot: t.slot, Born: t.born, Replaced: t.meta.Replaced}
		if err := e.putTopic(g.batch, r); err != nil {
			return err
		}
		made = driver.Topic{Topic: spec, ID: t.id, Born: t.born, Replaced: r.Replaced}
		g.after = append(g.after, func() {
			t.meta = made
			e.topicsChanged()
		})
		return nil
	})
	if err != nil {
		return driver.Topic{}, tandem.Wrap("update topic "+spec.Name, err)
	}
	return made, nil
}

// DeleteTopic implements driver.Driver. Retention gives the disk space back soon after.
func (e *Engine) DeleteTopic(ctx context.Context, name string) error {
	var spans []span
	err := e.control(ctx, true, func(g *group) error {
		t := e.names[name]
		if t == nil {
			return errNoTopic(name)
		}
		if err := e.deleteTopic(g.batch, t); err != nil {
			return err
		}
		t.dead = true
		delete(e.names, name)
		spans = e.spansOf(t)
		g.after = append(g.after, func() { e.removeTopic(t) })
		return nil
	})
	if err != nil {
		return tandem.Wrap("delete topic "+name, err)
	}
	e.mu.Lock()
	e.cleared = append(e.cleared, spans...)
	e.mu.Unlock()
	select {
	case e.retainNow <- struct{}{}:
	default:
	}
	return nil
}

// spansOf returns where a topic may have events, each with the bytes of all of them.
func (e *Engine) spansOf(t *topic) (spans []span) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	bytes := int64(0)
	for _, p := range t.parts {
		_, b := p.held()
		bytes += int64(b)
	}
	if bytes == 0 {
		return nil
	}
	for _, s := range e.segments.from(t.born) {
		spans = append(spans, span{from: slotsFrom(spaceRuns, s.ID, t.slot), to: slotsFrom(spaceRuns, s.ID, t.slot+1), bytes: bytes})
	}
	return spans
}

func (e *Engine) deleteTopic(b *pebble.Batch, t *topic) error {
	for _, s := range e.segments.from(t.born) {
		// A range for nothing would cost every reader of that segment.
		if s.Sealed != 0 {
			if ok, err := e.has(slotsFrom(spacePortion, s.ID, t.slot)); err != nil {
				return err
			} else if !ok {
				continue
			}
		}
		if err := b.DeleteRange(slotsFrom(spaceRuns, s.ID, t.slot), slotsFrom(spaceRuns, s.ID, t.slot+1), nil); err != nil {
			return err
		}
	}
	return errors.Join(
		b.Delete(topicKey(spaceTopic, t.id), nil),
		b.Delete(topicKey(spaceEnds, t.id), nil),
		b.Delete(topicKey(spaceStarts, t.id), nil),
		b.Set(nameKey(spaceTomb, t.name), nil, nil),
		e.putCounters(b), // its numbers may have been the newest
	)
}

// Topics implements driver.Driver.
func (e *Engine) Topics(context.Context) ([]driver.Topic, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	all := make([]driver.Topic, 0, len(e.byID))
	for _, t := range e.byID {
		all = append(all, t.meta)
	}
	return all, nil
}

// Own implements driver.Driver.
func (e *Engine) Own(ctx context.Context, name string) (driver.Fence, error) {
	f := driver.Fence{Name: name}
	err := e.control(ctx, true, func(g *group) error {
		f.Epoch = e.epochs[name] + 1
		if err := putJSON(g.batch, nameKey(spaceFence, name), f.Epoch); err != nil {
			return err
		}
		e.epochs[name] = f.Epoch
		return nil
	})
	if err != nil {
		return driver.Fence{}, tandem.Wrap("own "+name, err)
	}
	return f, nil
}

// addTopic makes a topic visible. mu must be held.
func (e *Engine) addTopic(t *topic) {
	e.byID[t.id] = t
	e.bySlot[t.slot] = t
	e.generation++
	if r := time.Duration(t.meta.Retention); r > 0 {
		e.autoSpan.Store(min(e.autoSpan.Load(), int64(max(r/8, minSpan))))
	}
}

// removeTopic undoes addTopic. mu must be held.
func (e *Engine) removeTopic(t *topic) {
	delete(e.byID, t.id)
	delete(e.bySlot, t.slot)
	e.topicsChanged()
}

// Bounds of a segment's span that follows from retention.
const (
	minSpan = time.Minute
	maxSpan = 6 * time.Hour
)

// topicsChanged derives what depends on all topics. mu must be held.
func (e *Engine) topicsChanged() {
	e.generation++
	span := maxSpan
	for _, t := range e.byID {
		if r := time.Duration(t.meta.Retention); r > 0 {
			span = min(span, max(r/8, minSpan))
		}
	}
	e.autoSpan.Store(int64(span))
}

func (e *Engine) span() time.Duration {
	if e.opts.SegmentSpan > 0 {
		return e.opts.SegmentSpan
	}
	return time.Duration(e.autoSpan.Load())
}

// counters are the numbers that must never be given twice.
type counters struct {
	Next    uint64    `json:"next"`
	TopicID driver.ID `json:"topicID"`
	Segment uint32    `json:"segment"`
}

func (e *Engine) putCounters(b *pebble.Batch) error {
	return putJSON(b, keyCounts, counters{Next: e.next, TopicID: e.lastID, Segment: e.segments.next})
}

func (e *Engine) putTopic(b *pebble.Batch, r topicRecord) error {
	return putJSON(b, topicKey(spaceTopic, r.ID), r)
}

func (e *Engine) has(key []byte) (bool, error) {
	_, closer, err := e.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, closer.Close()
}

// getJSON reads a value into v and reports whether it is there.
func (e *Engine) getJSON(key []byte, v any) (bool, error) {
	b, closer, err := e.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer closer.Close()
	if err := json.Unmarshal(b, v); err != nil {
		return false, fmt.Errorf("record %x: %w", key, err)
	}
	return true, nil
}
