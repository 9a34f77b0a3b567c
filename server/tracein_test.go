package server_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
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
