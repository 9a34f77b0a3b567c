package chain

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Prefix begins the state records of this room: what is remembered of a chain whose cause had an id that its publisher chose, under
// the reference of the cause. It is stored in the same step, after the events where the engine is not atomic: where it is, the chain is
// complete. It holds no places, so that it is true in a copy of the log, too.
const Prefix = "chain/"

const (
	recordVersion = 1
	// recordKept is how long, as ids are remembered.
	recordKept  = 24 * time.Hour
	searchSpan  = time.Second // before the recorded time, where clocks of a log are not in order
	searchLimit = 20_000
	searchPage  = 256
)

// memory is what a chain leaves behind, and what a repeat of it looks for.
type memory struct {
	cause *eventlog.TopicEvent
	sum   uint64
}

// record is the value of a record. Where an event lies is not known before it is stored: it is found from the time on.
type record struct {
	Version int       `json:"v"`
	Since   time.Time `json:"since"` // the events were accepted then or a little later, or before a crash cut their chain
	Sum     uint64    `json:"sum"`   // of the cause
	Events  []found   `json:"events"`
}

// found names an event of a chain, the cause first.
type found struct {
	Topic  string `json:"topic"`
	Source string `json:"source"`
	ID     string `json:"id"`
	Key    string `json:"key,omitempty"` // which has its partition
}

func (m *memory) key() string {
	return Prefix + tandem.Ref(m.cause.Topic, m.cause.Event.Source, m.cause.Event.ID)
}

func (m *memory) record(events []eventlog.TopicEvent) driver.StateOp {
	r := record{Version: recordVersion, Since: time.Now().UTC().Truncate(time.Millisecond), Sum: m.sum, Events: make([]found, len(events))}
	for i := range events {
		e := &events[i]
		r.Events[i] = found{e.Topic, e.Event.Source, e.Event.ID, e.Event.Ordering()}
	}
	value, err := json.Marshal(&r)
	if err != nil {
		panic(err) // texts and numbers
	}
	return driver.StateOp{Key: m.key(), Value: value}
}

// flight is a chain under way, for those who repeat it meanwhile.
type flight struct {
	sum    uint64
	done   chan struct{}
	cause  tandem.Event // as the one who runs it has it in the end
	result Result
	err    error // in place of result
}

// once runs a chain unless its cause is stored, or another one of the same cause is under way: then it waits for that.
func (c *Chain) once(ctx context.Context, m *memory, run func(*memory) (Result, error)) (Result, error) {
	key := m.key()
	c.mu.Lock()
	if f := c.flights[key]; f != nil {
		c.mu.Unlock()
		return f.wait(ctx, m)
	}
	f := &flight{sum: m.sum, cause: m.cause.Event, done: make(chan struct{}), err: tandem.Errorf(tandem.CodeInternal, "the chain broke off")}
	c.flights[key] = f
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.flights, key)
		c.mu.Unlock()
		close(f.done)
	}()
	var ok bool
	if f.result, ok, f.err = c.recall(ctx, m); !ok && f.err == nil {
		f.result, f.err = run(m)
	}
	f.cause = m.cause.Event
	return f.result, cloneError(f.err)
}

func (f *flight) wait(ctx context.Context, m *memory) (Result, error) {
	if f.sum != m.sum {
		return Result{}, conflict()
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return Result{}, tandem.Errorf(tandem.CodeTimeout, "the same event is being published, and its chain has not ended").WithHint("publish it again later")
	}
	m.cause.Event = f.cause // with the flow in which the calls are found
	if f.err != nil {
		return Result{}, cloneError(f.err)
	}
	res := f.result
	res.Receipt.Duplicate = tandem.DuplicateYes
	return res, nil
}

// cloneError copies an error as far as its receivers change it: each of those who wait for a chain makes its pointers fit its request.
func cloneError(err error) error {
	e, ok := err.(*tandem.Error) //nolint:errorlint // its wrappers are of this type
	if !ok {
		return err
	}
	c := *e
	c.Fields, c.Err = slices.Clone(e.Fields), cloneError(e.Err)
	return &c
}

func conflict() error {
	return tandem.Errorf(tandem.CodeConflict, "the event was published with other data").WithField("/id", "was used for other data").
		WithHint("an id names one event as long as it is remembered (GET /v1/status shows how long): give the other data another id")
}

// recall returns what a publish brought that is stored; ok is false if there is none, or only a beginning of its chain.
func (c *Chain) recall(ctx context.Context, m *memory) (res Result, ok bool, err error) {
	e := &m.cause.Event
	cause, sum, err := c.log.Find(ctx, m.cause.Topic, e.Source, e.ID)
	if err != nil {
		return res, false, err
	}
	r, err := c.remembered(ctx, m)
	switch {
	case err != nil:
		return res, false, err
	case r != nil && cause == nil:
		if cause, err = c.search(ctx, &r.Events[0], r.Since); err != nil || cause == nil {
			return res, false, err // retention has removed it, and with it the window
		}
		sum = r.Sum
	case cause == nil:
		return res, false, nil
	}
	if sum != m.sum {
		return res, false, conflict()
	}
	if _, taken := cause.Extension(tandem.AttrLinks); r == nil && taken && !c.log.Info().Atomic {
		return res, false, nil // a crash came between it and its replies
	}
	res = Result{Receipt: c.log.ReceiptOf(cause), Replies: []tandem.Event{}}
	res.Receipt.Duplicate = tandem.DuplicateYes
	m.cause.Event = cause.Event
	if r == nil {
		return res, true, nil // it was stored without links
	}
	for i := range r.Events[1:] {
		reply, err := c.find(ctx, &r.Events[i+1], r.Since)
		if err != nil {
			return res, false, err
		}
		if reply != nil {
			res.Replies = append(res.Replies, reply.Event)
		}
	}
	return res, true, nil
}

// remembered returns the record of a chain, nil if there is none that counts.
func (c *Chain) remembered(ctx context.Context, m *memory) (*record, error) {
	value, err := c.log.State(ctx, m.key())
	if err != nil || value == nil {
		return nil, err
	}
	r := new(record)
	if err := json.Unmarshal(value, r); err != nil || r.Version != recordVersion || len(r.Events) == 0 {
		c.opts.Logger.Error("the record of a request chain is damaged; its replies are not found again", "record", m.key(), "error", err)
		return nil, nil
	}
	if time.Since(r.Since) > recordKept {
		return nil, nil
	}
	return r, nil
}

// find returns an event of a chain, nil if it is not there any more.
func (c *Chain) find(ctx context.Context, f *found, since time.Time) (*tandem.Record, error) {
	rec, _, err := c.log.Find(ctx, f.Topic, f.Source, f.ID)
	if tandem.CodeOf(err) == tandem.CodeNotFound {
		return nil, nil
	}
	if rec != nil || err != nil {
		return rec, err
	}
	return c.search(ctx, f, since)
}

// search looks through what was stored at a time or a little later, and then, since an event may have been stored before its chain was
// completed, from as early on as ids are remembered.
func (c *Chain) search(ctx context.Context, f *found, since time.Time) (*tandem.Record, error) {
	info, err := c.log.Topic(ctx, f.Topic)
	if tandem.CodeOf(err) == tandem.CodeNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	first, last := 0, info.Partitions-1
	if f.Key != "" {
		first = tandem.Partition(f.Key, info.Partitions)
		last = first
	}
	for _, from := range []time.Time{since, since.Add(-searchSpan), time.Now().Add(-recordKept)} {
		for part := first; part <= last; part++ {
			if rec, err := c.searchPart(ctx, info.ID, part, f, from); rec != nil || err != nil {
				return rec, err
			}
		}
	}
	return nil, nil
}

func (c *Chain) searchPart(ctx context.Context, topic driver.ID, part int, f *found, from time.Time) (*tandem.Record, error) {
	next, err := c.log.OffsetAt(ctx, topic, part, from)
	if err != nil {
		return nil, err
	}
	var page []tandem.Record
	for looked := 0; looked < searchLimit; looked += len(page) {
		if page, err = c.log.ReadPartition(ctx, topic, part, next, searchPage, page[:0]); err != nil || len(page) == 0 {
			return nil, err
		}
		for i := range page {
			if page[i].ID == f.ID && page[i].Source == f.Source {
				return &page[i], nil
			}
		}
		next = page[len(page)-1].Position.Offset + 1
	}
	return nil, nil
}
