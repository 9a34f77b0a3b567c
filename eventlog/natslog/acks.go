package natslog

import (
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// errLost is the outcome of a publish whose answer did not come: it may be stored.
var errLost = errors.New("the server did not answer in time, or the connection broke")

// errNobody is the outcome of a publish that no stream took: it is not stored.
var errNobody = errors.New("no stream answers for the subject")

// ack is the server's answer to a publish.
type ack struct {
	Stream    string              `json:"stream"`
	Seq       uint64              `json:"seq"`
	Duplicate bool                `json:"duplicate"`
	Count     int                 `json:"count"`
	Error     *jetstream.APIError `json:"error"`
}

// acks hands the answers to publishes to those who wait, without a subscription for each. Its functions are called from the goroutine of one
// subscription, or of expire and fail, and must not block.
type acks struct {
	prefix string
	sub    *nats.Subscription

	mu   sync.Mutex
	last uint64
	wait map[uint64]waiting
}

type waiting struct {
	until time.Time
	fn    func(ack, error)
}

func newAcks(nc *nats.Conn) (*acks, error) {
	a := &acks{prefix: nc.NewRespInbox() + ".", wait: map[uint64]waiting{}}
	var err error
	a.sub, err = nc.Subscribe(a.prefix+"*", a.arrived)
	if err != nil {
		return nil, err
	}
	return a, a.sub.SetPendingLimits(-1, -1)
}

// expect returns the reply subject of a publish whose outcome goes to fn, and a function that withdraws it.
func (a *acks) expect(until time.Time, fn func(ack, error)) (reply string, withdraw func()) {
	a.mu.Lock()
	a.last++
	n := a.last
	a.wait[n] = waiting{until, fn}
	a.mu.Unlock()
	return a.prefix + strconv.FormatUint(n, 36), func() { a.take(n) }
}

func (a *acks) take(n uint64) (waiting, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w, ok := a.wait[n]
	delete(a.wait, n)
	return w, ok
}

func (a *acks) arrived(m *nats.Msg) {
	n, err := strconv.ParseUint(m.Subject[len(a.prefix):], 36, 64)
	if err != nil {
		return
	}
	w, ok := a.take(n)
	if !ok {
		return
	}
	var got ack
	switch {
	case m.Header.Get(headerStatus) == "503":
		w.fn(got, errNobody)
	case json.Unmarshal(m.Data, &got) != nil:
		w.fn(got, errLost)
	case got.Error != nil:
		w.fn(got, got.Error)
	default:
		w.fn(got, nil)
	}
}

// expire ends those whose time is out.
func (a *acks) expire(now time.Time) { a.end(func(w waiting) bool { return now.After(w.until) }) }

// fail ends all: the connection is another one now.
func (a *acks) fail() { a.end(func(waiting) bool { return true }) }

func (a *acks) end(which func(waiting) bool) {
	var over []waiting
	a.mu.Lock()
	for n, w := range a.wait {
		if which(w) {
			over = append(over, w)
			delete(a.wait, n)
		}
	}
	a.mu.Unlock()
	for _, w := range over {
		w.fn(ack{}, errLost)
	}
}
