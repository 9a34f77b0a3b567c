package amqptest

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
)

// Kinds of frames, and their end.
const (
	frameMethod    = 1
	frameHeader    = 2
	frameBody      = 3
	frameHeartbeat = 8
	frameEnd       = 0xCE
)

// conn is one connection.
type conn struct {
	b  *Broker
	nc net.Conn

	write    sync.Mutex
	channels map[uint16]*channel // of the goroutine that serves, but for what deliver reads under Broker.mu
}

// channel is one channel.
type channel struct {
	id       uint16
	tag      uint64 // of the last message that was published
	incoming Published
	header   []byte
	left     uint64 // of the body
	consumes bool
	prefetch int
	nextTag  uint64
	unacked  map[uint64]Message
}

func short(s string) []byte { return append([]byte{byte(len(s))}, s...) }

func long(s string) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...) }

func u16(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func (c *conn) frame(kind byte, ch uint16, payload []byte) {
	c.write.Lock()
	defer c.write.Unlock()
	b := append([]byte{kind}, u16(ch)...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = append(append(b, payload...), frameEnd)
	_, _ = c.nc.Write(b) // a client that has gone away is seen by reading
}

func (c *conn) method(ch, class, method uint16, args ...[]byte) {
	p := append(u16(class), u16(method)...)
	for _, a := range args {
		p = append(p, a...)
	}
	c.frame(frameMethod, ch, p)
}

// serve speaks until the client has gone.
func (c *conn) serve() {
	r := bufio.NewReader(c.nc)
	if _, err := io.ReadFull(r, make([]byte, 8)); err != nil {
		return
	}
	c.method(0, 10, 10, []byte{0, 9}, long(""), long("PLAIN"), long("en_US"))
	head := make([]byte, 7)
	for {
		if _, err := io.ReadFull(r, head); err != nil {
			return
		}
		payload := make([]byte, binary.BigEndian.Uint32(head[3:])+1)
		if _, err := io.ReadFull(r, payload); err != nil {
			return
		}
		ch, payload := binary.BigEndian.Uint16(head[1:]), payload[:len(payload)-1]
		ok := true
		switch head[0] {
		case frameMethod:
			ok = c.handle(ch, binary.BigEndian.Uint16(payload), binary.BigEndian.Uint16(payload[2:]), payload[4:])
		case frameHeader:
			x := c.channels[ch]
			if x == nil {
				continue
			}
			x.header, x.left = payload, binary.BigEndian.Uint64(payload[4:])
			if x.left == 0 {
				ok = c.published(x)
			}
		case frameBody:
			x := c.channels[ch]
			if x == nil {
				continue
			}
			x.incoming.Body += string(payload)
			if x.left -= uint64(len(payload)); x.left == 0 {
				ok = c.published(x)
			}
		}
		if !ok {
			return
		}
	}
}

func shortAt(p []byte) (string, []byte) { n := int(p[0]); return string(p[1 : 1+n]), p[1+n:] }

// handle answers a method.
func (c *conn) handle(ch, class, method uint16, args []byte) bool {
	rules := c.b.rulesNow()
	x := c.channels[ch]
	if x == nil && class >= 40 || rules.Deaf { // it was closed, which the client did not know yet
		return true
	}
	switch [2]uint16{class, method} {
	case [2]uint16{10, 11}:
		if rules.WrongUser {
			return false
		}
		c.method(0, 10, 30, u16(100), []byte{0, 2, 0, 0}, u16(0)) // tune: frames of 128 KiB, no heartbeat of ours
	case [2]uint16{10, 40}:
		c.method(0, 10, 41, short(""))
	case [2]uint16{10, 50}:
		c.method(0, 10, 51)
	case [2]uint16{10, 51}:
		return false
	case [2]uint16{20, 10}:
		c.b.mu.Lock()
		c.channels[ch] = &channel{id: ch, unacked: map[uint64]Message{}}
		c.b.mu.Unlock()
		c.method(ch, 20, 11, long(""))
	case [2]uint16{20, 40}:
		c.b.mu.Lock()
		x.requeue(c.b)
		delete(c.channels, ch)
		c.b.mu.Unlock()
		c.method(ch, 20, 41)
	case [2]uint16{40, 10}, [2]uint16{50, 10}:
		switch {
		case rules.Missing:
			c.closeChannel(ch, class, method, 404, "NOT_FOUND - there is none")
		case class == 40:
			c.method(ch, 40, 11)
		default:
			name, _ := shortAt(args[2:])
			c.method(ch, 50, 11, short(name), make([]byte, 8))
		}
	case [2]uint16{85, 10}:
		c.method(ch, 85, 11)
	case [2]uint16{60, 10}:
		x.prefetch = int(binary.BigEndian.Uint16(args[4:]))
		c.method(ch, 60, 11)
	case [2]uint16{60, 20}:
		if rules.Missing {
			c.closeChannel(ch, class, method, 404, "NOT_FOUND - there is none")
			return true
		}
		_, rest := shortAt(args[2:])
		tag, _ := shortAt(rest)
		c.method(ch, 60, 21, short(tag))
		c.b.mu.Lock()
		x.consumes = true
		x.incoming.RoutingKey = tag
		c.deliver()
		c.b.mu.Unlock()
	case [2]uint16{60, 40}:
		exchange, rest := shortAt(args[2:])
		key, _ := shortAt(rest)
		x.incoming = Published{Exchange: exchange, RoutingKey: key}
	case [2]uint16{60, 80}:
		c.settle(x, binary.BigEndian.Uint64(args), args[8]&1 == 1, false)
	case [2]uint16{60, 120}:
		c.settle(x, binary.BigEndian.Uint64(args), args[8]&1 == 1, args[8]&2 == 0)
	}
	return true
}

func (c *conn) closeChannel(ch, class, method, code uint16, text string) {
	c.b.mu.Lock()
	delete(c.channels, ch)
	c.b.mu.Unlock()
	c.method(ch, 20, 40, u16(code), short(text), u16(class), u16(method))
}

// published answers a message that is there.
func (c *conn) published(x *channel) bool {
	x.tag++
	m := x.incoming
	m.Header = string(x.header)
	rules := c.b.rulesNow()
	c.b.mu.Lock()
	c.b.published = append(c.b.published, m)
	c.b.mu.Unlock()
	answer := Ack
	if rules.Publish != nil {
		answer = rules.Publish(m)
	}
	switch answer {
	case Ack:
		c.method(x.id, 60, 80, u64(x.tag), []byte{0})
	case Nack:
		c.method(x.id, 60, 120, u64(x.tag), []byte{0})
	case Return:
		c.method(x.id, 60, 50, u16(312), short("NO_ROUTE"), short(m.Exchange), short(m.RoutingKey))
		c.frame(frameHeader, x.id, x.header)
		c.frame(frameBody, x.id, []byte(m.Body))
		c.method(x.id, 60, 80, u64(x.tag), []byte{0})
	case NoExchange:
		c.closeChannel(x.id, 60, 40, 404, "NOT_FOUND - no exchange '"+m.Exchange+"'")
	case Cut:
		return false
	}
	return true
}

// deliver gives the consumer what it may have. Called with Broker.mu held.
func (c *conn) deliver() {
	for _, x := range c.channels {
		for x.consumes && c.b.given < len(c.b.queue) && (x.prefetch == 0 || len(x.unacked) < x.prefetch) {
			m := c.b.queue[c.b.given]
			c.b.given++
			x.nextTag++
			x.unacked[x.nextTag] = m
			c.method(x.id, 60, 60, short(x.incoming.RoutingKey), u64(x.nextTag), []byte{0}, short(""), short("q"))
			c.frame(frameHeader, x.id, m.header())
			if m.Body != "" {
				c.frame(frameBody, x.id, []byte(m.Body))
			}
		}
	}
}

// header returns the payload of the content header: content type, headers and message id.
func (m *Message) header() []byte {
	p := append(append(u16(60), u16(0)...), u64(uint64(len(m.Body)))...)
	flags, props := uint16(0), []byte(nil)
	if m.ContentType != "" {
		flags |= 1 << 15
		props = append(props, short(m.ContentType)...)
	}
	if len(m.Headers) > 0 {
		flags |= 1 << 13
		table := ""
		for k, v := range m.Headers {
			table += string(short(k)) + "S" + string(long(v))
		}
		props = append(props, long(table)...)
	}
	if m.MessageID != "" {
		flags |= 1 << 7
		props = append(props, short(m.MessageID)...)
	}
	return append(append(p, u16(flags)...), props...)
}

// settle takes messages out of the queue.
func (c *conn) settle(x *channel, tag uint64, multiple, rejected bool) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	for t := uint64(1); t <= tag; t++ {
		m, ok := x.unacked[t]
		if !ok || t != tag && !multiple {
			continue
		}
		delete(x.unacked, t)
		for i := range c.b.queue {
			if c.b.queue[i].Body == m.Body && c.b.queue[i].MessageID == m.MessageID {
				c.b.queue = append(c.b.queue[:i], c.b.queue[i+1:]...)
				c.b.given--
				break
			}
		}
		c.b.settled = append(c.b.settled, Settled{m.Body, rejected})
	}
	c.deliver()
}

// requeue lets what a channel has not settled be handed out again. Called with Broker.mu held.
func (x *channel) requeue(b *Broker) {
	if x != nil && x.consumes {
		b.given = 0
	}
}
