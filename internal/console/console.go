package console

import (
	"crypto/rand"
	"embed"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/internal/auth"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

//go:embed assets
var assets embed.FS

// Options of a Console. API and Auth are required.
type Options struct {
	API     http.Handler // answers what is not the console's, and every request that the console makes
	Auth    *auth.Auth   // of the API
	Version string       // shown on every page
	Logger  *slog.Logger // nil means slog.Default
}

// Console is the handler of the API listener: its pages, and the API for everything else. It is safe for concurrent use.
type Console struct {
	opts     Options
	pages    *http.ServeMux
	forgery  *http.CrossOriginProtection
	sessions sessions
	rates    rates
	lags     lags
	secret   []byte // of the forms, for the life of the process
}

// New returns the console of an API.
func New(opts Options) *Console {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	c := &Console{opts: opts, pages: http.NewServeMux(), forgery: http.NewCrossOriginProtection(), secret: make([]byte, 32)}
	_, _ = rand.Read(c.secret) // never fails
	files, _ := fs.Sub(assets, "assets")
	c.pages.Handle("GET /assets/", http.StripPrefix("/assets/", cached(http.FileServerFS(files))))
	c.pages.HandleFunc("GET /login", c.showLogin)
	c.pages.HandleFunc("POST /login", c.login)
	c.pages.HandleFunc("POST /logout", c.logout)
	for _, p := range []struct {
		pattern string
		show    func(*visit) error
	}{
		{"GET /{$}", (*visit).overview},
		{"GET /flows", (*visit).flows},
		{"GET /flows/{id}", (*visit).flow},
		{"GET /topics", (*visit).topics},
		{"GET /topics/{topic}", (*visit).topic},
		{"GET /topics/{topic}/event", (*visit).event},
		{"POST /topics/{topic}/events", (*visit).publish},
		{"GET /topics/{topic}/tail", (*visit).tail},
		{"GET /subscriptions", (*visit).subscriptions},
		{"GET /subscriptions/{name}", (*visit).subscription},
		{"POST /subscriptions/{name}/pause", (*visit).pause},
		{"POST /subscriptions/{name}/resume", (*visit).resume},
		{"POST /subscriptions/{name}/seek", (*visit).seek},
		{"POST /subscriptions/{name}/test", (*visit).test},
		{"GET /dead-letters", (*visit).deadLetters},
		{"GET /dead-letters/{name}", (*visit).deadLettersOf},
		{"GET /dead-letters/{name}/{id}", (*visit).deadLetter},
		{"POST /dead-letters/{name}/redrive", (*visit).redrive},
		{"POST /dead-letters/{name}/discard", (*visit).discard},
		{"GET /operations", (*visit).operations},
		{"POST /operations/{id}/cancel", (*visit).cancelOperation},
		{"GET /services", (*visit).services},
		{"GET /engine", (*visit).engine},
		{"GET /configuration", (*visit).configuration},
		{"POST /configuration/reload", (*visit).reload},
	} {
		c.pages.HandleFunc(p.pattern, func(w http.ResponseWriter, r *http.Request) { c.visit(w, r, p.show) })
	}
	return c
}

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if ofAPI(r.URL.Path) {
		c.opts.API.ServeHTTP(w, r)
		return
	}
	_, pattern := c.pages.Handler(r)
	if pattern == "" && !strings.Contains(r.Header.Get("Accept"), "text/html") {
		c.opts.API.ServeHTTP(w, r) // a program that is lost is told so as everywhere
		return
	}
	rec := &httpx.Recorder{ResponseWriter: w}
	defer httpx.Recovered(c.opts.Logger, rec, r)
	secure(rec.Header())
	if pattern == "" {
		c.visit(rec, r, func(*visit) error { return tandem.Errorf(tandem.CodeNotFound, "there is no page at this address") })
		return
	}
	c.pages.ServeHTTP(rec, r)
}

// ofAPI reports whether a path belongs to the API, whatever it has there.
func ofAPI(path string) bool {
	return path == "/v1" || strings.HasPrefix(path, "/v1/") || path == "/metrics" || path == "/livez" || path == "/readyz"
}

// secure sets what every answer of the console says to browsers: nothing comes from elsewhere, no script or style stands in a page,
// nobody frames it, and nobody learns where its links are.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-store")
}

// cached lets browsers keep files, and ask each time whether they are still the same.
func cached(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") || r.URL.Path == "" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", httpx.CacheRevalidate)
		tag, err := fileTag(r.URL.Path)
		if err == nil && httpx.NotModified(w, r, tag, httpx.CacheRevalidate) {
			return
		}
		next.ServeHTTP(w, r)
	})
}

func fileTag(name string) (string, error) {
	b, err := assets.ReadFile("assets/" + name)
	return `"` + tandem.DerivedID(string(b)) + `"`, err
}

// visit is one request for a page, by somebody who may ask for it.
type visit struct {
	console *Console
	w       http.ResponseWriter
	r       *http.Request
	who     *auth.Identity
	api     *client.Client // acts as who
	csrf    string         // that forms carry
}

// visit finds out who asks, and shows a page or what is wrong.
func (c *Console) visit(w http.ResponseWriter, r *http.Request, show func(*visit) error) {
	name, pass, ok := c.session(r)
	if ok {
		r = r.WithContext(auth.WithPass(r.Context(), pass))
	}
	v := &visit{console: c, w: w, r: r, csrf: c.formSecret(name)}
	var err error
	if v.who, err = c.opts.Auth.Identify(r); err != nil {
		if tandem.CodeOf(err) == tandem.CodeUnauthorized && r.Header.Get("Authorization") == "" {
			c.askLogin(w, r)
			return
		}
		v.who = new(auth.Identity)
		v.fail(err)
		return
	}
	v.api = c.apiFor(r)
	if r.Method == http.MethodPost {
		err = v.checkForm()
	}
	if err == nil {
		err = show(v)
	}
	if err != nil {
		v.fail(err)
	}
}

// checkForm reads the form of a POST and checks that a page of this session sent it.
func (v *visit) checkForm() error {
	if err := v.console.forgery.Check(v.r); err != nil {
		return tandem.Errorf(tandem.CodeForbidden, "another site sent this form")
	}
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxFormBytes)
	if err := v.r.ParseForm(); err != nil {
		return tandem.Errorf(tandem.CodeInvalid, "the form cannot be read")
	}
	if !v.console.ofSession(v.r) {
		return tandem.Errorf(tandem.CodeForbidden, "the form is not one of this session").WithHint("the server was started again, or you have logged in again: go back, load the page again and repeat it")
	}
	return nil
}

const maxFormBytes = 1 << 20

// fail shows what went wrong. What the page does not tell, the API has logged.
func (v *visit) fail(err error) {
	p := tandem.ProblemOf(err)
	v.show(p.Status, "problem", p.Title, p)
}

// see sends the browser to another page of the console, after an action.
func (v *visit) see(path string, query url.Values) {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	http.Redirect(v.w, v.r, path, http.StatusSeeOther)
}

// acted logs what somebody did. It is told of failures, too.
func (v *visit) acted(action, object string, err error, args ...any) {
	args = append([]any{"action", action, "on", object, "principal", v.who.Name}, args...)
	if err != nil {
		v.console.opts.Logger.Warn("console: an action failed", append(args, "error", err)...)
		return
	}
	v.console.opts.Logger.Info("console: an action", args...)
}
