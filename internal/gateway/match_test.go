package gateway

import (
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

func tree(t testing.TB, matches ...string) *node {
	n := &node{}
	for _, m := range matches {
		p, err := parsePattern(m)
		if err != nil {
			t.Fatal(err)
		}
		n.add(&endpoint{Route: Route{Match: m}, pattern: p})
	}
	return n
}

func TestMatch(t *testing.T) {
	root := tree(t,
		"GET /", "GET /orders", "POST /orders", "GET /orders/{id}", "PUT,PATCH /orders/{id}", "GET /orders/open",
		"GET /orders/{id}/lines/{line}", "/files/{path...}", "GET /files/readme", "POST /{a}/b/{c}", "GET /x/b/c", "GET /tr/", "HEAD /orders/open")
	for _, c := range []struct {
		method, path, want string // "404", or "405 Allow"
		params             string
	}{
		{"GET", "/", "GET /", ""},
		{"GET", "/orders", "GET /orders", ""},
		{"HEAD", "/orders", "GET /orders", ""},
		{"POST", "/orders", "POST /orders", ""},
		{"DELETE", "/orders", "405 GET, HEAD, POST", ""},
		{"GET", "/orders/", "404", ""}, // {id} is not empty
		{"GET", "/orders/7", "GET /orders/{id}", "7"},
		{"GET", "/orders/open", "GET /orders/open", ""},
		{"HEAD", "/orders/open", "HEAD /orders/open", ""},
		{"PUT", "/orders/open", "PUT,PATCH /orders/{id}", "open"}, // back from the literal, which does not take PUT
		{"PATCH", "/orders/a%2Fb", "PUT,PATCH /orders/{id}", "a/b"},
		{"GET", "/%6Frders/7", "GET /orders/{id}", "7"},
		{"GET", "/orders/7/lines/8", "GET /orders/{id}/lines/{line}", "7 8"},
		{"GET", "/orders/7/lines", "404", ""},
		{"DELETE", "/files/a/b%20c/", "/files/{path...}", "a/b c/"},
		{"GET", "/files/", "/files/{path...}", ""},
		{"GET", "/files", "404", ""},
		{"GET", "/files/readme", "GET /files/readme", ""},
		{"POST", "/files/readme", "/files/{path...}", "readme"},
		{"POST", "/x/b/c", "POST /{a}/b/{c}", "x c"},
		{"PUT", "/x/b/c", "405 GET, HEAD, POST", ""},
		{"GET", "/tr/", "GET /tr/", ""},
		{"GET", "/tr", "404", ""},
		{"GET", "*", "404", ""},
		{"CONNECT", "", "404", ""},
	} {
		var p params
		e, allow := root.match(c.method, c.path, &p)
		got := "404"
		switch {
		case e != nil:
			got = e.Match
		case len(allow) > 0:
			got = "405 " + joinMethods(allow)
		}
		if got != c.want || strings.Join(p.v[:p.n], " ") != c.params {
			t.Errorf("%s %s: %s with %q, want %s with %q", c.method, c.path, got, p.v[:p.n], c.want, c.params)
		}
	}
}

func TestConflict(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"GET /a", "GET /a", true},
		{"GET /a", "POST /a", false},
		{"GET /a", "/a", false},
		{"/a", "/a", true},
		{"GET,POST /a", "POST,PUT /a", true},
		{"GET /{x}", "GET /{y}", true},
		{"GET /{x}", "GET /a", false},
		{"GET /a/{x}", "GET /{y}/b", true},
		{"GET /a/{x}", "POST /{y}/b", false},
		{"GET /a/{x}", "/{y}/b", true},
		{"GET /a/{x}", "GET /{y}/b/c", false},
		{"GET /{p...}", "GET /a/{x}", false},
		{"GET /a/{p...}", "GET /{x}/b", true},
		{"GET /a/{p...}", "GET /a/{q...}", true},
		{"GET /a/{p...}", "GET /b/{x}", false},
		{"GET /a/", "GET /a/{x}", false},
		{"GET /a/", "GET /a/{p...}", false},
	} {
		p, err1 := parsePattern(c.a)
		q, err2 := parsePattern(c.b)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if p.conflict(&q) != c.want || q.conflict(&p) != c.want {
			t.Errorf("%s and %s: %v and %v, want %v", c.a, c.b, p.conflict(&q), q.conflict(&p), c.want)
		}
	}
}

func TestBadPatterns(t *testing.T) {
	for _, m := range []string{"", "GET", "GET orders", "get /a", "GET /a//b", "GET /{}", "GET /{a", "GET /x{a}", "GET /{a}x", "GET /{a}/{a}",
		"GET /{a...}/b", "GET /a/../b", "GET /a?b", "GET,GET /a", "GET, /a", "GET /a%20b", "GET /" + strings.Repeat("{a}/", 3), "GET /{a-b}"} {
		if _, err := parsePattern(m); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%q was accepted (%v)", m, err)
		}
	}
}

func TestSmuggles(t *testing.T) {
	for path, want := range map[string]bool{
		"/": false, "/a/b": false, "/a/": false, "/.well-known/x": false, "/a..b": false, "/a%20b": false, "/a%2Fb": false,
		"//a": true, "/a//b": true, "/a/..": true, "/../a": true, "/a/./b": true, "/a/%2e%2e/b": true, "/a/.%2E/b": true,
		"/a%2f..%2fb": true, `/a\..\b`: true, "/a%5c..%5cb": true, "/a%00/.": true,
	} {
		if got := smuggles(path); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

func FuzzMatch(f *testing.F) {
	root := tree(f, "GET /a/{x}", "/files/{path...}", "GET /{a}/b/{c}/d", "POST /")
	f.Add("GET", "/a/b")
	f.Add("POST", "/%2f/b/%zz/d")
	f.Fuzz(func(t *testing.T, method, path string) {
		var p params
		e, _ := root.match(method, path, &p)
		smuggles(path)
		if e != nil && p.n != len(e.pattern.names) {
			t.Errorf("%d values for %v", p.n, e.pattern.names)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	var matches []string
	for _, r := range []string{"orders", "customers", "items", "stock", "payments", "carts", "users", "sessions"} {
		matches = append(matches, "GET /"+r, "POST /"+r, "GET /"+r+"/{id}", "PUT /"+r+"/{id}", "DELETE /"+r+"/{id}", "GET /"+r+"/{id}/events")
	}
	root := tree(b, matches...)
	b.ReportAllocs()
	for b.Loop() {
		var p params
		if e, _ := root.match("GET", "/payments/0192f0c1/events", &p); e == nil {
			b.Fatal("no match")
		}
	}
}
