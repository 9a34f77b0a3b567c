package amqp

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rabbitmq/amqp091-go"

	"github.com/tandem-hybrid/tandem"
)

// Target is where messages go: to an exchange, or through the default exchange to a queue.
type Target struct{ Exchange, Queue string }

func (t Target) String() string {
	if t.Queue != "" {
		return fmt.Sprintf("queue %q", t.Queue)
	}
	return fmt.Sprintf("exchange %q", t.Exchange)
}

// Message is what is published. MessageID is not empty, and no other message that is being published has the same.
type Message struct {
	RoutingKey string // for an exchange
	Content    amqp091.Publishing
}

// Outcome is what became of a message.
type Outcome uint8

// The outcomes.
const (
	Confirmed  Outcome = iota // a queue has it, and RabbitMQ vouches for it
	Unroutable                // the exchange has no queue for it
	Refused                   // RabbitMQ said no (basic.nack): a full queue that rejects, or an error of its own
	Unknown                   // the connection, the channel or the time ended before an answer
	NotSent                   // there was nobody to send it to: no connection, no such exchange or queue, or a broker low on memory
)

// Result is the outcome of a message, with the reason unless it is Confirmed.
type Result struct {
	Outcome Outcome
	Detail  string
}

// maxForgotten is how many messages without confirm, which nobody waits for any longer, a channel may have.
const maxForgotten = 1024

// Publisher publishes to one target, on a channel of its own. All methods are safe for concurrent use.
type Publisher struct {
	pool   *Pool
	broker *broker
	to     Target

	opening chan struct{} // holds one element while somebody opens the channel

	mu     sync.Mutex // guards what follows
	ch     *pubChannel
	active int // calls of Publish
	closed bool
}

// NewPublisher returns a publisher, connected to nothing yet. Close it.
func (p *Pool) NewPublisher(a Address, to Target) *Publisher {
	return &Publisher{pool: p, broker: p.take(a), to: to, opening: make(chan struct{}, 1)}
}

// Broker returns the address of the broker for people to read.
func (p *Publisher) Broker() string { return p.broker.addr.String() }

// Publish publishes messages in their order and waits until each is answered, or for the end of ctx. It returns a result for each, in
// their order. The caller keeps the messages.
func (p *Publisher) Publish(ctx context.Context, messages []Message) []Result {
	results := make([]Result, len(messages))
	p.enter()
	defer p.leave()
	c, err := p.channel(ctx)
	if err != nil {
		setAll(results, NotSent, reason(err))
		return results
	}
	if why := c.link.blocked.Load(); why != nil {
		setAll(results, NotSent, fmt.Sprintf("RabbitMQ at %s takes nothing now: %s", c.link.shown, *why))
		return results
	}
	c.expect(messages)
	confirms := p.send(c, messages, results)
	c.await(ctx, confirms)
	late := p.judge(c, messages, confirms, results)
	if c.forget(messages, late) > maxForgotten {
		_ = c.link.call(c.ch.Close) // what was confirmed meanwhile is not known, which its senders were told
	}
	return results
}

func setAll(results []Result, o Outcome, detail string) {
	for i := range results {
		results[i] = Result{o, detail}
	}
}

// reason is the text of an error without its hint, which is for those who declare.
func reason(err error) string {
	var known *tandem.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no connection in time"
	case errors.As(err, &known):
		return tandem.ProblemOf(err).Detail
	}
	return err.Error()
}

func (p *Publisher) enter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active++
}

func (p *Publisher) leave() {
	p.mu.Lock()
	p.active--
	last := p.closed && p.active == 0
	p.mu.Unlock()
	if last {
		p.end()
	}
}

// Close releases the connection, once the calls of Publish that are under way have returned. It does not wait for them. Repeating it does nothing.
func (p *Publisher) Close() {
	p.mu.Lock()
	last := !p.closed && p.active == 0
	p.closed = true
	p.mu.Unlock()
	if last {
		p.end()
	}
}

func (p *Publisher) end() {
	p.mu.Lock()
	c := p.ch
	p.mu.Unlock()
	if c != nil {
		c.close()
	}
	p.pool.release(p.broker)
}

// send writes messages and returns what will be confirmed; the rest has its result.
func (p *Publisher) send(c *pubChannel, messages []Message, results []Result) []*amqp091.DeferredConfirmation {
	confirms := make([]*amqp091.DeferredConfirmation, len(messages))
	for i := range messages {
		m := &messages[i]
		key := m.RoutingKey
		if p.to.Queue != "" {
			key = p.to.Queue
		}
		confirm, err := c.ch.PublishWithDeferredConfirm(p.to.Exchange, key, true, false, m.Content)
		if err != nil {
			results[i] = Result{Unknown, "the connection to RabbitMQ broke off: " + err.Error()}
			setAll(results[i+1:], NotSent, results[i].Detail)
			break
		}
		confirms[i] = confirm
	}
	return confirms
}

// judge notes the results of what was sent, and returns how many had no answer.
func (p *Publisher) judge(c *pubChannel, messages []Message, confirms []*amqp091.DeferredConfirmation, results []Result) (late int) {
	c.settle()
	for i, confirm := range confirms {
		if confirm == nil {
			break
		}
		returned, answered := c.returned(messages[i].Content.MessageId), true
		select {
		case <-confirm.Done():
		default:
			answered = false
		}
		switch {
		case confirm.Acked() && returned == nil:
			results[i] = Result{Outcome: Confirmed}
		case confirm.Acked() && p.to.Queue != "":
			results[i] = Result{NotSent, fmt.Sprintf("RabbitMQ at %s has no %s", c.link.shown, p.to)}
		case confirm.Acked():
			results[i] = Result{Unroutable, fmt.Sprintf("%s has no queue for the routing key %q: %d %s", p.to, returned.RoutingKey, returned.ReplyCode, returned.ReplyText)}
		case c.ch.IsClosed():
			results[i] = Result{Unknown, c.why()}
		case answered:
			results[i] = Result{Refused, "RabbitMQ refused the message (basic.nack): a full queue that rejects, or an error of its own"}
		default:
			results[i] = Result{Unknown, "no confirm in time"}
			late++
		}
	}
	return late
}

// channel returns the channel, and opens one if there is none.
func (p *Publisher) channel(ctx context.Context) (*pubChannel, error) {
	select {
	case p.opening <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-p.opening }()
	p.mu.Lock()
	c := p.ch
	p.mu.Unlock()
	if c != nil && !c.ch.IsClosed() {
		return c, nil
	}
	if c != nil {
		c.close()
	}
	l, err := p.broker.connect(ctx)
	if err != nil {
		return nil, err
	}
	if why := l.blocked.Load(); why != nil { // it would not answer
		return nil, tandem.Errorf(tandem.CodeUnavailable, "RabbitMQ at %s takes nothing now: %s", l.shown, *why)
	}
	if c, err = openPublishing(l, p.to); err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.ch = c
	p.mu.Unlock()
	return c, nil
}
