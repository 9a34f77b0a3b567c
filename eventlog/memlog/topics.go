package memlog

import (
	"context"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// CreateTopic implements driver.Driver.
func (e *Engine) CreateTopic(ctx context.Context, spec tandem.Topic) (driver.Topic, error) {
	if err := e.wait(ctx); err != nil {
		return driver.Topic{}, err
	}
	defer e.mu.Unlock()
	if err := e.writable(); err != nil {
		return driver.Topic{}, err
	}
	if e.byName[spec.Name] != nil {
		return driver.Topic{}, tandem.Errorf(tandem.CodeConflict, "topic %s exists", spec.Name)
	}
	e.nextID++
	t := &topic{Topic: driver.Topic{Topic: spec, ID: e.nextID}, parts: make([]partition, spec.Partitions)}
	if e.info.TotalOrder {
		// The creation takes a number of its own, so that the last place in the old incarnation lies before it.
		e.last++
		t.Born = e.last
		if e.seen[spec.Name] {
			t.Replaced = t.Born
		}
		for i := range t.parts {
			t.parts[i].end = t.Born + 1
		}
	}
	e.seen[spec.Name] = true
	e.byName[spec.Name], e.byID[t.ID] = t, t
	return t.Topic, nil
}

// UpdateTopic implements driver.Driver.
func (e *Engine) UpdateTopic(_ context.Context, spec tandem.Topic) (driver.Topic, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.writable(); err != nil {
		return driver.Topic{}, err
	}
	t := e.byName[spec.Name]
	if t == nil {
		return driver.Topic{}, errNoTopic(spec.Name)
	}
	spec.Partitions = t.Partitions
	t.Topic.Topic = spec
	return t.Topic, nil
}

// DeleteTopic implements driver.Driver.
func (e *Engine) DeleteTopic(_ context.Context, name string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.open {
		return errClosed()
	}
	t := e.byName[name]
	if t == nil {
		return errNoTopic(name)
	}
	for i := range t.parts {
		e.remove(&t.parts[i], len(t.parts[i].records))
	}
	delete(e.byName, name)
	delete(e.byID, t.ID)
	return nil
}

// Topics implements driver.Driver.
func (e *Engine) Topics(context.Context) ([]driver.Topic, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.open {
		return nil, errClosed()
	}
	all := make([]driver.Topic, 0, len(e.byName))
	for _, t := range e.byName {
		all = append(all, t.Topic)
	}
	return all, nil
}

// RunRetention removes what the topics' retention says, by the clock of Options.Now.
func (e *Engine) RunRetention() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	for _, t := range e.byID {
		var total int64
		for i := range t.parts {
			total += t.parts[i].bytes
		}
		for i := range t.parts {
			p := &t.parts[i]
			n := 0
			if age := t.Retention; age > 0 {
				for n < len(p.records) && now.Sub(p.records[n].Meta.Accepted) > time.Duration(age) {
					total -= p.records[n].size
					n++
				}
			}
			e.remove(p, n)
		}
		for t.RetentionBytes > 0 && total > t.RetentionBytes {
			p := oldest(t.parts)
			total -= p.records[0].size
			e.remove(p, 1)
		}
	}
}

// oldest returns the partition whose first record was accepted first. At least one has a record.
func oldest(parts []partition) *partition {
	var best *partition
	for i := range parts {
		p := &parts[i]
		if len(p.records) == 0 {
			continue
		}
		if best == nil || p.records[0].Meta.Accepted.Before(best.records[0].Meta.Accepted) ||
			p.records[0].Meta.Accepted.Equal(best.records[0].Meta.Accepted) && p.records[0].Position.Offset < best.records[0].Position.Offset {
			best = p
		}
	}
	return best
}

// remove drops the first n records of a partition and the identities they are known by.
func (e *Engine) remove(p *partition, n int) {
	if n == 0 {
		return
	}
	for i := range p.records[:n] {
		r := &p.records[i]
		p.bytes -= r.size
		if r.dedup {
			delete(e.ids, r.identity)
		}
	}
	p.removed = p.records[n-1].Position.Offset + 1
	p.records = append([]stored(nil), p.records[n:]...)
}

func errNoTopic(name string) error { return tandem.Errorf(tandem.CodeNotFound, "no topic %s", name) }
