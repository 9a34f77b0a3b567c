package interop

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
)

// TestRoles: each token may do what its roles say and nothing else, and nobody anything without one.
func TestRoles(t *testing.T) {
	config := "topics: {orders: {}}\napi:\n  tokens:\n"
	for _, role := range []string{"read", "publish", "operate", "pull"} {
		config += fmt.Sprintf("    - {name: %s, sha256: %x, roles: [%s]}\n", role, sha256.Sum256([]byte("token-"+role)), role)
	}
	s := start(t, config)
	who := []string{"", "unknown", "read", "publish", "operate", "pull"}
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/v1/topics", "", "401 401 200 403 403 403"},
		{"POST", "/v1/topics/orders/events?type=t&source=/s", "{}", "401 401 403 201 403 403"},
		{"GET", "/v1/topics/orders/events", "", "401 401 200 403 403 403"},
		{"GET", "/v1/events?topic=**", "", "401 401 200 403 403 403"},
		{"PUT", "/v1/topics/x", "{}", "401 401 403 403 201 403"},
		{"DELETE", "/v1/topics/x", "", "401 401 403 403 204 403"},
		{"GET", "/v1/subscriptions", "", "401 401 200 403 403 403"},
		{"DELETE", "/v1/subscriptions/x", "", "401 401 403 403 404 403"},
		{"POST", "/v1/subscriptions/x:pause", "", "401 401 403 403 404 403"},
		{"POST", "/v1/subscriptions/x/dead-letters:discard", `{"all":true}`, "401 401 403 403 404 403"},
		{"POST", "/v1/subscriptions/x:pull", "", "401 401 403 403 403 404"},
		{"POST", "/v1/subscriptions/x:ack", `{"leases":["a"]}`, "401 401 403 403 403 404"},
		{"POST", "/v1/subscriptions/x:nack", `{"leases":["a"]}`, "401 401 403 403 403 404"},
		{"POST", "/v1/subscriptions/x:extend", `{"leases":["a"]}`, "401 401 403 403 403 404"},
		{"POST", "/v1/subscriptions/x:test", "", "401 401 403 403 404 403"},
		{"POST", "/v1/subscriptions/x:replay", `{"from":"earliest"}`, "401 401 403 403 404 403"},
		{"GET", "/v1/subscriptions/x/deliveries", "", "401 401 404 403 403 403"},
		{"GET", "/v1/subscriptions/x/dead-letters/y", "", "401 401 404 403 403 403"},
		{"GET", "/v1/operations/x", "", "401 401 404 403 403 403"},
		{"DELETE", "/v1/operations/x", "", "401 401 403 403 404 403"},
		{"POST", "/v1/config:reload", "", "401 401 403 403 204 403"},
		{"GET", "/metrics", "", "401 401 200 403 403 403"},
		{"GET", "/v1/status", "", "401 401 200 403 403 403"},
		{"GET", "/v1/openapi.json", "", "401 401 200 403 403 403"},
		{"GET", "/livez", "", "200 200 200 200 200 200"},
		{"GET", "/readyz", "", "200 200 200 200 200 200"},
	} {
		var got []string
		for _, name := range who {
			header := []string{"Content-Type: application/json"}
			if name != "" {
				header = append(header, "Authorization: Bearer token-"+name)
			}
			status, _, _ := s.call(c.method, s.url("%s", c.path), c.body, header...)
			got = append(got, fmt.Sprint(status))
		}
		if have := strings.Join(got, " "); have != c.want {
			t.Errorf("%s %s: %s, want %s, for %q", c.method, c.path, have, c.want, who)
		}
	}
}
