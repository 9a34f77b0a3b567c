package natslog

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-hybrid/tandem"
)

// errGone is the outcome of a publish to a topic that was deleted.
var errGone = errors.New("the topic was deleted")

// notSent is the outcome of a publish that did not leave this process whole, so that nothing of it is stored.
type notSent struct{ err error }

func (e *notSent) Error() string { return e.err.Error() }

// Errors of the server by code, as far as they are told apart.
const (
	codeTooLarge        jetstream.ErrorCode = 10054 // message
	codeHeaderTooLarge  jetstream.ErrorCode = 10097
	codeBatchHasRepeat  jetstream.ErrorCode = 10201
	codeRepeatUnderWay  jetstream.ErrorCode = 10158
	codeBatchIncomplete jetstream.ErrorCode = 10176
	codeBatchesTooMany  jetstream.ErrorCode = 10210
	codeNotLeader       jetstream.ErrorCode = 10009
	codeUnavailable     jetstream.ErrorCode = 10008 // temporarily
)

// mend decides what becomes of a unit that was not simply stored.
func (e *Engine) mend(u *unit, a ack, err error) {
	var api *jetstream.APIError
	var local *notSent
	switch {
	case err == nil && a.Stream != u.p.stream:
		e.fail(u, tandem.Errorf(tandem.CodeUnavailable, "the subject %s belongs to the stream %s, not to %s", u.p.subject, a.Stream, u.p.stream).
			WithHint("let no other stream take the subjects %s", e.names.eventSubjects()))
	case err == nil && a.Duplicate && u.id == "":
		e.repeated(u.calls[0], u.items[0], a.Seq)
		e.finish(u.calls[0])
	case errors.Is(err, errGone), errors.Is(err, errNobody) && u.p.isGone():
		e.fail(u, noPartition(u.p.topic, u.p.index))
	case errors.As(err, &local), errors.Is(err, errNobody):
		e.later(u, err)
	case errors.As(err, &api):
		switch api.ErrorCode {
		case codeBatchHasRepeat:
			if len(u.calls) == 1 {
				e.probe(u.calls[0])
				return
			}
			for _, c := range u.calls {
				c.alone = true
			}
			e.requeue(u.calls...)
		case codeTooLarge, codeHeaderTooLarge:
			e.fail(u, tandem.Errorf(tandem.CodeTooLarge, "the NATS server refuses the message: %s", api.Description))
		case codeRepeatUnderWay, codeBatchIncomplete, codeBatchesTooMany, codeNotLeader, codeUnavailable:
			e.later(u, err)
		default:
			e.fail(u, e.unavailable(err))
		}
	default:
		e.search(u)
	}
}

// fail ends the calls of a unit.
func (e *Engine) fail(u *unit, err error) {
	for _, c := range u.calls {
		c.finish(err)
	}
}

// finish ends a call whose items all have their place or a conflict, or queues it again.
func (e *Engine) finish(c *call) {
	switch {
	case c.failed >= 0:
		c.finish(otherData(c.itemAt(c.failed)))
	case c.pending() == 0:
		c.finish(nil)
	default:
		e.requeue(c)
	}
}

func (c *call) itemAt(at int) *item {
	for _, it := range c.items {
		if it.at == at {
			return it
		}
	}
	return c.items[0]
}

// later sends a unit again, of which nothing is stored, in a while and if there is time.
func (e *Engine) later(u *unit, why error) {
	for _, c := range u.calls {
		c.tries++
		wait := min(time.Duration(20<<min(c.tries, 5))*time.Millisecond, time.Second)
		if !e.waitConnected(c.until) || !e.pause(wait, c.until) {
			c.finish(e.unavailable(why))
			continue
		}
		e.requeue(c)
	}
}

// requeue puts calls at the head of their queue.
func (e *Engine) requeue(calls ...*call) {
	q := &calls[0].p.out
	q.mu.Lock()
	q.waiting = append(append(make([]*call, 0, len(calls)+len(q.waiting)), calls...), q.waiting...)
	for _, c := range calls {
		q.records += len(c.items)
	}
	q.mu.Unlock()
	e.pump(calls[0].p)
}

// search looks for a unit whose answer did not come. What cannot be found is sent again only if the server would know its ids: the first
// attempt may still arrive.
func (e *Engine) search(u *unit) {
	until := u.calls[0].until
	for e.waitConnected(until) {
		ctx, cancel := context.WithDeadline(e.ctx, until)
		first, err := e.find1(ctx, u)
		cancel()
		if err != nil {
			if !e.pause(50*time.Millisecond, until) {
				break
			}
			continue
		}
		if first > 0 {
			e.succeeded(u, first)
			return
		}
		break
	}
	for _, c := range u.calls {
		known := time.Now().Before(c.until)
		for _, it := range c.items {
			known = known && it.dedup
		}
		if known {
			c.alone, c.lost = true, true
			e.requeue(c)
		} else {
			c.finish(e.unavailable(errLost))
		}
	}
}

// find1 returns the sequence of the first message of a unit, zero when it is not there.
func (e *Engine) find1(ctx context.Context, u *unit) (first uint64, err error) {
	want := u.items[0]
	for from := u.from; first == 0; {
		n := 0
		err := e.gets.batch(ctx, u.p.stream, from, 256, 4<<20, func(m *stored) error {
			n++
			from = m.seq + 1
			switch {
			case first > 0:
			case u.id != "":
				if headerOf(m.header, headerBatch) == u.id {
					first = m.seq
				}
			case headerOf(m.header, headerMeta) == headerOf(want.msg.Header, headerMeta) && headerOf(m.header, "ce-id") == headerOf(want.msg.Header, "ce-id") &&
				headerOf(m.header, "ce-source") == headerOf(want.msg.Header, "ce-source"):
				first = m.seq
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
		if n == 0 {
			return first, nil
		}
	}
	return first, nil
}

// repeated notes that the server knows the id of an item, as that of the message seq.
func (e *Engine) repeated(c *call, it *item, seq uint64) {
	it.seq, it.dup = seq, !c.lost || seq < c.from
	if seq >= c.p.endNow() { // whose answer was lost, to us or to the caller who publishes it again: its place is known, so it can be read
		c.p.stored(&e.cache, seq, 1, int64(it.size), nil)
		e.tell(c.p)
	}
	if !it.dup {
		return
	}
	ctx, cancel := context.WithTimeout(e.ctx, e.opts.Timeout)
	defer cancel()
	m, err := e.gets.one(ctx, c.p.stream, seq)
	if err != nil || m == nil {
		return // it is gone, or cannot be read now: the id counts
	}
	var rec tandem.Record
	if sum, dedup := decode(m, &rec); dedup && sum != it.sum {
		c.failed = it.at
	}
}

// probe asks for each id of a call, which the server refused as a batch since it knows one of them, what it knows, without storing anything.
func (e *Engine) probe(c *call) {
	c.tries++
	c.alone = true
	answers := make(chan func(), len(c.items))
	asked, found := 0, 0
	c.p.mu.Lock()
	replicated := c.p.replicas > 1
	c.p.mu.Unlock()
	for _, it := range c.items {
		if !it.dedup || it.seq > 0 {
			continue
		}
		reply, withdraw := e.acks.expect(time.Now().Add(e.opts.Timeout), func(a ack, err error) {
			answers <- func() {
				if err == nil && a.Duplicate {
					found++
					e.repeated(c, it, a.Seq)
				}
			}
		})
		m := nats.NewMsg(c.p.subject)
		m.Reply = reply
		m.Header[headerMsgID] = []string{base64.RawURLEncoding.EncodeToString(it.identity[:])}
		// A condition that cannot hold, which the server looks at after the id.
		if replicated {
			m.Header[headerLastSeq] = []string{fmt.Sprint(uint64(1) << 62)}
		} else {
			m.Header[headerLastMsgID] = []string{"none"}
		}
		if err := e.nc.PublishMsg(m); err != nil {
			withdraw()
			continue
		}
		asked++
	}
	for range asked {
		(<-answers)()
	}
	if found == 0 && (c.tries > 3 || !e.pause(20*time.Millisecond, c.until)) {
		c.finish(tandem.Errorf(tandem.CodeUnavailable, "the NATS server knows an id of the events and does not say which"))
		return
	}
	e.finish(c)
}
