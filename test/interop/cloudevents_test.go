package interop

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
)

// TestSDKPublishes: the CloudEvents SDK for Go publishes in both of its modes; a page shows the events as they were.
func TestSDKPublishes(t *testing.T) {
	s := start(t, "topics:\n  orders: {}\n")
	client, err := cloudevents.NewClientHTTP()
	if err != nil {
		t.Fatal(err)
	}
	ctx := cloudevents.ContextWithTarget(context.Background(), s.url("/v1/topics/orders/events"))
	for _, mode := range []string{"structured", "binary"} {
		event := cloudevents.NewEvent()
		event.SetID(mode)
		event.SetSource("https://example.com/sdk")
		event.SetType("order.placed")
		event.SetSubject("42")
		event.SetExtension("region", "eu")
		if err := event.SetData("application/json", map[string]any{"total": 12}); err != nil {
			t.Fatal(err)
		}
		send := cloudevents.WithEncodingStructured(ctx)
		if mode == "binary" {
			send = cloudevents.WithEncodingBinary(ctx)
		}
		if result := client.Send(send, event); cloudevents.IsUndelivered(result) || !cloudevents.IsACK(result) {
			t.Fatalf("%s: %v", mode, result)
		}
	}
	page := get(t, s.url("/v1/topics/orders/events?from=earliest"))
	for _, want := range []string{`"id":"structured"`, `"id":"binary"`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in %s", want, page)
		}
	}
	if strings.Count(page, `"region":"eu"`) != 2 || strings.Count(page, `"data":{"total":12}`) != 2 {
		t.Errorf("attributes or data differ: %s", page)
	}
}

// TestSDKReceives: a receiver made with the CloudEvents SDK for Go understands a delivery, and its answer becomes a
// reply event.
func TestSDKReceives(t *testing.T) {
	got := make(chan cloudevents.Event, 1)
	protocol, err := cloudevents.NewHTTP()
	if err != nil {
		t.Fatal(err)
	}
	handler, err := cloudevents.NewHTTPReceiveHandler(context.Background(), protocol, func(event cloudevents.Event) *cloudevents.Event {
		select {
		case got <- event:
		default:
		}
		reply := cloudevents.NewEvent()
		reply.SetID("r1")
		reply.SetSource("https://example.com/stock")
		reply.SetType("stock.reserved")
		reply.SetSubject(event.Subject())
		_ = reply.SetData("application/json", map[string]any{"ok": true})
		return &reply
	})
	if err != nil {
		t.Fatal(err)
	}
	sink := httptest.NewServer(handler)
	defer sink.Close()
	s := start(t, `
services:
  stock: {url: `+sink.URL+`}
topics:
  orders: {}
subscriptions:
  stock: {topics: [orders], filter: {type: test}, service: stock, path: /events}
`)
	s.publish("orders", "42", 7)
	select {
	case event := <-got:
		if event.Subject() != "42" || event.Type() != "test" || string(event.Data()) != `{"n":7}` {
			t.Errorf("received %s", event)
		}
		if event.Extensions()["tandemflow"] == nil {
			t.Errorf("no flow in %s", event)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was delivered within 30 s")
	}
	page := get(t, s.url("/v1/topics/orders/events?from=earliest&type=stock.reserved&wait=20s"))
	if !strings.Contains(page, `"replyid":"r1"`) || !strings.Contains(page, `"tandemhops":1`) {
		t.Errorf("no reply in %s", page)
	}
}

// TestPercentEncodedHeaders: binary mode by the specification (CloudEvents HTTP binding 1.0.2, section 3.1.3.2), in
// both directions. The SDKs get this wrong, so the request is written by hand.
func TestPercentEncodedHeaders(t *testing.T) {
	s := start(t, "topics:\n  orders: {}\n")
	req, err := http.NewRequest(http.MethodPost, s.url("/v1/topics/orders/events"), strings.NewReader(`{"n":1}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"specversion": "1.0", "id": "1", "source": "interop", "type": "test",
		"subject": "Euro%20%E2%82%AC%20%F0%9F%98%80%20%22quoted%22%20100%25", "comment": "a%2fb"} {
		req.Header.Set("ce-"+name, value)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s", resp.Status, body)
	}
	var page struct{ Events []map[string]any }
	if err := json.Unmarshal([]byte(get(t, s.url("/v1/topics/orders/events?from=earliest"))), &page); err != nil || len(page.Events) != 1 {
		t.Fatal(err, len(page.Events))
	}
	if got, want := page.Events[0]["subject"], `Euro € 😀 "quoted" 100%`; got != want {
		t.Errorf("subject %q, want %q", got, want)
	}
	if got := page.Events[0]["comment"]; got != "a/b" {
		t.Errorf("comment %q", got)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v: %s", url, resp.Status, err, body)
	}
	return string(body)
}
