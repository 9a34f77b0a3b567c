package server_test

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-hybrid/tandem"
	tandemclient "github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/internal/stream"
	"github.com/tandem-hybrid/tandem/server"
)

// warnings keeps what a server warns of.
type warnings struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *warnings) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *warnings) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// TestReloadNamesWhatHasToWait: keys that are read at the start keep their values at a reload, and it says which have others now.
func TestReloadNamesWhatHasToWait(t *testing.T) {
	logged := &warnings{}
	first := server.Options{Data: t.TempDir(), FreeBytes: -1, PublicAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0",
		Streams: stream.Options{MaxStreams: 1}, Topics: []tandem.Topic{{Name: "orders"}},
		Logger: slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	next := first
	first.Load = func(context.Context) (server.Options, error) { return next, nil }
	s := startServer(t, first)
	if err := s.Reload(t.Context()); err != nil || logged.String() != "" {
		t.Fatalf("%v, and a reload of the same file warns: %s", err, logged)
	}
	next.Streams.MaxStreams, next.LedgerBytes = 100, -1
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(logged.String(), `keys="[ledger streams]"`) {
		t.Errorf("logged %q", logged)
	}
	// The bound that it started with holds.
	follow := func() int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.APIAddr()+"/v1/topics/orders/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", tandem.MediaSSE)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp.StatusCode
	}
	if a, b := follow(), follow(); a != 200 || b != 429 {
		t.Errorf("streams are answered %d and %d", a, b)
	}
}

// TestConfigShowsWhatIsInForce: the routes and services of the file, and of a reload what became of it.
func TestConfigShowsWhatIsInForce(t *testing.T) {
	opts := server.Options{Services: []tandem.Service{{Name: "stock", URL: "http://127.0.0.1:9"}}, Topics: []tandem.Topic{{Name: "orders"}},
		Routes: []gateway.Route{{Match: "POST /orders", Topic: "orders", Type: "order.placed", Authorize: gateway.Authorizers{{Service: "stock"}}},
			{Match: "GET /orders", Stream: &gateway.Stream{Topics: []string{"orders"}}}, {Match: "GET /operations/{id}", Operation: &gateway.Operation{Public: true}}}}
	next := opts
	opts.Load = func(context.Context) (server.Options, error) { return next, nil }
	s := startServer(t, opts)
	api, err := tandemclient.New("http://"+s.APIAddr(), tandemclient.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := api.Config(t.Context())
	if err != nil || !c.File || c.Since == "" || c.Refused != nil || len(c.Services) != 1 || c.Services[0].Name != "stock" || len(c.Routes) != 3 {
		t.Fatalf("%+v, %v", c, err)
	}
	if r := c.Routes; r[0].Topic != "orders" || r[0].Type != "order.placed" || r[0].Authorize[0].Service != "stock" || r[1].Stream.Topics[0] != "orders" || r[2].Operation != true {
		t.Errorf("%+v", r)
	}
	next.Topics = []tandem.Topic{{Name: "Not a name"}}
	if s.Reload(t.Context()) == nil {
		t.Fatal("a bad name was taken")
	}
	if c, err = api.Config(t.Context()); err != nil || c.Refused == nil || !strings.Contains(c.Refused.Detail, "Not a name") || c.RefusedAt == "" || len(c.Routes) != 3 {
		t.Errorf("%+v, %v", c, err)
	}
	next = opts
	next.Routes, next.LedgerBytes = opts.Routes[:1], -1
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c, err = api.Config(t.Context()); err != nil || c.Refused != nil || len(c.Routes) != 1 || !slices.Contains(c.Later, "ledger") {
		t.Errorf("%+v, %v", c, err)
	}
	if st, err := api.Status(t.Context()); err != nil || st.Engine != "embedded" || !st.Ready || len(st.Capabilities) == 0 || st.Window == nil {
		t.Errorf("%+v, %v", st, err)
	}
}
