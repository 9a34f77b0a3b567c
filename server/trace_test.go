package server_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"

	"github.com/tandem-hybrid/tandem"
	tandemclient "github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/internal/amqp/amqptest"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/internal/source"
	"github.com/tandem-hybrid/tandem/internal/tracecontext"
	"github.com/tandem-hybrid/tandem/outbox"
	"github.com/tandem-hybrid/tandem/server"
)

const (
	aTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	aState = "vendor=1,other=2"
)

// traced adds a trace context to every request, and says that it comes from a page of the server.
type traced struct{ parent, state string }

func (t traced) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Origin", "http://"+r.URL.Host)
	if t.parent != "" {
		r.Header.Set("Traceparent", t.parent)
		r.Header.Set("Tracestate", t.state)
	}
	return http.DefaultTransport.RoundTrip(r)
}

// clientWith returns a client whose requests have a trace context.
func clientWith(t *testing.T, addr, parent, state string) *tandemclient.Client {
	t.Helper()
	c, err := tandemclient.New("http://"+addr, tandemclient.Options{HTTP: &http.Client{Transport: traced{parent, state}}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTraceOnEveryWayIn: an event keeps the trace that it comes with, and begins one where it comes without or with one that is not valid.
func TestTraceOnEveryWayIn(t *testing.T) {
	broker := amqptest.New(t)
	t.Setenv("TEST_RABBIT", broker.URL())
	s := startServer(t, server.Options{
		Secrets: secretOfEnv,
		Topics:  []tandem.Topic{{Name: "orders", Partitions: 1, Type: "order.placed", Source: "/orders"}},
		Routes: []gateway.Route{
			{Match: "POST /orders", Topic: "orders", Type: "order.placed"},
			// The path that the client dials.
			{Match: "GET /v1/topics/orders/events", Stream: &gateway.Stream{Topics: []string{"orders"},
				Publish: &gateway.StreamPublish{Topic: "orders", Type: "order.placed"}}},
		},
		Sources: []source.Source{{Name: "warehouse", Topic: "orders", Type: "order.placed", AMQP: source.AMQP{URL: "env:TEST_RABBIT", Queue: "q"}}},
	})
	events, api := "http://"+s.APIAddr()+"/v1/topics/orders/events", newClient(t, s)

	withID := func(s string) string { return strings.ReplaceAll(s, "NEW", tandem.NewID()) }
	// post publishes with the trace in headers, and in attributes where the body or the header has room for them.
	post := func(url, contentType, body string, header ...string) func(t *testing.T, parent, state string) {
		return func(t *testing.T, parent, state string) {
			attributes, body := "", withID(body)
			if parent != "" {
				attributes = fmt.Sprintf(`,"traceparent":%q,"tracestate":%q`, parent, state)
			}
			var all []string
			for _, h := range header {
				all = append(all, withID(h))
			}
			switch {
			case strings.Contains(body, "%s"):
				body = fmt.Sprintf(body, attributes)
			case len(header) > 0 && header[len(header)-1] == "attribute" && parent != "":
				all = append(all, "ce-traceparent", parent, "ce-tracestate", state)
			case parent != "":
				all = append(all, "Traceparent", parent, "Tracestate", state)
			}
			if res, answer := send(t, "POST", url, contentType, body, all...); res.StatusCode >= 300 {
				t.Fatalf("%s %s", res.Status, answer)
			}
		}
	}
	event := func() tandem.Event { return tandem.Event{ID: tandem.NewID(), Source: "/x", Type: "order.placed"} }
	socket := func(addr string) func(t *testing.T, parent, state string) {
		return func(t *testing.T, parent, state string) {
			socket, err := clientWith(t, addr, parent, state).Dial(t.Context(), "orders", tandemclient.Query{}, tandemclient.SocketOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer socket.Close()
			if _, err := socket.Publish(t.Context(), event()); err != nil {
				t.Fatal(err)
			}
		}
	}
	const one = `{"specversion":"1.0","id":"NEW","source":"/x","type":"order.placed"}`
	const oneWith = `{"specversion":"1.0","id":"NEW","source":"/x","type":"order.placed"%s}`
	binary := []string{"ce-specversion", "1.0", "ce-id", "NEW", "ce-source", "/x", "ce-type", "order.placed", "ce-of"}
	cursor := tandem.Cursor("")

	for name, way := range map[string]func(t *testing.T, parent, state string){
		"structured, header":    post(events, tandem.MediaEvent, one),
		"structured, attribute": post(events, tandem.MediaEvent, oneWith),
		"binary, header":        post(events, "", "", append(binary, "header")...),
		"binary, attribute":     post(events, "", "", append(binary, "attribute")...),
		"batch, header":         post(events, tandem.MediaBatch, "["+one+"]"),
		"batch, attribute":      post(events, tandem.MediaBatch, "["+oneWith+"]"),
		"NDJSON, header":        post(events, tandem.MediaNDJSON, one+"\n"),
		"NDJSON, attribute":     post(events, tandem.MediaNDJSON, oneWith+"\n"),
		"plain JSON":            post(events, "application/json", "1"),
		"ack=accepted":          post(events+"?ack=accepted", "application/json", "1"),
		"topic route":           post("http://"+s.PublicAddr()+"/orders", "application/json", "1"),
		"WebSocket of the API":  socket(s.APIAddr()),
		"WebSocket of a route":  socket(s.PublicAddr()),
		"client": func(t *testing.T, parent, state string) {
			e := event()
			e.Meta.TraceParent, e.Meta.TraceState = parent, state
			if _, err := api.Publish(t.Context(), "orders", e); err != nil {
				t.Fatal(err)
			}
		},
		"outbox": func(t *testing.T, parent, state string) {
			request := httptest.NewRequest("POST", "/", nil)
			if parent != "" {
				request.Header.Set("Traceparent", parent)
				request.Header.Set("Tracestate", state)
			}
			relayOne(t, api, outbox.FromRequest(request).Stamp(event()))
		},
		"RabbitMQ, plain": func(_ *testing.T, parent, state string) {
			broker.Put(amqptest.Message{ContentType: "text/plain", Body: "x", Headers: map[string]string{"traceparent": parent, "tracestate": state}})
		},
		"RabbitMQ, structured": func(_ *testing.T, parent, state string) {
			broker.Put(amqptest.Message{ContentType: tandem.MediaEvent, Body: `{"specversion":"1.0","id":"` + tandem.NewID() + `","source":"/x","type":"t"}`,
				Headers: map[string]string{"traceparent": parent, "tracestate": state}})
		},
		"RabbitMQ, attribute": func(_ *testing.T, parent, state string) {
			headers := map[string]string{"cloudEvents:specversion": "1.0", "cloudEvents:id": tandem.NewID(), "cloudEvents:source": "/x", "cloudEvents:type": "t"}
			if parent != "" {
				headers["cloudEvents:traceparent"], headers["cloudEvents:tracestate"] = parent, state
			}
			broker.Put(amqptest.Message{Headers: headers})
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct{ parent, state string }{{aTrace, aState}, {"", ""}, {"00-rubbish", "a=1"}} {
				way(t, c.parent, c.state)
				var m tandem.Meta
				for deadline := time.Now().Add(30 * time.Second); m.Flow == ""; {
					page, err := api.Read(t.Context(), tandemclient.Query{Topics: []string{"orders"}, Start: tandem.Start{Cursor: cursor, Earliest: cursor == ""}, Wait: 5 * time.Second})
					if err != nil || len(page.Events) > 1 || time.Now().After(deadline) {
						t.Fatalf("%d events, %v", len(page.Events), err)
					}
					if cursor = page.Cursor; len(page.Events) == 1 {
						m = page.Events[0].Meta
					}
				}
				want, state := c.parent, c.state
				if want != aTrace {
					want, state = tracecontext.Begin(m.Flow), ""
				}
				if m.TraceParent != want || m.TraceState != state {
					t.Errorf("with %q it has %q and %q in flow %s, want %q and %q", c.parent, m.TraceParent, m.TraceState, m.Flow, want, state)
				}
			}
		})
	}
}

// relayOne publishes an event through an outbox of its own.
func relayOne(t *testing.T, api *tandemclient.Client, e tandem.Event) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.ToSlash(filepath.Join(t.TempDir(), "outbox.db")))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	box, err := outbox.Open(t.Context(), db, api, outbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := box.WriteTx(t.Context(), tx, "orders", e)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := box.PublishNow(t.Context(), ids...); err != nil {
		t.Fatal(err)
	}
}

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
