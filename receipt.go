package tandem

import "fmt"

// Receipt says where an event was stored. It is given only after the event is durable.
type Receipt struct {
	ID        string `json:"id"`
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    uint64 `json:"offset"`
	Cursor    Cursor `json:"cursor"`
	// Duplicate says whether an event of this source and id was stored before; the receipt of a Repeat is the first one's.
	Duplicate Duplicate `json:"duplicate"`
}

// Duplicate says whether an event was stored before. In JSON it is true, false or "unknown".
type Duplicate uint8

const (
	// DuplicateNo says that it was not, within the window that the engine remembers ids.
	DuplicateNo Duplicate = iota
	// DuplicateYes says that it was, and is not stored again.
	DuplicateYes
	// DuplicateUnknown says that it will show when the event is read: it is stored, and given to nobody if it is a repeat.
	DuplicateUnknown
)

// MarshalJSON implements json.Marshaler.
func (d Duplicate) MarshalJSON() ([]byte, error) { return d.append(nil), nil }

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duplicate) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "false":
		*d = DuplicateNo
	case "true":
		*d = DuplicateYes
	case `"unknown"`:
		*d = DuplicateUnknown
	case "null":
	default:
		return fmt.Errorf("%s is not true, false or \"unknown\"", b)
	}
	return nil
}

func (d Duplicate) append(b []byte) []byte {
	switch d {
	case DuplicateYes:
		return append(b, "true"...)
	case DuplicateUnknown:
		return append(b, `"unknown"`...)
	}
	return append(b, "false"...)
}

// Cursor is a place in one or many topics: what comes after the last event read. It is opaque, URL-safe, and holds its
// version and the identity of the log it belongs to. The empty Cursor is no place.
type Cursor string

// Start names a place to begin to read at: exactly one of its forms. The zero Start is the latest event, exclusive.
type Start struct {
	Cursor   Cursor // resume after this place
	Earliest bool
	Time     string // RFC 3339: the first event accepted at or after it
}

// ParseStart reads the value of from=: "earliest", "latest" or a time. Code: Invalid.
func ParseStart(s string) (Start, error) {
	switch s {
	case "", "latest":
		return Start{}, nil
	case "earliest":
		return Start{Earliest: true}, nil
	}
	if _, ok := ParseTime(s); ok {
		return Start{Time: s}, nil
	}
	return Start{}, Errorf(CodeInvalid, "%q is not earliest, latest or an RFC 3339 time", s)
}

// Gap says that events between two cursors can no longer be read, and why.
type Gap struct {
	Reason string `json:"reason"` // one of the Gap… constants
	From   Cursor `json:"from"`
	To     Cursor `json:"to"` // where reading goes on
}

// The reasons of a Gap.
const (
	GapRetention = "retention" // the events were removed by retention
	GapRecreated = "recreated" // the topic was deleted and created again
	GapForeign   = "foreign"   // the cursor belongs to another log
	GapMigrated  = "migrated"  // the cursor belongs to the log that this one was copied from, and its place is not known, or events behind it were not copied
)

// Page is one read of events.
type Page struct {
	Events []Record
	Cursor Cursor // after the last event of the page
	Gap    *Gap   // events missing before the first event of the page; nil when there is none
}
