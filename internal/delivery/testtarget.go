package delivery

import (
	"context"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/delivery/webhook"
)

// Test sends an event of type tandem.test, marked by the header Tandem-Test, to the target of a subscription, whatever state that is in,
// and returns the exchange. It is a request of its own, with a handshake and a token of its own where the target wants them: nothing
// is stored, counted or replied to, and what the answer would do to the subscription it does not do. Codes: NotFound, Invalid (it is
// pulled).
func (m *Manager) Test(ctx context.Context, name string) (tandem.TestExchange, error) {
	s, err := m.find(name)
	if err != nil {
		return tandem.TestExchange{}, err
	}
	c := s.configuration()
	decl := c.current()
	if decl.Pull != nil {
		return tandem.TestExchange{}, tandem.Errorf(tandem.CodeInvalid, "subscription %s is pulled, and has no target to test", name).
			WithHint("pull from it to see what it has")
	}
	if decl.AMQP != nil {
		return m.testAMQP(ctx, name, decl)
	}
	start := time.Now()
	targets := newTargetCache()
	defer targets.close()
	target, err := targets.get(ctx, s, decl)
	switch {
	case ctx.Err() != nil:
		return tandem.TestExchange{}, tandem.Errorf(tandem.CodeTimeout, "the test was given up: %w", ctx.Err())
	case err != nil:
		x := tandem.TestExchange{Outcome: tandem.AnswerRetry, Detail: "no target: " + err.Error(), Took: tandem.Duration(time.Since(start))}
		if u, err := targetURL(decl, targets.service); err == nil {
			x.Sent.URL = u.String()
		}
		return x, nil
	}
	x, a := webhook.Try(ctx, target, &webhook.Message{Record: webhook.TestEvent(name, start), ID: "msg_" + tandem.NewID(),
		Subscription: name, Attempt: 1, MaxAttempts: newPolicy(decl).attempts, Test: true})
	x.Outcome, x.Detail = testOutcome(decl, &a)
	return x, nil
}

// testOutcome is what an answer would mean for a delivery.
func testOutcome(decl *tandem.Subscription, a *webhook.Answer) (outcome, detail string) {
	if a.Err != nil {
		return tandem.AnswerRetry, a.Excerpt()
	}
	p := newPolicy(decl)
	if p.batch > 0 {
		if items, ok, _ := a.Results(1); ok {
			return p.judge(items[0].Status).meaning(), itemDetail(&items[0])
		}
	}
	v := p.judge(a.Status)
	if v != delivered {
		return v.meaning(), a.Excerpt()
	}
	if err := checkReply(decl, a); err != nil && isSuccess(a.Status) {
		return tandem.AnswerRetry, "the reply is invalid: " + err.Error()
	}
	return v.meaning(), ""
}

// checkReply reports what is wrong with the events of an answer, but for the topic that they would go to.
func checkReply(decl *tandem.Subscription, a *webhook.Answer) error {
	if decl.Content == tandem.ContentBatch {
		_, _, err := a.Results(1)
		return err
	}
	mode, err := tandem.ContentMode(a.Header)
	if err != nil || mode == tandem.ModePlain || mode == tandem.ModeNDJSON || len(a.Body) == 0 && mode != tandem.ModeBinary {
		return err
	}
	if a.Cut {
		return tandem.Errorf(tandem.CodeTooLarge, "the answer is over %d bytes", webhook.MaxAnswerBytes)
	}
	_, err = parseReplies(mode, a)
	return err
}
