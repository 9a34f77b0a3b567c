package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/server"
)

// TestPollOverRestart: what clients poll, on both listeners, has the same tag after a restart as long as it is the same, and 304 says so without
// a body.
func TestPollOverRestart(t *testing.T) {
	const subscribed = "/v1/subscriptions/billing"
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnprocessableEntity) }))
	defer service.Close()
	s := startServer(t, server.Options{
		Topics: []tandem.Topic{{Name: "orders", Partitions: 1, Type: "placed", Source: "/shop"}},
		Routes: []gateway.Route{
			{Match: "GET /operations/{id}", Operation: &gateway.Operation{Public: true}},
			{Match: "GET /events", Stream: &gateway.Stream{Topics: []string{"orders"}}},
			{Match: "POST /orders", Topic: "orders", Type: "placed", Operation: &gateway.Operation{Spec: tandem.OperationSpec{Topics: []string{"orders"}, Succeed: []string{"paid"}}}},
		},
		Services:      []tandem.Service{{Name: "billing", URL: service.URL}},
		Subscriptions: []tandem.Subscription{{Name: "billing", Topics: []string{"orders"}, Service: "billing"}},
	})
	ask := func(method, url string, header ...string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequest(method, url, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if method != http.MethodPost {
			req.Body, req.ContentLength = http.NoBody, 0
		}
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(body)
	}
	placed, body := ask("POST", "http://"+s.PublicAddr()+"/orders")
	if placed.StatusCode != 202 {
		t.Fatalf("%s %s", placed.Status, body)
	}
	until(t, "the dead letter", func() bool {
		_, body := ask("GET", "http://"+s.APIAddr()+subscribed+"/dead-letters")
		return strings.Contains(body, `"reason"`)
	})
	type listener struct {
		addr  func() string
		paths []string
	}
	operation := placed.Header.Get("Location")
	public := listener{s.PublicAddr, []string{operation, "/events?from=earliest", "/events?from=earliest&limit=1"}}
	api := listener{s.APIAddr, []string{"/v1" + operation, "/v1/topics/orders/events?from=earliest", "/v1/events?topic=*&from=earliest", "/v1/topics", "/v1/topics/orders",
		"/v1/subscriptions", subscribed, subscribed + "/dead-letters", subscribed + "/deliveries"}}
	tags := map[string]string{}
	for round := range 2 {
		for _, l := range []listener{public, api} {
			for _, path := range l.paths {
				if round == 1 && strings.HasSuffix(path, "subscriptions") || round == 1 && path == subscribed {
					continue // their status counts from the start
				}
				url := "http://" + l.addr() + path
				if round == 0 {
					resp, body := ask("GET", url)
					if tags[path] = resp.Header.Get("ETag"); resp.StatusCode != 200 || tags[path] == "" || body == "" || !strings.HasPrefix(resp.Header.Get("Cache-Control"), "private, ") {
						t.Errorf("%s: %s %v", path, resp.Status, resp.Header)
					}
				}
				for _, method := range []string{"GET", "HEAD"} {
					resp, body := ask(method, url, "If-None-Match", tags[path])
					if resp.StatusCode != 304 || body != "" || resp.Header.Get("ETag") != tags[path] || (l.paths[0] == operation) != (resp.Header.Get("Tandem-Flow") != "") {
						t.Errorf("round %d, %s %s: %s %q %v", round, method, path, resp.Status, body, resp.Header)
					}
				}
				if resp, _ := ask("GET", url, "If-None-Match", `"other"`); resp.StatusCode != 200 {
					t.Errorf("round %d, %s: %s", round, path, resp.Status)
				}
			}
		}
		if round == 0 {
			stopServer(t, s)
			if err := s.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if a, _ := ask("GET", "http://"+s.PublicAddr()+"/events?from=earliest&limit=1&cursor="); a.Header.Get("Cache-Control") != "private, no-cache" {
		t.Errorf("a page of a route: %v", a.Header)
	}
	// An event changes all but what is of the operation and the declarations alone.
	placed, _ = ask("POST", "http://"+s.PublicAddr()+"/orders")
	if placed.StatusCode != 202 {
		t.Fatal(placed.Status)
	}
	for path, want := range map[string]int{"/v1" + operation: 304, "/v1/topics": 304, "/v1/topics/orders": 200, "/v1/topics/orders/events?from=earliest": 200} {
		if resp, _ := ask("GET", "http://"+s.APIAddr()+path, "If-None-Match", tags[path]); resp.StatusCode != want {
			t.Errorf("after another event, %s: %s, want %d", path, resp.Status, want)
		}
	}
}
