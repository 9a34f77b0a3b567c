package webhook

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

func oneURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestHandshakeAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		header string // NAME: VALUE, separated by |
		rate   float64
		bad    string
	}{
		"granted":               {200, "WebHook-Allowed-Origin: shop.example", 0, ""},
		"granted to all":        {204, "WebHook-Allowed-Origin: *|WebHook-Allowed-Rate: *", 0, ""},
		"in other letters":      {200, "WebHook-Allowed-Origin: SHOP.example|WebHook-Allowed-Rate: 90", 1.5, ""},
		"not granted":           {200, "", 0, "does not allow the origin"},
		"granted to another":    {200, "WebHook-Allowed-Origin: other.example", 0, "does not allow the origin"},
		"not there":             {405, "WebHook-Allowed-Origin: *", 0, "status 405"},
		"refused":               {403, "", 0, "status 403"},
		"a redirect":            {302, "WebHook-Allowed-Origin: *", 0, "status 302"},
		"a rate that is none":   {200, "WebHook-Allowed-Origin: *|WebHook-Allowed-Rate: many", 0, `the rate "many"`},
		"a rate of zero":        {200, "WebHook-Allowed-Origin: *|WebHook-Allowed-Rate: 0", 0, `the rate "0"`},
		"a rate without bounds": {200, "WebHook-Allowed-Origin: *|WebHook-Allowed-Rate: Inf", 0, `the rate "Inf"`},
	} {
		target := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodOptions || r.Header.Get("WebHook-Request-Origin") != "shop.example" || r.Header.Get("X-Shop") != "north" || r.ContentLength != 0 {
				t.Errorf("%s: %s %v", name, r.Method, r.Header)
			}
			for kv := range strings.SplitSeq(c.header, "|") {
				k, v, _ := strings.Cut(kv, ": ")
				if k != "" {
					w.Header().Set(k, v)
				}
			}
			w.WriteHeader(c.status)
		})
		target.Headers = http.Header{"X-Shop": {"north"}}
		rate, err := Handshake(t.Context(), target, "shop.example", 0)
		switch {
		case rate != c.rate:
			t.Errorf("%s: rate %v", name, rate)
		case c.bad == "" && err != nil, c.bad != "" && (tandem.CodeOf(err) != tandem.CodeUpstream || !strings.Contains(err.Error(), c.bad)):
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHandshakeWithoutAnswer(t *testing.T) {
	target := serve(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	target.Timeout = 20 * time.Millisecond
	if _, err := Handshake(t.Context(), target, "x", 0); tandem.CodeOf(err) != tandem.CodeUpstream || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("%v", err)
	}
}

// Secrets that an endpoint echoes are not shown.
func TestEchoedSecrets(t *testing.T) {
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(500)
		w.Write([]byte("wrong key: " + r.Header.Get("X-Key")))
	})
	target.Headers, target.Hidden = http.Header{"X-Key": {"hunter2"}}, []string{"hunter2"}
	if a := Send(t.Context(), target, message()); a.Excerpt() != "status 500: wrong key: [masked]" {
		t.Errorf("%q", a.Excerpt())
	}
}
