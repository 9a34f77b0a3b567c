package accounts

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func open(t *testing.T, dir string) *Accounts {
	t.Helper()
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func post(s *Accounts, path, name, password string) *httptest.ResponseRecorder {
	body, _ := json.Marshal(credentials{name, password})
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", path, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	s.ServeHTTP(w, r)
	return w
}

func ask(s *Accounts, set func(r *http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/authorize", nil)
	set(r)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// A form on another site sends these types without asking, and its user would order as somebody else.
func TestAFormElsewhereLogsNobodyIn(t *testing.T) {
	s := open(t, t.TempDir())
	for _, contentType := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""} {
		r := httptest.NewRequest("POST", "/accounts", strings.NewReader(`{"name":"ann","password":"correct horse"}`))
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != http.StatusUnsupportedMediaType || len(w.Result().Cookies()) != 0 {
			t.Errorf("%q: %d, cookies %v", contentType, w.Code, w.Result().Cookies())
		}
	}
}

func TestRegisterLogInAuthorize(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if w := post(s, "/accounts", "ann", "correct horse"); w.Code != http.StatusCreated {
		t.Fatalf("register: %d %s", w.Code, w.Body)
	}
	if w := post(s, "/accounts", "ann", "another one"); w.Code != http.StatusConflict {
		t.Errorf("register again: %d", w.Code)
	}
	s.Close()
	s = open(t, dir)
	w := post(s, "/session", "ann", "correct horse")
	var session Session
	if err := json.Unmarshal(w.Body.Bytes(), &session); err != nil || w.Code != http.StatusOK || session.Name != "ann" {
		t.Fatalf("log in: %d %s", w.Code, w.Body)
	}
	cookie := w.Result().Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" {
		t.Errorf("the cookie is %+v", cookie)
	}
	for name, set := range map[string]func(*http.Request){
		"bearer": bearer(session.Token),
		"cookie": func(r *http.Request) { r.AddCookie(cookie) },
	} {
		if w := ask(s, set); w.Code != http.StatusNoContent || w.Header().Get("Tandem-Principal") != "ann" {
			t.Errorf("%s: %d, principal %q", name, w.Code, w.Header().Get("Tandem-Principal"))
		}
	}
	// The key is kept: a restart logs nobody out.
	s.Close()
	s = open(t, dir)
	if w := ask(s, bearer(session.Token)); w.Code != http.StatusNoContent {
		t.Errorf("after a restart: %d", w.Code)
	}
}

func TestLogInRefuses(t *testing.T) {
	s := open(t, t.TempDir())
	post(s, "/accounts", "ann", "correct horse")
	for name, c := range map[string][2]string{"password": {"ann", "wrong horse"}, "name": {"bob", "correct horse"}, "both empty": {"", ""},
		"long": {"ann", strings.Repeat("x", 300)}} {
		if w := post(s, "/session", c[0], c[1]); w.Code != http.StatusUnauthorized || len(w.Result().Cookies()) != 0 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	for name, c := range map[string][2]string{"short": {"bob", "short"}, "name": {"Bob!", "long enough"}} {
		if w := post(s, "/accounts", c[0], c[1]); w.Code != http.StatusBadRequest {
			t.Errorf("register, %s: %d", name, w.Code)
		}
	}
}

func TestAuthorizeRefuses(t *testing.T) {
	s := open(t, t.TempDir())
	sign := func(key any, method jwt.SigningMethod, c jwt.RegisteredClaims) string {
		token, err := jwt.NewWithClaims(method, c).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	later, earlier := jwt.NewNumericDate(time.Now().Add(time.Hour)), jwt.NewNumericDate(time.Now().Add(-time.Hour))
	good := jwt.RegisteredClaims{Issuer: issuer, Subject: "ann", ExpiresAt: later}
	if w := ask(s, bearer(sign(s.key, jwt.SigningMethodHS256, good))); w.Code != http.StatusNoContent {
		t.Fatalf("a good token: %d", w.Code)
	}
	for name, set := range map[string]func(*http.Request){
		"nothing":   func(*http.Request) {},
		"basic":     func(r *http.Request) { r.SetBasicAuth("ann", "correct horse") },
		"garbage":   bearer("a.b.c"),
		"other key": bearer(sign([]byte("another key"), jwt.SigningMethodHS256, good)),
		"no method": bearer(sign(jwt.UnsafeAllowNoneSignatureType, jwt.SigningMethodNone, good)),
		"expired":   bearer(sign(s.key, jwt.SigningMethodHS256, jwt.RegisteredClaims{Issuer: issuer, Subject: "ann", ExpiresAt: earlier})),
		"for ever":  bearer(sign(s.key, jwt.SigningMethodHS256, jwt.RegisteredClaims{Issuer: issuer, Subject: "ann"})),
		"issuer":    bearer(sign(s.key, jwt.SigningMethodHS256, jwt.RegisteredClaims{Issuer: "x", Subject: "ann", ExpiresAt: later})),
		"nobody":    bearer(sign(s.key, jwt.SigningMethodHS256, jwt.RegisteredClaims{Issuer: issuer, ExpiresAt: later})),
	} {
		if w := ask(s, set); w.Code != http.StatusUnauthorized || w.Header().Get("Tandem-Principal") != "" {
			t.Errorf("%s: %d, principal %q", name, w.Code, w.Header().Get("Tandem-Principal"))
		}
	}
}

func TestPasswordsAreHashedWithArgon2id(t *testing.T) {
	h := newHasher(1)
	phc, err := h.hash(t.Context(), "correct horse")
	if err != nil || !strings.HasPrefix(phc, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%q, %v", phc, err)
	}
	if ok, err := h.verify(t.Context(), "correct horse", phc); !ok || err != nil {
		t.Errorf("the password: %v, %v", ok, err)
	}
	if ok, _ := h.verify(t.Context(), "wrong horse", phc); ok {
		t.Error("another password was taken")
	}
	for _, bad := range []string{"", "$argon2i$v=19$m=19456,t=2,p=1$AAAA$AAAA", "$argon2id$v=19$m=9999999,t=2,p=1$AAAA$AAAA", "$argon2id$v=19$m=1,t=0,p=0$AAAA$AAAA"} {
		if ok, err := h.verify(t.Context(), "correct horse", bad); ok || err == nil {
			t.Errorf("%q was taken for a hash", bad)
		}
	}
}

func TestTheCrowdAtTheLogInIsBounded(t *testing.T) {
	s := open(t, t.TempDir())
	for range cap(s.hasher.slots) {
		s.hasher.slots <- struct{}{} // as if hashing
	}
	for range maxWaiting {
		s.line <- struct{}{}
	}
	if w := post(s, "/session", "ann", "correct horse"); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("one too many: %d", w.Code)
	}
	for range maxWaiting {
		<-s.line
	}
	for range cap(s.hasher.slots) {
		<-s.hasher.slots
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if w := post(s, "/session", "ann", "correct horse"); w.Code != http.StatusUnauthorized {
				t.Errorf("%d", w.Code)
			}
		})
	}
	wg.Wait()
}
