package server_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/server"
)

// startServer starts a server on free loopback ports and stops it when the test ends.
func startServer(t *testing.T, opts server.Options) *server.Server {
	t.Helper()
	if opts.Data == "" {
		opts.Data = t.TempDir()
	}
	if opts.FreeBytes == 0 {
		opts.FreeBytes = -1
	}
	opts.PublicAddr, opts.APIAddr = "127.0.0.1:0", "127.0.0.1:0"
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	s, err := server.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopServer(t, s) })
	return s
}

func stopServer(t *testing.T, s *server.Server) {
	t.Helper()
	client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// TestTwoServers: nothing is shared by the servers of a process, and nothing is left when they have stopped.
func TestTwoServers(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("both", func(t *testing.T) {
		a := startServer(t, server.Options{AutoCreate: true})
		b := startServer(t, server.Options{AutoCreate: true})
		for n := range 3 {
			if err := publish("http://"+a.APIAddr(), 0, n); err != nil {
				t.Fatal(err)
			}
		}
		if err := publish("http://"+b.APIAddr(), 0, 0); err != nil {
			t.Fatal(err)
		}
		if na, nb := count(t, "http://"+a.APIAddr(), "orders"), count(t, "http://"+b.APIAddr(), "orders"); na != 3 || nb != 1 {
			t.Errorf("%d and %d events", na, nb)
		}
	})
}

// TestStartStop: both can be repeated, and what was stored is there after each start.
func TestStartStop(t *testing.T) {
	s := startServer(t, server.Options{Topics: []tandem.Topic{{Name: "orders"}}})
	for n := range 5 {
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := publish("http://"+s.APIAddr(), 0, n); err != nil {
			t.Fatal(err)
		}
		if got := count(t, "http://"+s.APIAddr(), "orders"); got != n+1 {
			t.Fatalf("%d events after %d starts", got, n+1)
		}
		stopServer(t, s)
		stopServer(t, s)
		if s.APIAddr() != "" {
			t.Fatal("a stopped server has no address")
		}
	}
}

// TestDirectory: a directory in use or not writable is a clear error.
func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	startServer(t, server.Options{Data: dir})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{"in use": dir, "a file": file, "below a file": filepath.Join(file, "data")} {
		other, err := server.New(server.Options{Data: data, PublicAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		err = other.Start(t.Context())
		if err == nil {
			stopServer(t, other)
			t.Errorf("%s: started", name)
			continue
		}
		if !strings.Contains(err.Error(), data) || tandem.CodeOf(err) == tandem.CodeInternal {
			t.Errorf("%s: %v (%s) does not name the directory or has no code", name, err, tandem.CodeOf(err))
		}
	}
}

// TestAddressTaken: the error names the address, and the directory is not left locked.
func TestAddressTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	s, err := server.New(server.Options{Data: dir, PublicAddr: "127.0.0.1:0", APIAddr: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Fatalf("start on a taken address: %v", err)
	}
	startServer(t, server.Options{Data: dir})
}

// TestReload: all or nothing; what is no longer declared is kept, and is an orphan.
func TestReload(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer service.Close()
	svc := tandem.Service{Name: "hello", URL: service.URL}
	first := server.Options{
		Services:      []tandem.Service{svc},
		Topics:        []tandem.Topic{{Name: "orders", Partitions: 2}, {Name: "old"}},
		Routes:        []gateway.Route{{Match: "GET /hello", Service: "hello"}},
		Subscriptions: []tandem.Subscription{{Name: "sub", Topics: []string{"orders"}, Service: "hello", Path: "/events"}},
	}
	next, nextErr := first, error(nil)
	first.Load = func(context.Context) (server.Options, error) { return next, nextErr }
	s := startServer(t, first)
	status := func(method, path string) int {
		t.Helper()
		base := "http://" + s.PublicAddr()
		if strings.HasPrefix(path, "/v1") {
			base = "http://" + s.APIAddr()
		}
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := status(http.MethodGet, "/hello"); got != http.StatusOK {
		t.Fatalf("GET /hello: %d", got)
	}
	if got := status(http.MethodDelete, "/v1/topics/old"); got != http.StatusConflict {
		t.Errorf("deleting what the file declares: %d", got)
	}

	// Each of these fails in another step; none may change anything.
	for name, bad := range map[string]func(*server.Options){
		"file":       func(*server.Options) { nextErr = errors.New("tandem.yaml:3:1: unknown key") },
		"route":      func(o *server.Options) { o.Routes = []gateway.Route{{Match: "GET /other", Service: "nobody"}} },
		"partitions": func(o *server.Options) { o.Topics = []tandem.Topic{{Name: "new"}, {Name: "orders", Partitions: 3}} },
		"subscription": func(o *server.Options) {
			o.Subscriptions = []tandem.Subscription{{Name: "sub", Topics: []string{"orders"}, Service: "hello", Mode: "request", Content: "batch"}}
		},
	} {
		next, nextErr = first, nil
		next.Routes = []gateway.Route{{Match: "GET /other", Service: "hello"}}
		bad(&next)
		if err := s.Reload(t.Context()); err == nil {
			t.Errorf("%s: reloaded", name)
		}
		if got := status(http.MethodGet, "/hello"); got != http.StatusOK {
			t.Errorf("%s: GET /hello: %d after a refused reload", name, got)
		}
		if got := status(http.MethodGet, "/v1/topics/new"); got != http.StatusNotFound {
			t.Errorf("%s: the new topic: %d after a refused reload", name, got)
		}
	}

	// A file that is gone is a conflict: what was asked for, to reload, is there.
	nextErr = tandem.Wrap("read configuration", tandem.Errorf(tandem.CodeNotFound, "open tandem.yaml: no such file or directory"))
	if got := status(http.MethodPost, "/v1/config:reload"); got != http.StatusConflict {
		t.Errorf("a reload without the file: %d", got)
	}

	next, nextErr = first, nil
	next.Topics = []tandem.Topic{{Name: "orders"}}
	next.Routes = []gateway.Route{{Match: "GET /other", Service: "hello"}}
	next.Subscriptions = nil
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a, b := status(http.MethodGet, "/hello"), status(http.MethodGet, "/other"); a != http.StatusNotFound || b != http.StatusOK {
		t.Errorf("after the reload: GET /hello %d, GET /other %d", a, b)
	}
	if text := get(t, "http://"+s.APIAddr()+"/metrics"); !strings.Contains(text, `tandem_gateway_request_seconds_count{answer="2xx",route="GET /other"} 1`) ||
		strings.Contains(text, `route="GET /hello"`) {
		t.Errorf("metrics do not follow the routes:\n%s", text)
	}
	var sub struct {
		Owner  string
		Status tandem.SubscriptionStatus
	}
	getJSON(t, "http://"+s.APIAddr()+"/v1/subscriptions/sub", &sub)
	if sub.Status.State != "orphan" || sub.Owner != "orphan" {
		t.Errorf("the subscription that the file no longer has is %q, of %q", sub.Status.State, sub.Owner)
	}
	if got := status(http.MethodDelete, "/v1/topics/old"); got != http.StatusNoContent {
		t.Errorf("deleting an orphan: %d", got)
	}
}

// TestStopLetsGo: those who wait, for an event or an operation, hold up no stop.
func TestStopLetsGo(t *testing.T) {
	s := startServer(t, server.Options{
		Topics: []tandem.Topic{{Name: "orders"}},
		Routes: []gateway.Route{
			{Match: "POST /orders", Topic: "orders", Type: "placed", Operation: &gateway.Operation{Spec: tandem.OperationSpec{Topics: []string{"orders"}, Succeed: []string{"done"}}}},
			{Match: "/operations/{id}", Operation: &gateway.Operation{Public: true}},
			{Match: "POST /ask", Topic: "orders", Type: "asked", Respond: &gateway.Respond{Type: "answered", Timeout: tandem.Duration(time.Minute)}},
			{Match: "GET /events", Stream: &gateway.Stream{Topics: []string{"orders"}}},
		},
	})
	base := "http://" + s.PublicAddr()
	resp, err := client.Post(base+"/orders", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	location := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusAccepted || location == "" {
		t.Fatalf("%s, Location %q", resp.Status, location)
	}
	ended := make(chan error, 4)
	for _, wait := range []struct{ method, path, accept string }{
		{http.MethodGet, location + "?wait=60s", ""},
		{http.MethodGet, location, tandem.MediaSSE},
		{http.MethodPost, "/ask", ""},
		{http.MethodGet, "/events", tandem.MediaSSE},
	} {
		req, err := http.NewRequestWithContext(t.Context(), wait.method, base+wait.path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", wait.accept)
		go func() {
			resp, err := client.Do(req)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			ended <- err
		}()
	}
	// All are open when the events of the questions are there and the streams are counted.
	for count(t, "http://"+s.APIAddr(), "orders") < 2 || !strings.Contains(get(t, "http://"+s.APIAddr()+"/metrics"), "tandem_streams_open 1") {
		time.Sleep(5 * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	for range 4 {
		if err := <-ended; err != nil {
			t.Errorf("cut off: %v", err)
		}
	}
}
