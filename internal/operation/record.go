package operation

import (
	"encoding/binary"
	"encoding/json"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// State records. The value of an operation's record is a version byte, a time in Unix milliseconds (when its time is out,
// or when it ended) in eight bytes, so that a sweep need not decode the rest, and JSON. Ids sort by when they were made,
// and so do the records.
const (
	prefixRun = "op/run/" // + id: operations that run
	prefixEnd = "op/end/" // + id: operations that ended
	prefixAt  = "op/at/"  // + set of topics: the cursor of its reader

	recordVersion = 1
	recordHeader  = 9
)

// running is the JSON of a record under prefixRun.
type running struct {
	Operation tandem.Operation     `json:"operation"`
	Spec      tandem.OperationSpec `json:"spec"`
}

// place is the JSON value of a record under prefixAt.
type place struct {
	Version int           `json:"version"`
	Topics  []string      `json:"topics"`
	Cursor  tandem.Cursor `json:"cursor"`
}

func encode(at time.Time, v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, tandem.Errorf(tandem.CodeInternal, "encode operation: %w", err)
	}
	b := make([]byte, recordHeader, recordHeader+len(body))
	b[0] = recordVersion
	binary.BigEndian.PutUint64(b[1:], uint64(at.UnixMilli()))
	return append(b, body...), nil
}

func decode(b []byte, v any) (at time.Time, err error) {
	if at, err = recordTime(b); err != nil {
		return at, err
	}
	if err := json.Unmarshal(b[recordHeader:], v); err != nil {
		return at, tandem.Errorf(tandem.CodeInternal, "the record of an operation cannot be read: %w", err)
	}
	return at, nil
}

func recordTime(b []byte) (time.Time, error) {
	if len(b) < recordHeader || b[0] != recordVersion {
		return time.Time{}, tandem.Errorf(tandem.CodeInternal, "the record of an operation has an unknown format").
			WithHint("was this directory written by a newer version of Tandem?")
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b[1:]))), nil
}

func runState(e *entry) (driver.StateOp, error) {
	value, err := encode(e.deadline, running{e.op, e.spec})
	return driver.StateOp{Key: prefixRun + e.op.ID, Value: value}, err
}

func decodeRun(b []byte) (*entry, error) {
	var r running
	at, err := decode(b, &r)
	if err != nil {
		return nil, err
	}
	return &entry{op: r.Operation, spec: r.Spec, deadline: at, done: make(chan struct{})}, nil
}

// endState stores how an operation ended and removes that it runs.
func endState(dst []driver.StateOp, op *tandem.Operation) ([]driver.StateOp, error) {
	at, _ := tandem.ParseTime(op.Ended)
	value, err := encode(at, op)
	if err != nil {
		return dst, err
	}
	return append(dst, driver.StateOp{Key: prefixEnd + op.ID, Value: value}, driver.StateOp{Key: prefixRun + op.ID}), nil
}

func decodeEnd(b []byte) (op tandem.Operation, err error) {
	_, err = decode(b, &op)
	return op, err
}

func decodePlace(b []byte) (p place, err error) {
	if err = json.Unmarshal(b, &p); err == nil && p.Version != recordVersion {
		err = tandem.Errorf(tandem.CodeInternal, "the cursor of operations has version %d", p.Version)
	}
	return p, err
}

func (w *watch) state(c tandem.Cursor) driver.StateOp {
	value, _ := json.Marshal(place{recordVersion, w.topics, c}) // strings only: cannot fail
	return driver.StateOp{Key: prefixAt + w.name, Value: value}
}

// validID keeps what clients send out of state keys.
func validID(id string) bool {
	return len(id) == 36 && strings.Trim(id, "0123456789abcdef-") == ""
}

// madeAt returns the time in a UUIDv7.
func madeAt(id string) (t time.Time, ok bool) {
	if !validID(id) {
		return t, false
	}
	var ms int64
	for _, c := range []byte(id[:8] + id[9:13]) {
		d := strings.IndexByte("0123456789abcdef", c)
		if d < 0 {
			return t, false
		}
		ms = ms<<4 | int64(d)
	}
	return time.UnixMilli(ms), true
}
