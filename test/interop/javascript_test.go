package interop

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// TestJavaScriptSDKPublishes: the CloudEvents SDK for JavaScript publishes in both of its modes.
func TestJavaScriptSDKPublishes(t *testing.T) {
	s := start(t, "topics:\n  orders: {}\n")
	said, err := exec.CommandContext(t.Context(), "node", "js/cloudevents.mjs", "publish", s.url("/v1/topics/orders/events")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	page := get(t, s.url("/v1/topics/orders/events?from=earliest"))
	for _, want := range []string{`"id":"structured"`, `"id":"binary"`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in %s; the SDK said %s", want, page, said)
		}
	}
	if strings.Count(page, `"region":"eu"`) != 2 || strings.Count(page, `"data":{"total":12}`) != 2 || strings.Count(page, `"time":"2026-11-21T07:00:00.000Z"`) != 2 {
		t.Errorf("attributes or data differ: %s", page)
	}
}

// TestJavaScriptSDKReceives: a receiver made with the CloudEvents SDK for JavaScript understands deliveries, and its answer becomes
// a reply event.
func TestJavaScriptSDKReceives(t *testing.T) {
	said := lines(t.Context(), t, "node", "js/cloudevents.mjs", "receive")
	s := start(t, `
services:
  stock: {url: `+next(t, said)+`}
topics:
  orders: {}
subscriptions:
  stock: {topics: [orders], filter: {type: test}, service: stock, path: /events}
`)
	s.publish("orders", "42", 7)
	var event struct {
		Subject, Type, TandemFlow string
		Data                      struct{ N int }
	}
	if err := json.Unmarshal([]byte(next(t, said)), &event); err != nil {
		t.Fatal(err)
	}
	if event.Subject != "42" || event.Type != "test" || event.Data.N != 7 || event.TandemFlow == "" {
		t.Errorf("received %+v", event)
	}
	page := get(t, s.url("/v1/topics/orders/events?from=earliest&type=stock.reserved&wait=20s"))
	if !strings.Contains(page, `"replyid":"r1"`) || !strings.Contains(page, `"tandemhops":1`) || !strings.Contains(page, `"data":{"ok":true}`) {
		t.Errorf("no reply in %s", page)
	}
}
