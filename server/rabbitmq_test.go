package server_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/source"
	"github.com/tandem-hybrid/tandem/server"
)

const (
	rabbitURL   = "TANDEM_RABBITMQ"
	rabbitQueue = "TANDEM_TEST_QUEUE" // that a server in a process of its own takes from
)

// needRabbit skips a test without a broker.
func needRabbit(t *testing.T) string {
	t.Helper()
	url := os.Getenv(rabbitURL)
	if url == "" {
		t.Skip("needs a RabbitMQ: make rabbitmq-up, then export what it prints, " + rabbitURL)
	}
	return url
}

func secretOfEnv(ref string) (string, error) {
	name, ok := strings.CutPrefix(ref, "env:")
	if v := os.Getenv(name); ok && v != "" {
		return v, nil
	}
	return "", errors.New("no such secret")
}

func sourcesOfEnv() []source.Source {
	queue := os.Getenv(rabbitQueue)
	if queue == "" {
		return nil
	}
	return []source.Source{{Name: "rabbit", Topic: "orders", Type: "plain", AMQP: source.AMQP{URL: "env:" + rabbitURL, Queue: queue, Prefetch: 20}}}
}

// rabbit is what the tests do to a broker.
type rabbit struct {
	t   *testing.T
	url string
}

// newRabbit has the broker take messages, whatever a run that was broken off has left it with.
func newRabbit(t *testing.T) *rabbit {
	t.Helper()
	r := &rabbit{t, needRabbit(t)}
	r.script("ctl", "set_vm_memory_high_watermark", "0.4")
	return r
}

// script runs one of test/rabbitmq.
func (r *rabbit) script(args ...string) string {
	r.t.Helper()
	out, err := exec.Command("../test/rabbitmq/"+args[0], args[1:]...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// channel returns a channel of its own connection, when the broker is there.
func (r *rabbit) channel() *amqp091.Channel {
	r.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		conn, err := amqp091.Dial(r.url)
		if err == nil {
			ch, err := conn.Channel()
			if err != nil {
				r.t.Fatal(err)
			}
			r.t.Cleanup(func() { conn.Close() })
			return ch
		}
		if time.Now().After(deadline) {
			r.t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // a back-off, not a wait for a state
	}
}

// queue makes a durable queue, bound to a durable exchange of the same name where bound says so.
func (r *rabbit) queue(name string, bound bool) {
	r.t.Helper()
	ch := r.channel()
	_, err := ch.QueueDeclare(name, true, false, false, false, nil)
	if err == nil && bound {
		if err = ch.ExchangeDeclare(name, "topic", true, false, false, false, nil); err == nil {
			err = ch.QueueBind(name, "#", name, false, nil)
		}
	}
	if err != nil {
		r.t.Fatal(err)
	}
	// RabbitMQ answers a declaration before it has written it: after a kill the queue, or what it was bound to, may be gone.
	r.script("ctl", "eval", "ok = mnesia:sync_log(), mnesia:dump_log().")
	r.t.Cleanup(func() {
		ch := r.channel()
		_, _ = ch.QueueDelete(name, false, false, false)
		_ = ch.ExchangeDelete(name, false, false)
	})
}

// received is a line of test/rabbitmq/consume.
type received struct {
	Redelivered                   bool
	Exchange, RoutingKey, Body    string
	Headers                       map[string]any
	ContentType, MessageID, AppID string
	DeliveryMode                  int
	Type, Timestamp               string
}

// consume runs an independent consumer until the test ends.
func (r *rabbit) consume(queue string) <-chan received {
	r.t.Helper()
	if out, err := exec.Command("../test/rabbitmq/consume", "--check").CombinedOutput(); err != nil {
		r.t.Skipf("needs python3 with pika, which test/rabbitmq/up fetches: %s", out)
	}
	cmd := exec.Command("../test/rabbitmq/consume", queue)
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	lines := make(chan received, 10_000)
	var done sync.WaitGroup
	done.Go(func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			var m received
			if err := json.Unmarshal(s.Bytes(), &m); err != nil {
				r.t.Errorf("%v: %s", err, s.Bytes())
				return
			}
			lines <- m
		}
	})
	r.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		done.Wait()
		if r.t.Failed() {
			r.t.Log(stderr.String())
		}
	})
	return lines
}

// TestRabbitMQDelivery publishes 1,000 events to an exchange while RabbitMQ is killed and started again; a consumer that nobody here wrote gets all
// of them, the events of each key in their order (promises 2 and 3).
func TestRabbitMQDelivery(t *testing.T) {
	r := newRabbit(t)
	const events, keys = 1000, 20
	name := "tandem-delivery-" + tandem.NewID()
	r.queue(name, true)
	logged := &warnings{}
	s := startServer(t, server.Options{Data: t.TempDir(), PublicAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0", FreeBytes: -1, Secrets: secretOfEnv,
		Topics: []tandem.Topic{{Name: "orders", Partitions: 4}},
		Subscriptions: []tandem.Subscription{{Name: "erp", Topics: []string{"orders"}, From: "earliest",
			AMQP: &tandem.AMQP{URL: "env:" + rabbitURL, Exchange: name, RoutingKey: "{topic}.{type}"}, Backoff: tandem.Backoff{Max: tandem.Duration(time.Second)}}},
		Logger: slog.New(slog.NewTextHandler(logged, nil))})
	lines := r.consume(name)

	seen := map[string]int{} // events of each key, in order
	ids := map[string]bool{}
	repeats := 0
	take := func(until int) {
		t.Helper()
		timeout := time.After(60 * time.Second)
		for len(ids) < until {
			select {
			case m := <-lines:
				id, _ := m.Headers["cloudEvents:id"].(string)
				if ids[id] {
					repeats++
					continue
				}
				ids[id] = true
				key, _ := m.Headers["cloudEvents:subject"].(string)
				if want := fmt.Sprintf("%s-%d", key, seen[key]); id != want {
					t.Errorf("key %s: %s came where %s was next", key, id, want)
				}
				seen[key]++
				if len(ids) == 1 {
					checkMessage(t, name, &m)
				}
			case <-timeout:
				t.Fatalf("%d of %d events came\n%s", len(ids), until, logged)
			}
		}
	}
	publishRange := func(from, to int) {
		t.Helper()
		for n := from; n < to; n++ {
			for k := range keys {
				body := fmt.Sprintf(`{"specversion":"1.0","id":"k%d-%d","source":"/shop","type":"order.placed","subject":"k%d","count":7,"gift":true,"data":{"n":%d}}`, k, n, k, n)
				post(t, "http://"+s.APIAddr()+"/v1/topics/orders/events", body)
			}
		}
	}
	publishRange(0, 15)
	take(100)
	restarted := make(chan struct{})
	go func() {
		defer close(restarted)
		r.script("node", "restart")
	}()
	publishRange(15, events/keys)
	<-restarted
	take(events)
	t.Logf("%d repeats", repeats)
	for k, n := range seen {
		if n != events/keys {
			t.Errorf("key %s has %d events", k, n)
		}
	}
	if ready := get(t, "http://"+s.APIAddr()+"/readyz"); ready == "" {
		t.Error("not ready")
	}
	if strings.Contains(logged.String(), "not-to-be-shown") {
		t.Errorf("the password was logged: %s", logged)
	}
}

func post(t *testing.T, url, body string) {
	t.Helper()
	resp, err := client.Post(url, tandem.MediaEvent, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s", resp.Status, text)
	}
}

// checkMessage looks at a message as another program sees it.
func checkMessage(t *testing.T, exchange string, m *received) {
	t.Helper()
	if m.Exchange != exchange || m.RoutingKey != "orders.order.placed" || m.ContentType != "application/json" || m.DeliveryMode != 2 ||
		!strings.HasPrefix(m.MessageID, "msg_") || m.Type != "order.placed" {
		t.Errorf("the message is %+v", m)
	}
	for name, want := range map[string]any{"cloudEvents:specversion": "1.0", "cloudEvents:source": "/shop", "cloudEvents:type": "order.placed", "cloudEvents:count": 7.0,
		"cloudEvents:gift": true, tandem.HeaderSubscription: "erp", tandem.HeaderAttempt: "1", tandem.HeaderMaxAttempts: "12"} {
		if m.Headers[name] != want {
			t.Errorf("header %s is %v, not %v", name, m.Headers[name], want)
		}
	}
	for _, name := range []string{tandem.HeaderFlow, tandem.HeaderCause, tandem.HeaderPosition} {
		if v, _ := m.Headers[name].(string); v == "" {
			t.Errorf("header %s is missing", name)
		}
	}
	if !strings.HasPrefix(m.Body, `{"n":`) {
		t.Errorf("the body is %s", m.Body)
	}
}

// TestRabbitMQSource takes 1,000 messages while RabbitMQ and Tandem are killed and started again: every one is in the log once, in the order of its
// key, and none is left in the queue.
func TestRabbitMQSource(t *testing.T) {
	if testing.Short() {
		t.Skip("starts server processes: run without -short")
	}
	r := newRabbit(t)
	const messages, keys = 1000, 10
	name := "tandem-source-" + tandem.NewID()
	r.queue(name, false)
	t.Setenv(rabbitQueue, name)
	dir := t.TempDir()
	p := startProcess(t, dir)
	defer func() { p.kill() }()

	sent := make(chan int, messages) // numbers of confirmed messages
	go func() {
		defer close(sent)
		ch := r.channel()
		_ = ch.Confirm(false)
		for n := 0; n < messages; {
			confirm, err := ch.PublishWithDeferredConfirm("", name, true, false, messageOf(n, keys))
			if err != nil || !confirm.Wait() {
				if ch = r.channel(); ch.Confirm(false) != nil {
					continue
				}
				continue // once more, with the same id
			}
			sent <- n
			n++
		}
	}()
	for n := range sent {
		switch n {
		case messages / 4, messages / 4 * 3:
			p.kill()
			p = startProcess(t, dir)
		case messages / 2:
			r.script("node", "restart")
		}
	}
	var count [messages]int
	var next [keys]int
	stored, cursor, deadline := 0, "from=earliest", time.Now().Add(60*time.Second)
	read := func(wait string) (n int) {
		t.Helper()
		var page struct {
			Events []struct {
				ID, Type string
				Data     struct{ K, N int }
			}
			Cursor string
		}
		getJSON(t, p.url+"/v1/topics/orders/events?limit=1000&wait="+wait+"&"+cursor, &page)
		for _, e := range page.Events {
			if count[e.Data.N]++; count[e.Data.N] == 1 {
				stored++
			}
			if e.ID != fmt.Sprintf("m%d", e.Data.N) {
				t.Errorf("message %d has the id %s", e.Data.N, e.ID)
			}
			if e.Type == "order.placed" { // those without a key have no order
				if e.Data.N < next[e.Data.K] {
					t.Errorf("key %d: %d came after %d", e.Data.K, e.Data.N, next[e.Data.K])
				}
				next[e.Data.K] = e.Data.N
			}
		}
		cursor = "cursor=" + page.Cursor
		return len(page.Events)
	}
	for stored < messages {
		if read("1s"); time.Now().After(deadline) {
			t.Fatalf("%d of %d messages are in the log; the queue has %s", stored, messages, r.script("ctl", "list_queues", "name", "messages"))
		}
	}
	for left := "?"; left != "0"; {
		out := r.script("ctl", "list_queues", "-s", "name", "messages")
		for line := range strings.Lines(out) {
			if n, ok := strings.CutPrefix(line, name); ok {
				left = strings.TrimSpace(n)
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s messages are left in the queue", left)
		}
	}
	for read("100ms") > 0 { // what was acknowledged last
	}
	for n, times := range count {
		if times != 1 {
			t.Errorf("message %d is in the log %d times", n, times)
		}
	}
	if metrics := get(t, p.url+"/metrics"); !strings.Contains(metrics, `tandem_source_up{source="rabbit"} 1`) {
		t.Error("the source is not up")
	}
}

// messageOf makes CloudEvents in binary mode, and plain messages in between.
func messageOf(n, keys int) amqp091.Publishing {
	m := amqp091.Publishing{ContentType: "application/json", DeliveryMode: amqp091.Persistent, MessageId: fmt.Sprintf("m%d", n),
		Body: fmt.Appendf(nil, `{"k":%d,"n":%d}`, n%keys, n)}
	if n%5 != 0 {
		m.Headers = amqp091.Table{"cloudEvents:specversion": "1.0", "cloudEvents:id": m.MessageId, "cloudEvents:source": "/erp", "cloudEvents:type": "order.placed",
			"cloudEvents:subject": fmt.Sprintf("k%d", n%keys)}
	}
	return m
}
