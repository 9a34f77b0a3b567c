package source

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rabbitmq/amqp091-go"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/amqp"
	"github.com/tandem-hybrid/tandem/internal/chain"
)

const (
	// What is stored together: whatever is there, up to these.
	batchMessages = 256
	batchBytes    = 1 << 20

	// The waits before another attempt, of a log that takes nothing and of a queue that cannot be consumed, with jitter of a half.
	firstWait = 100 * time.Millisecond
	lastWait  = 10 * time.Second

	// refusedEvery is how often refused messages are logged at most.
	refusedEvery = time.Minute
)

// taker is one source that runs.
type taker struct {
	decl    Source
	all     *Sources
	logger  *slog.Logger
	taken   prometheus.Counter
	refused prometheus.Counter

	soft   context.Context // of what is taken; ends with drain
	drain  context.CancelFunc
	hard   context.Context // of what is being stored
	cancel context.CancelFunc
	done   chan struct{}

	// Of the goroutine alone:
	consumer *amqp.Consumer
	addr     amqp.Address
	down     bool      // it was logged that nothing can be taken
	stalled  bool      // it was logged that nothing can be stored
	unlogged int       // refused since the last line about it
	loggedAt time.Time // of that line
}

func startTaker(s *Sources, decl Source) *taker {
	t := &taker{decl: decl, all: s, logger: s.opts.Logger.With("source", decl.Name, "queue", decl.AMQP.Queue),
		taken: s.metrics.taken.WithLabelValues(decl.Name), refused: s.metrics.refused.WithLabelValues(decl.Name),
		done: make(chan struct{})}
	t.hard, t.cancel = context.WithCancel(context.Background())
	t.soft, t.drain = context.WithCancel(t.hard)
	go t.run()
	return t
}

// wait returns when the goroutine is gone. When the time is out it cancels what is being stored, and reports false.
func (t *taker) wait(out <-chan struct{}) bool {
	defer t.cancel()
	select {
	case <-t.done:
		return true
	case <-out:
	}
	t.cancel()
	<-t.done
	return false
}

// run takes until it is drained, over any number of connections.
func (t *taker) run() {
	defer close(t.done)
	up := t.all.metrics.up.WithLabelValues(t.decl.Name)
	reconnects := t.all.metrics.reconnects.WithLabelValues(t.decl.Name)
	defer t.closeConsumer()
	for failures, sessions := 0, 0; t.soft.Err() == nil; {
		x, err := t.open(t.soft)
		if err == nil {
			if failures = 0; sessions > 0 {
				reconnects.Inc()
			}
			sessions++
			up.Set(1)
			if t.down {
				t.logger.Info("the source takes messages again")
				t.down = false
			}
			err = t.take(x)
			up.Set(0)
			x.Close()
		}
		if err == nil || t.soft.Err() != nil {
			continue
		}
		if !t.down {
			t.down = true
			t.logger.Warn("the source takes nothing; trying on", "error", err)
		}
		failures++
		t.pause(failures, err)
	}
	up.Set(0)
}

// pause waits before another attempt, or until it is drained.
func (t *taker) pause(failures int, err error) {
	wait := lastWait
	if failures < 8 {
		wait = min(lastWait, firstWait<<(failures-1))
	}
	wait = wait/2 + rand.N(wait/2+1)
	var known *tandem.Error
	if errors.As(err, &known) {
		wait = max(wait, min(known.RetryAfter, lastWait))
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.soft.Done():
	}
}

// open begins to consume. The secrets are read anew each time, so that a password can be rotated.
func (t *taker) open(ctx context.Context) (*amqp.Consuming, error) {
	addr, err := amqp.Resolve(t.decl.AMQP.URL, t.decl.AMQP.TLS, t.all.secret)
	if err != nil {
		return nil, err
	}
	if t.consumer == nil || addr != t.addr {
		t.closeConsumer()
		t.addr, t.consumer = addr, t.all.brokers.NewConsumer(addr, t.decl.AMQP.Queue, t.decl.prefetch())
	}
	return t.consumer.Open(ctx)
}

func (t *taker) closeConsumer() {
	if t.consumer != nil {
		t.consumer.Close()
		t.consumer = nil
	}
}

// take stores what comes until it is drained, which is no error, or until nothing comes any more.
func (t *taker) take(x *amqp.Consuming) error {
	var messages []amqp091.Delivery
	for {
		select {
		case <-t.soft.Done():
			return nil
		case m, ok := <-x.Messages:
			if !ok {
				return x.Err()
			}
			messages = gather(append(messages[:0], m), x.Messages)
		}
		err := t.store(x, messages)
		clear(messages)
		if err != nil {
			return err
		}
	}
}

// gather adds what is there already.
func gather(messages []amqp091.Delivery, from <-chan amqp091.Delivery) []amqp091.Delivery {
	bytes := len(messages[0].Body)
	for len(messages) < batchMessages && bytes < batchBytes {
		select {
		case m, ok := <-from:
			if !ok {
				return messages
			}
			messages = append(messages, m)
			bytes += len(m.Body)
		default:
			return messages
		}
	}
	return messages
}

// pair is a message and its event.
type pair struct {
	tag   uint64
	event tandem.Event
}

// store stores the events of messages, in their order, and settles all of them, or returns why it could not.
func (t *taker) store(x *amqp.Consuming, messages []amqp091.Delivery) error {
	pairs := make([]pair, 0, len(messages))
	defaults := t.decl.defaults()
	for i := range messages {
		m := &messages[i]
		e, err := amqp.Decode(m, defaults)
		if err != nil {
			if err := t.refuse(x, m.DeliveryTag, err); err != nil {
				return err
			}
			continue
		}
		if e.ID == "" { // given here, so that another attempt to store it is recognised
			e.ID = tandem.NewID()
		}
		if e.Meta.Flow == "" {
			e.Meta.Flow = tandem.NewID()
		}
		e.Meta.Producer, e.Meta.Route = t.decl.Name, "sources/"+t.decl.Name
		pairs = append(pairs, pair{m.DeliveryTag, e})
	}
	return t.append(x, pairs)
}

// append stores events and acknowledges their messages. If the log refuses them they are stored one by one, and those that it refuses are rejected.
func (t *taker) append(x *amqp.Consuming, pairs []pair) error {
	if len(pairs) == 0 {
		return nil
	}
	events := make([]tandem.Event, len(pairs))
	for i := range pairs {
		events[i] = pairs[i].event
	}
	for failures := 1; ; failures++ {
		_, err := t.all.log.Append(t.hard, t.decl.Topic, events)
		switch code := tandem.CodeOf(err); {
		case err == nil:
			if t.stalled {
				t.stalled = false
				t.logger.Info("the source stores events again")
			}
			t.taken.Add(float64(len(pairs)))
			return x.Ack(pairs[len(pairs)-1].tag) // and all before it, which have been settled
		case code == tandem.CodeInvalid || code == tandem.CodeTooLarge || code == tandem.CodeConflict || code == tandem.CodeRequestLink && (len(pairs) > 1 || chain.Refused(err)):
			if len(pairs) == 1 {
				return t.refuse(x, pairs[0].tag, err)
			}
			for i := range pairs {
				if err := t.append(x, pairs[i:i+1]); err != nil {
					return err
				}
			}
			return nil
		}
		// The log takes nothing now, or the topic is not there. Nothing is acknowledged, so that RabbitMQ hands out no more than the prefetch.
		if !t.stalled && t.hard.Err() == nil {
			t.stalled = true
			t.logger.Warn("the source cannot store events; trying on, and nothing is acknowledged meanwhile", "topic", t.decl.Topic, "error", err)
		}
		t.pause(failures, err)
		if t.soft.Err() != nil || x.Lost() { // RabbitMQ hands them out again
			return err
		}
	}
}

// refuse rejects a message that is no valid event. It is logged once, and then at most every minute.
func (t *taker) refuse(x *amqp.Consuming, tag uint64, why error) error {
	t.refused.Inc()
	t.unlogged++
	if t.loggedAt.IsZero() || time.Since(t.loggedAt) >= refusedEvery {
		t.logger.Warn("messages are no valid events, and were rejected to the dead-letter exchange of their queue, or dropped if it has none",
			"messages", t.unlogged, "error", why)
		t.unlogged, t.loggedAt = 0, time.Now()
	}
	return x.Reject(tag)
}
