package amqp

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/tandem-hybrid/tandem"
)

// pubChannel is a channel that confirms.
type pubChannel struct {
	link    *link
	ch      *amqp091.Channel
	settled chan struct{} // taken by the goroutine when it has noted what was returned before
	gone    chan struct{} // closed by the goroutine when the channel is
	done    sync.WaitGroup

	mu        sync.Mutex // guards what follows
	expected  map[string]*amqp091.Return
	forgotten int
	closedBy  error
}

// openPublishing opens a channel, and looks whether there is a target.
func openPublishing(l *link, to Target) (*pubChannel, error) {
	var ch *amqp091.Channel
	err := l.call(func() (err error) {
		if ch, err = l.conn.Channel(); err != nil {
			return err
		}
		if to.Queue != "" {
			_, err = ch.QueueDeclarePassive(to.Queue, true, false, false, false, nil)
		} else if to.Exchange != "" {
			err = ch.ExchangeDeclarePassive(to.Exchange, amqp091.ExchangeDirect, true, false, false, false, nil) // the name alone is looked at
		}
		if err == nil {
			err = ch.Confirm(false)
		}
		return err
	})
	if err != nil {
		if ch != nil {
			_ = l.call(ch.Close)
		}
		return nil, noTarget(l, to.String(), err)
	}
	c := &pubChannel{link: l, ch: ch, settled: make(chan struct{}), gone: make(chan struct{}), expected: map[string]*amqp091.Return{}}
	closes := ch.NotifyClose(make(chan *amqp091.Error, 1))
	// Without a buffer, so that what is returned is received before its confirm is: settle relies on it.
	returns := ch.NotifyReturn(make(chan amqp091.Return))
	c.done.Go(func() { c.follow(closes, returns) })
	return c, nil
}

// noTarget says why a channel for a target could not be opened.
func noTarget(l *link, target string, err error) error {
	var refused *amqp091.Error
	switch {
	case errors.As(err, &refused) && refused.Code == amqp091.NotFound:
		return tandem.Errorf(tandem.CodeUnavailable, "RabbitMQ at %s has no %s", l.shown, target).
			WithHint("Tandem declares nothing there: declare it first")
	case errors.As(err, &refused) && refused.Code == amqp091.AccessRefused:
		return tandem.Errorf(tandem.CodeUnavailable, "the user may not use %s of RabbitMQ at %s: %s", target, l.shown, refused.Reason)
	}
	return tandem.Errorf(tandem.CodeUnavailable, "cannot open a channel to %s of RabbitMQ at %s: %w", target, l.shown, err)
}

// follow notes what the channel tells until it is closed.
func (c *pubChannel) follow(closes chan *amqp091.Error, returns chan amqp091.Return) {
	defer close(c.gone)
	for {
		select {
		case r, ok := <-returns:
			if !ok {
				returns = nil
				continue
			}
			c.note(&r)
		case <-c.settled:
		case e := <-closes:
			c.mu.Lock()
			if e != nil {
				c.closedBy = e
			}
			c.mu.Unlock()
			return
		}
	}
}

func (c *pubChannel) note(r *amqp091.Return) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.expected[r.MessageId]; ok {
		r.Body, r.Headers = nil, nil
		c.expected[r.MessageId] = r
	}
}

// settle returns when all that was returned before it is noted.
func (c *pubChannel) settle() {
	select {
	case c.settled <- struct{}{}:
	case <-c.gone:
	}
}

func (c *pubChannel) expect(messages []Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range messages {
		c.expected[messages[i].Content.MessageId] = nil
	}
}

// forget ends the waiting for messages, of which late have no answer yet, and returns how many such the channel has.
func (c *pubChannel) forget(messages []Message, late int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range messages {
		delete(c.expected, messages[i].Content.MessageId)
	}
	c.forgotten += late
	return c.forgotten
}

func (c *pubChannel) returned(id string) *amqp091.Return {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.expected[id]
}

// why says what closed the channel.
func (c *pubChannel) why() string {
	select {
	case <-c.gone: // at once, since it is closed
	case <-time.After(closeTime):
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closedBy == nil {
		return "the connection to RabbitMQ ended before an answer"
	}
	return "the connection to RabbitMQ broke off: " + c.closedBy.Error()
}

func (c *pubChannel) close() {
	switch {
	case c.ch.IsClosed():
	case c.link.blocked.Load() != nil: // the broker reads nothing, not even that
		c.link.end()
	default:
		_ = c.link.call(c.ch.Close)
	}
	<-c.gone
	c.done.Wait()
}

// await waits until all are answered, the channel is gone, or ctx ends.
func (c *pubChannel) await(ctx context.Context, confirms []*amqp091.DeferredConfirmation) {
	for _, confirm := range confirms {
		if confirm == nil {
			return
		}
		select {
		case <-confirm.Done():
		case <-c.gone:
			return
		case <-ctx.Done():
			return
		}
	}
}
