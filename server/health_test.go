package server_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/server"
)

// instance is one process of a service that answers with its name, and may be about to stop: it answers still, and fails its check.
type instance struct {
	*httptest.Server
	draining            atomic.Bool
	requests, delivered atomic.Int32
}

func newInstance(t *testing.T, name string) *instance {
	i := &instance{}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/healthz" && i.draining.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/healthz":
		case r.URL.Path == "/deliveries":
			i.delivered.Add(1)
		default:
			i.requests.Add(1)
			_, _ = io.WriteString(w, name)
		}
	}))
	t.Cleanup(i.Close)
	return i
}

// TestHealthOfServices: routes, authorizers and deliveries keep away from what fails its check, the status and the metrics say so, a reload changes
// nothing of it, and with nothing left requests are tried while deliveries wait.
func TestHealthOfServices(t *testing.T) {
	a, b := newInstance(t, "a"), newInstance(t, "b")
	var s *server.Server
	opts := server.Options{
		Topics: []tandem.Topic{{Name: "orders", Partitions: 1}},
		Services: []tandem.Service{{Name: "svc", URL: a.URL, Others: []string{b.URL}, Health: &tandem.Health{
			// Long enough that no check of a busy machine fails, let alone two in a row.
			Path: "/healthz", Interval: tandem.Duration(time.Second), Timeout: tandem.Duration(time.Second), Unhealthy: 2, Healthy: 1}}},
		Routes:        []gateway.Route{{Match: "GET /who", Service: "svc", Authorize: gateway.Authorizers{{Service: "svc"}}}},
		Subscriptions: []tandem.Subscription{{Name: "sub", Topics: []string{"orders"}, Service: "svc", Path: "/deliveries"}},
	}
	opts.Load = func(context.Context) (server.Options, error) {
		next := opts
		next.Topics = append([]tandem.Topic{{Name: "new"}}, opts.Topics...)
		return next, nil
	}
	s = startServer(t, opts)
	who := func() string { return get(t, "http://"+s.PublicAddr()+"/who") }
	healthy := func() (urls, reasons string) {
		var got struct{ Services []tandem.ServiceHealth }
		getJSON(t, "http://"+s.APIAddr()+"/v1/status", &got)
		for _, h := range got.Services {
			if h.Healthy {
				urls += h.URL
			}
			reasons += h.Reason
		}
		return urls, reasons
	}
	is := func(want string) func() bool {
		return func() bool { urls, _ := healthy(); return urls == want }
	}
	if got := who() + who() + who() + who(); len(got) != 4 || a.requests.Load() != 4 || b.requests.Load() != 4 {
		t.Errorf("%s, with authorizers %d and %d", got, a.requests.Load(), b.requests.Load())
	}
	a.draining.Store(true)
	until(t, "a to be left out", is(b.URL))
	if _, reasons := healthy(); reasons != "GET /healthz: status 503" {
		t.Errorf("reason %s", reasons)
	}
	before := a.requests.Load()
	check := func(when string) {
		t.Helper()
		if got := who() + who() + who() + who(); got != "bbbb" || a.requests.Load() != before {
			t.Errorf("%s: %s", when, got)
		}
		if urls, _ := healthy(); urls != b.URL {
			t.Errorf("%s: %s", when, urls)
		}
	}
	check("a is about to stop")
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("after a reload")
	metrics := get(t, "http://"+s.APIAddr()+"/metrics")
	for _, want := range []string{`tandem_service_healthy{service="svc",url="` + a.URL + `"} 0`, `tandem_service_healthy{service="svc",url="` + b.URL + `"} 1`,
		`tandem_service_checks_total{result="failed",service="svc",url="` + a.URL + `"}`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
	for n := range 4 {
		if err := publish("http://"+s.APIAddr(), 0, n); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the deliveries", func() bool { return b.delivered.Load() == 4 })
	if a.delivered.Load() != 0 {
		t.Error("a got a delivery")
	}
	b.draining.Store(true)
	until(t, "b to be unhealthy, too", is(""))
	if got := who() + who(); len(got) != 2 {
		t.Errorf("nothing answers: %s", got)
	}
	if err := publish("http://"+s.APIAddr(), 0, 5); err != nil {
		t.Fatal(err)
	}
	until(t, "the subscription to stop", func() bool {
		return strings.Contains(get(t, "http://"+s.APIAddr()+"/v1/subscriptions/sub"), `"state":"failing","reason":"service svc is unhealthy: GET /healthz: status 503"`) ||
			a.delivered.Load()+b.delivered.Load() == 5 // a probe was as quick
	})
	a.draining.Store(false)
	until(t, "a to be back", is(a.URL))
	until(t, "the subscription to go on", func() bool {
		return strings.Contains(get(t, "http://"+s.APIAddr()+"/v1/subscriptions/sub"), `"state":"running"`) && a.delivered.Load()+b.delivered.Load() == 5
	})
}

// TestImpatientClients: whoever waits for less than a service may take makes neither that unhealthy nor the breaker of its link open.
func TestImpatientClients(t *testing.T) {
	var called atomic.Int32
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not notice that the client leaves
		called.Add(1)
		<-r.Context().Done()
	}))
	t.Cleanup(slow.Close)
	s := startServer(t, server.Options{
		Topics: []tandem.Topic{{Name: "orders", Type: "order.placed", Source: "/orders"}},
		Services: []tandem.Service{{Name: "slow", URL: slow.URL, Timeout: tandem.Duration(time.Hour), Health: &tandem.Health{
			Path: "/healthz", Interval: tandem.Duration(time.Hour), Unhealthy: 2}}},
		Subscriptions: []tandem.Subscription{{Name: "link", Topics: []string{"orders"}, Service: "slow", Path: "/orders", Mode: "request",
			Breaker: tandem.Breaker{Failures: 2, Wait: tandem.Duration(time.Hour)}}},
		Routes: []gateway.Route{{Match: "POST /orders", Topic: "orders", Type: "order.placed", Respond: &gateway.Respond{Type: "any", Timeout: tandem.Duration(50 * time.Millisecond)}}},
	})
	until(t, "calls that are cut off", func() bool {
		if res, body := send(t, "POST", "http://"+s.PublicAddr()+"/orders", "application/json", "1"); res.StatusCode != http.StatusGatewayTimeout {
			t.Fatalf("%s %s", res.Status, body)
		}
		return called.Load() > 4
	})
}
