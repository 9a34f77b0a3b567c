package amqp

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/tandem-hybrid/tandem"
)

// needRabbit skips a test without a broker.
func needRabbit(t *testing.T) string {
	t.Helper()
	url := os.Getenv("TANDEM_RABBITMQ")
	if url == "" {
		t.Skip("needs a RabbitMQ: make rabbitmq-up, then export what it prints, TANDEM_RABBITMQ")
	}
	enough.Do(func() { script(t, "ctl", "set_vm_memory_high_watermark", "0.4") })
	return url
}

// enough has the broker take messages, whatever a run that was broken off has left it with.
var enough sync.Once

// starve has the broker take nothing until the test ends.
func starve(t *testing.T) (end func()) {
	t.Helper()
	end = sync.OnceFunc(func() { script(t, "ctl", "set_vm_memory_high_watermark", "0.4") })
	t.Cleanup(end)
	script(t, "ctl", "set_vm_memory_high_watermark", "0.0000001")
	return end
}

func script(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("../../test/rabbitmq/"+args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// admin returns a channel that sets things up, and a name that nothing has yet.
func admin(t *testing.T, text string) (*amqp091.Channel, string) {
	t.Helper()
	conn, err := amqp091.Dial(text)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch, "tandem-" + tandem.NewID()
}

func realPublisher(t *testing.T, text string, to Target) *Publisher {
	t.Helper()
	p := NewPool(Options{}).NewPublisher(addressOf(t, text), to)
	t.Cleanup(p.Close)
	return p
}

// TestRabbitMQOutcomes: unroutable, refused by a full queue, deleted, and confirmed, as RabbitMQ does it.
func TestRabbitMQOutcomes(t *testing.T) {
	text := needRabbit(t)
	ch, name := admin(t, text)
	if err := ch.ExchangeDeclare(name, "direct", false, true, false, false, nil); err != nil {
		t.Fatal(err)
	}
	for queue, args := range map[string]amqp091.Table{name + ".a": nil, name + ".full": {"x-max-length": int32(0), "x-overflow": "reject-publish"}} {
		if _, err := ch.QueueDeclare(queue, false, false, false, false, args); err != nil {
			t.Fatal(err)
		}
		if err := ch.QueueBind(queue, "k."+queue[len(name)+1:], name, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	p := realPublisher(t, text, Target{Exchange: name})
	got := p.Publish(within(t, 10*time.Second), messagesOf("a", "nobody", "full"))
	if got[0].Outcome != Confirmed || got[1].Outcome != Unroutable || got[2].Outcome != Refused {
		t.Errorf("%+v", got)
	}
	if !strings.Contains(got[1].Detail, fmt.Sprintf(`exchange %q has no queue for the routing key "k.nobody": 312 NO_ROUTE`, name)) {
		t.Errorf("the reason is %q", got[1].Detail)
	}

	q := realPublisher(t, text, Target{Queue: name + ".a"})
	if got := q.Publish(within(t, 10*time.Second), messagesOf("b"))[0]; got.Outcome != Confirmed {
		t.Errorf("%+v", got)
	}
	for _, queue := range []string{name + ".a", name + ".full"} {
		if _, err := ch.QueueDelete(queue, false, false, false); err != nil {
			t.Fatal(err)
		}
	}
	if got := q.Publish(within(t, 10*time.Second), messagesOf("b"))[0]; got.Outcome != NotSent || !strings.Contains(got.Detail, "has no queue") {
		t.Errorf("a queue that was deleted: %+v", got)
	}
	missing := realPublisher(t, text, Target{Exchange: name + ".none"})
	if got := missing.Publish(within(t, 10*time.Second), messagesOf("b"))[0]; got.Outcome != NotSent || !strings.Contains(got.Detail, "has no exchange") {
		t.Errorf("an exchange that is not there: %+v", got)
	}
}

// TestRabbitMQTLS: a broker that wants certificates gets them, and whoever cannot show, or does not trust, one is told so.
func TestRabbitMQTLS(t *testing.T) {
	plain := needRabbit(t)
	text, dir := os.Getenv("TANDEM_RABBITMQ_SECURE"), os.Getenv("TANDEM_RABBITMQ_TLS")
	if text == "" || dir == "" {
		t.Skip("needs a RabbitMQ with TLS: make rabbitmq-up, then export what it prints, TANDEM_RABBITMQ_SECURE and TANDEM_RABBITMQ_TLS")
	}
	pem := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	ch, name := admin(t, plain)
	if _, err := ch.QueueDeclare(name, false, true, false, false, nil); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = ch.QueueDelete(name, false, false, false) }()
	good := Certificates{Cert: pem("client.crt"), Key: pem("client.key"), CA: pem("ca.crt")}
	stranger, nobody, nameless := good, good, good
	stranger.CA, nobody.CA = good.Cert, "" // a certificate that has signed nothing; the system's
	nameless.Cert, nameless.Key = "", ""
	for who, c := range map[string]struct {
		certs Certificates
		want  string // in the detail; empty: confirmed
	}{
		"all":                      {good, ""},
		"another authority":        {stranger, "certificate signed by unknown authority"},
		"the system's authorities": {nobody, "certificate signed by unknown authority"},
		"no certificate of ours":   {nameless, "cannot connect"}, // the alert that says why may get lost in the reset of the connection
	} {
		addr, err := ParseAddress(text, c.certs)
		if err != nil {
			t.Fatal(err)
		}
		p := NewPool(Options{}).NewPublisher(addr, Target{Queue: name})
		got := p.Publish(within(t, 15*time.Second), messagesOf("a"))[0]
		p.Close()
		switch {
		case c.want == "" && got.Outcome != Confirmed:
			t.Errorf("%s: %+v", who, got)
		case c.want != "" && (got.Outcome != NotSent || !strings.Contains(got.Detail, c.want) || !strings.Contains(got.Detail, addr.String())):
			t.Errorf("%s: %+v, want %q", who, got, c.want)
		}
		if u, _ := url.Parse(text); u != nil {
			if secret, _ := u.User.Password(); strings.Contains(got.Detail, secret) {
				t.Errorf("%s: the password is in %q", who, got.Detail)
			}
		}
	}
	if m, ok, err := ch.Get(name, true); err != nil || !ok || m.MessageCount != 0 {
		t.Errorf("of four messages the queue has not the first alone: %v %v, and %d more", ok, err, m.MessageCount)
	}
}

// TestRabbitMQLogin: what is wrong with the URL is told, without the password.
func TestRabbitMQLogin(t *testing.T) {
	u, err := url.Parse(needRabbit(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(u *url.URL)
		want   string
	}{
		"password":     {func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), password) }, "the user or the password is wrong"},
		"virtual host": {func(u *url.URL) { u.Path = "/none" }, "no such virtual host"},
		"port":         {func(u *url.URL) { u.Host = "127.0.0.1:1" }, "connection refused"},
	} {
		bad := *u
		c.change(&bad)
		got := realPublisher(t, bad.String(), Target{Queue: "q"}).Publish(within(t, 15*time.Second), messagesOf("a"))[0]
		secret, _ := bad.User.Password()
		if got.Outcome != NotSent || !strings.Contains(got.Detail, c.want) || strings.Contains(got.Detail, secret) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestRabbitMQBlocked: a broker that is low on memory costs attempts their time, and no message and no connection.
func TestRabbitMQBlocked(t *testing.T) {
	text := needRabbit(t)
	ch, name := admin(t, text)
	if _, err := ch.QueueDeclare(name, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = ch.QueueDelete(name, false, false, false) }()
	p := realPublisher(t, text, Target{Queue: name})
	if got := p.Publish(within(t, 10*time.Second), messagesOf("a"))[0]; got.Outcome != Confirmed {
		t.Fatalf("%+v", got)
	}
	end := starve(t)
	var last Result
	eventually(t, "blocked", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		last = p.Publish(ctx, messagesOf("b"))[0]
		return last.Outcome == NotSent
	})
	if !strings.Contains(last.Detail, "low on memory") {
		t.Errorf("the reason is %q", last.Detail)
	}
	end()
	eventually(t, "taken again", func() bool {
		return p.Publish(within(t, time.Second), messagesOf("c"))[0].Outcome == Confirmed
	})
	if n := counted(t, p.pool.made); n != 1 {
		t.Errorf("%v connections", n)
	}
}

// TestRabbitMQClosesUnderABlock: stopping waits for no broker that reads nothing.
func TestRabbitMQClosesUnderABlock(t *testing.T) {
	text := needRabbit(t)
	ch, name := admin(t, text)
	if _, err := ch.QueueDeclare(name, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = ch.QueueDelete(name, false, false, false) }()
	p := NewPool(Options{}).NewPublisher(addressOf(t, text), Target{Queue: name})
	p.Publish(within(t, 10*time.Second), messagesOf("a"))
	starve(t)
	eventually(t, "blocked", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		return p.Publish(ctx, messagesOf("b"))[0].Outcome == NotSent
	})
	start := time.Now()
	p.Close()
	if took := time.Since(start); took > 2*closeTime {
		t.Errorf("it took %v", took)
	}
}

// BenchmarkRabbitMQ publishes to a durable queue with confirms, as the delivery loop does: 100 messages a call, eight calls at once.
func BenchmarkRabbitMQ(b *testing.B) {
	text := os.Getenv("TANDEM_RABBITMQ")
	if text == "" {
		b.Skip("needs a RabbitMQ: make rabbitmq-up, then export what it prints, TANDEM_RABBITMQ")
	}
	conn, err := amqp091.Dial(text)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		b.Fatal(err)
	}
	name := "tandem-bench-" + tandem.NewID()
	if _, err := ch.QueueDeclare(name, true, false, false, false, nil); err != nil {
		b.Fatal(err)
	}
	defer func() { _, _ = ch.QueueDelete(name, false, false, false) }()
	a, err := ParseAddress(text, Certificates{})
	if err != nil {
		b.Fatal(err)
	}
	p := NewPool(Options{}).NewPublisher(a, Target{Queue: name})
	defer p.Close()
	const batch = 100
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			messages := make([]Message, batch)
			for i := range messages {
				messages[i].Content = amqp091.Publishing{MessageId: tandem.NewID(), DeliveryMode: 2, Body: make([]byte, 200)}
			}
			for _, r := range p.Publish(context.Background(), messages) {
				if r.Outcome != Confirmed {
					b.Fatalf("%+v", r)
				}
			}
		}
	})
	b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "messages/s")
}
