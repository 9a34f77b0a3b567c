package delivery

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/amqp/amqptest"
)

// amqpBed is a bed in real time, with a broker in memory.
func amqpBed(t *testing.T) (*bed, *amqptest.Broker) {
	t.Helper()
	b := newBed(t)
	t.Cleanup(b.close)
	broker := amqptest.New(t)
	b.opts.Secrets = func(ref string) (string, error) {
		if ref != "env:RABBIT" {
			return "", tandem.Errorf(tandem.CodeNotFound, "environment variable %s, which holds a secret, is not set", ref)
		}
		return broker.URL(), nil
	}
	return b, broker
}

func (b *bed) startNow(subs ...tandem.Subscription) {
	b.t.Helper()
	b.m = New(b.log, b.opts)
	if err := b.m.Start(b.ctx); err != nil {
		b.t.Fatal(err)
	}
	if err := b.m.Apply(b.ctx, subs); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) eventually(what string, ok func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: not in time; %+v", what, b.status("rabbit"))
		}
	}
}

func rabbit() tandem.Subscription {
	return tandem.Subscription{Name: "rabbit", Topics: []string{"orders"}, From: "earliest", AMQP: &tandem.AMQP{URL: "env:RABBIT", Exchange: "shop"},
		Backoff: tandem.Backoff{Base: 1, Max: tandem.Duration(20 * time.Millisecond)}}
}

// firsts returns the bodies of events in the order in which they were first published, by key. Keys are the routing keys.
func firsts(broker *amqptest.Broker) map[string][]string {
	out := map[string][]string{}
	seen := map[string]bool{}
	for _, m := range broker.Published() {
		if !seen[m.Body] {
			seen[m.Body] = true
			out[m.RoutingKey] = append(out[m.RoutingKey], m.Body)
		}
	}
	return out
}

// TestAMQPDelivers: over nacks and lost connections every event is published until it is confirmed, those of a key in order, one at a time.
func TestAMQPDelivers(t *testing.T) {
	b, broker := amqpBed(t)
	var mu sync.Mutex
	n := 0
	broker.Set(amqptest.Rules{Publish: func(amqptest.Published) amqptest.Answer {
		mu.Lock()
		defer mu.Unlock()
		switch n++; {
		case n%97 == 0:
			return amqptest.Cut
		case n%31 == 0:
			return amqptest.Nack
		}
		return amqptest.Ack
	}})
	decl := rabbit()
	decl.AMQP.RoutingKey = "{key}"
	b.startNow(decl)
	const events, keys = 400, 20
	for i := range events {
		e := event(fmt.Sprintf("k%d", i%keys))
		e.Data = fmt.Appendf(nil, `{"n":%d}`, i)
		if _, err := b.log.Append(b.ctx, "orders", []tandem.Event{e}); err != nil {
			t.Fatal(err)
		}
	}
	b.eventually("delivered", func() bool { st := b.status("rabbit"); return st.Delivered >= events && st.Lag == 0 })
	for key, bodies := range firsts(broker) {
		var k int
		fmt.Sscanf(key, "k%d", &k)
		if len(bodies) != events/keys {
			t.Errorf("%s: %d events", key, len(bodies))
		}
		for i, body := range bodies {
			if want := fmt.Sprintf(`{"n":%d}`, k+i*keys); body != want {
				t.Errorf("%s: event %d is %s, not %s", key, i, body, want)
				break
			}
		}
	}
	if st := b.status("rabbit"); st.Dead != 0 || st.Failed == 0 {
		t.Errorf("%+v", st)
	}
	// One at a time: an event of a key is published only when the one before it was confirmed, so none comes back once its successor was there.
	last := map[string]int{}
	for _, m := range broker.Published() {
		var i int
		fmt.Sscanf(m.Body, `{"n":%d}`, &i)
		if i < last[m.RoutingKey] {
			t.Fatalf("%s: %d came after %d", m.RoutingKey, i, last[m.RoutingKey])
		}
		last[m.RoutingKey] = i
	}
}

// TestAMQPOutcomes: what RabbitMQ says becomes the outcome that the documentation names.
func TestAMQPOutcomes(t *testing.T) {
	t.Run("unroutable", func(t *testing.T) {
		b, broker := amqpBed(t)
		broker.Set(amqptest.Rules{Publish: func(m amqptest.Published) amqptest.Answer {
			if strings.Contains(m.Body, `"n":1`) {
				return amqptest.Return
			}
			return amqptest.Ack
		}})
		b.startNow(rabbit())
		b.publish("a", "b")
		b.eventually("settled", func() bool { st := b.status("rabbit"); return st.Dead == 1 && st.Delivered == 1 })
		var letters []tandem.DeadLetter
		var err error
		b.eventually("stored", func() bool {
			letters, _, err = b.m.DeadLetters(b.ctx, "rabbit", "", 10)
			return len(letters) > 0 || err != nil
		})
		if err != nil || len(letters) != 1 || letters[0].Reason != "refused" || letters[0].Attempts != 1 ||
			!strings.Contains(letters[0].Detail, `exchange "shop" has no queue for the routing key "order.placed"`) {
			t.Errorf("%+v, %v", letters, err)
		}
	})
	t.Run("nack", func(t *testing.T) {
		b, broker := amqpBed(t)
		broker.Set(amqptest.Rules{Publish: func(amqptest.Published) amqptest.Answer { return amqptest.Nack }})
		decl := rabbit()
		decl.Attempts = 1000
		b.startNow(decl)
		b.publish("a")
		b.eventually("tried again", func() bool { return len(broker.Published()) >= 2 })
		broker.Set(amqptest.Rules{})
		b.eventually("delivered", func() bool { return b.status("rabbit").Delivered == 1 })
	})
	for name, rules := range map[string]amqptest.Rules{
		"no exchange": {Missing: true}, "wrong user": {WrongUser: true}, "hang up": {HangUp: true},
		"queue deleted": {Publish: func(amqptest.Published) amqptest.Answer { return amqptest.Return }},
	} {
		t.Run(name, func(t *testing.T) {
			b, broker := amqpBed(t)
			broker.Set(rules)
			decl := rabbit()
			decl.Attempts = 1 // nothing of this counts
			if name == "queue deleted" {
				decl.AMQP = &tandem.AMQP{URL: "env:RABBIT", Queue: "work"}
			}
			b.startNow(decl)
			b.publish("a", "b")
			b.eventually("failing", func() bool { return b.status("rabbit").State == "failing" && b.status("rabbit").Failed >= 3 })
			if st := b.status("rabbit"); st.Dead != 0 || strings.Contains(st.Reason, "hunter2") || !strings.Contains(st.Reason, "RabbitMQ") {
				t.Errorf("%+v", st)
			}
			broker.Set(amqptest.Rules{})
			b.eventually("delivered", func() bool { st := b.status("rabbit"); return st.Delivered == 2 && st.State == "running" })
		})
	}
}

// TestAMQPTimeout: without a confirm within the timeout an attempt has failed.
func TestAMQPTimeout(t *testing.T) {
	b, broker := amqpBed(t)
	broker.Set(amqptest.Rules{Publish: func(amqptest.Published) amqptest.Answer { return amqptest.Silence }})
	decl := rabbit()
	decl.Timeout = tandem.Duration(20 * time.Millisecond)
	b.startNow(decl)
	b.publish("a")
	b.eventually("tried again", func() bool { return len(broker.Published()) >= 2 })
	broker.Set(amqptest.Rules{})
	b.eventually("delivered", func() bool { return b.status("rabbit").Delivered == 1 })
}

// TestAMQPReload: another exchange takes what comes from then on; a webhook in its place ends the connection.
func TestAMQPReload(t *testing.T) {
	b, broker := amqpBed(t)
	b.startNow(rabbit())
	b.publish("a")
	b.eventually("delivered", func() bool { return b.status("rabbit").Delivered == 1 })
	decl := rabbit()
	decl.AMQP.Exchange = "other"
	if err := b.m.Apply(b.ctx, []tandem.Subscription{decl}); err != nil {
		t.Fatal(err)
	}
	b.publish("a")
	b.eventually("delivered", func() bool { return b.status("rabbit").Delivered == 2 })
	if m := broker.Published(); m[0].Exchange != "shop" || m[1].Exchange != "other" || broker.Open() != 1 {
		t.Errorf("%+v, %d connections", m, broker.Open())
	}
	decl.AMQP, decl.Service = nil, "svc"
	if err := b.m.Apply(b.ctx, []tandem.Subscription{decl}); err != nil {
		t.Fatal(err)
	}
	b.publish("a")
	b.eventually("delivered", func() bool { return b.status("rabbit").Delivered == 3 })
	b.eventually("disconnected", func() bool { return broker.Open() == 0 })
}

// TestAMQPTest: a test publishes one marked message.
func TestAMQPTest(t *testing.T) {
	b, broker := amqpBed(t)
	b.startNow(rabbit())
	x, err := b.m.Test(b.ctx, "rabbit")
	if err != nil || x.Outcome != tandem.AnswerDelivered || x.Sent.Headers[tandem.HeaderTest] != "true" || x.Sent.Headers["routing_key"] != "tandem.test" ||
		strings.Contains(x.Sent.URL, "hunter2") {
		t.Errorf("%+v, %v", x, err)
	}
	broker.Set(amqptest.Rules{Publish: func(amqptest.Published) amqptest.Answer { return amqptest.Return }})
	if x, err := b.m.Test(b.ctx, "rabbit"); err != nil || x.Outcome != tandem.AnswerDead {
		t.Errorf("%+v, %v", x, err)
	}
	broker.Set(amqptest.Rules{Missing: true})
	if x, err := b.m.Test(b.ctx, "rabbit"); err != nil || x.Outcome != tandem.AnswerRetry {
		t.Errorf("%+v, %v", x, err)
	}
}

func TestCheckAMQP(t *testing.T) {
	b, _ := amqpBed(t)
	b.startNow()
	for name, c := range map[string]struct {
		change func(s *tandem.Subscription)
		at     string
	}{
		"no target":        {func(s *tandem.Subscription) { s.AMQP.Exchange = "" }, "/amqp"},
		"two targets":      {func(s *tandem.Subscription) { s.AMQP.Queue = "q" }, "/amqp/queue"},
		"routing key":      {func(s *tandem.Subscription) { s.AMQP.RoutingKey = "{" }, "/amqp/routingKey"},
		"key of a queue":   {func(s *tandem.Subscription) { s.AMQP.Exchange, s.AMQP.Queue, s.AMQP.RoutingKey = "", "q", "k" }, "/amqp/routingKey"},
		"long exchange":    {func(s *tandem.Subscription) { s.AMQP.Exchange = strings.Repeat("x", 256) }, "/amqp/exchange"},
		"password":         {func(s *tandem.Subscription) { s.AMQP.URL = "amqp://u:hunter2@h" }, "/amqp/url"},
		"no secret":        {func(s *tandem.Subscription) { s.AMQP.URL = "env:OTHER" }, "/amqp/url"},
		"certificates":     {func(s *tandem.Subscription) { s.AMQP.TLS = &tandem.TLSAuth{CA: "env:RABBIT"} }, "/amqp/url"},
		"batch":            {func(s *tandem.Subscription) { s.Content = tandem.ContentBatch }, "/content"},
		"beside url":       {func(s *tandem.Subscription) { s.URL = "http://x" }, "/url"},
		"beside service":   {func(s *tandem.Subscription) { s.Service = "svc" }, "/service"},
		"beside pull":      {func(s *tandem.Subscription) { s.Pull = &tandem.Pull{} }, "/amqp"},
		"with a secret":    {func(s *tandem.Subscription) { s.Secret = "env:RABBIT" }, "/secret"},
		"with replies":     {func(s *tandem.Subscription) { s.Replies = "orders" }, "/replies"},
		"with answers":     {func(s *tandem.Subscription) { s.Answers = map[string]string{"404": "dead"} }, "/answers"},
		"with a handshake": {func(s *tandem.Subscription) { s.Handshake = true }, "/handshake"},
	} {
		decl := rabbit()
		c.change(&decl)
		err := b.m.Check([]tandem.Subscription{decl})
		if tandem.CodeOf(err) != tandem.CodeInvalid || !strings.Contains(err.Error(), "/subscriptions/rabbit"+c.at+" ") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := b.m.Check([]tandem.Subscription{rabbit()}); err != nil {
		t.Error(err)
	}
	// A stranger's URL would lead anywhere, past the guard.
	decl := rabbit()
	if _, err := b.m.Put(context.Background(), decl, ""); tandem.CodeOf(err) != tandem.CodeInvalid || !strings.Contains(err.Error(), "/amqp is for the configuration file") {
		t.Errorf("through the API: %v", err)
	}
}
