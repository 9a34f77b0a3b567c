package console

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/auth"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

const (
	sessionLife = 12 * time.Hour
	maxSessions = 1000 // beyond it the oldest ends
)

// sessions are those who have logged in. Of the name of a session, which the browser holds, only the hash is kept.
type sessions struct {
	mu   sync.Mutex // guards what follows
	live map[[sha256.Size]byte]session
}

type session struct {
	pass  auth.Pass
	began time.Time
}

// begin returns the name of a new session.
func (s *sessions) begin(pass auth.Pass, now time.Time) string {
	name := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		s.live = map[[sha256.Size]byte]session{}
	}
	if len(s.live) >= maxSessions {
		var oldest [sha256.Size]byte
		var began time.Time
		for key, one := range s.live {
			if began.IsZero() || one.began.Before(began) {
				oldest, began = key, one.began
			}
		}
		delete(s.live, oldest)
	}
	s.live[sha256.Sum256([]byte(name))] = session{pass, now}
	return name
}

func (s *sessions) get(name string, now time.Time) (auth.Pass, bool) {
	key := sha256.Sum256([]byte(name))
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.live[key]
	if ok && now.Sub(one.began) > sessionLife {
		delete(s.live, key)
		ok = false
	}
	return one.pass, ok
}

func (s *sessions) end(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, sha256.Sum256([]byte(name)))
}

// session returns the session of a request, if it has one. Without, its name is empty.
func (c *Console) session(r *http.Request) (name string, pass auth.Pass, ok bool) {
	cookie, err := r.Cookie(httpx.SessionCookie)
	if err != nil {
		return "", pass, false
	}
	if pass, ok = c.sessions.get(cookie.Value, time.Now()); !ok {
		return "", pass, false
	}
	return cookie.Value, pass, true
}

// formSecret is what the forms of a session carry. Those of no session, where the API has no tokens or nobody has logged in yet, share one.
func (c *Console) formSecret(session string) string {
	mac := hmac.New(sha256.New, c.secret)
	mac.Write([]byte(session))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// ofSession reports whether a form that was sent is one of the request's session.
func (c *Console) ofSession(r *http.Request) bool {
	name, _, _ := c.session(r)
	return hmac.Equal([]byte(r.PostForm.Get("csrf")), []byte(c.formSecret(name)))
}

// askLogin sends a browser to the login, and from there to where it was going.
func (c *Console) askLogin(w http.ResponseWriter, r *http.Request) {
	// A browser leaves out the cookie (SameSite=Strict) when a link of another site is followed. Once more from here it does not.
	if r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		w.Header().Set("Refresh", "0")
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusOK)
		return
	}
	to := "/login"
	if r.Method == http.MethodGet && r.URL.Path != "/" && !strings.HasSuffix(r.URL.Path, "/tail") {
		to += "?" + url.Values{"to": {r.URL.RequestURI()}}.Encode()
	}
	if strings.HasSuffix(r.URL.Path, "/tail") || r.Header.Get("Sec-Fetch-Dest") == "empty" { // a script, which would show the login in the page
		http.Error(w, "log in again", http.StatusUnauthorized)
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (c *Console) showLogin(w http.ResponseWriter, r *http.Request) {
	if _, pass, ok := c.session(r); ok {
		r = r.WithContext(auth.WithPass(r.Context(), pass))
	}
	if _, err := c.opts.Auth.Identify(r); err == nil { // no need to
		http.Redirect(w, r, within(r.URL.Query().Get("to")), http.StatusSeeOther)
		return
	}
	c.loginPage(w, r, http.StatusOK, "")
}

type loginPage struct{ To, Problem string }

func (c *Console) loginPage(w http.ResponseWriter, r *http.Request, status int, problem string) {
	name, _, _ := c.session(r)
	v := &visit{console: c, w: w, r: r, who: new(auth.Identity), csrf: c.formSecret(name)}
	// Not FormValue: that reads a body of any size, into memory and files, from who has not logged in.
	v.show(status, "login", "Log in", loginPage{within(cmp.Or(r.PostForm.Get("to"), r.URL.Query().Get("to"))), problem})
}

func (c *Console) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
	if err := r.ParseForm(); err != nil || c.forgery.Check(r) != nil || !c.ofSession(r) {
		c.loginPage(w, r, http.StatusForbidden, "The form is not one of this page: try again.")
		return
	}
	token := r.PostForm.Get("token")
	pass, who, err := c.opts.Auth.Login(token)
	if err == nil && !who.Can(auth.RoleRead) {
		err = who.Require(auth.RoleRead)
	}
	if err != nil {
		c.opts.Logger.Warn("console: a login failed", "address", r.RemoteAddr, "error", err)
		c.loginPage(w, r, tandem.ProblemOf(err).Status, sentence(tandem.ProblemOf(err).Detail))
		return
	}
	c.opts.Logger.Info("console: a login", "principal", who.Name, "address", r.RemoteAddr)
	http.SetCookie(w, c.cookie(r, c.sessions.begin(pass, time.Now()), int(sessionLife/time.Second)))
	http.Redirect(w, r, within(r.PostForm.Get("to")), http.StatusSeeOther)
}

func (c *Console) logout(w http.ResponseWriter, r *http.Request) {
	c.visit(w, r, func(v *visit) error {
		name, _, _ := c.session(r)
		c.sessions.end(name)
		http.SetCookie(w, c.cookie(r, "", -1))
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return nil
	})
}

func (c *Console) cookie(r *http.Request, value string, age int) *http.Cookie {
	return &http.Cookie{Name: httpx.SessionCookie, Value: value, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: overTLS(r)}
}

// overTLS reports whether the browser speaks TLS, with us or with a proxy.
func overTLS(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

// within returns an address that leads to a page of the console, whatever somebody put into a link to the login.
func within(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") || ofAPI(u.Path) {
		return "/"
	}
	return to
}
