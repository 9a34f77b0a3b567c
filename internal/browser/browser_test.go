package browser

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
)

func ask(method, match string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/client.js", nil)
	if match != "" {
		r.Header.Set("If-None-Match", match)
	}
	w := httptest.NewRecorder()
	Serve(w, r)
	return w
}

func TestServe(t *testing.T) {
	file, err := os.ReadFile("tandem.js")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(file)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:]) + `"`
	for _, c := range []struct {
		method, match string
		status        int
		body          string
	}{
		{"GET", "", 200, string(file)},
		{"GET", `"another"`, 200, string(file)},
		{"GET", `"another", W/` + tag, 304, ""},
		{"GET", "*", 304, ""},
		{"HEAD", "", 200, ""},
		{"HEAD", tag, 304, ""},
	} {
		w := ask(c.method, c.match)
		h := w.Header()
		if w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("%s, If-None-Match %q: %d and %d bytes", c.method, c.match, w.Code, w.Body.Len())
		}
		if h.Get("ETag") != tag || h.Get("Cache-Control") != "no-cache" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s, If-None-Match %q: %v", c.method, c.match, h)
		}
		if c.status == 200 && (h.Get("Content-Type") != "text/javascript; charset=utf-8" || h.Get("Content-Length") != strconv.Itoa(len(file))) {
			t.Errorf("%s: %v", c.method, h)
		}
	}
	if w := ask("POST", ""); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" || w.Header().Get("ETag") != "" ||
		!strings.Contains(w.Body.String(), "problem/method") {
		t.Errorf("POST: %d %v %s", w.Code, w.Header(), w.Body)
	}
}

// The module is sent as it is: what a page loads must not grow unnoticed, nor load more.
func TestModuleIsSmallAndAlone(t *testing.T) {
	if len(module) > 24<<10 {
		t.Errorf("%d bytes", len(module))
	}
	for _, line := range strings.Split(string(module), "\n") {
		if strings.HasPrefix(line, "import") || strings.Contains(line, "import(") {
			t.Errorf("it loads more: %s", line)
		}
	}
}
