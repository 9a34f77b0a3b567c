// Package eventlog is the durable log of events that everything else in Tandem reads and writes. (draft of the API; implementation follows)
package eventlog

import (
	"context"
	"log/slog"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// Options configure a Log. The zero value works.
type Options struct {
	Logger        *slog.Logger
	MaxEventBytes int              // largest event; zero means tandem.DefaultMaxEventBytes
	Now           func() time.Time // zero means time.Now
	AutoCreate    bool             // a topic comes into being when it is first published to
}

// Log is the concrete type over an engine.
type Log struct{}

// Open takes ownership of drv.
func Open(ctx context.Context, drv driver.Driver, opts Options) (*Log, error) { panic("draft") }

// Close closes the engine.
func (l *Log) Close() error { panic("draft") }

// Health, Info: of the engine.
func (l *Log) Health() error     { panic("draft") }
func (l *Log) Info() driver.Info { panic("draft") }

// Append stores events of one topic durably: all or nothing; receipts in the order given. Fills in missing ids
// (UUIDv7), checks required attributes, sizes, computes the partition (murmur2 of the key), stamps Meta.Accepted.
// An event whose ID was given by the caller is de-duplicated (promise 6); one with an empty ID gets a new one and is not.
// It modifies events (ids, stamps). Code Invalid: Fields[i].Pointer is "/INDEX/attribute" when len(events) > 1, "/attribute" otherwise.
func (l *Log) Append(ctx context.Context, topic string, events []tandem.Event) ([]tandem.Receipt, error) {
	panic("draft")
}

// Accept queues events and returns without waiting (ack=accepted); they may be lost. Overloaded when its bounded queue is full.
func (l *Log) Accept(ctx context.Context, topic string, events []tandem.Event) ([]tandem.Receipt, error) {
	panic("draft")
}

// Tx is what one Commit stores: events over several topics, and state, in one step (if Info().Atomic).
type Tx struct {
	Events []TopicEvent
	State  []driver.StateOp
	Fence  *driver.Fence
}

// TopicEvent is an event for a topic.
type TopicEvent struct {
	Topic string
	Event tandem.Event
}

// Commit is Append over several topics, with state records.
func (l *Log) Commit(ctx context.Context, tx *Tx) ([]tandem.Receipt, error) { panic("draft") }

// TopicInfo is a topic and what it holds.
type TopicInfo struct {
	tandem.Topic
	ID     driver.ID
	Bounds []driver.Bounds // by partition; only from Topic, not from Topics
}

// Topics lists topics sorted by name (cached, no I/O). Topic gives one with its bounds.
func (l *Log) Topics() []TopicInfo { panic("draft") }
func (l *Log) Topic(ctx context.Context, name string) (TopicInfo, error) {
	panic("draft")
}

// CreateTopic checks the declaration, applies defaults. UpdateTopic: partitions cannot change (Conflict).
func (l *Log) CreateTopic(ctx context.Context, t tandem.Topic) (TopicInfo, error) { panic("draft") }
func (l *Log) UpdateTopic(ctx context.Context, t tandem.Topic) (TopicInfo, error) { panic("draft") }
func (l *Log) DeleteTopic(ctx context.Context, name string) error                 { panic("draft") }

// OnTopics registers fn, called after a topic was created, changed or deleted (in order, one at a time, must not block); stop unregisters.
func (l *Log) OnTopics(fn func()) (stop func()) { panic("draft") }

// ReadPartition reads up to max events of a partition from offset on; never waits. For delivery, which keeps its own cursors by partition.
func (l *Log) ReadPartition(ctx context.Context, topic driver.ID, partition int, from uint64, max int, dst []tandem.Record) ([]tandem.Record, error) {
	panic("draft")
}

// Bounds and OffsetAt of a partition. Bounds is cheap.
func (l *Log) Bounds(ctx context.Context, topic driver.ID, partition int) (driver.Bounds, error) {
	panic("draft")
}
func (l *Log) OffsetAt(ctx context.Context, topic driver.ID, partition int, t time.Time) (uint64, error) {
	panic("draft")
}

// State reads one state record; nil when absent. ScanState as in driver, over all keys with a prefix.
func (l *Log) State(ctx context.Context, key string) ([]byte, error) { panic("draft") }
func (l *Log) ScanState(ctx context.Context, prefix string, fn func(key string, value []byte) bool) error {
	panic("draft")
}

// Own as in driver.
func (l *Log) Own(ctx context.Context, name string) (driver.Fence, error) { panic("draft") }

// Selection is a checked set of topic names and patterns.
type Selection struct{}

// Select checks names and patterns. Code Invalid. A plain name of a topic that does not exist is NotFound only when a Reader is opened.
func Select(patterns ...string) (Selection, error) { panic("draft") }

// Watch signals that topics of a selection have new events: C has room for one signal, so that none is lost and none
// pile up. Topics that appear later are included. Close it.
func (l *Log) Watch(sel Selection) *Watch { panic("draft") }

// Watch is a registration for wake-ups.
type Watch struct{ C chan struct{} }

// Close unregisters.
func (w *Watch) Close() { panic("draft") }

// Reader reads the events of a selection in order of commit, with one cursor. Not for concurrent use.
type Reader struct{}

// NewReader opens a reader at a start. Codes: Invalid (the cursor cannot be parsed), NotFound (a plain name without a topic).
// A foreign, recreated or overtaken cursor is no error: the first Next returns a page with a Gap.
func (l *Log) NewReader(ctx context.Context, sel Selection, start tandem.Start) (*Reader, error) {
	panic("draft")
}

// Read returns what can be read now, at most max events (filter == zero Filter matches all; events that do not match are
// skipped and the cursor moves past them), without waiting: a page with no events and an advanced cursor is possible.
// A later Read can return a Gap, too, when retention overtook the reader.
func (r *Reader) Read(ctx context.Context, filter tandem.Filter, max int) (tandem.Page, error) {
	panic("draft")
}

// Next is Read, but waits until there is at least one event or a Gap, or ctx is done (then it returns an empty page with the cursor, and ctx's error).
func (r *Reader) Next(ctx context.Context, filter tandem.Filter, max int) (tandem.Page, error) {
	panic("draft")
}

// CursorAfter returns the cursor after a record that this reader returned (for SSE ids). Cheap.
func (r *Reader) CursorAfter(rec *tandem.Record) tandem.Cursor { panic("draft") }

// Cursor is the place after all that was read.
func (r *Reader) Cursor() tandem.Cursor { panic("draft") }

// Close releases the reader.
func (r *Reader) Close() { panic("draft") }
