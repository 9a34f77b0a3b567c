package httpx

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

// TestNotModified is the table of RFC 9110, sections 8.8.3.2 and 13.1.2: If-None-Match compares weakly, * names whatever is there, and the
// method has to be GET or HEAD.
func TestNotModified(t *testing.T) {
	for _, c := range []struct {
		method, etag string
		match        []string
		want         bool
	}{
		{"GET", `"1"`, nil, false},
		{"GET", `"1"`, []string{`"1"`}, true},
		{"HEAD", `"1"`, []string{`"1"`}, true},
		{"GET", `"1"`, []string{`W/"1"`}, true},
		{"GET", `W/"1"`, []string{`"1"`}, true},
		{"GET", `W/"1"`, []string{`W/"1"`}, true},
		{"GET", `"1"`, []string{`"2"`}, false},
		{"GET", `"1"`, []string{`1`}, false},
		{"GET", `"1"`, []string{`""`}, false},
		{"GET", `"1"`, []string{``}, false},
		{"GET", `"1"`, []string{`"2", W/"3",  "1"`}, true},
		{"GET", `"1"`, []string{`"2"`, `"1"`}, true},
		{"GET", `"1"`, []string{`*`}, true},
		{"GET", `"1"`, []string{`"2", *`}, false},
		{"GET", `"1"`, []string{`"2"`, `*`}, false},
		{"GET", `"1"`, []string{`*`, `"2"`}, false},
		{"GET", ``, []string{`*`}, false},
		{"GET", ``, []string{``}, false},
		{"DELETE", `"1"`, []string{`"1"`}, false},
	} {
		r := httptest.NewRequest(c.method, "/", nil)
		r.Header["If-None-Match"] = c.match
		w := httptest.NewRecorder()
		w.Header().Set("Retry-After", "5")
		got := NotModified(w, r, c.etag, CacheRevalidate)
		status := http.StatusOK // of a recorder that nothing was written to
		if c.want {
			status = http.StatusNotModified
		}
		var sent []string // no header without a tag
		if c.etag != "" {
			sent = []string{c.etag}
		}
		h := w.Header()
		if got != c.want || w.Code != status || w.Body.Len() > 0 || !slices.Equal(h["Etag"], sent) || h.Get("Cache-Control") != CacheRevalidate || h.Get("Retry-After") != "5" {
			t.Errorf("%s %s, If-None-Match %q: %v, %d %v", c.method, c.etag, c.match, got, w.Code, h)
		}
	}
}

// TestStatusETag: every change of a document changes its tag, and only those of its declaration count for If-Match.
func TestStatusETag(t *testing.T) {
	first, second := StatusETag(`"a"`, []byte("1")), StatusETag(`"a"`, []byte("2"))
	if first == second || first != StatusETag(`"a"`, []byte("1")) || StatusETag("", []byte("1")) == first {
		t.Errorf("%s and %s", first, second)
	}
	for _, c := range []struct {
		name, value, etag string
		ok                bool
	}{
		{"If-Match", first, `"a"`, true},
		{"If-Match", `"b", ` + second, `"a"`, true},
		{"If-Match", first, `"b"`, false},
		{"If-Match", "W/" + first, `"a"`, false},
		{"If-None-Match", first, `"a"`, false},
		{"If-None-Match", first, `"b"`, true},
	} {
		if err := Precondition(http.Header{c.name: {c.value}}, c.etag); (err == nil) != c.ok {
			t.Errorf("%s: %s against %s: %v", c.name, c.value, c.etag, err)
		}
	}
}

func TestSetRetryAfter(t *testing.T) {
	for d, want := range map[time.Duration]string{-time.Second: "1", 0: "1", time.Millisecond: "1", time.Second: "1", 1001 * time.Millisecond: "2", time.Minute: "60"} {
		h := http.Header{}
		if SetRetryAfter(h, d); h.Get("Retry-After") != want {
			t.Errorf("%s: %s, want %s", d, h.Get("Retry-After"), want)
		}
	}
}
