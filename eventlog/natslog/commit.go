package natslog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/stateindex"
)

// The headers of a message of state.
const (
	headerDeleted = "Tandem-Deleted" // the record is deleted; the server removes the message after Options.DeletedAge
	headerParts   = "Tandem-Parts"   // how many pieces come before this message, of a value that is larger than one
	headerCommit1 = "Tandem-Commit"  // on the last message of a commit: its name
)

// The bounds of a group: messages of one atomic batch, and about so many bytes.
const (
	groupMessages = unitRecords
	groupBytes    = 4 << 20
)

// run commits what waits, all of it together, and reads what others wrote.
func (s *state) run() {
	for {
		s.mu.Lock()
		group := s.take()
		s.mu.Unlock()
		switch {
		case len(group) > 0:
			s.commitGroup(group)
			for _, c := range group {
				close(c.done)
			}
			continue
		case s.hinted.Swap(false):
			if err := s.follow(); err != nil && !s.e.isClosed() {
				s.e.log.Debug("state cannot be read for now", "error", err)
			}
			continue
		}
		select {
		case <-s.wake:
		case <-s.e.closing:
			return
		}
	}
}

// take returns the changes of the next group, with mu held.
func (s *state) take() []*change {
	messages, bytes, n := 0, 0, 0
	for _, c := range s.waiting {
		if messages += max(1, len(c.ops)); n > 0 && (messages > groupMessages || bytes > groupBytes) {
			break
		}
		for i := range c.ops {
			bytes += len(c.ops[i].Key) + len(c.ops[i].Value)
		}
		n++
	}
	group := s.waiting[:n:n]
	if s.waiting = s.waiting[n:]; len(s.waiting) == 0 {
		s.waiting = nil
	}
	return group
}

// commitGroup stores a group, and sets the results of its changes.
func (s *state) commitGroup(group []*change) {
	until := time.Now()
	for _, c := range group {
		if c.until.After(until) {
			until = c.until
		}
	}
	for tries := 0; ; tries++ {
		if err := s.e.writable(); err != nil {
			s.refuse(group, err)
			return
		}
		p, err := s.plan(group)
		if err != nil {
			s.refuse(group, err)
			return
		}
		err = s.store(p)
		if err == nil {
			s.e.health.wrote()
			return
		}
		if !s.again(err, tries, until) {
			s.refuse(group, s.e.unavailable(err))
			return
		}
		if s.seen == p.id { // it was stored, though nobody said so
			return
		}
	}
}

// again prepares for another attempt after an error, and reports whether there may be one. In doubt it has read what the stream has: there
// the commit is found, or can never come, since another message is where it was to be.
func (s *state) again(why error, tries int, until time.Time) bool {
	var api *jetstream.APIError
	if errors.As(why, &api) {
		switch api.ErrorCode {
		case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant,
			codeBatchIncomplete, codeBatchesTooMany, codeNotLeader, codeUnavailable:
		default:
			return false
		}
	}
	for ; ; tries++ {
		if !s.e.waitConnected(until) {
			return false
		}
		if err := s.follow(); err == nil {
			return time.Now().Before(until)
		}
		if !s.e.pause(min(10*time.Millisecond<<min(tries, 5), time.Second), until) {
			return false
		}
	}
}

func (s *state) refuse(group []*change, err error) {
	for _, c := range group {
		if !c.decided {
			c.err = err
		}
	}
}

// plan is what a group comes to.
type plan struct {
	id    string
	msgs  []*nats.Msg
	ops   []stateindex.Op // with Rev as the index of its message in msgs
	after uint64          // the commit has to follow this message
}

// plan decides each change by the index and those before it.
func (s *state) plan(group []*change) (*plan, error) {
	p := &plan{id: s.e.session + strconv.FormatUint(s.e.units.Add(1), 36), after: s.next - 1}
	over := overlay{s: s, at: map[string]int{}}
	for _, c := range group {
		c.err, c.failed, c.decided = nil, -1, false
		if err := over.decide(c); err != nil {
			return nil, err
		}
	}
	for i := range over.ops {
		if err := s.encode(p, &over.ops[i]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// overlay is the index with the changes of a group.
type overlay struct {
	s   *state
	ops []driver.StateOp
	at  map[string]int // index in ops
}

func (o *overlay) get(key string) (value []byte, ok bool, err error) {
	if i, changed := o.at[key]; changed {
		return o.ops[i].Value, o.ops[i].Value != nil, nil
	}
	value, _, ok, err = o.s.get(key)
	return value, ok, err
}

func (o *overlay) set(key string, value []byte) {
	if i, changed := o.at[key]; changed {
		o.ops[i].Value = value
		return
	}
	o.at[key] = len(o.ops)
	o.ops = append(o.ops, driver.StateOp{Key: key, Value: value})
}

// decide takes a change into the overlay, or refuses it.
func (o *overlay) decide(c *change) error {
	if f := c.fence; f != nil {
		v, _, err := o.get(string(kindOwner) + f.Name)
		if err != nil {
			return err
		}
		if epoch, _ := binary.Uvarint(v); f.Epoch < epoch {
			c.err, c.decided = stale(f, epoch), true
			return nil
		}
	}
	for i := range c.ops {
		value, ok, err := o.get(c.ops[i].Key)
		if err != nil {
			return err
		}
		if !holds(&c.ops[i], value, ok) {
			c.err, c.failed, c.decided = otherValue(c.ops[i].Key[1:]), c.base+i, true
			return nil
		}
	}
	for i := range c.ops {
		o.set(c.ops[i].Key, c.ops[i].Value)
	}
	if c.take != "" {
		key := string(kindOwner) + c.take
		v, _, err := o.get(key)
		if err != nil {
			return err
		}
		epoch, _ := binary.Uvarint(v)
		c.epoch = epoch + 1
		o.set(key, binary.AppendUvarint(nil, c.epoch))
	}
	return nil
}

// encode adds the messages of one record.
func (s *state) encode(p *plan, op *driver.StateOp) error {
	_, before, there, err := s.get(op.Key)
	if err != nil {
		return err
	}
	if op.Value == nil && !there {
		return nil
	}
	size := int(s.e.nc.MaxPayload()) - 1024
	parts := 0
	for rest := op.Value; len(rest) > size; rest = rest[size:] {
		p.add(s.e.names.stateSubject(partKey(op.Key, parts)), rest[:size])
		parts++
	}
	for i := parts; i < before; i++ {
		s.bury(p.add(s.e.names.stateSubject(partKey(op.Key, i)), nil))
	}
	m := p.add(s.e.names.stateSubject(op.Key), op.Value[parts*size:])
	rev := uint64(len(p.msgs) - 1)
	if op.Value == nil {
		s.bury(m)
		p.ops = append(p.ops, stateindex.Op{Key: op.Key, Rev: rev})
		return nil
	}
	if parts > 0 {
		m.Header[headerParts] = []string{strconv.Itoa(parts)}
	}
	p.ops = append(p.ops, stateindex.Op{Key: op.Key, Value: withParts(parts, op.Value), Rev: rev})
	return nil
}

func partKey(key string, i int) string {
	return string(kindPart) + key + "/" + strconv.Itoa(i)
}

func (p *plan) add(subject string, data []byte) *nats.Msg {
	m := &nats.Msg{Subject: subject, Data: data, Header: nats.Header{}}
	p.msgs = append(p.msgs, m)
	return m
}

// bury makes a message one that says that the record is deleted. An index that was not up to date for half of the time that the stream keeps it is
// made anew, since it may have missed it.
func (s *state) bury(m *nats.Msg) {
	m.Header[headerDeleted] = []string{"1"}
	m.Header[headerTTL] = []string{s.e.opts.DeletedAge.String()}
}

// store publishes a plan, in atomic batches, and brings it into the index.
func (s *state) store(p *plan) error {
	for from := 0; from < len(p.msgs); from += groupMessages {
		msgs := p.msgs[from:min(from+groupMessages, len(p.msgs))]
		last := msgs[len(msgs)-1]
		if from+len(msgs) == len(p.msgs) {
			last.Header[headerCommit1] = []string{p.id}
		}
		seq, err := s.publish(msgs, p.id+"."+strconv.Itoa(from), s.next-1)
		if err != nil {
			return err
		}
		first := seq + 1 - uint64(len(msgs))
		var ops []stateindex.Op
		for _, op := range p.ops {
			if int(op.Rev) >= from && int(op.Rev) < from+len(msgs) {
				op.Rev += first - uint64(from)
				ops = append(ops, op)
			}
		}
		if err := s.apply(seq+1, ops); err != nil {
			return err
		}
	}
	return nil
}

// publish stores messages as one, right after the message of a sequence, and returns the sequence of the last.
func (s *state) publish(msgs []*nats.Msg, id string, after uint64) (uint64, error) {
	type outcome struct {
		a   ack
		err error
	}
	got := make(chan outcome, 1)
	reply, withdraw := s.e.acks.expect(time.Now().Add(s.e.opts.Timeout), func(a ack, err error) { got <- outcome{a, err} })
	for i, m := range msgs {
		if i == 0 {
			m.Header[headerLastSeq] = []string{strconv.FormatUint(after, 10)}
		}
		if len(msgs) > 1 {
			m.Header[headerBatch] = []string{id}
			m.Header[headerBatchSeq] = []string{strconv.Itoa(i + 1)}
		}
		if i == len(msgs)-1 {
			m.Reply = reply
			if len(msgs) > 1 {
				m.Header[headerCommit] = []string{"1"}
			}
		}
		if err := s.e.nc.PublishMsg(m); err != nil {
			withdraw()
			return 0, err
		}
	}
	select {
	case o := <-got:
		if o.err == nil && (o.a.Stream != s.stream || o.a.Seq != after+uint64(len(msgs))) {
			return 0, fmt.Errorf("%w: the stream %s answered with %d", errLost, o.a.Stream, o.a.Seq)
		}
		return o.a.Seq, o.err
	case <-s.e.closing:
		withdraw()
		return 0, errClosed()
	}
}

// apply brings changes into the index.
func (s *state) apply(next uint64, ops []stateindex.Op) error {
	now := time.Now()
	ops = append(ops, stateindex.Op{Key: markKey, Value: binary.BigEndian.AppendUint64(nil, uint64(now.Unix()))})
	s.next, s.mark = next, now
	return s.index.Apply(next, ops)
}

const markKey = string(kindOurs) + "mark" // when the index was up to date, in seconds since 1970; in the index only

// follow reads all that the stream has and the index has not.
func (s *state) follow() error {
	ctx, cancel := context.WithTimeout(s.e.ctx, s.e.opts.Timeout)
	defer cancel()
	info, err := s.e.streamInfo(ctx, s.stream)
	if err != nil {
		return err
	}
	if err := s.replay(ctx, info.State.LastSeq); err != nil {
		return err
	}
	if time.Since(s.mark) > s.e.opts.DeletedAge/10 {
		return s.apply(s.next, nil)
	}
	return nil
}
