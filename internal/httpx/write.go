package httpx

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/tandem-hybrid/tandem"
)

// WriteProblem answers with the problem that describes err (tandem.ProblemOf), with Retry-After where its status calls for one.
// Headers that were set before are kept, so that a caller can add Allow or WWW-Authenticate. It does not log: the text of
// an error without a code is in nobody's answer, so whoever may get one logs it first.
func WriteProblem(w http.ResponseWriter, err error) {
	p := tandem.ProblemOf(err)
	h := w.Header()
	if s, ok := p.RetryAfterSeconds(); ok && h.Get("Retry-After") == "" {
		h.Set("Retry-After", strconv.Itoa(s))
	}
	// What describes the body that is not sent.
	h.Del("Content-Encoding")
	h.Del("Etag")
	h.Set("Cache-Control", "no-store")
	writeJSON(w, tandem.MediaProblem, p.Status, p)
}

// WriteJSON answers with v as JSON. v must be a value that package json can encode.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	writeJSON(w, "application/json", status, v)
}

// AppendProblem appends the problem that describes err, as one line of JSON without its end.
func AppendProblem(dst []byte, err error) []byte {
	return append(dst, bytes.TrimSuffix(Encode(tandem.ProblemOf(err)), []byte{'\n'})...)
}

// WriteRawJSON answers with JSON that is encoded already.
func WriteRawJSON(w http.ResponseWriter, status int, body []byte) {
	write(w, "application/json", status, body)
}

func writeJSON(w http.ResponseWriter, contentType string, status int, v any) {
	write(w, contentType, status, Encode(v))
}

func write(w http.ResponseWriter, contentType string, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone away is nobody's error
}

// Encode returns v as the JSON that WriteJSON answers with.
func Encode(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return []byte("{}\n") // a defect of the caller, which no client can mend
	}
	return buf.Bytes()
}
