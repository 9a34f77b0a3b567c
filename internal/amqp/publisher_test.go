package amqp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/rabbitmq/amqp091-go"

	"github.com/tandem-hybrid/tandem/internal/amqp/amqptest"
)

const password = "hunter2hunter2" // of amqptest

func addressOf(t *testing.T, url string) Address {
	t.Helper()
	a, err := ParseAddress(url, Certificates{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func publisherTo(t *testing.T, b *amqptest.Broker, to Target) (*Pool, *Publisher) {
	t.Helper()
	pool := NewPool(Options{Use: "test"})
	p := pool.NewPublisher(addressOf(t, b.URL()), to)
	t.Cleanup(p.Close)
	return pool, p
}

func messagesOf(bodies ...string) []Message {
	var all []Message
	for _, b := range bodies {
		all = append(all, Message{RoutingKey: "k." + b, Content: amqp091.Publishing{MessageId: "id-" + b, Body: []byte(b)}})
	}
	return all
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func counted(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// eventually polls a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

// TestOutcomes: each answer of the broker is told for the message that it is for, and no other.
func TestOutcomes(t *testing.T) {
	b := amqptest.New(t)
	b.Set(amqptest.Rules{Publish: func(m amqptest.Published) amqptest.Answer {
		return map[string]amqptest.Answer{"nack": amqptest.Nack, "return": amqptest.Return, "silence": amqptest.Silence}[m.Body]
	}})
	_, p := publisherTo(t, b, Target{Exchange: "orders"})
	got := p.Publish(within(t, 500*time.Millisecond), messagesOf("a", "nack", "return", "silence", "b"))
	want := []Outcome{Confirmed, Refused, Unroutable, Unknown, Confirmed}
	for i, o := range want {
		if got[i].Outcome != o || (got[i].Detail == "") != (o == Confirmed) {
			t.Errorf("message %d: %+v, want outcome %d", i, got[i], o)
		}
	}
	if d := got[2].Detail; !strings.Contains(d, `exchange "orders" has no queue for the routing key "k.return"`) {
		t.Errorf("the reason is %q", d)
	}
	if m := b.Published()[0]; m.Exchange != "orders" || m.RoutingKey != "k.a" {
		t.Errorf("published %+v", m)
	}
}

// TestReturnsAndConfirmsUnderLoad: what is returned is never taken for confirmed, with many publishing at once.
func TestReturnsAndConfirmsUnderLoad(t *testing.T) {
	b := amqptest.New(t)
	b.Set(amqptest.Rules{Publish: func(m amqptest.Published) amqptest.Answer {
		if strings.HasSuffix(m.Body, "7") {
			return amqptest.Return
		}
		return amqptest.Ack
	}})
	_, p := publisherTo(t, b, Target{Exchange: "orders"})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for n := range 50 {
				bodies := []string{fmt.Sprintf("%d-%d-1", w, n), fmt.Sprintf("%d-%d-7", w, n)}
				got := p.Publish(t.Context(), messagesOf(bodies...))
				if got[0].Outcome != Confirmed || got[1].Outcome != Unroutable {
					t.Errorf("%+v", got)
				}
			}
		})
	}
	wg.Wait()
	if n := b.Accepted(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestQueueThatIsGone: a queue has no routing keys, so what comes back means that it is not there: the endpoint's fault, not the message's.
func TestQueueThatIsGone(t *testing.T) {
	b := amqptest.New(t)
	b.Set(amqptest.Rules{Publish: func(amqptest.Published) amqptest.Answer { return amqptest.Return }})
	_, p := publisherTo(t, b, Target{Queue: "work"})
	if got := p.Publish(t.Context(), messagesOf("a"))[0]; got.Outcome != NotSent || !strings.Contains(got.Detail, `no queue "work"`) {
		t.Errorf("%+v", got)
	}
	if m := b.Published()[0]; m.Exchange != "" || m.RoutingKey != "work" {
		t.Errorf("published %+v", m)
	}
}

// TestConnectionLost: what was under way is unknown, and the next call has a new connection.
func TestConnectionLost(t *testing.T) {
	b := amqptest.New(t)
	var cut atomic.Bool
	cut.Store(true)
	b.Set(amqptest.Rules{Publish: func(m amqptest.Published) amqptest.Answer {
		switch {
		case m.Body == "cut" && cut.Swap(false):
			return amqptest.Cut
		case m.Body == "silence" && cut.Load():
			return amqptest.Silence
		}
		return amqptest.Ack
	}})
	pool, p := publisherTo(t, b, Target{Exchange: "orders"})
	for i, got := range p.Publish(within(t, 5*time.Second), messagesOf("silence", "cut")) {
		if got.Outcome != Unknown || !strings.Contains(got.Detail, "broke off") && !strings.Contains(got.Detail, "ended") {
			t.Errorf("%d: %+v", i, got)
		}
	}
	got := p.Publish(within(t, 5*time.Second), messagesOf("silence", "cut"))
	if got[0].Outcome != Confirmed || got[1].Outcome != Confirmed {
		t.Errorf("%+v", got)
	}
	if n := counted(t, pool.made); n != 2 {
		t.Errorf("%v connections were counted", n)
	}
}

// TestNoTarget: without its exchange nothing is sent, and the reason says so; with it the same publisher goes on.
func TestNoTarget(t *testing.T) {
	b := amqptest.New(t)
	b.Set(amqptest.Rules{Missing: true})
	_, p := publisherTo(t, b, Target{Exchange: "orders"})
	if got := p.Publish(t.Context(), messagesOf("a"))[0]; got.Outcome != NotSent || !strings.Contains(got.Detail, `no exchange "orders"`) {
		t.Errorf("%+v", got)
	}
	b.Set(amqptest.Rules{})
	if got := p.Publish(t.Context(), messagesOf("a"))[0]; got.Outcome != Confirmed {
		t.Errorf("%+v", got)
	}
	b.Set(amqptest.Rules{Publish: func(amqptest.Published) amqptest.Answer { return amqptest.NoExchange }})
	if got := p.Publish(within(t, 5*time.Second), messagesOf("a"))[0]; got.Outcome != Unknown || !strings.Contains(got.Detail, "404") {
		t.Errorf("deleted meanwhile: %+v", got)
	}
	if n := b.Accepted(); n != 1 {
		t.Errorf("%d connections: a channel that is closed costs no connection", n)
	}
}

// TestBlocked: nothing is sent while the broker is low on memory, and it is afterwards.
func TestBlocked(t *testing.T) {
	b := amqptest.New(t)
	_, p := publisherTo(t, b, Target{Exchange: "orders"})
	p.Publish(t.Context(), messagesOf("a"))
	b.Block("low on memory")
	eventually(t, "blocked", func() bool { return p.ch.link.blocked.Load() != nil })
	if got := p.Publish(t.Context(), messagesOf("b"))[0]; got.Outcome != NotSent || !strings.Contains(got.Detail, "low on memory") {
		t.Errorf("%+v", got)
	}
	b.Block("")
	eventually(t, "unblocked", func() bool { return p.ch.link.blocked.Load() == nil })
	if got := p.Publish(t.Context(), messagesOf("c"))[0]; got.Outcome != Confirmed {
		t.Errorf("%+v", got)
	}
	if n := len(b.Published()); n != 2 {
		t.Errorf("%d messages were sent", n)
	}
}

// TestClosesUnderABlock: Close waits for no broker that answers nothing and goes on to send heartbeats, as one does that is low on memory.
func TestClosesUnderABlock(t *testing.T) {
	b := amqptest.New(t)
	_, p := publisherTo(t, b, Target{Exchange: "orders"})
	p.Publish(t.Context(), messagesOf("a"))
	b.Set(amqptest.Rules{Deaf: true})
	b.Block("low on memory")
	eventually(t, "blocked", func() bool { return p.ch.link.blocked.Load() != nil })
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		p.Close()
	}()
	beat := time.NewTicker(20 * time.Millisecond)
	defer beat.Stop()
	for late := time.After(time.Minute); ; {
		select {
		case <-closed:
			return
		case <-beat.C:
			b.Beat()
		case <-late:
			b.Cut() // so that it ends
			<-closed
			t.Fatal("it has not returned after a minute")
		}
	}
}

// TestLoginAndHangUp: why there is no connection is told without the password, and attempts are spread.
func TestLoginAndHangUp(t *testing.T) {
	b := amqptest.New(t)
	for name, c := range map[string]struct {
		rules amqptest.Rules
		want  string
	}{
		"wrong user": {amqptest.Rules{WrongUser: true}, "the user or the password is wrong"},
		"hang up":    {amqptest.Rules{HangUp: true}, "cannot connect to RabbitMQ"},
	} {
		b.Set(c.rules)
		pool, p := publisherTo(t, b, Target{Exchange: "orders"})
		before := b.Accepted()
		for range 100 {
			got := p.Publish(t.Context(), messagesOf("a"))[0]
			if got.Outcome != NotSent || !strings.Contains(got.Detail, c.want) || strings.Contains(got.Detail, password) || strings.Contains(got.Detail, "user:") {
				t.Fatalf("%s: %+v", name, got)
			}
		}
		if n := b.Accepted() - before; n > 3 { // 100 ms at least lie between them
			t.Errorf("%s: %d attempts for 100 calls at once", name, n)
		}
		if n := counted(t, pool.failures); n < 1 {
			t.Errorf("%s: %v failures were counted", name, n)
		}
	}
	b.Set(amqptest.Rules{})
	_, p := publisherTo(t, b, Target{Exchange: "orders"})
	if got := p.Publish(t.Context(), messagesOf("a"))[0]; got.Outcome != Confirmed {
		t.Errorf("%+v", got)
	}
}

// TestReconnect: over many cuts every message is confirmed in the end, by trying again.
func TestReconnect(t *testing.T) {
	b := amqptest.New(t)
	_, p := publisherTo(t, b, Target{Exchange: "orders"})
	for n := range 20 {
		if n%4 == 3 {
			b.Cut()
		}
		eventually(t, "confirmed", func() bool {
			return p.Publish(within(t, time.Second), messagesOf(fmt.Sprint(n)))[0].Outcome == Confirmed
		})
	}
	if n := b.Accepted(); n < 5 {
		t.Errorf("%d connections", n)
	}
	p.Close()
	eventually(t, "the last connection ends", func() bool { return b.Open() == 0 })
}

// TestSharedConnection: users of one broker share its connection, and the last one ends it.
func TestSharedConnection(t *testing.T) {
	b := amqptest.New(t)
	pool := NewPool(Options{})
	first, second := pool.NewPublisher(addressOf(t, b.URL()), Target{Exchange: "a"}), pool.NewPublisher(addressOf(t, b.URL()), Target{Exchange: "b"})
	for _, p := range []*Publisher{first, second} {
		if got := p.Publish(t.Context(), messagesOf("x"))[0]; got.Outcome != Confirmed {
			t.Fatalf("%+v", got)
		}
	}
	if b.Open() != 1 {
		t.Errorf("%d connections", b.Open())
	}
	first.Close()
	first.Close()
	if got := second.Publish(t.Context(), messagesOf("x"))[0]; got.Outcome != Confirmed || b.Accepted() != 1 {
		t.Errorf("%+v, %d connections", got, b.Accepted())
	}
	second.Close()
	eventually(t, "the last connection ends", func() bool { return b.Open() == 0 })
}

// TestForgotten: a broker that never confirms does not fill the memory: the channel is replaced.
func TestForgotten(t *testing.T) {
	b := amqptest.New(t)
	b.Set(amqptest.Rules{Publish: func(amqptest.Published) amqptest.Answer { return amqptest.Silence }})
	_, p := publisherTo(t, b, Target{Exchange: "orders"})
	var bodies []string
	for n := range maxForgotten + 1 {
		bodies = append(bodies, fmt.Sprint(n))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for len(b.Published()) <= maxForgotten && ctx.Err() == nil {
			time.Sleep(time.Millisecond) // polls
		}
		cancel()
	}()
	if got := p.Publish(ctx, messagesOf(bodies...))[0]; got.Outcome != Unknown {
		t.Errorf("%+v", got)
	}
	if !p.ch.ch.IsClosed() {
		t.Error("the channel is still there")
	}
	b.Set(amqptest.Rules{})
	if got := p.Publish(t.Context(), messagesOf("a"))[0]; got.Outcome != Confirmed {
		t.Errorf("%+v", got)
	}
}

// TestDialHangs: a connection that does not come is given up with its attempt, and no attempt waits for another one's.
func TestDialHangs(t *testing.T) {
	pool := NewPool(Options{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	p := pool.NewPublisher(addressOf(t, "amqp://user:"+password+"@127.0.0.1:1"), Target{Exchange: "a"})
	defer p.Close()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got := p.Publish(within(t, 50*time.Millisecond), messagesOf("a"))[0]; got.Outcome != NotSent || got.Detail != "no connection in time" {
				t.Errorf("%+v", got)
			}
		})
	}
	wg.Wait()
	if _, err := p.channel(within(t, time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// TestJitter: waits grow to their bound, and differ.
func TestJitter(t *testing.T) {
	seen := map[time.Duration]bool{}
	for n := 1; n < 100; n++ {
		d := jitter(n)
		if d < firstWait/2 || d > lastWait || n > 10 && d < lastWait/2 {
			t.Errorf("wait %d is %v", n, d)
		}
		seen[d] = true
	}
	if len(seen) < 50 {
		t.Errorf("only %d different waits", len(seen))
	}
}
