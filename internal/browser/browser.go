package browser

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/http"
	"strconv"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

//go:embed tandem.js
var module []byte

// Its hash, so that a browser asks again each time and is sent the module when it has changed.
var etag = func() string {
	sum := sha256.Sum256(module)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:]) + `"`
}()

// Serve answers GET and HEAD with the module, or 304 where the client has it; 405 (Method) for anything else. It depends on nothing but the
// method and If-None-Match, and is safe for concurrent use.
func Serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		httpx.WriteProblem(w, tandem.Errorf(tandem.CodeMethod, "the browser module is read with GET or HEAD"))
		return
	}
	h.Set("X-Content-Type-Options", "nosniff")
	if httpx.NotModified(w, r, etag, "no-cache") { // anybody may have it
		return
	}
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(module)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, _ = w.Write(module) // a client that has gone away is nobody's error
	}
}
