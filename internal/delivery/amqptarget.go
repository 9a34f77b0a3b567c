package delivery

import (
	"context"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/amqp"
	"github.com/tandem-hybrid/tandem/internal/delivery/webhook"
)

// amqpTarget is where the deliveries of a subscription go in RabbitMQ.
type amqpTarget struct {
	publisher  *amqp.Publisher
	key        amqp.RoutingKey
	structured bool
	app        string
	timeout    time.Duration
}

// amqpCache keeps the target of a subscription until the declaration changes or targetTTL is over, since the password may have been rotated
// by then. The publisher stays as long as it leads to the same place.
type amqpCache struct {
	mu     sync.Mutex // guards what follows
	decl   *tandem.Subscription
	at     time.Time
	target *amqpTarget

	addr amqp.Address // of the publisher
	to   amqp.Target
}

// get returns where deliveries by a declaration go. It waits for nobody. The error is for people, and shows no secret.
func (c *amqpCache) get(m *Manager, decl *tandem.Subscription) (*amqpTarget, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.target != nil && c.decl == decl && time.Since(c.at) < targetTTL {
		return c.target, nil
	}
	addr, err := m.amqpAddress(decl.AMQP)
	if err != nil {
		return nil, err
	}
	template := decl.AMQP.RoutingKey
	if template == "" {
		template = amqp.DefaultRoutingKey
	}
	key, err := amqp.ParseRoutingKey(template)
	if err != nil {
		return nil, err
	}
	t := &amqpTarget{key: key, structured: decl.Content == tandem.ContentStructured, app: m.opts.UserAgent, timeout: tandem.DefaultTimeout}
	if decl.Timeout > 0 {
		t.timeout = time.Duration(decl.Timeout)
	}
	to := amqp.Target{Exchange: decl.AMQP.Exchange, Queue: decl.AMQP.Queue}
	switch {
	case c.target != nil && c.addr == addr && c.to == to:
		t.publisher = c.target.publisher
	default:
		c.drop()
		t.publisher, c.addr, c.to = m.brokers.NewPublisher(addr, to), addr, to
	}
	c.decl, c.at, c.target = decl, time.Now(), t
	return t, nil
}

// close releases the connection, when the last attempt that uses it is over.
func (c *amqpCache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
}

// drop is close with mu held.
func (c *amqpCache) drop() {
	if c.target != nil {
		c.target.publisher.Close()
		c.target = nil
	}
}

// publish makes the attempts of one request and notes the result of each.
func (s *subscription) publish(jobs []*job) {
	start := time.Now()
	t, err := s.amqp.get(s.m, jobs[0].policy.decl)
	if err != nil {
		for _, j := range jobs {
			j.result = result{verdict: unreachable, at: start, detail: "no target: " + tandem.ProblemOf(err).Detail}
		}
		return
	}
	messages := make([]amqp.Message, 0, len(jobs))
	sent := make([]*job, 0, len(jobs))
	for _, j := range jobs {
		m, err := t.message(j)
		if err != nil {
			j.result = result{verdict: refused, at: start, detail: tandem.ProblemOf(err).Detail}
			continue
		}
		messages, sent = append(messages, m), append(sent, j)
	}
	if len(sent) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, t.timeout)
	defer cancel()
	results := t.publisher.Publish(ctx, messages)
	took := time.Since(start)
	for i, j := range sent {
		j.result = s.judgeMessage(&results[i])
		j.result.at, j.result.took = start, took
		// RabbitMQ closes the channel under all because of one, and does not say which.
		j.single = len(jobs) > 1 && results[i].Outcome == amqp.Unknown
	}
}

func (t *amqpTarget) message(j *job) (amqp.Message, error) {
	return t.encode(&amqp.Attempt{Record: j.rec, ID: webhookID(j), Subscription: j.sender(), Replay: j.replay(), Attempt: j.attempt,
		MaxAttempts: j.policy.attempts, TraceParent: j.trace})
}

func (t *amqpTarget) encode(a *amqp.Attempt) (amqp.Message, error) {
	key, err := t.key.For(a.Record)
	if err != nil {
		return amqp.Message{}, err
	}
	a.Structured, a.App = t.structured, t.app
	return amqp.Message{RoutingKey: key, Content: amqp.Encode(a)}, nil
}

// judgeMessage is judge for a message: a confirm is the delivery; one that no queue wants is refused for good; a broker that cannot be reached,
// or has not what it should, is the endpoint's failure.
func (s *subscription) judgeMessage(r *amqp.Result) result {
	out := result{detail: shorten(r.Detail)}
	switch {
	case r.Outcome == amqp.Confirmed:
		out.verdict = delivered
	case r.Outcome == amqp.Unroutable:
		out.verdict = refused
	case s.ctx.Err() != nil:
		out.verdict, out.detail = aborted, stoppedDetail
	case r.Outcome == amqp.NotSent:
		out.verdict = unreachable
	default:
		out.verdict = troubled
	}
	return out
}

// maxDetail is how much of what RabbitMQ says is kept of an attempt.
const maxDetail = 300

func shorten(s string) string {
	if len(s) > maxDetail {
		return s[:maxDetail] + "…"
	}
	return s
}

// testAMQP is Test for a subscription that publishes to RabbitMQ: the message goes to its exchange or queue.
func (m *Manager) testAMQP(ctx context.Context, name string, decl *tandem.Subscription) (tandem.TestExchange, error) {
	start := time.Now()
	var cache amqpCache
	defer cache.close()
	t, err := cache.get(m, decl)
	if err != nil {
		return tandem.TestExchange{Outcome: tandem.AnswerRetry, Detail: "no target: " + tandem.ProblemOf(err).Detail}, nil
	}
	message, err := t.encode(&amqp.Attempt{Record: webhook.TestEvent(name, start), ID: "msg_" + tandem.NewID(), Subscription: name, Attempt: 1,
		MaxAttempts: newPolicy(decl).attempts, Test: true})
	if err != nil {
		return tandem.TestExchange{Outcome: tandem.AnswerDead, Detail: tandem.ProblemOf(err).Detail}, nil
	}
	limited, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	r := t.publisher.Publish(limited, []amqp.Message{message})[0]
	if ctx.Err() != nil {
		return tandem.TestExchange{}, tandem.Errorf(tandem.CodeTimeout, "the test was given up: %w", ctx.Err())
	}
	x := tandem.TestExchange{Sent: tandem.TestMessage{Method: "basic.publish", URL: t.publisher.Broker(), Headers: amqp.Shown(&message), Body: string(message.Content.Body)},
		Detail: shorten(r.Detail), Took: tandem.Duration(time.Since(start))}
	switch r.Outcome {
	case amqp.Confirmed:
		x.Outcome = tandem.AnswerDelivered
	case amqp.Unroutable:
		x.Outcome = tandem.AnswerDead
	default:
		x.Outcome = tandem.AnswerRetry
	}
	return x, nil
}
