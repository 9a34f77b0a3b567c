// Package web holds the few lines of JSON over HTTP that the services of the shop have in common.
package web

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
)

// JSON writes v with a status.
func JSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone: nobody to tell
}

// Problem writes an RFC 9457 problem.
func Problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail})
}

// Read decodes a JSON body of at most max bytes into v, without unknown fields, or answers why not and returns false.
// It insists on the content type: a form on another site cannot send it, so that nobody is logged in as somebody else by
// a click on a strange page.
func Read(w http.ResponseWriter, r *http.Request, max int64, v any) bool {
	if mt, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mt != "application/json" {
		Problem(w, http.StatusUnsupportedMediaType, "send application/json")
		return false
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, max))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil {
		if _, end := dec.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("something follows the JSON value")
		}
	}
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return true
	case errors.As(err, &large):
		Problem(w, http.StatusRequestEntityTooLarge, err.Error())
	default:
		Problem(w, http.StatusBadRequest, err.Error())
	}
	return false
}

// Principal returns who asks, as Tandem found out before it passed the request on, or answers 401 and returns false.
func Principal(w http.ResponseWriter, r *http.Request) (string, bool) {
	p := r.Header.Get("Tandem-Principal")
	if p == "" {
		Problem(w, http.StatusUnauthorized, "log in first")
	}
	return p, p != ""
}
