package server_test

import (
	"testing"

	"github.com/tandem-hybrid/tandem/internal/amqp/amqptest"
	"github.com/tandem-hybrid/tandem/internal/source"
)

// TestRequestSource: what comes from a queue goes through the request links of its topic. What is sent again calls nobody.
func TestRequestSource(t *testing.T) {
	broker := amqptest.New(t)
	t.Setenv("TEST_RABBIT", broker.URL())
	svc := newRequestService(t)
	opts := requestOptions(svc)
	opts.Secrets = secretOfEnv
	opts.Sources = []source.Source{{Name: "warehouse", Topic: "orders", Type: "order.placed", AMQP: source.AMQP{URL: "env:TEST_RABBIT", Queue: "q"}}}
	s := startServer(t, opts)
	api := "http://" + s.APIAddr()
	for range 2 { // a broker may send it again
		broker.Put(amqptest.Message{MessageID: "m", ContentType: "application/json", Body: `{"n":1}`})
		until(t, "taken", func() bool { return broker.Left() == 0 })
		if n := count(t, api, "orders"); n != 3 {
			t.Errorf("%d events are stored", n)
		}
	}
	if got := svc.take(); got != "inventory order.placed, payments inventory.done" {
		t.Errorf("called %q", got)
	}
}
