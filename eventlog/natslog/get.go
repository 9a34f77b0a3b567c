package natslog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// errBehind is the answer of a server that does not have what it should have, for now.
var errBehind = errors.New("the server does not have it yet")

// getters read streams by direct gets: requests that any server with the stream answers, a batch of messages for each. They need no state in
// the server.
type getters struct {
	nc   *nats.Conn
	free chan *getter
	wait time.Duration // for the next message
}

// getter reads for one at a time.
type getter struct {
	sub   *nats.Subscription
	ch    chan *nats.Msg
	inbox string
	count uint64 // of requests
}

const (
	gettersAtOnce = 16
	getBatch      = 1000
)

func newGetters(nc *nats.Conn, wait time.Duration) *getters {
	g := &getters{nc: nc, free: make(chan *getter, gettersAtOnce), wait: wait}
	for range gettersAtOnce {
		g.free <- nil // made when it is needed
	}
	return g
}

func (g *getters) take(ctx context.Context) (*getter, error) {
	var one *getter
	select {
	case one = <-g.free:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if one != nil {
		return one, nil
	}
	one = &getter{ch: make(chan *nats.Msg, getBatch+8), inbox: g.nc.NewRespInbox() + "."}
	var err error
	if one.sub, err = g.nc.ChanSubscribe(one.inbox+"*", one.ch); err != nil {
		g.free <- nil
		return nil, err
	}
	return one, nil
}

type getRequest struct {
	Seq      uint64     `json:"seq,omitempty"`
	Batch    int        `json:"batch,omitempty"`
	MaxBytes int        `json:"max_bytes,omitempty"`
	Time     *time.Time `json:"start_time,omitempty"`
}

// batch calls fn for at most count messages of a stream from a sequence on, in order, and stops after about maxBytes. Messages before the
// first that it finds, and none at all, are no error. When it fails, fn was called for what came before.
func (g *getters) batch(ctx context.Context, stream string, from uint64, count, maxBytes int, fn func(*stored) error) error {
	one, err := g.take(ctx)
	if err != nil {
		return err
	}
	defer func() { g.free <- one }()
	body, err := json.Marshal(getRequest{Seq: max(from, 1), Batch: min(count, getBatch), MaxBytes: maxBytes})
	if err != nil {
		return err
	}
	for len(one.ch) > 0 {
		<-one.ch // of a request that was given up
	}
	one.count++
	reply := one.inbox + strconv.FormatUint(one.count, 36)
	if err := g.nc.PublishRequest("$JS.API.DIRECT.GET."+stream, reply, body); err != nil {
		return err
	}
	timer := time.NewTimer(g.wait)
	defer timer.Stop()
	last := uint64(0)
	for {
		select {
		case m := <-one.ch:
			if m.Subject != reply {
				continue // of an earlier request that was given up
			}
			if m.Header.Get(headerSequence) == "" { // a note of the server: messages may have a header of that name
				switch status := m.Header.Get(headerStatus); status {
				case "204", "404":
					return nil
				default:
					return fmt.Errorf("%w: %s %s", errBehind, status, m.Header.Get(headerStatusText))
				}
			}
			s, err := parseStored(stream, m)
			if err != nil {
				return err
			}
			if previous, _ := strconv.ParseUint(m.Header.Get(headerPrevious), 10, 64); previous != last {
				return fmt.Errorf("%w: the message before %d was lost on the way", errBehind, s.seq)
			}
			last = s.seq
			if err := fn(s); err != nil {
				return err
			}
			timer.Reset(g.wait)
		case <-timer.C:
			return errLost
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// one returns the message of a sequence, nil when there is none.
func (g *getters) one(ctx context.Context, stream string, seq uint64) (*stored, error) {
	var got *stored
	err := g.batch(ctx, stream, seq, 1, 0, func(m *stored) error {
		if m.seq == seq {
			got = m
		}
		return nil
	})
	return got, err
}

func parseStored(stream string, m *nats.Msg) (*stored, error) {
	s := &stored{stream: stream, subject: m.Header.Get(headerSubject), header: m.Header, data: m.Data}
	var err error
	if s.seq, err = strconv.ParseUint(m.Header.Get(headerSequence), 10, 64); err != nil {
		return nil, fmt.Errorf("a message of %s without a sequence: %w", stream, err)
	}
	if s.time, err = time.Parse(time.RFC3339Nano, m.Header.Get(headerTime)); err != nil {
		return nil, fmt.Errorf("a message of %s without a time: %w", stream, err)
	}
	return s, nil
}
