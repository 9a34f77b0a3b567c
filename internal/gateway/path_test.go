package gateway

import (
	"net/url"
	"testing"
)

// TestRequestPath: an authorizer sees one spelling of a path, so that comparing it is safe.
func TestRequestPath(t *testing.T) {
	for in, want := range map[string]string{
		"/orders/1":              "/orders/1",
		"/%6Frders/%31":          "/orders/1",
		"/orders/a%2Fb":          "/orders/a%2Fb", // one segment, as routes see it
		"/orders/a%2fb?x=%6F":    "/orders/a%2Fb?x=%6F",
		"/orders/Z%C3%BCrich%20": "/orders/Z%C3%BCrich%20",
		"/orders/a%25b":          "/orders/a%25b",
	} {
		u, err := url.ParseRequestURI(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := requestPath(u); got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
}
