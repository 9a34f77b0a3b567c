package chain

import (
	"context"
	"encoding/json"
	"strings"
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
	sweepEvery  = 10 * time.Minute
	sweepChunk  = 1000
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
	Since   time.Time `json:"since"` // the events were accepted then or a little later
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
	f := &flight{sum: m.sum, done: make(chan struct{}), err: tandem.Errorf(tandem.CodeInternal, "the chain broke off")}
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
	return f.result, f.err
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
	res := f.result
	if f.err == nil {
		res.Receipt.Duplicate = tandem.DuplicateYes
	}
	return res, f.err
}

func conflict() error {
	return tandem.Errorf(tandem.CodeConflict, "the event was published with other data").WithField("/id", "was used for other data").
		WithHint("an id names one event as long as it is remembered (GET /v1/status shows how long): give the other data another id")
}

// recall returns what a chain brought that is stored; ok is false if there is none.
func (c *Chain) recall(ctx context.Context, m *memory) (res Result, ok bool, err error) {
	value, err := c.log.State(ctx, m.key())
	if err != nil || value == nil {
		return res, false, err
	}
	var r record
	if err := json.Unmarshal(value, &r); err != nil || r.Version != recordVersion || len(r.Events) == 0 {
		c.opts.Logger.Error("the record of a request chain is damaged; its links are called again", "record", m.key(), "error", err)
		return res, false, nil
	}
	if time.Since(r.Since) > recordKept {
		return res, false, nil
	}
	cause, err := c.find(ctx, &r.Events[0], r.Since)
	if err != nil || cause == nil {
		return res, false, err // retention has removed it, and with it the window
	}
	if r.Sum != m.sum {
		return res, false, conflict()
	}
	res = Result{Receipt: c.log.ReceiptOf(cause), Replies: make([]tandem.Event, 0, len(r.Events)-1)}
	res.Receipt.Duplicate = tandem.DuplicateYes
	m.cause.Event = cause.Event
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

// find returns an event that was stored at a time or a little later, nil if it is not there any more.
func (c *Chain) find(ctx context.Context, f *found, since time.Time) (*tandem.Record, error) {
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
	for _, from := range []time.Time{since, since.Add(-searchSpan)} {
		for part := first; part <= last; part++ {
			if rec, err := c.search(ctx, info.ID, part, f, from); rec != nil || err != nil {
				return rec, err
			}
		}
	}
	return nil, nil
}

func (c *Chain) search(ctx context.Context, topic driver.ID, part int, f *found, from time.Time) (*tandem.Record, error) {
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

// sweep removes records that are too old to count, now and then.
func (c *Chain) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := c.sweepOnce(c.life); err != nil && c.life.Err() == nil {
			c.opts.Logger.Warn("old records of request chains cannot be removed", "error", err)
		}
		select {
		case <-tick.C:
		case <-c.life.Done():
			return
		}
	}
}

func (c *Chain) sweepOnce(ctx context.Context) error {
	from := Prefix
	for from != "" && ctx.Err() == nil {
		var tx eventlog.Tx
		start := from
		from = ""
		err := c.log.ScanStateFrom(ctx, Prefix, start, func(key string, value []byte) bool {
			var r struct {
				Since time.Time `json:"since"`
			}
			if json.Unmarshal(value, &r) != nil || time.Since(r.Since) > recordKept {
				tx.State = append(tx.State, driver.StateOp{Key: strings.Clone(key)})
			}
			if len(tx.State) < sweepChunk {
				return true
			}
			from = strings.Clone(key) + "\x00"
			return false
		})
		if err == nil && len(tx.State) > 0 {
			_, err = c.log.Commit(ctx, &tx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
