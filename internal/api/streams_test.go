package api_test

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/api"
	"github.com/tandem-hybrid/tandem/internal/auth"
)

// TestStreamsAreListed opens streams of two tokens, and looks at them.
func TestStreamsAreListed(t *testing.T) {
	h := newHarness(t, func(o *api.Options) {
		var tokens []auth.Token
		for _, name := range []string{"alice", "bob"} {
			sum := sha256.Sum256([]byte(name))
			tokens = append(tokens, auth.Token{Name: name, SHA256: hex.EncodeToString(sum[:]), Roles: []string{auth.RoleRead}})
		}
		o.Auth = auth.New(tokens)
	})
	h.create(tandem.Topic{Name: "orders.eu"})
	srv := httptest.NewServer(h.api)
	t.Cleanup(srv.Close)
	open := func(token, target string, headers ...string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		res, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	sse := func(token, target string) {
		t.Helper()
		if res := open(token, target, "Accept", tandem.MediaSSE); res.StatusCode != 200 {
			t.Fatalf("%s: %s", target, res.Status)
		}
	}
	present := func(query string) tandem.StreamPresence {
		t.Helper()
		return decode[tandem.StreamPresence](h.do("GET", "/v1/streams"+query, "", "Authorization", "Bearer bob").want(200))
	}
	if p := present(""); p.Open != 0 || p.Streams == nil || len(p.Topics) != 0 {
		t.Errorf("before anybody came: %+v", p)
	}

	sse("alice", events+"?type=a")
	sse("alice", "/v1/events?topic=orders.*&topic=orders&slow=conflate")
	res := open("bob", "/v1/events?topic=**&credit=5", "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13",
		"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol", "tandem.v1.json")
	if res.StatusCode != 101 || res.Header.Get("Sec-WebSocket-Protocol") != "tandem.v1.json" {
		t.Fatalf("%s %v", res.Status, res.Header)
	}

	p := present("")
	if want := map[string]int{"orders": 2, "orders.*": 1, "**": 1}; p.Open != 3 || p.Matching != 3 || !maps.Equal(p.Topics, want) {
		t.Errorf("%+v, want topics %v", p, want)
	}
	var kinds []string
	for _, s := range p.Streams { // the newest first
		kinds = append(kinds, s.Principal+" "+s.Kind+" "+string(s.Slow)+" "+strings.Join(s.Topics, ","))
		if s.Address == "" || s.Since == "" || s.State == "ending" {
			t.Errorf("%+v", s)
		}
	}
	if got, want := strings.Join(kinds, "; "), "bob tandem.v1.json catchup **; alice sse conflate orders.*,orders; alice sse catchup orders"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if f := p.Streams[2].Filter; f == nil || f.String() != `{"exact":{"type":"a"}}` {
		t.Errorf("filter %v", f)
	}
	for _, c := range []struct {
		query            string
		matching, listed int
	}{
		{"?topic=orders", 3, 3},
		{"?topic=orders.eu", 2, 2},
		{"?topic=elsewhere", 1, 1},
		{"?principal=alice", 2, 2},
		{"?principal=carol", 0, 0},
		{"?topic=orders.eu&principal=alice", 1, 1},
		{"?limit=0", 3, 0},
		{"?limit=1&principal=alice", 2, 1},
		{"?limit=1000", 3, 3},
	} {
		if p := present(c.query); p.Matching != c.matching || len(p.Streams) != c.listed || p.Open != 3 || len(p.Topics) != 3 {
			t.Errorf("%s: %d match, %d listed, %d open, topics %v", c.query, p.Matching, len(p.Streams), p.Open, p.Topics)
		}
	}
}

func TestStreamsBadInput(t *testing.T) {
	h := newHarness(t, nil)
	for query, pointer := range map[string]string{
		"limit=-1": "limit", "limit=1001": "limit", "limit=many": "limit", "topics=a": "topics", "principal=a&principal=b": "principal",
	} {
		h.do("GET", "/v1/streams?"+query, "").problem(400, pointer)
	}
}
