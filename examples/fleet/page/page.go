// Package page is the fleet's map: one HTML file, one script and one style sheet, as they are, without a build step or anything from
// another host. It is all of the service "map", a plain HTTP handler.
package page

import (
	"embed"
	"net/http"
)

//go:embed index.html map.js style.css
var files embed.FS

// Handler serves the page at /, and its files under /assets/.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", file("index.html", "text/html; charset=utf-8"))
	mux.Handle("GET /assets/map.js", file("map.js", "text/javascript; charset=utf-8"))
	mux.Handle("GET /assets/style.css", file("style.css", "text/css; charset=utf-8"))
	return mux
}

func file(name, contentType string) http.Handler {
	body, err := files.ReadFile(name)
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Cache-Control", "no-cache")
		h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		_, _ = w.Write(body) // the browser is gone: nobody to tell
	})
}
