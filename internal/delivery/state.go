package delivery

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// State records. NAME is a subscription, PLACE is topic incarnation, partition and offset in hexadecimal of fixed width, so
// that keys sort by place. Every value begins with its format version (a byte, or "v" in JSON).
//
//	delivery/c/NAME               configuration: owner, state, versions of the declaration (JSON)
//	delivery/s/NAME/at/TOPIC      cursor of each partition: where reading goes on, and what before it is still held
//	delivery/s/NAME/tried/PLACE   attempts of an event without outcome, from the start of the second on; next attempt
//	delivery/s/NAME/parked/PLACE  an event that holds its key back: a copy
//	delivery/s/NAME/waiting/PLACE an event behind it: its key; the event itself is read again from the log
//	delivery/s/NAME/dead/ID       dead letter: copy, reason, last attempt
//	delivery/s/NAME/redrive/ID    a dead letter on its way again: attempts, next attempt
//	delivery/s/NAME/paced/ID      one that waits for its turn, in a redrive at a rate
//	delivery/s/NAME/rate          the rate of those (JSON)
//	delivery/s/NAME/tally         number and bytes of dead letters, and how many of them are on their way again
//	delivery/s/NAME/ledger/...    the ledger, and segment/..., horizon and version/... beside it: see ledger.go
//	delivery/s/NAME/run           there while the subscription runs: what was in flight is not known if it is found at a start
const (
	configPrefix = "delivery/c/"
	statePrefix  = "delivery/s/"

	kindAt      = "at/"
	kindTried   = "tried/"
	kindParked  = "parked/"
	kindWaiting = "waiting/"
	kindDead    = "dead/"
	kindRedrive = "redrive/"
	kindPaced   = "paced/"
	keyTally    = "tally"
	keyRate     = "rate"
	keyRun      = "run"

	formatVersion = 1
)

var errFormat = errors.New("the record is damaged or of a newer version")

// where is the place of one event within a subscription.
type where struct {
	topic  driver.ID
	part   int
	offset uint64
}

func (w where) String() string {
	return fmt.Sprintf("%016x/%04x/%016x", uint64(w.topic), w.part, w.offset)
}

func parseWhere(s string) (w where, err error) {
	var topic uint64
	if n, err := fmt.Sscanf(s, "%016x/%04x/%016x", &topic, &w.part, &w.offset); err != nil || n != 3 {
		return where{}, errFormat
	}
	w.topic = driver.ID(topic)
	return w, nil
}

// partCursor is the cursor of one partition: everything below next that is not held has an outcome, or a record of its own.
type partCursor struct {
	next uint64 // where reading goes on
	seq  uint64 // the sequence number of the first event at or after next; zero when not known
	held []uint64
}

// appendCursors writes the value of an at record: epoch, then for each partition next, seq, and the held offsets as distances
// back from next, so that a busy partition costs a byte or two for each event under way.
func appendCursors(dst []byte, epoch uint64, parts []partCursor) []byte {
	dst = append(dst, formatVersion)
	dst = binary.AppendUvarint(dst, epoch)
	dst = binary.AppendUvarint(dst, uint64(len(parts)))
	for i := range parts {
		p := &parts[i]
		dst = binary.AppendUvarint(dst, p.next)
		dst = binary.AppendUvarint(dst, p.seq)
		dst = binary.AppendUvarint(dst, uint64(len(p.held)))
		last := p.next
		for j := len(p.held) - 1; j >= 0; j-- {
			dst = binary.AppendUvarint(dst, last-p.held[j])
			last = p.held[j]
		}
	}
	return dst
}

// uvarints reads numbers one after the other; a fault sticks.
type uvarints struct {
	b   []byte
	bad bool
}

func (u *uvarints) next() uint64 {
	v, n := binary.Uvarint(u.b)
	if n <= 0 {
		u.bad, u.b = true, nil
		return 0
	}
	u.b = u.b[n:]
	return v
}

func parseCursors(b []byte) (epoch uint64, parts []partCursor, err error) {
	if len(b) == 0 || b[0] != formatVersion {
		return 0, nil, errFormat
	}
	u := uvarints{b: b[1:]}
	epoch = u.next()
	n := u.next()
	if u.bad || n > tandem.MaxPartitions {
		return 0, nil, errFormat
	}
	parts = make([]partCursor, n)
	for i := range parts {
		p := &parts[i]
		p.next, p.seq = u.next(), u.next()
		held := u.next()
		if u.bad || held > uint64(len(u.b)) {
			return 0, nil, errFormat
		}
		p.held = make([]uint64, held)
		last := p.next
		for j := len(p.held) - 1; j >= 0; j-- {
			back := u.next()
			if back == 0 || back > last {
				return 0, nil, errFormat
			}
			last -= back
			p.held[j] = last
		}
	}
	if u.bad || len(u.b) > 0 {
		return 0, nil, errFormat
	}
	return epoch, parts, nil
}

// effort is what was done for one delivery so far. It is the value of tried and redrive records, and part of those with a copy.
type effort struct {
	Version  int       `json:"v"`
	Epoch    uint64    `json:"epoch"`
	Attempts int       `json:"attempts,omitempty"` // counted, with the one under way
	Probes   int       `json:"probes,omitempty"`   // attempts that did not count
	Due      time.Time `json:"due,omitzero"`       // of the next attempt
	Status   int       `json:"status,omitempty"`   // of the last attempt
	Detail   string    `json:"detail,omitempty"`
	Took     int64     `json:"took,omitempty"` // of the last attempt, in milliseconds
	Open     bool      `json:"open,omitempty"` // the record is of the start of an attempt
	// History has the attempts up to the last, or to the one under way when the record is of a start.
	History []tandem.Attempt `json:"history,omitempty"`
	Row     uint64           `json:"row,omitempty"` // of a dead letter: the segment of the ledger that has its row
}

// letter is a copy of an event with what was done for it: the value of parked records and dead letters.
type letter struct {
	effort
	Reason string    `json:"reason,omitempty"` // of a dead letter
	At     time.Time `json:"at,omitzero"`

	Topic     string    `json:"topic"`
	Partition int       `json:"partition"`
	Offset    uint64    `json:"offset"`
	Seq       uint64    `json:"seq"`
	Key       string    `json:"key,omitempty"`
	Producer  string    `json:"producer,omitempty"`
	Route     string    `json:"route,omitempty"`
	Accepted  time.Time `json:"accepted"`
}

// appendLetter writes: version, length of the header, header in JSON, event in JSON. The event stands outside the header since
// package json would not keep its data byte for byte.
func appendLetter(l letter, rec *tandem.Record) []byte {
	l.Version = formatVersion
	l.Topic, l.Partition, l.Offset, l.Seq = rec.Position.Topic, rec.Position.Partition, rec.Position.Offset, rec.Seq
	l.Key, l.Producer, l.Route, l.Accepted = rec.Meta.Key, rec.Meta.Producer, rec.Meta.Route, rec.Meta.Accepted
	head := jsonValue(l)
	b := make([]byte, 0, len(head)+len(rec.Data)+512)
	b = append(b, formatVersion)
	b = binary.AppendUvarint(b, uint64(len(head)))
	b = append(b, head...)
	return tandem.AppendEventJSON(b, &rec.Event)
}

// parseLetter copies b.
func parseLetter(b []byte) (l letter, rec tandem.Record, err error) {
	if len(b) == 0 || b[0] != formatVersion {
		return l, rec, errFormat
	}
	n, w := binary.Uvarint(b[1:])
	if w <= 0 || n > uint64(len(b)-1-w) {
		return l, rec, errFormat
	}
	rest := b[1+w:]
	if err := json.Unmarshal(rest[:n], &l); err != nil {
		return l, rec, fmt.Errorf("%w: %w", errFormat, err)
	}
	rec.Event, err = tandem.ParseEventJSON(append([]byte(nil), rest[n:]...))
	if err != nil {
		return l, rec, fmt.Errorf("%w: %w", errFormat, err)
	}
	rec.Position = tandem.Position{Topic: l.Topic, Partition: l.Partition, Offset: l.Offset}
	rec.Seq = l.Seq
	rec.Meta.Key, rec.Meta.Producer, rec.Meta.Route, rec.Meta.Accepted = l.Key, l.Producer, l.Route, l.Accepted
	return l, rec, nil
}

// waiter is the value of a waiting record.
type waiter struct {
	epoch    uint64
	seq      uint64
	accepted int64 // Unix milliseconds
	key      string
}

func (w waiter) append(dst []byte) []byte {
	dst = append(dst, formatVersion)
	dst = binary.AppendUvarint(dst, w.epoch)
	dst = binary.AppendUvarint(dst, w.seq)
	dst = binary.AppendUvarint(dst, uint64(max(0, w.accepted)))
	return append(dst, w.key...)
}

func parseWaiter(b []byte) (waiter, error) {
	if len(b) == 0 || b[0] != formatVersion {
		return waiter{}, errFormat
	}
	u := uvarints{b: b[1:]}
	w := waiter{epoch: u.next(), seq: u.next(), accepted: int64(u.next())}
	if u.bad {
		return waiter{}, errFormat
	}
	w.key = string(u.b)
	return w, nil
}

// tally counts the copies that dead letters are.
type tally struct {
	dead      int
	bytes     int64
	redriving int // of dead: those with a redrive or a paced record
}

func (t tally) append(dst []byte) []byte {
	dst = append(dst, formatVersion)
	dst = binary.AppendUvarint(dst, uint64(max(0, t.dead)))
	dst = binary.AppendUvarint(dst, uint64(max(0, t.bytes)))
	return binary.AppendUvarint(dst, uint64(max(0, t.redriving)))
}

func parseTally(b []byte) (tally, error) {
	if len(b) == 0 || b[0] != formatVersion {
		return tally{}, errFormat
	}
	u := uvarints{b: b[1:]}
	t := tally{dead: int(u.next()), bytes: int64(u.next()), redriving: int(u.next())}
	if u.bad {
		return tally{}, errFormat
	}
	return t, nil
}

// redriveRate is the value of the rate record.
type redriveRate struct {
	Version int     `json:"v"`
	Rate    float64 `json:"rate"` // dead letters a second
}

// jsonValue marshals a record of plain fields.
func jsonValue(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("delivery: " + err.Error()) // a field that JSON cannot hold: a defect, found by the first test
	}
	return b
}

func parseJSON(b []byte, v any, version *int) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", errFormat, err)
	}
	if *version != formatVersion {
		return errFormat
	}
	return nil
}

// deadID names a dead letter within its subscription. The same delivery always has the same.
func deadID(w where, epoch uint64) string {
	return fmt.Sprintf("%x-%x-%016x-%x", uint64(w.topic), w.part, w.offset, epoch)
}

// deadPrefix begins the ids of the dead letters of one place.
func deadPrefix(w where) string {
	return fmt.Sprintf("%x-%x-%016x-", uint64(w.topic), w.part, w.offset)
}

func parseDeadID(id string) (w where, epoch uint64, ok bool) {
	var topic uint64
	n, err := fmt.Sscanf(id, "%x-%x-%016x-%x", &topic, &w.part, &w.offset, &epoch)
	w.topic = driver.ID(topic)
	return w, epoch, err == nil && n == 4 && deadID(w, epoch) == id
}

func subPrefix(name string) string { return statePrefix + name + "/" }

func topicHex(id driver.ID) string { return fmt.Sprintf("%016x", uint64(id)) }

func epochText(epoch uint64) string { return strconv.FormatUint(epoch, 10) }
