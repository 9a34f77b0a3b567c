// Package amqptest is a broker in memory for tests: as much of AMQP 0-9-1 as package amqp speaks, and the faults that a real one has. A
// connection of it is a loopback socket. Close ends every goroutine.
package amqptest

import (
	"net"
	"slices"
	"sync"
	"testing"
)

// Answer is what the broker does with a message.
type Answer int

// The answers.
const (
	Ack        Answer = iota
	Nack              // basic.nack
	Return            // basic.return, then basic.ack
	Silence           // nothing
	NoExchange        // closes the channel: 404
	Cut               // ends the connection
)

// Published is a message that the broker was sent.
type Published struct {
	Exchange, RoutingKey, Body string
	Header                     string // as it came: properties and headers
}

// Broker answers as its fields say. They are set before New's first connection, or by Set.
type Broker struct {
	t  testing.TB
	l  net.Listener
	wg sync.WaitGroup

	mu        sync.Mutex // guards what follows
	closed    bool
	conns     map[*conn]bool
	accepted  int
	rules     Rules
	published []Published
	queue     []Message // for the consumer; the first of them are under way
	given     int
	settled   []Settled
}

// Rules say how the broker behaves.
type Rules struct {
	Publish   func(Published) Answer // nil means Ack
	Missing   bool                   // no exchange and no queue is there
	HangUp    bool                   // ends connections before a word
	WrongUser bool                   // ends connections at the login
	Deaf      bool                   // answers nothing
}

// Message is one that a consumer gets.
type Message struct {
	ContentType, MessageID, Body string
	Headers                      map[string]string
}

// Settled is what a consumer said of a message, by its body.
type Settled struct {
	Body     string
	Rejected bool
}

// New returns a broker that listens on loopback until the test ends.
func New(t testing.TB) *Broker {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &Broker{t: t, l: l, conns: map[*conn]bool{}}
	b.wg.Go(b.accept)
	t.Cleanup(func() {
		b.mu.Lock()
		b.closed = true
		b.mu.Unlock()
		l.Close()
		b.Cut()
		b.wg.Wait()
	})
	return b
}

// URL returns where it is.
func (b *Broker) URL() string { return "amqp://user:hunter2hunter2@" + b.l.Addr().String() }

// Set changes how it behaves.
func (b *Broker) Set(r Rules) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rules = r
}

func (b *Broker) rulesNow() Rules {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rules
}

// Cut ends all connections.
func (b *Broker) Cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		c.nc.Close()
	}
}

// Block tells all connections that nothing is taken, for a reason, or with "" that it is again.
func (b *Broker) Block(reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		if reason == "" {
			c.method(0, 10, 61)
		} else {
			c.method(0, 10, 60, short(reason))
		}
	}
}

// Beat sends a heartbeat to all connections.
func (b *Broker) Beat() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		c.frame(frameHeartbeat, 0, nil)
	}
}

// Accepted returns how many connections there have been.
func (b *Broker) Accepted() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.accepted
}

// Open returns how many connections there are.
func (b *Broker) Open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.conns)
}

// Published returns what was published so far.
func (b *Broker) Published() []Published {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.published)
}

// Put puts messages into the queue that consumers take from, whatever its name.
func (b *Broker) Put(messages ...Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue = append(b.queue, messages...)
	for c := range b.conns {
		c.deliver()
	}
}

// Settled returns what became of messages so far; Left how many have not been settled.
func (b *Broker) Settled() []Settled {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.settled)
}

// Left returns how many messages are in the queue, those under way among them.
func (b *Broker) Left() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue)
}

func (b *Broker) accept() {
	for {
		nc, err := b.l.Accept()
		if err != nil {
			return
		}
		b.mu.Lock()
		b.accepted++
		if b.closed || b.rules.HangUp {
			nc.Close()
			b.mu.Unlock()
			continue
		}
		c := &conn{b: b, nc: nc, channels: map[uint16]*channel{}}
		b.conns[c] = true
		b.mu.Unlock()
		b.wg.Go(func() {
			c.serve()
			nc.Close()
			b.mu.Lock()
			delete(b.conns, c)
			b.given = 0 // what was not settled is handed out again
			for other := range b.conns {
				other.deliver()
			}
			b.mu.Unlock()
		})
	}
}
