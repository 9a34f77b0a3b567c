package offsetmap

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// LogID is the identity of a log.
type LogID [8]byte

// String returns the form of keys.
func (id LogID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText implements encoding.TextMarshaler.
func (id LogID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *LogID) UnmarshalText(b []byte) error {
	if len(b) != 2*len(id) {
		return errFormat
	}
	_, err := hex.Decode(id[:], b)
	return err
}

// Prefix begins the keys of all records of this package.
const Prefix = "migrated/"

// RunKey is the key of the record Run.
const RunKey = Prefix + "run"

const (
	logPrefix   = Prefix + "log/"
	topicPrefix = Prefix + "topic/"
	chunkPrefix = Prefix + "map/"
)

// Run is the copy into a log.
type Run struct {
	Version  int       `json:"v"`
	From     LogID     `json:"from"`
	Engine   string    `json:"engine"` // of From
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"` // zero: the log is not whole yet
}

// Log is a log that events came from.
type Log struct {
	Version    int    `json:"v"`
	To         LogID  `json:"to"`
	Engine     string `json:"engine"`
	TotalOrder bool   `json:"totalOrder,omitempty"`
	// End, with TotalOrder, is the number that its next event would have had.
	End uint64 `json:"end,omitempty"`
	// Forgotten: the map was removed; that the log was migrated is still known.
	Forgotten bool `json:"forgotten,omitempty"`
}

// Topic is a topic that was copied. Topic, Born and Replaced are those of driver.Topic.
type Topic struct {
	Version  int    `json:"v"`
	Name     string `json:"name"`
	To       uint64 `json:"to"` // its incarnation in the new log
	Born     uint64 `json:"born,omitempty"`
	Replaced uint64 `json:"replaced,omitempty"`
	Parts    []Part `json:"parts"`
}

// Part is a partition that was copied.
type Part struct {
	Removed uint64 `json:"removed,omitempty"` // in the old log: what lies before was not there any more
	End     uint64 `json:"end"`               // in the old log
	Next    uint64 `json:"next"`              // in the new log: after what was copied
}

// LogKey is the key of the record Log.
func LogKey(log LogID) string { return logPrefix + log.String() }

// TopicKey is the key of the record Topic.
func TopicKey(log LogID, topic uint64) string { return TopicsOf(log) + fmt.Sprintf("%016x", topic) }

// TopicsOf begins the keys of the topics of a log.
func TopicsOf(log LogID) string { return topicPrefix + log.String() + "/" }

// ChunksOf begins the keys of the chunks of a log.
func ChunksOf(log LogID) string { return chunkPrefix + log.String() + "/" }

func chunksOf(log LogID, topic uint64, part int) string {
	return ChunksOf(log) + fmt.Sprintf("%016x/%04x/", topic, part)
}

// ChunkKey is the key of the chunk that ends with an offset.
func ChunkKey(log LogID, topic uint64, part int, last uint64) string {
	return chunksOf(log, topic, part) + fmt.Sprintf("%016x", last)
}

// Encode returns the value of a record.
func Encode(v any) []byte {
	switch r := v.(type) {
	case *Run:
		r.Version = formatVersion
	case *Log:
		r.Version = formatVersion
	case *Topic:
		r.Version = formatVersion
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic("offsetmap: " + err.Error()) // plain fields only: a defect
	}
	return b
}

// ParseRun reads the value of a record Run.
func ParseRun(b []byte) (r Run, err error) { return r, parse(b, &r, &r.Version) }

// ParseLog reads the value of a record Log.
func ParseLog(b []byte) (r Log, err error) { return r, parse(b, &r, &r.Version) }

// ParseTopic reads the value of a record Topic.
func ParseTopic(b []byte) (r Topic, err error) { return r, parse(b, &r, &r.Version) }

func parse(b []byte, v any, version *int) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", errFormat, err)
	}
	if *version != formatVersion {
		return errFormat
	}
	return nil
}
