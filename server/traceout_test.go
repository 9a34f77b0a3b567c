package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	tandemclient "github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/internal/amqp/amqptest"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/server"
)

// seen is what a service was sent, by path.
type seen struct {
	mu   sync.Mutex
	sent map[string][]string // traces of headers and events
	heal bool                // /dying answers as the others do
}

func (s *seen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	all := "header " + r.Header.Get("Traceparent") + " " + r.Header.Get("Tracestate")
	events, _ := tandem.ParseBatchJSON(body)
	if e, err := tandem.ParseEventJSON(body); err == nil {
		events = []tandem.Event{e}
	} else if r.Header.Get("ce-id") != "" {
		if e, err := tandem.ParseBinaryHTTP(r.Header, body); err == nil {
			events = []tandem.Event{e}
		}
	}
	for i := range events {
		all += ", event " + events[i].Meta.TraceParent + " " + events[i].Meta.TraceState
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[r.URL.Path] = append(s.sent[r.URL.Path], all)
	if r.URL.Path == "/dying" && !s.heal {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if r.URL.Path == "/replying" {
		w.Header().Set("Content-Type", tandem.MediaEvent)
		_, _ = io.WriteString(w, `{"specversion":"1.0","id":"own","source":"/x","type":"reply"}`)
	}
}

// of waits for the n-th request to a path.
func (s *seen) of(t *testing.T, path string, n int) (got string) {
	t.Helper()
	until(t, "request "+path, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.sent[path]) >= n {
			got = s.sent[path][n-1]
		}
		return got != ""
	})
	return got
}

// TestTraceOnEveryWayOut: the trace that is stored with an event is told to whoever is given it, however that is.
func TestTraceOnEveryWayOut(t *testing.T) {
	svc := &seen{sent: map[string][]string{}}
	shop := httptest.NewServer(svc)
	defer shop.Close()
	broker := amqptest.New(t)
	t.Setenv("TEST_RABBIT", broker.URL())
	orders := []string{"orders"}
	s := startServer(t, server.Options{
		Secrets:  secretOfEnv,
		Services: []tandem.Service{{Name: "shop", URL: shop.URL}},
		Topics:   []tandem.Topic{{Name: "orders", Partitions: 1}, {Name: "carts", Partitions: 1}, {Name: "replies", Partitions: 1}},
		Routes:   []gateway.Route{{Match: "GET /proxied", Service: "shop"}},
		Subscriptions: []tandem.Subscription{
			{Name: "structured", Topics: orders, Service: "shop", Path: "/structured"},
			{Name: "binary", Topics: orders, Service: "shop", Path: "/binary", Content: tandem.ContentBinary},
			{Name: "batch", Topics: orders, Service: "shop", Path: "/batch", Content: tandem.ContentBatch},
			{Name: "dying", Topics: orders, Service: "shop", Path: "/dying"},
			{Name: "replying", Topics: orders, Service: "shop", Path: "/replying", Replies: "replies"},
			{Name: "link", Topics: []string{"carts"}, Service: "shop", Path: "/link", Mode: tandem.DeliverRequest},
			{Name: "pulled", Topics: orders, Pull: &tandem.Pull{}},
			{Name: "queue", Topics: orders, AMQP: &tandem.AMQP{URL: "env:TEST_RABBIT", Exchange: "e"}},
			{Name: "queue-structured", Topics: orders, Content: tandem.ContentStructured, AMQP: &tandem.AMQP{URL: "env:TEST_RABBIT", Exchange: "s"}},
		},
	})
	api := newClient(t, s)
	for _, topic := range []string{"orders", "carts"} {
		e := tandem.Event{ID: "1", Source: "/x", Type: "order.placed", Meta: tandem.Meta{TraceParent: aTrace, TraceState: aState}}
		if _, err := api.Publish(t.Context(), topic, e); err != nil {
			t.Fatal(err)
		}
	}
	const both = aTrace + " " + aState
	const single = "header " + both + ", event " + both
	meta := func(m *tandem.Meta) string { return m.TraceParent + " " + m.TraceState }
	first := func(topic string, webSocket bool) func(t *testing.T) string {
		return func(t *testing.T) string {
			q := tandemclient.Query{Topics: []string{topic}, Start: tandem.Start{Earliest: true}}
			for m, err := range api.Stream(t.Context(), q, tandemclient.StreamOptions{WebSocket: webSocket}) {
				if err != nil {
					t.Fatal(err)
				}
				return meta(&m.Event.Meta)
			}
			return ""
		}
	}
	published := func(exchange string) func(t *testing.T) string {
		return func(t *testing.T) (got string) {
			until(t, "message for "+exchange, func() bool {
				for _, m := range broker.Published() {
					if m.Exchange == exchange {
						got = fmt.Sprint("header ", holds(m.Header, "traceparent", aTrace) && holds(m.Header, "tracestate", aState),
							", attributes ", holds(m.Header, "cloudEvents:traceparent", aTrace) && holds(m.Header, "cloudEvents:tracestate", aState),
							", body ", strings.Contains(m.Body, aTrace) && strings.Contains(m.Body, aState))
					}
				}
				return got != ""
			})
			return got
		}
	}
	sent := func(path string, n int) func(*testing.T) string {
		return func(t *testing.T) string { return svc.of(t, path, n) }
	}
	for _, way := range []struct {
		name string
		seen func(t *testing.T) string
		want string
	}{
		{"structured webhook", sent("/structured", 1), single},
		{"binary webhook", sent("/binary", 1), single},
		{"batch webhook", sent("/batch", 1), "header  , event " + both},
		{"request link", sent("/link", 1), single},
		{"refused", sent("/dying", 1), single},
		{"redrive", func(t *testing.T) string {
			until(t, "dead letter", func() bool {
				dead, _, err := api.DeadLetters(t.Context(), "dying", "", 0)
				return err == nil && len(dead) == 1 && meta(&dead[0].Event.Meta) == both
			})
			svc.mu.Lock()
			svc.heal = true
			svc.mu.Unlock()
			if _, err := api.Redrive(t.Context(), "dying", tandem.DeadLetterSelection{}); err != nil {
				t.Fatal(err)
			}
			return svc.of(t, "/dying", 2)
		}, single},
		{"replay", func(t *testing.T) string {
			if _, err := api.Replay(t.Context(), "structured", tandem.ReplayRequest{From: tandem.Start{Earliest: true}}); err != nil {
				t.Fatal(err)
			}
			return svc.of(t, "/structured", 2)
		}, single},
		{"reply", func(t *testing.T) string { svc.of(t, "/replying", 1); return first("replies", false)(t) }, both},
		{"pull", func(t *testing.T) string {
			leases, err := api.Pull(t.Context(), "pulled", tandem.PullRequest{Wait: tandem.Duration(10 * time.Second)})
			if err != nil || len(leases) != 1 {
				t.Fatal(leases, err)
			}
			return meta(&leases[0].Event.Meta)
		}, both},
		{"page", func(t *testing.T) string {
			page, err := api.Read(t.Context(), tandemclient.Query{Topics: orders, Start: tandem.Start{Earliest: true}})
			if err != nil || len(page.Events) == 0 {
				t.Fatal(page, err)
			}
			return meta(&page.Events[0].Meta)
		}, both},
		{"server-sent events", first("orders", false), both},
		{"WebSocket", first("orders", true), both},
		{"RabbitMQ", published("e"), "header true, attributes true, body false"},
		{"RabbitMQ, structured", published("s"), "header true, attributes false, body true"},
		{"service route", func(t *testing.T) string {
			send(t, "GET", "http://"+s.PublicAddr()+"/proxied", "", "", "Traceparent", aTrace, "Tracestate", aState)
			return svc.of(t, "/proxied", 1)
		}, "header " + both},
	} {
		t.Run(way.name, func(t *testing.T) {
			if got := way.seen(t); got != way.want {
				t.Errorf("told %q, want %q", got, way.want)
			}
		})
	}
}

// holds reports whether the table of a message of AMQP has a text.
func holds(header, name, value string) bool {
	n := len(value)
	field := append([]byte{byte(len(name))}, name...)
	field = append(field, 'S', byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	return bytes.Contains([]byte(header), append(field, value...))
}
