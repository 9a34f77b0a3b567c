// Package driver is the contract between eventlog.Log and an engine that stores events. Users hold a Log; only engines
// and their conformance suite, drivertest, see this package.
//
// An engine keeps partitioned topics of events and a compacted map of state records. It promises:
//
//   - durability: Append returns only when its batch would survive the loss of power;
//   - visibility: Read, Bounds and Notify never show an event that is not yet durable;
//   - order: offsets of a partition rise in the order of commit;
//   - atomicity, where it declares it: the events and the state of a Batch are stored together or not at all.
//
// It does not check events, choose partitions or encode cursors: Log does, once for all engines. All methods are safe
// for concurrent use. Errors carry the codes of package tandem; an error without one counts as CodeInternal.
package driver

import (
	"context"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Driver is an open engine.
type Driver interface {
	// Info describes the engine. It does not change while the engine is open. Its slices are shared and read-only.
	Info() Info

	// CreateTopic makes a topic. With Info.TotalOrder the creation takes a number of its own, Born, and returns after Notify
	// was called for every event with a smaller number. Codes: Conflict when the name is taken, Unavailable when nothing can be written.
	CreateTopic(ctx context.Context, spec tandem.Topic) (Topic, error)
	// UpdateTopic changes what may change: all but Name and Partitions. Codes: NotFound, Unavailable.
	UpdateTopic(ctx context.Context, spec tandem.Topic) (Topic, error)
	// DeleteTopic removes a topic and its events; it works on a full disk. Code: NotFound.
	DeleteTopic(ctx context.Context, name string) error
	// Topics lists all topics, in no order. It is called when the log is opened; afterwards Log keeps the list itself.
	Topics(ctx context.Context) ([]Topic, error)

	// Append stores a batch and fills in the results of its records. It returns when the batch is durable, or with an
	// error when nothing of it was stored (with Info.Atomic; otherwise the results say which records were). The engine
	// keeps no reference to the batch after it returns. Codes: Conflict (Batch.Failed names the record whose id was
	// stored with other data, or a state record that had another version), Precondition (a stale Fence), NotFound,
	// Unavailable (disk below its mark, failed sync, lost broker: sending the same again is safe).
	Append(ctx context.Context, b *Batch) error

	// Read appends to dst the events of a partition from an offset on, in order, and returns the extended slice. It
	// stops at max events or, after the first, at maxBytes of payload and attributes; it never waits for events, only for what Notify has
	// told to come over a network. An offset below the start of the partition reads from its start. The records belong to the caller.
	Read(ctx context.Context, topic ID, partition int, from uint64, max, maxBytes int, dst []tandem.Record) ([]tandem.Record, error)
	// Bounds returns what a partition holds that is durable. It is cheap: where that lies on a server, it is what this process was last
	// told, but never less than Notify said or an Append confirmed, and Removed never less than what a Read began after.
	Bounds(ctx context.Context, topic ID, partition int) (Bounds, error)
	// OffsetAt returns the offset of the first event accepted at or after t, or the end of the partition.
	OffsetAt(ctx context.Context, topic ID, partition int, t time.Time) (uint64, error)

	// ScanState calls fn for the state records with from <= key < to, in order of keys, until fn returns false. An
	// empty to means no upper bound. Key and value are valid only during the call. It sees every Append that returned before.
	ScanState(ctx context.Context, from, to string, fn func(key string, value []byte) bool) error

	// Own takes over a name (the partitions of a topic, a duty) and returns a Fence with a higher epoch than any before.
	// From then on an Append with an older Fence of that name fails with Precondition.
	Own(ctx context.Context, name string) (Fence, error)

	// Notify sets the function that the engine calls, from one goroutine, after events became readable. It is called
	// before the Append that stored them returns to anybody, must not block, and is set once, before the first Append.
	// With Info.TotalOrder every event below the largest End of a call is readable by then.
	Notify(fn func(ends []End))

	// Health returns nil while the engine can write, else why not: Unavailable while a broker cannot be reached, which the engine tries
	// again by itself for as long as it is open. It is cheap.
	Health() error
	// Close flushes and closes. Append calls under way end with Unavailable.
	Close() error
}

// Foreteller is implemented by engines that can say beforehand what an Append would answer. Both methods are cheap.
type Foreteller interface {
	// Takes returns nil while an Append of events would be taken, else what it would answer. Health does not see all of it: below
	// the free-space mark state is still stored.
	Takes() error
	// Find looks for the event that a record with this Topic and Identity would be a repeat of. It fills in Offset, Stored, Duplicate
	// and Sum, and leaves Duplicate false if there is none.
	Find(ctx context.Context, r *Record) error
}

// Info says what an engine is and can do.
type Info struct {
	Engine string  // embedded, kafka, nats
	LogID  [8]byte // identity of this log: cursors of another one are foreign

	// Atomic: Append stores all of a batch, over topics and state, or nothing.
	Atomic bool
	// TotalOrder: offsets come from one sequence over the whole log, in order of commit, so that one number is a place
	// in any number of topics. Otherwise a cursor holds an offset for each partition.
	TotalOrder bool
	// SparseSeq: Seq rises but is not dense, because the engine counts what is no event, as Kafka does the ends of
	// transactions. A difference of two is then an upper bound.
	SparseSeq bool
	// Dedup: where a repeated id is recognised. Where that is not always at append, Log recognises it when it reads, and Read sets
	// Assigned of the records that were appended without Dedup.
	Dedup DedupPlace
	// Durable says in a few words what a receipt rests on, for people: "synced to disk", "2 replicas in sync, acks=all".
	Durable string
	// Remote: the store is reached over a network. What fails with Unavailable is worth trying again for as long as it takes.
	Remote bool
	// Shared: others may write to the topics, so that Notify also tells of what this process did not append.
	Shared bool
	// Warnings say what of the engine's settings weakens a promise, for people: a single replica, syncing put off.
	Warnings []string
	// MaxEventBytes is the engine's own limit; zero means none.
	MaxEventBytes int
}

// DedupPlace is where an engine recognises a repeated id (promise 6).
type DedupPlace string

// The places.
const (
	DedupAtAppend   DedupPlace = "append"
	DedupAtDelivery DedupPlace = "delivery"
	DedupBoth       DedupPlace = "append-then-delivery"
)

// ID names an incarnation of a topic: a topic that is deleted and created again has another one.
type ID uint64

// Topic is a topic as the engine holds it.
type Topic struct {
	tandem.Topic
	ID ID
	// Born is the number that the creation of this incarnation took (TotalOrder), else zero: its events come after it, and
	// those of an older incarnation before it.
	Born uint64
	// Replaced is Born of the newest incarnation if an older one of the same name was deleted before, else zero. A place
	// before it belongs to the older one.
	Replaced uint64
}

// Batch is what one Append stores.
type Batch struct {
	Records []Record
	State   []StateOp
	Fence   *Fence // optional

	// Failed is set by the engine beside a Conflict: the index of the record, or len(Records) plus that of the state
	// record.
	Failed int
}

// Record is one event of a Batch.
type Record struct {
	Topic     ID
	Partition int
	Event     *tandem.Event

	// Dedup asks the engine to recognise a repeat: Identity names topic, source and id, Sum the content. A record whose
	// identity is in the window is not stored again: the result is the first one's, with Duplicate set, or Conflict if
	// the Sum differs.
	Dedup    bool
	Identity [16]byte
	Sum      uint64

	// Set by the engine. Seq counts from 1; after an error of an engine that is not Atomic it is zero for the records that
	// were not stored.
	Offset    uint64
	Seq       uint64
	Duplicate bool
	// Stored is the partition in which a duplicate is found, otherwise Partition.
	Stored int
}

// StateOp puts or deletes one state record.
type StateOp struct {
	Key   string
	Value []byte // nil deletes
	// If, when set, must hold: the record has exactly this value, or is absent for an empty non-nil slice.
	If []byte
}

// Fence is the ownership of a name.
type Fence struct {
	Name  string
	Epoch uint64
}

// Bounds is what a partition holds.
type Bounds struct {
	// Start is the offset of the oldest event, or End when there is none.
	Start uint64
	// End is the offset that the next event will be at or after.
	End uint64
	// StartSeq and EndSeq are the sequence numbers of the oldest event and the next one: their difference is the number
	// of events held.
	StartSeq, EndSeq uint64
	// Removed is the highest offset that retention or deletion removed, plus one; zero when nothing was.
	Removed uint64
	Bytes   int64 // stored size, before compression
}

// End is the new end of a partition.
type End struct {
	Topic     ID
	Partition int
	End       uint64 // as in Bounds
}
