package engines

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestSystemRequest runs a chain of two links on each engine: a refusal stores nothing, a repeat of what is stored calls nobody, also after the
// server was killed, and other data under the id is a conflict.
func TestSystemRequest(t *testing.T) {
	onEngines(t, true, func(t *testing.T, url string) {
		var mu sync.Mutex
		var called []string
		refuse := true
		service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			name := strings.TrimPrefix(r.URL.Path, "/")
			mu.Lock()
			defer mu.Unlock()
			if called = append(called, name); name == "payments" && refuse {
				w.WriteHeader(http.StatusUnprocessableEntity)
				return
			}
			w.Header().Set("Content-Type", "application/cloudevents+json")
			fmt.Fprintf(w, `{"specversion":"1.0","id":"own","source":"/%s","type":"%s.done"}`, name, name)
		}))
		defer service.Close()
		s := startSystem(t, ownPrefix(url), fmt.Sprintf(`
services: {shop: {url: %q}}
topics: {orders: {partitions: 4}}
subscriptions:
  fraud: {topics: [orders], filter: {type: order.placed}, service: shop, path: /fraud, mode: request}
  payments: {topics: [orders], filter: {type: fraud.done}, service: shop, path: /payments, mode: request}
`, service.URL))
		take := func() []string {
			mu.Lock()
			defer mu.Unlock()
			got := called
			called = nil
			return got
		}
		publish := func(status int, repeat bool, calls ...string) {
			t.Helper()
			a := s.publish(t.Context(), "orders", "o1", 1)
			var replies []struct{ Type string }
			if a.status == http.StatusOK {
				if err := json.Unmarshal(a.body, &replies); err != nil || len(replies) != 2 || replies[0].Type != "fraud.done" || replies[1].Type != "payments.done" {
					t.Errorf("%v: %s", err, a.body)
				}
			}
			if got := take(); a.status != status || (a.header.Get("Tandem-Duplicate") == "true") != repeat || !slices.Equal(got, calls) {
				t.Errorf("answered %d, duplicate %q, and called %q: %s", a.status, a.header.Get("Tandem-Duplicate"), got, a.body)
			}
		}
		publish(http.StatusBadGateway, false, "fraud", "payments")
		if got := s.events("orders"); len(got) != 0 {
			t.Errorf("a chain that failed has stored %+v", got)
		}
		mu.Lock()
		refuse = false
		mu.Unlock()
		publish(http.StatusOK, false, "fraud", "payments")
		publish(http.StatusOK, true)
		if got := s.events("orders"); len(got) != 3 {
			t.Errorf("stored %+v", got)
		}
		s.stop(syscall.SIGKILL)
		s.run()
		publish(http.StatusOK, true)
		other := `{"specversion":"1.0","id":"o1-1","source":"/system","type":"order.placed","subject":"o1","data":{"n":2}}`
		if a := s.do(t.Context(), http.MethodPost, "/v1/topics/orders/events", "application/cloudevents+json", other); a.status != http.StatusConflict || len(take()) != 0 {
			t.Errorf("other data: %d %s", a.status, a.body)
		}
		if got := s.events("orders"); len(got) != 3 {
			t.Errorf("stored %+v", got)
		}
	})
}
