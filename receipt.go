package tandem

// Receipt says where an event was stored. It is given only after the event is durable.
type Receipt struct {
	ID        string `json:"id"`
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    uint64 `json:"offset"`
	Cursor    Cursor `json:"cursor"`
	// Duplicate is true when an event of this source and id was stored before; the receipt is then the first one's.
	Duplicate bool `json:"duplicate"`
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
)

// Page is one read of events.
type Page struct {
	Events []Record
	Cursor Cursor // after the last event of the page
	Gap    *Gap   // events missing before the first event of the page; nil when there is none
}
