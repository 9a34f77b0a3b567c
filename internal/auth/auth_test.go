package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

func token(name, secret string, roles ...string) Token {
	sum := sha256.Sum256([]byte(secret))
	return Token{Name: name, SHA256: hex.EncodeToString(sum[:]), Roles: roles}
}

// TestHostAndOrigin: what web pages can make a browser send to a server on loopback.
func TestHostAndOrigin(t *testing.T) {
	open, closed := New(nil), New([]Token{token("ci", "s3cret", RoleRead)})
	for _, c := range []struct {
		name         string
		host         string
		method       string
		header       map[string]string
		open, closed bool // passes without tokens; with a valid one
	}{
		{"program", "127.0.0.1:8090", "POST", nil, true, true},
		{"localhost", "localhost:8090", "POST", nil, true, true},
		{"localhost without port", "LOCALHOST", "GET", nil, true, true},
		{"subdomain of localhost", "api.localhost:1", "GET", nil, true, true},
		{"IPv6", "[::1]:8090", "GET", nil, true, true},
		{"IPv6 without port", "[::1]", "GET", nil, true, true},
		{"other 127/8", "127.9.9.9:1", "GET", nil, true, true},
		{"rebound name", "evil.example:8090", "GET", nil, false, true},
		{"rebound name that looks local", "localhost.evil.example:8090", "GET", nil, false, true},
		{"name that ends alike", "evillocalhost:8090", "GET", nil, false, true},
		{"no host", "", "GET", nil, false, true},
		{"lan address", "192.168.1.2:8090", "GET", nil, false, true},
		{"same origin", "localhost:8090", "POST", map[string]string{"Origin": "http://localhost:8090", "Sec-Fetch-Site": "same-origin"}, true, true},
		{"typed into the address bar", "localhost:8090", "GET", map[string]string{"Sec-Fetch-Site": "none"}, true, true},
		{"form of another page", "localhost:8090", "POST", map[string]string{"Origin": "http://evil.example"}, false, false},
		{"other port", "localhost:8090", "POST", map[string]string{"Origin": "http://localhost:3000"}, false, false},
		{"same site only", "localhost:8090", "GET", map[string]string{"Sec-Fetch-Site": "same-site"}, false, false},
		{"stream of another page", "localhost:8090", "GET", map[string]string{"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}, false, false},
		{"image of another page", "localhost:8090", "GET", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, false, false},
		{"frame of another page", "localhost:8090", "GET", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, false, false},
		{"followed link", "localhost:8090", "GET", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, true, true},
		{"form that navigates", "localhost:8090", "POST", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, false, false},
		{"sandboxed page", "localhost:8090", "POST", map[string]string{"Origin": "null"}, false, false},
		{"default port behind TLS", "api.example", "POST", map[string]string{"Origin": "https://api.example:443"}, false, true},
	} {
		for _, a := range []struct {
			auth *Auth
			want bool
		}{{open, c.open}, {closed, c.closed}} {
			r := httptest.NewRequest(c.method, "/v1/topics", nil)
			r.Host = c.host
			r.Header.Set("Authorization", "Bearer s3cret")
			for k, v := range c.header {
				r.Header.Set(k, v)
			}
			_, err := a.auth.Identify(r)
			if (err == nil) != a.want {
				t.Errorf("%s, tokens %v: %v", c.name, a.auth == closed, err)
			}
			if err != nil && tandem.CodeOf(err) != tandem.CodeForbidden {
				t.Errorf("%s: code %s", c.name, tandem.CodeOf(err))
			}
		}
	}
}

func TestTokens(t *testing.T) {
	a := New([]Token{token("reader", "r", RoleRead), token("writer", "w", RolePublish, RoleOperate)})
	for value, want := range map[string]string{
		"": "", "Bearer": "", "Bearer ": "", "Bearer x": "", "Basic cjo=": "", "r": "", "Bearer r r": "",
		"Bearer r": "reader", "bearer  w": "writer",
	} {
		var got Identity
		h := a.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = From(r.Context()) }))
		r := httptest.NewRequest("GET", "/", nil)
		if value != "" {
			r.Header.Set("Authorization", value)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got.Name != want {
			t.Errorf("%q is %q, want %q", value, got.Name, want)
		}
		if want != "" {
			continue
		}
		challenge := w.Header().Get("WWW-Authenticate")
		if w.Code != 401 || !strings.HasPrefix(challenge, "Bearer realm=") || strings.Contains(challenge, "invalid_token") != (value != "") {
			t.Errorf("%q: %d %q", value, w.Code, challenge)
		}
		if token := strings.TrimPrefix(value, "Bearer "); len(token) == 1 && strings.Contains(w.Body.String(), `"`+token) {
			t.Errorf("the answer shows the token: %s", w.Body)
		}
	}
	a.Apply([]Token{token("reader", "new", RoleRead)})
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer r")
	if _, err := a.Identify(r); tandem.CodeOf(err) != tandem.CodeUnauthorized {
		t.Errorf("a token that was removed: %v", err)
	}
}

func TestRoles(t *testing.T) {
	id := Identity{Name: "ci", Roles: []string{RolePublish}}
	if err := id.Require(RolePublish); err != nil {
		t.Error(err)
	}
	for _, role := range []string{RoleRead, RoleOperate} {
		if err := id.Require(role); tandem.CodeOf(err) != tandem.CodeForbidden {
			t.Errorf("%s: %v", role, err)
		}
	}
	if From(t.Context()).Name != "" {
		t.Error("an identity out of nothing")
	}
}

func TestCheckListen(t *testing.T) {
	some := []Token{token("a", "a", RoleRead)}
	for addr, loopback := range map[string]bool{"127.0.0.1:8090": true, "localhost:0": true, "[::1]:1": true,
		":8090": false, "0.0.0.0:8090": false, "[::]:1": false, "example.com:80": false, "10.0.0.1:1": false} {
		if err := CheckListen(addr, nil); (err == nil) != loopback {
			t.Errorf("%s without tokens: %v", addr, err)
		}
		if err := CheckListen(addr, some); err != nil {
			t.Errorf("%s with tokens: %v", addr, err)
		}
	}
	if CheckListen("8090", some) == nil {
		t.Error("no host:port was taken")
	}
}

func TestCheckTokens(t *testing.T) {
	good := token("a", "a", RoleRead)
	if err := CheckTokens([]Token{good, token("b", "b", RolePublish)}); err != nil {
		t.Error(err)
	}
	for want, bad := range map[string]Token{
		"/1/name":    {Name: "", SHA256: token("", "x").SHA256, Roles: good.Roles},
		"/1/sha256":  {Name: "b", SHA256: "s3cret", Roles: good.Roles},
		"/1/roles":   {Name: "b", SHA256: token("", "x").SHA256},
		"/1/roles/0": {Name: "b", SHA256: token("", "x").SHA256, Roles: []string{"admin"}},
	} {
		err := CheckTokens([]Token{good, bad})
		if p := tandem.ProblemOf(err); len(p.Errors) != 1 || p.Errors[0].Pointer != want {
			t.Errorf("%s: %v", want, err)
		}
		if strings.Contains(fmt.Sprint(err), "s3cret") {
			t.Errorf("the error shows what may be a secret: %v", err)
		}
	}
	if err := CheckTokens([]Token{good, {Name: "a", SHA256: good.SHA256, Roles: good.Roles}}); len(tandem.ProblemOf(err).Errors) != 2 {
		t.Errorf("repeated name and sum: %v", err)
	}
}
