package natslog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// topicRecord is the state record of a topic.
type topicRecord struct {
	ID   string       `json:"id"` // hexadecimal
	Spec tandem.Topic `json:"spec"`
}

func (p *partition) isGone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

func newTopic(n names, spec tandem.Topic, id driver.ID) *topic {
	t := &topic{Topic: driver.Topic{Topic: spec, ID: id}, parts: make([]*partition, spec.Partitions)}
	for i := range t.parts {
		t.parts[i] = &partition{topic: id, name: spec.Name, index: i, stream: n.stream(spec.Name, id, i), subject: n.subject(spec.Name, i), first: 1, end: 1, asked: 1, told: 1,
			replicas: 1}
	}
	return t
}

func errNoTopic(name string) error {
	return tandem.Errorf(tandem.CodeNotFound, "no topic %s", name)
}

// CreateTopic implements driver.Driver: the streams first, then the record that makes them a topic. Streams without one are removed when the log is
// opened, or when the name is taken again.
func (e *Engine) CreateTopic(ctx context.Context, spec tandem.Topic) (driver.Topic, error) {
	if err := e.writable(); err != nil {
		return driver.Topic{}, err
	}
	if spec.Kafka != (tandem.KafkaTopic{}) {
		return driver.Topic{}, tandem.Errorf(tandem.CodeUnsupported, "topic %s: a topic of Kafka cannot be adopted on NATS", spec.Name)
	}
	e.changing.Lock()
	defer e.changing.Unlock()
	e.table.RLock()
	taken := e.byName[spec.Name] != nil
	e.table.RUnlock()
	if taken {
		return driver.Topic{}, tandem.Errorf(tandem.CodeConflict, "topic %s exists", spec.Name)
	}
	e.lastID = max(e.lastID+1, driver.ID(time.Now().UnixNano())) // ids rise, and no two incarnations share one
	t := newTopic(e.names, spec, e.lastID)
	if n := len(t.parts[len(t.parts)-1].stream); n > 255 {
		return driver.Topic{}, tandem.Errorf(tandem.CodeInvalid, "topic %s: its streams would have names of %d bytes, NATS takes 255", spec.Name, n).WithHint("take a shorter name or prefix")
	}
	err := e.eachPart(ctx, t, func(ctx context.Context, p *partition) error {
		info, err := e.createStream(ctx, e.partitionConfig(t, p))
		if err == nil {
			p.observe(&e.cache, info)
			p.readAt.Store(e.clock.Load()) // who makes a topic will read it
		}
		return err
	})
	if err == nil {
		err = e.putTopic(ctx, t)
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.opts.Timeout)
		defer cancel()
		_ = e.deleteStreams(ctx, t) // what is left is removed later
		return driver.Topic{}, tandem.Wrap("create the streams of topic "+spec.Name, e.coded(err))
	}
	e.table.Lock()
	e.add(t)
	e.table.Unlock()
	return t.Topic, nil
}

func (e *Engine) putTopic(ctx context.Context, t *topic) error {
	value, err := json.Marshal(topicRecord{ID: fmt.Sprintf("%016x", uint64(t.ID)), Spec: t.Topic.Topic})
	if err != nil {
		return err
	}
	return e.state.put(ctx, string(kindTopic)+t.Name, value)
}

// add is called with table held.
func (e *Engine) add(t *topic) {
	e.byName[t.Name], e.byID[t.ID] = t, t
	for _, p := range t.parts {
		e.bySubject[p.subject] = p
	}
}

// UpdateTopic implements driver.Driver: the streams first, then the record, so that a repeat completes what failed.
func (e *Engine) UpdateTopic(ctx context.Context, spec tandem.Topic) (driver.Topic, error) {
	if err := e.writable(); err != nil {
		return driver.Topic{}, err
	}
	e.changing.Lock()
	defer e.changing.Unlock()
	e.table.RLock()
	old := e.byName[spec.Name]
	e.table.RUnlock()
	if old == nil {
		return driver.Topic{}, errNoTopic(spec.Name)
	}
	spec.Partitions = old.Partitions
	changed := &topic{Topic: old.Topic, parts: old.parts}
	changed.Topic.Topic = spec
	err := e.eachPart(ctx, changed, func(ctx context.Context, p *partition) error { return e.applyRetention(ctx, changed, p, nil) })
	if err == nil {
		err = e.putTopic(ctx, changed)
	}
	if err != nil {
		return driver.Topic{}, tandem.Wrap("update topic "+spec.Name, e.coded(err))
	}
	e.table.Lock()
	e.byName[spec.Name], e.byID[old.ID] = changed, changed
	e.table.Unlock()
	return changed.Topic, nil
}

// applyRetention changes a stream whose limits are not those of the topic; info is asked for when it is nil. Replicas and whatever else an operator
// has changed stay.
func (e *Engine) applyRetention(ctx context.Context, t *topic, p *partition, info *jetstream.StreamInfo) error {
	if info == nil {
		var err error
		if info, err = e.streamInfo(ctx, p.stream); err != nil {
			return err
		}
	}
	want, cfg := e.partitionConfig(t, p), info.Config
	if cfg.MaxAge == want.MaxAge && cfg.MaxBytes == want.MaxBytes {
		return nil
	}
	cfg.MaxAge, cfg.MaxBytes = want.MaxAge, want.MaxBytes
	if cfg.MaxAge > 0 && cfg.Duplicates > cfg.MaxAge || cfg.Duplicates < want.Duplicates {
		cfg.Duplicates = want.Duplicates
	}
	_, err := e.js.UpdateStream(ctx, cfg)
	return err
}

// DeleteTopic implements driver.Driver: the record first. What a failure leaves of the streams is removed later.
func (e *Engine) DeleteTopic(ctx context.Context, name string) error {
	if err := e.writable(); err != nil {
		return err
	}
	e.changing.Lock()
	defer e.changing.Unlock()
	e.table.RLock()
	t := e.byName[name]
	e.table.RUnlock()
	if t == nil {
		return errNoTopic(name)
	}
	if err := e.state.put(ctx, string(kindTopic)+name, nil); err != nil {
		return tandem.Wrap("delete topic "+name, err)
	}
	e.table.Lock()
	delete(e.byName, name)
	delete(e.byID, t.ID)
	for _, p := range t.parts {
		delete(e.bySubject, p.subject)
	}
	e.table.Unlock()
	for _, p := range t.parts {
		p.mu.Lock()
		p.gone = true
		e.cache.forget(p)
		p.mu.Unlock()
	}
	if err := e.deleteStreams(ctx, t); err != nil {
		e.log.Warn("streams of a deleted topic are left; they are removed when the log is opened again, or the topic made anew", "topic", name, "error", err)
	}
	return nil
}

// Topics implements driver.Driver.
func (e *Engine) Topics(context.Context) ([]driver.Topic, error) {
	if e.isClosed() {
		return nil, errClosed()
	}
	e.table.RLock()
	defer e.table.RUnlock()
	all := make([]driver.Topic, 0, len(e.byName))
	for _, name := range slices.Sorted(maps.Keys(e.byName)) {
		all = append(all, e.byName[name].Topic)
	}
	return all, nil
}

func (e *Engine) partitionConfig(t *topic, p *partition) jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name: p.stream, Subjects: []string{p.subject}, Replicas: e.opts.Replicas, MaxBytes: -1, Duplicates: e.opts.DuplicateWindow,
		Description: "Tandem topic " + t.Name + ", partition " + strconv.Itoa(p.index),
		Metadata:    map[string]string{"tandem-topic": t.Name, "tandem-partition": strconv.Itoa(p.index), "tandem-log": e.logID()},
		DenyDelete:  true, AllowDirect: true, AllowAtomicPublish: true,
	}
	switch {
	case t.Retention == 0:
		cfg.MaxAge = tandem.DefaultRetention
	case t.Retention > 0:
		cfg.MaxAge = max(time.Duration(t.Retention), minAge)
	}
	if cfg.MaxAge > 0 {
		cfg.Duplicates = min(cfg.Duplicates, cfg.MaxAge)
	}
	if t.RetentionBytes > 0 {
		cfg.MaxBytes = max(t.RetentionBytes/int64(t.Partitions), 1)
	}
	return cfg
}

// minAge is the smallest limit by age that NATS has.
const minAge = 100 * time.Millisecond

// createStream removes what is left of an older incarnation, if it is in the way.
func (e *Engine) createStream(ctx context.Context, cfg jetstream.StreamConfig) (*jetstream.StreamInfo, error) {
	s, err := e.js.CreateStream(ctx, cfg)
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == codeSubjectsOverlap {
		name, err2 := e.js.StreamNameBySubject(ctx, cfg.Subjects[0])
		if err2 != nil {
			return nil, err
		}
		if _, _, ok := e.names.parseStream(name); !ok {
			return nil, tandem.Errorf(tandem.CodeConflict, "the subject %s belongs to the stream %s, which is not Tandem's", cfg.Subjects[0], name)
		}
		if err2 := e.js.DeleteStream(ctx, name); err2 != nil {
			return nil, err2
		}
		s, err = e.js.CreateStream(ctx, cfg)
	}
	if err != nil {
		return nil, err
	}
	return s.CachedInfo(), nil
}

const codeSubjectsOverlap jetstream.ErrorCode = 10065

func (e *Engine) deleteStreams(ctx context.Context, t *topic) error {
	return e.eachPart(ctx, t, func(ctx context.Context, p *partition) error {
		if err := e.js.DeleteStream(ctx, p.stream); !errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
		return nil
	})
}

// eachPart calls fn for all partitions, a few at a time, within the time of a call for each of them. It returns the first error.
func (e *Engine) eachPart(ctx context.Context, t *topic, fn func(context.Context, *partition) error) error {
	const atOnce = 8
	var wg sync.WaitGroup
	errs := make([]error, len(t.parts))
	slots := make(chan struct{}, atOnce)
	for i, p := range t.parts {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, e.opts.Timeout)
			defer cancel()
			errs[i] = fn(ctx, p)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) streamInfo(ctx context.Context, name string) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, e.opts.Timeout)
	defer cancel()
	s, err := e.js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.CachedInfo(), nil
}

// coded gives an error of JetStream the code that it has here.
func (e *Engine) coded(err error) error {
	var coded *tandem.Error
	var api *jetstream.APIError
	switch {
	case err == nil || errors.As(err, &coded):
		return err
	case errors.As(err, &api) && (api.ErrorCode == 10047 || api.ErrorCode == 10023):
		return tandem.Errorf(tandem.CodeUnavailable, "NATS at %s: %w", e.where(), err).
			WithHint("the servers set aside what retentionBytes asks for: raise max_file_store or lower it")
	}
	return e.unavailable(err)
}
