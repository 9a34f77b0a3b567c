package tandem

import "context"

// Slow says what becomes of a client of a stream that does not keep up.
type Slow string

// The policies of a stream for slow clients. Empty means SlowCatchUp.
const (
	SlowCatchUp    Slow = "catchup"    // it is read for from the log, and gets everything in order
	SlowConflate   Slow = "conflate"   // of what it fell behind it gets the latest event of each key, and all events without one
	SlowDisconnect Slow = "disconnect" // it is asked to connect again
)

// Valid reports whether s is one of the policies, or empty.
func (s Slow) Valid() bool {
	switch s {
	case "", SlowCatchUp, SlowConflate, SlowDisconnect:
		return true
	}
	return false
}

// StreamRequest is what one client of a stream may have, as its route or the API decides.
type StreamRequest struct {
	Topics    []string // names and patterns, at least one
	Filter    Filter   // bound
	Principal string   // who it is; empty when nobody said
	Slow      Slow     // unless the client asks for another policy

	// Publish stores events that the client sends, in order, and answers for each. Nil refuses them.
	Publish func(ctx context.Context, events []Event) []Stored
	// Public says that receipts show no more than the id: where an event lies tells how much a topic holds.
	Public bool
}

// Stored says what became of one event that was published: its receipt, or why it was not stored.
type Stored struct {
	Receipt Receipt
	Err     error
}

// StreamQuery selects open streams.
type StreamQuery struct {
	Topic     string // that they read; empty means any
	Principal string // whose they are; empty means anybody's
	Limit     int    // most that are listed; zero means none
}

// StreamPresence is who is connected to what.
type StreamPresence struct {
	Open   int            `json:"open"`   // streams and long polls
	Topics map[string]int `json:"topics"` // streams by the names and patterns that they ask for
	// Streams are those that were asked for, the newest first, as many as the limit allows; Matching is how many there are.
	Streams  []StreamInfo `json:"streams"`
	Matching int          `json:"matching"`
}

// StreamInfo is one open stream.
type StreamInfo struct {
	Kind      string   `json:"kind"`                // "sse", or the subprotocol of a WebSocket
	Principal string   `json:"principal,omitempty"` // the token's name, or who was authorized
	Address   string   `json:"address"`             // of the client, or of the proxy before it
	Topics    []string `json:"topics"`
	Filter    *Filter  `json:"filter,omitempty"`
	Since     string   `json:"since"` // RFC 3339
	State     string   `json:"state"` // "live", "behind" when it is read for from the log, "ending"
	Slow      Slow     `json:"slow"`
	Events    uint64   `json:"events"`           // sent
	Cursor    Cursor   `json:"cursor,omitempty"` // the place that it was told
	Acked     Cursor   `json:"acked,omitempty"`  // the place that it acknowledged
}
