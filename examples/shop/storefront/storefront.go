// Package storefront is the shop's page: one HTML file, one script and one style sheet, as they are, without a build step
// or anything from another host. The page uses the public routes only.
package storefront

import (
	"embed"
	"net/http"
)

//go:embed index.html app.js style.css products.json
var files embed.FS

// Handler serves the page at /, and its files under /assets/.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", file("index.html", "text/html; charset=utf-8"))
	mux.Handle("GET /assets/app.js", file("app.js", "text/javascript; charset=utf-8"))
	mux.Handle("GET /assets/style.css", file("style.css", "text/css; charset=utf-8"))
	mux.Handle("GET /assets/products.json", file("products.json", "application/json"))
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
		h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		_, _ = w.Write(body) // the browser is gone: nobody to tell
	})
}
