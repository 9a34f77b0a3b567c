package server_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-hybrid/tandem"
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
