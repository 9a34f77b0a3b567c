package amqp

import (
	"context"
	"sync"

	"github.com/rabbitmq/amqp091-go"

	"github.com/tandem-hybrid/tandem"
)

// Consumer takes messages from one queue, on a channel of its own. It is used by one goroutine at a time.
type Consumer struct {
	pool     *Pool
	broker   *broker
	queue    string
	prefetch int
}

// NewConsumer returns a consumer, connected to nothing yet. It holds at most prefetch messages without acknowledgement. Close it.
func (p *Pool) NewConsumer(a Address, queue string, prefetch int) *Consumer {
	return &Consumer{pool: p, broker: p.take(a), queue: queue, prefetch: prefetch}
}

// Broker returns the address of the broker for people to read.
func (c *Consumer) Broker() string { return c.broker.addr.String() }

// Close releases the connection. Nothing that Open has returned is open any more.
func (c *Consumer) Close() { c.pool.release(c.broker) }

// Open begins to consume. Code: Unavailable (RetryAfter says when it may be worth another attempt), or that of ctx.
func (c *Consumer) Open(ctx context.Context) (*Consuming, error) {
	l, err := c.broker.connect(ctx)
	if err != nil {
		return nil, err
	}
	x := &Consuming{link: l}
	err = l.call(func() (err error) {
		if x.ch, err = l.conn.Channel(); err != nil {
			return err
		}
		if err = x.ch.Qos(c.prefetch, 0, false); err != nil {
			return err
		}
		x.closes = x.ch.NotifyClose(make(chan *amqp091.Error, 1))
		x.Messages, err = x.ch.Consume(c.queue, "", false, false, false, false, nil)
		return err
	})
	if err != nil {
		if x.ch != nil {
			_ = l.call(x.ch.Close)
		}
		return nil, noTarget(l, Target{Queue: c.queue}.String(), err)
	}
	return x, nil
}

// Consuming is a channel that messages come from. What is not settled when it ends RabbitMQ hands out again.
type Consuming struct {
	// Messages is closed when the channel is, or when the queue was deleted; Err says why.
	Messages <-chan amqp091.Delivery

	link   *link
	ch     *amqp091.Channel
	closes chan *amqp091.Error
	once   sync.Once
}

// Ack settles a message, and all before it.
func (x *Consuming) Ack(tag uint64) error { return x.ch.Ack(tag, true) }

// Reject settles one message by giving it to the dead-letter exchange of its queue; a queue without one drops it.
func (x *Consuming) Reject(tag uint64) error { return x.ch.Nack(tag, false, false) }

// Err returns why Messages was closed. Code: Unavailable.
func (x *Consuming) Err() error {
	select {
	case e := <-x.closes:
		if e != nil {
			return tandem.Errorf(tandem.CodeUnavailable, "the connection to RabbitMQ at %s broke off: %w", x.link.shown, e)
		}
		return tandem.Errorf(tandem.CodeUnavailable, "the connection to RabbitMQ at %s ended", x.link.shown)
	default:
		return tandem.Errorf(tandem.CodeUnavailable, "RabbitMQ at %s ended the consumer: its queue was deleted, or moved", x.link.shown)
	}
}

// Close ends it. Messages is closed then, and what it still holds is to be left alone.
func (x *Consuming) Close() {
	x.once.Do(func() {
		if !x.ch.IsClosed() {
			_ = x.link.call(x.ch.Close)
		}
		for range x.Messages { // the library waits for nobody, but its channel may hold some
		}
	})
}

// Lost reports whether what it holds can no longer be settled.
func (x *Consuming) Lost() bool { return x.ch.IsClosed() }
