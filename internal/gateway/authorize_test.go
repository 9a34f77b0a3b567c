package gateway

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestAuthorize(t *testing.T) {
	var asked []http.Header
	ask := func(status int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			h := r.Header.Clone()
			body, _ := io.ReadAll(r.Body)
			h.Set("X-Asked", r.Method+" "+r.RequestURI+" "+string(body))
			asked = append(asked, h)
			for i := 0; i < len(header); i += 2 {
				w.Header().Add(header[i], header[i+1])
			}
			w.WriteHeader(status)
			if status != 304 && status != 204 {
				io.WriteString(w, "said")
			}
		}
	}
	w := newWorld(t, services{
		"back": http.HandlerFunc(echo),
		"yes":  ask(200, "Tandem-Principal", "alice", "Set-Cookie", "a=1"),
		"also": ask(204),
		"role": ask(204, "Tandem-Principal", "alice/admin"),
		"no":   ask(401, "WWW-Authenticate", "Bearer", "Set-Cookie", "gone", "Tandem-Secret", "x", "Connection", "X-Hop", "X-Hop", "1"),
		"move": ask(303, "Location", "/login"),
		"gone": nil,
		"slow": http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
	}, `[
		{"match":"/one/{x...}","service":"back","authorize":"yes"},
		{"match":"/two","service":"back","authorize":["yes",{"service":"also","path":"/check"}]},
		{"match":"/three","service":"back","authorize":["yes","role"]},
		{"match":"/no","service":"back","authorize":["no","yes"]},
		{"match":"/late","service":"back","authorize":["yes","no"]},
		{"match":"/move","service":"back","authorize":{"service":"move"}},
		{"match":"/gone","service":"back","authorize":"gone"},
		{"match":"/slow","service":"back","authorize":"slow"},
		{"match":"/ops/{id}","operation":true,"authorize":"no"},
		{"match":"GET /events","stream":{"topics":["orders"]},"authorize":"no"},
		{"match":"POST /topic","topic":"orders","type":"t","authorize":"no"}
	]`)
	for _, c := range []struct {
		path      string
		status    int
		asked     int
		principal string
	}{
		{"/one/a%2Fb?q=1&z", 200, 1, "alice"},
		{"/two", 200, 2, "alice"},
		{"/three", 200, 2, "alice/admin"},
		{"/no", 401, 1, ""},
		{"/late", 401, 2, ""},
		{"/move", 303, 1, ""},
		{"/gone", 503, 0, ""},
		{"/slow", 504, 0, ""},
		{"/ops/x", 401, 1, ""},
		{"/events", 401, 1, ""},
		{"/topic", 401, 1, ""},
	} {
		asked = nil
		method := "POST"
		if c.path == "/events" {
			method = "GET"
		}
		a := w.do(method, c.path, "body", "Authorization", "Bearer x", "Content-Type", "text/plain", "If-Match", "x", "Range", "bytes=0-1", "Expect", "",
			"Tandem-Principal", "root", "Tandem-Request-Path", "/else", "Accept", "text/html")
		if a.StatusCode != c.status || len(asked) != c.asked {
			t.Errorf("%s: %d %s with %d asked, want %d with %d", c.path, a.StatusCode, a.body, len(asked), c.status, c.asked)
			continue
		}
		switch {
		case c.status == 200:
			if got := a.echoed(t).Get("Tandem-Principal"); got != c.principal {
				t.Errorf("%s: the service saw the principal %q, want %q", c.path, got, c.principal)
			}
			if a.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s: what the authorizer set went to the client", c.path)
			}
		case c.status == 401:
			if a.body != "said" || a.Header.Get("Www-Authenticate") != "Bearer" || a.Header.Get("Set-Cookie") != "gone" ||
				a.Header.Get("Tandem-Secret") != "" || a.Header.Get("X-Hop") != "" {
				t.Errorf("%s: refused with %v %s", c.path, a.Header, a.body)
			}
		case c.status == 303:
			if a.Header.Get("Location") != "/login" {
				t.Errorf("%s: %v", c.path, a.Header)
			}
		default:
			if !strings.Contains(a.problem(t).Detail, "service "+c.path[1:]) {
				t.Errorf("%s: %s", c.path, a.body)
			}
		}
		for i, h := range asked {
			path := "/authorize"
			if c.path == "/two" && i == 1 {
				path = "/check"
			}
			if got := h.Get("X-Asked"); got != "GET "+path+" " {
				t.Errorf("%s: asked with %q", c.path, got)
			}
			wantPrincipal := ""
			if i == 1 {
				wantPrincipal = "alice"
			}
			for name, want := range map[string]string{"Authorization": "Bearer x", "Accept": "text/html", "Content-Type": "", "If-Match": "", "Range": "",
				"Tandem-Request-Method": method, "Tandem-Request-Path": c.path, "Tandem-Principal": wantPrincipal} {
				if got := h.Get(name); got != want {
					t.Errorf("%s: asked with %s: %q, want %q", c.path, name, got, want)
				}
			}
			if h.Get("Tandem-Flow") == "" || h.Get("Traceparent") == "" {
				t.Errorf("%s: asked without flow or trace", c.path)
			}
		}
	}
	if n := len(w.events("orders")); n != 0 {
		t.Errorf("%d events of refused requests", n)
	}
}

func TestOrigin(t *testing.T) {
	w := newWorld(t, services{"a": text(200, "ok")}, `[{"match":"/a","service":"a"},{"match":"GET /s","stream":{"topics":["orders"]}}]`)
	const host = "shop.example"
	for _, c := range []struct {
		method, header string
		passes         bool
	}{
		{"POST", "", true},
		{"POST", "Origin: https://evil.example", true}, // no cookie: nothing of the visitor's
		{"GET", "Cookie: s=1|Origin: https://evil.example", true},
		{"HEAD", "Cookie: s=1|Sec-Fetch-Site: cross-site", true},
		{"POST", "Cookie: s=1", false},
		{"POST", "Cookie: s=1|Origin: https://shop.example", true},
		{"POST", "Cookie: s=1|Origin: http://shop.example:80", true},
		{"POST", "Cookie: s=1|Origin: https://shop.example:444", false},
		{"POST", "Cookie: s=1|Origin: https://evil.example", false},
		{"POST", "Cookie: s=1|Origin: https://shop.example.evil.example", false},
		{"POST", "Cookie: s=1|Origin: null", false},
		{"POST", "Cookie: s=1|Origin: file://shop.example", false},
		{"POST", "Cookie: s=1|Sec-Fetch-Site: same-origin", true},
		{"POST", "Cookie: s=1|Sec-Fetch-Site: same-site|Origin: https://shop.example", false},
		{"POST", "Cookie: s=1|Sec-Fetch-Site: none", false},
		{"DELETE", "Cookie: s=1|Sec-Fetch-Site: cross-site", false},
		{"PUT", "Cookie: s=1|Origin: https://shop.example|Origin: https://shop.example", false},
		{"GET", "Upgrade: websocket|Connection: Upgrade", false},
		{"GET", "Upgrade: WebSocket|Connection: Upgrade|Origin: https://evil.example", false},
		{"GET", "Upgrade: websocket|Connection: Upgrade|Origin: https://shop.example", true},
		{"GET", "Upgrade: h2c, websocket|Connection: Upgrade|Sec-Fetch-Site: cross-site", false},
	} {
		header := []string{"Host", host}
		for kv := range strings.SplitSeq(c.header, "|") {
			if k, v, ok := strings.Cut(kv, ": "); ok {
				header = append(header, k, v)
			}
		}
		a := w.do(c.method, "/a", "", header...)
		if (a.StatusCode != 403) != c.passes {
			t.Errorf("%s %s: %d, want it to pass: %v", c.method, c.header, a.StatusCode, c.passes)
		}
	}
}
