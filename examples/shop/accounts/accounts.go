// Package accounts knows the shop's customers: it registers them, logs them in, and tells Tandem, at /authorize, who
// sends a request. That must be answered before the request goes on: it is the shop's case for a synchronous answer.
package accounts

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tandem-hybrid/tandem/examples/shop/internal/store"
	"github.com/tandem-hybrid/tandem/examples/shop/internal/web"
)

const schema = `
CREATE TABLE IF NOT EXISTS accounts (
  name    TEXT PRIMARY KEY,
  hash    TEXT NOT NULL, -- argon2id, PHC string
  created TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS signing (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  key BLOB NOT NULL
);`

const (
	cookieName = "shop_session"
	issuer     = "/shop/accounts"
	lifetime   = 12 * time.Hour

	minPassword, maxPassword = 8, 200
	maxBody                  = 4 << 10
	// maxWaiting is how many may wait for argon2id; the next one is told to come back.
	maxWaiting = 64
)

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,39}$`)

// Accounts is the service.
type Accounts struct {
	db     *sql.DB
	key    []byte // signs tokens
	hasher *hasher
	line   chan struct{} // who waits for the hasher
	nobody string        // hash that no password has, for names that do not exist
	mux    *http.ServeMux
}

// Open opens the service on its database in a directory. The key that signs tokens is made the first time and kept there,
// so that a restart logs nobody out.
func Open(ctx context.Context, dir string) (*Accounts, error) {
	db, err := store.Open(ctx, dir, "accounts", schema)
	if err != nil {
		return nil, err
	}
	s := &Accounts{db: db, hasher: newHasher(runtime.GOMAXPROCS(0)), line: make(chan struct{}, maxWaiting), mux: http.NewServeMux()}
	fresh := make([]byte, 32)
	rand.Read(fresh)
	_, err = db.ExecContext(ctx, `INSERT INTO signing (one, key) VALUES (1, ?1) ON CONFLICT DO NOTHING`, fresh)
	if err == nil {
		err = db.QueryRowContext(ctx, `SELECT key FROM signing`).Scan(&s.key)
	}
	if err == nil {
		s.nobody, err = s.hasher.hash(ctx, rand.Text())
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	s.mux.HandleFunc("POST /accounts", s.register)
	s.mux.HandleFunc("POST /session", s.logIn)
	s.mux.HandleFunc("GET /session", s.who)
	s.mux.HandleFunc("DELETE /session", s.logOut)
	s.mux.HandleFunc("GET /authorize", s.authorize)
	return s, nil
}

// Close closes the database.
func (s *Accounts) Close() error { return s.db.Close() }

func (s *Accounts) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

type credentials struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

// Session is the answer to a registration or a log-in.
type Session struct {
	Name    string `json:"name"`
	Token   string `json:"token"`   // for "Authorization: Bearer"; browsers have it in a cookie
	Expires string `json:"expires"` // RFC 3339
}

func (s *Accounts) register(w http.ResponseWriter, r *http.Request) {
	var c credentials
	if !web.Read(w, r, maxBody, &c) {
		return
	}
	if !validName.MatchString(c.Name) {
		web.Problem(w, http.StatusBadRequest, "name: 1 to 40 of a-z, 0-9, dot, dash, underscore, beginning with a letter or digit")
		return
	}
	if len(c.Password) < minPassword || len(c.Password) > maxPassword {
		web.Problem(w, http.StatusBadRequest, "password: 8 to 200 bytes")
		return
	}
	if !s.queue(w) {
		return
	}
	hash, err := s.hasher.hash(r.Context(), c.Password)
	<-s.line
	if err != nil {
		web.Problem(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	res, err := s.db.ExecContext(r.Context(), `INSERT INTO accounts (name, hash, created) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING`,
		c.Name, hash, time.Now().UTC().Format(time.RFC3339))
	if err != nil {
		web.Problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	if n, _ := res.RowsAffected(); n == 0 {
		web.Problem(w, http.StatusConflict, "there is an account of this name")
		return
	}
	s.open(w, r, c.Name, http.StatusCreated)
}

func (s *Accounts) logIn(w http.ResponseWriter, r *http.Request) {
	var c credentials
	if !web.Read(w, r, maxBody, &c) {
		return
	}
	hash := s.nobody // the same work for a name that does not exist, so that time does not tell
	err := s.db.QueryRowContext(r.Context(), `SELECT hash FROM accounts WHERE name = ?1`, c.Name).Scan(&hash)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		web.Problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	if len(c.Password) > maxPassword {
		c.Password = ""
	}
	if !s.queue(w) {
		return
	}
	ok, err := s.hasher.verify(r.Context(), c.Password, hash)
	<-s.line
	switch {
	case err != nil:
		web.Problem(w, http.StatusServiceUnavailable, err.Error())
	case !ok:
		web.Problem(w, http.StatusUnauthorized, "no account has this name and password")
	default:
		s.open(w, r, c.Name, http.StatusOK)
	}
}

// queue takes a place in the line for the hasher, or answers 429.
func (s *Accounts) queue(w http.ResponseWriter) bool {
	select {
	case s.line <- struct{}{}:
		return true
	default:
		w.Header().Set("Retry-After", "1")
		web.Problem(w, http.StatusTooManyRequests, "too many log-ins at the moment")
		return false
	}
}

// open answers with a token, and sets it as a cookie, since an EventSource sends no headers.
func (s *Accounts) open(w http.ResponseWriter, r *http.Request, name string, status int) {
	now := time.Now()
	expires := now.Add(lifetime)
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Issuer: issuer, Subject: name, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(expires),
	}).SignedString(s.key)
	if err != nil {
		web.Problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	s.setCookie(w, r, token, int(lifetime.Seconds()))
	w.Header().Set("Cache-Control", "no-store")
	web.JSON(w, status, Session{Name: name, Token: token, Expires: expires.UTC().Format(time.RFC3339)})
}

func (s *Accounts) setCookie(w http.ResponseWriter, r *http.Request, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.Header.Get("X-Forwarded-Proto") == "https"})
}

func (s *Accounts) logOut(w http.ResponseWriter, r *http.Request) {
	s.setCookie(w, r, "", -1)
	w.WriteHeader(http.StatusNoContent)
}

func (s *Accounts) who(w http.ResponseWriter, r *http.Request) {
	name, err := s.principal(r)
	if err != nil {
		web.Problem(w, http.StatusUnauthorized, err.Error())
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	web.JSON(w, http.StatusOK, map[string]string{"name": name})
}

// authorize answers Tandem's question who sends a request.
func (s *Accounts) authorize(w http.ResponseWriter, r *http.Request) {
	name, err := s.principal(r)
	if err != nil {
		w.Header().Set("WWW-Authenticate", `Bearer realm="shop"`)
		web.Problem(w, http.StatusUnauthorized, err.Error())
		return
	}
	w.Header().Set("Tandem-Principal", name)
	w.WriteHeader(http.StatusNoContent)
}

// principal reads the token of a request: the Authorization header or, without one, the cookie.
func (s *Accounts) principal(r *http.Request) (string, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if scheme == "" {
		c, err := r.Cookie(cookieName)
		if err != nil {
			return "", errors.New("log in first")
		}
		token = c.Value
	} else if !strings.EqualFold(scheme, "Bearer") {
		return "", errors.New("use a bearer token")
	}
	var claims jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(strings.TrimSpace(token), &claims, func(*jwt.Token) (any, error) { return s.key, nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer(issuer), jwt.WithExpirationRequired())
	if err != nil || claims.Subject == "" {
		return "", errors.New("the token is not valid, or no longer: log in again")
	}
	return claims.Subject, nil
}
