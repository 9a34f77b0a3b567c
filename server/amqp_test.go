package server_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/amqp/amqptest"
	"github.com/tandem-hybrid/tandem/internal/source"
	"github.com/tandem-hybrid/tandem/server"
)

// TestWithoutRabbitMQ: a broker that is away makes nothing unready, holds no publisher up and no stop; what waits for it is told and goes on by itself.
func TestWithoutRabbitMQ(t *testing.T) {
	broker := amqptest.New(t)
	broker.Set(amqptest.Rules{HangUp: true})
	t.Setenv("TEST_RABBIT", broker.URL())
	logged := &warnings{}
	s := startServer(t, server.Options{Data: t.TempDir(), PublicAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0", FreeBytes: -1, Secrets: secretOfEnv,
		Topics: []tandem.Topic{{Name: "orders", Partitions: 1}, {Name: "stock", Partitions: 1}},
		Subscriptions: []tandem.Subscription{{Name: "erp", Topics: []string{"orders"}, AMQP: &tandem.AMQP{URL: "env:TEST_RABBIT", Exchange: "e"},
			Backoff: tandem.Backoff{Max: tandem.Duration(50 * time.Millisecond)}}},
		Sources: []source.Source{{Name: "warehouse", Topic: "stock", Type: "t", AMQP: source.AMQP{URL: "env:TEST_RABBIT", Queue: "q"}}},
		Logger:  slog.New(slog.NewTextHandler(logged, nil))})
	api := "http://" + s.APIAddr()
	post(t, api+"/v1/topics/orders/events", `{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1}`)
	until(t, "failing", func() bool { return strings.Contains(get(t, api+"/v1/subscriptions/erp"), `"failing"`) })
	get(t, api+"/readyz")
	if m := get(t, api+"/metrics"); !strings.Contains(m, `tandem_source_up{source="warehouse"} 0`) || !strings.Contains(m, `tandem_amqp_connect_failures_total{use="delivery"}`) {
		t.Errorf("the metrics do not tell: %s", m)
	}
	text := logged.String() + get(t, api+"/v1/subscriptions/erp") + get(t, api+"/v1/subscriptions/erp/deliveries")
	if strings.Contains(text, "hunter2") || !strings.Contains(text, "takes nothing") {
		t.Errorf("logged %s", text)
	}
	broker.Set(amqptest.Rules{})
	broker.Put(amqptest.Message{MessageID: "m", ContentType: "text/plain", Body: "x"})
	until(t, "delivered", func() bool { return len(broker.Published()) == 1 })
	until(t, "taken", func() bool { return broker.Left() == 0 })
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

// TestReloadOfSources: all or nothing, as with everything else that a file declares.
func TestReloadOfSources(t *testing.T) {
	broker := amqptest.New(t)
	t.Setenv("TEST_RABBIT", broker.URL())
	first := server.Options{Data: t.TempDir(), PublicAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0", FreeBytes: -1, Secrets: secretOfEnv,
		Topics:  []tandem.Topic{{Name: "stock", Partitions: 1}},
		Sources: []source.Source{{Name: "warehouse", Topic: "stock", Type: "t", AMQP: source.AMQP{URL: "env:TEST_RABBIT", Queue: "q"}}}}
	next := first
	first.Load = func(context.Context) (server.Options, error) { return next, nil }
	s := startServer(t, first)
	until(t, "connected", func() bool { return broker.Open() == 1 })

	next.Sources = []source.Source{{Name: "other", Topic: "stock", AMQP: source.AMQP{URL: "env:NOT_SET", Queue: "q"}}}
	next.Topics = append(next.Topics, tandem.Topic{Name: "more"})
	if err := s.Reload(t.Context()); tandem.CodeOf(err) != tandem.CodeInvalid {
		t.Fatalf("a source without its secret: %v", err)
	}
	if resp, err := client.Get("http://" + s.APIAddr() + "/v1/topics/more"); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("a part of it was taken: %v %v", resp, err)
	} else {
		resp.Body.Close()
	}
	broker.Put(amqptest.Message{MessageID: "m", ContentType: "text/plain", Body: "x"})
	until(t, "taken by the one before", func() bool { return broker.Left() == 0 })

	next.Sources = nil
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "disconnected", func() bool { return broker.Open() == 0 })
}
