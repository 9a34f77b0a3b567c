package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/websocket"
)

const (
	// talkBytes is the largest message of a client that may not publish: an acknowledgement.
	talkBytes = 8 << 10
	// maxUnsaid is how much a client may be owed, receipts and pongs, before it is not read from any more.
	maxUnsaid = 64 << 10
	// maxBadFrames is how many frames that are not understood a client may send.
	maxBadFrames = 16
	// publishEvents is how many events of one client are stored together.
	publishEvents = 64
)

// conversation is what a client of a WebSocket says.
type conversation struct {
	m      *member
	parser websocket.Parser
	bad    int
	over   bool           // the last was said
	events []tandem.Event // to be stored
	refs   []json.RawMessage
	out    []byte
}

// converse reads from the client until the connection is closed.
func (m *member) converse(sink *connSink, early []byte) {
	defer m.s.running.Done()
	defer m.close()
	defer m.recovered()
	c := &conversation{m: m, parser: websocket.Parser{MaxBytes: talkBytes}}
	if m.ask.Publish != nil {
		c.parser.MaxBytes = m.s.opts.MaxEventBytes + 64<<10
	}
	r := source{s: m.s, sink: sink}
	if len(early) == 0 || c.take(early) {
		for r.next(c.take) {
			m.settle()
		}
	}
	if c.over { // what was said last must arrive: the connection is closed by the client, or soon for it
		for r.next(func([]byte) bool { return true }) {
		}
	}
}

// settle waits while a client does not take what it is owed.
func (m *member) settle() {
	m.mu.Lock()
	if m.closed || len(m.out) <= maxUnsaid {
		m.mu.Unlock()
		return
	}
	quiet := make(chan struct{})
	m.quiet = quiet
	m.mu.Unlock()
	<-quiet // or its writes fail, and m is closed
}

// take handles what was read. It returns false when nothing more is to be read.
func (c *conversation) take(b []byte) bool {
	c.m.heard.Store(time.Now().UnixNano())
	for {
		msg, rest, ok, err := c.parser.Next(b)
		if err != nil {
			c.store()
			var e *websocket.CloseError
			if !errors.As(err, &e) {
				e = &websocket.CloseError{Code: websocket.CloseProtocol}
			}
			return c.hangUp(e.Code, e.Reason)
		}
		if !ok {
			c.unfinished()
			return c.store() && c.flush()
		}
		b = rest
		if msg.Op < websocket.Close && c.m.partial.Load() != 0 {
			c.m.partial.Store(0)
		}
		switch msg.Op {
		case websocket.Ping:
			c.out = websocket.AppendFrame(c.out, websocket.Pong, msg.Data)
		case websocket.Pong:
		case websocket.Close:
			c.store()
			code, _, err := websocket.ParseClose(msg.Data)
			switch {
			case err != nil:
				code = websocket.CloseProtocol
				var e *websocket.CloseError
				if errors.As(err, &e) {
					code = e.Code
				}
			case code == websocket.CloseNoStatus:
				code = websocket.CloseNormal
			}
			return c.hangUp(code, "")
		case websocket.Binary:
			c.store()
			return c.hangUp(websocket.CloseUnsupported, "messages are text")
		case websocket.Text:
			if !c.message(msg.Data) {
				return false
			}
		}
		if len(c.out) > maxUnsaid && !c.flush() {
			return false
		}
	}
}

// unfinished notes since when the client owes the rest of a message.
func (c *conversation) unfinished() {
	switch since := c.m.partial.Load(); {
	case !c.parser.Partial():
		c.m.partial.Store(0)
	case since == 0:
		c.m.partial.Store(time.Now().UnixNano())
	}
}

func (c *conversation) flush() bool {
	if len(c.out) > 0 {
		c.m.say(c.out)
		c.out = nil
	}
	return true
}

// hangUp closes the connection with a code. What is on its way to the client is not waited for.
func (c *conversation) hangUp(code int, reason string) bool {
	c.over = true
	c.flush()
	c.m.hangUp(code, reason)
	return false
}

// frame is what a client of tandem.v1.json sends: one of its members.
type frame struct {
	Publish *struct {
		Ref   json.RawMessage `json:"ref"`
		Event json.RawMessage `json:"event"`
	} `json:"publish"`
	Credit *int           `json:"credit"`
	Ack    *tandem.Cursor `json:"ack"`
}

func (c *conversation) message(data []byte) bool {
	if c.m.format == formatCloud {
		return c.publish(nil, data)
	}
	var f frame
	if err := json.Unmarshal(data, &f); err != nil {
		return c.misunderstood("the frame is not JSON of this subprotocol")
	}
	switch {
	case f.Publish != nil:
		if !validRef(f.Publish.Ref) {
			return c.misunderstood("ref is a string or a number of at most 128 bytes")
		}
		return c.publish(append(json.RawMessage{}, f.Publish.Ref...), f.Publish.Event)
	case f.Credit != nil:
		if !c.m.allow(*f.Credit) {
			return c.misunderstood("credit is for connections that were opened with credit=N, and at most 10000 in all")
		}
	case f.Ack != nil:
		if len(*f.Ack) > 4<<10 {
			return c.misunderstood("ack is a cursor")
		}
		c.m.acknowledge(*f.Ack)
	default:
		return c.misunderstood("a frame has one of publish, credit and ack")
	}
	return true
}

func validRef(ref json.RawMessage) bool {
	return len(ref) > 0 && len(ref) <= 128 && (ref[0] == '"' || ref[0] == '-' || ref[0] >= '0' && ref[0] <= '9')
}

func (c *conversation) misunderstood(why string) bool {
	if c.bad++; c.bad > maxBadFrames {
		c.store()
		return c.hangUp(websocket.ClosePolicy, "too many bad frames")
	}
	c.problem(nil, tandem.Errorf(tandem.CodeInvalid, "%s", why))
	return true
}

// publish takes an event that the client wants stored.
func (c *conversation) publish(ref json.RawMessage, data []byte) bool {
	ev, err := c.event(data)
	if err != nil {
		return c.store() && c.refuse(ref, err)
	}
	c.events, c.refs = append(c.events, ev), append(c.refs, ref)
	return len(c.events) < publishEvents || c.store()
}

func (c *conversation) event(data []byte) (tandem.Event, error) {
	if c.m.ask.Publish == nil {
		return tandem.Event{}, tandem.Errorf(tandem.CodeForbidden, "this stream takes no events")
	}
	if len(data) > c.m.s.opts.MaxEventBytes {
		return tandem.Event{}, tandem.Errorf(tandem.CodeTooLarge, "the event is larger than %d bytes", c.m.s.opts.MaxEventBytes)
	}
	data = bytes.Clone(data) // the event keeps its bytes, those of the message are used again
	if c.m.ask.Public {
		return tandem.ParsePartialEventJSON(data) // the route completes it
	}
	return tandem.ParseEventJSON(data)
}

// store publishes what was collected and answers for it. It returns false if the connection is at its end.
func (c *conversation) store() bool {
	if len(c.events) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(c.m.s.life, publishTimeout)
	results := c.m.ask.Publish(ctx, c.events)
	cancel()
	c.m.heard.Store(time.Now().UnixNano()) // its answer to a ping was not read meanwhile
	refs := c.refs
	c.events, c.refs = nil, nil
	for i := range results {
		if err := results[i].Err; err != nil {
			if !c.refuse(refs[i], err) {
				return false
			}
			continue
		}
		c.receipt(refs[i], &results[i].Receipt)
	}
	return c.flush()
}

// publishTimeout bounds how long a client's event may take to be stored.
const publishTimeout = 30 * time.Second

// refuse says why an event was not stored.
func (c *conversation) refuse(ref json.RawMessage, err error) bool {
	if c.m.format == formatTandem {
		c.problem(ref, err)
		return true
	}
	p := tandem.ProblemOf(err)
	code := websocket.ClosePolicy
	if tandem.CodeOf(err) == tandem.CodeUnavailable || tandem.CodeOf(err) == tandem.CodeOverloaded {
		code = websocket.CloseTryLater
	}
	reason := p.Detail
	if len(p.Errors) > 0 {
		reason += ": " + p.Errors[0].Pointer + " " + p.Errors[0].Detail
	}
	return c.hangUp(code, reason)
}

func (c *conversation) problem(ref json.RawMessage, err error) {
	type problem struct {
		Ref json.RawMessage `json:"ref,omitempty"`
		*tandem.Problem
	}
	c.out = appendJSON(c.out, map[string]problem{"problem": {ref, tandem.ProblemOf(err)}})
}

func (c *conversation) receipt(ref json.RawMessage, r *tandem.Receipt) {
	if c.m.format != formatTandem {
		return
	}
	type public struct {
		Ref       json.RawMessage  `json:"ref"`
		ID        string           `json:"id"`
		Duplicate tandem.Duplicate `json:"duplicate"`
	}
	type full struct {
		Ref json.RawMessage `json:"ref"`
		*tandem.Receipt
	}
	if c.m.ask.Public {
		c.out = appendJSON(c.out, map[string]public{"receipt": {ref, r.ID, r.Duplicate}})
	} else {
		c.out = appendJSON(c.out, map[string]full{"receipt": {ref, r}})
	}
}
