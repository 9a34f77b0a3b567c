package delivery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// sink is a real endpoint that notes what it gets.
type sink struct {
	*httptest.Server
	mu     sync.Mutex
	got    []*http.Request
	bodies []string
	answer func(w http.ResponseWriter, r *http.Request)
	came   chan struct{}
}

func newSink(t *testing.T, start func(http.Handler) *httptest.Server, answer func(w http.ResponseWriter, r *http.Request)) *sink {
	t.Helper()
	s := &sink{answer: answer, came: make(chan struct{}, 1000)}
	s.Server = start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.got, s.bodies = append(s.got, r), append(s.bodies, string(body))
		s.mu.Unlock()
		if s.answer != nil {
			s.answer(w, r)
		} else {
			w.WriteHeader(http.StatusNoContent)
		}
		s.came <- struct{}{}
	}))
	t.Cleanup(s.Close)
	return s
}

// next waits for a request.
func (s *sink) next(t *testing.T) (*http.Request, string) {
	t.Helper()
	select {
	case <-s.came:
	case <-time.After(20 * time.Second):
		t.Fatal("no request came")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got[len(s.got)-1], s.bodies[len(s.bodies)-1]
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.got)
}

// running starts a manager over real HTTP.
func running(t *testing.T, opts Options) (*Manager, func()) {
	t.Helper()
	log := openLog(t)
	opts.Logger = slog.New(slog.DiscardHandler)
	m := New(log, opts)
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m, func() {
		t.Helper()
		if _, err := log.Append(t.Context(), "orders", []tandem.Event{event("k")}); err != nil {
			t.Fatal(err)
		}
	}
}

func secrets(m map[string]string) func(string) (string, error) {
	return func(ref string) (string, error) {
		if v, ok := m[ref]; ok {
			return v, nil
		}
		return "", tandem.Errorf(tandem.CodeNotFound, "%s is not there", ref)
	}
}

func toURL(name, url string) tandem.Subscription {
	return tandem.Subscription{Name: name, Topics: []string{"orders"}, URL: url, From: "earliest"}
}

// A URL of the API reaches public addresses and what is allowed; one of the file goes anywhere.
func TestEgress(t *testing.T) {
	s := newSink(t, httptest.NewServer, nil)
	m, publish := running(t, Options{})
	err := func() error { _, err := m.Put(t.Context(), toURL("api", s.URL), ""); return err }()
	p := tandem.ProblemOf(err)
	if tandem.CodeOf(err) != tandem.CodeInvalid || len(p.Errors) != 1 || p.Errors[0].Pointer != "/url" || !strings.Contains(p.Errors[0].Detail, "of this machine") || !strings.Contains(p.Hint, "egress.allow") {
		t.Fatalf("%v: %+v", err, p)
	}
	oauth := toURL("api", "http://1.1.1.1/")
	oauth.Auth = &tandem.TargetAuth{OAuth2: &tandem.OAuth2Auth{TokenURL: "http://169.254.169.254/token", ClientID: "x", ClientSecret: "env:TANDEM_SECRET_A"}}
	m.opts.Secrets = secrets(map[string]string{"env:TANDEM_SECRET_A": "a"})
	_, err = m.Put(t.Context(), oauth, "")
	if p := tandem.ProblemOf(err); len(p.Errors) != 1 || p.Errors[0].Pointer != "/auth/oauth2/tokenUrl" {
		t.Fatalf("%v", err)
	}
	publish()
	if err := m.Apply(t.Context(), []tandem.Subscription{toURL("file", s.URL)}); err != nil {
		t.Fatal(err)
	}
	s.next(t)

	allowed, publish := running(t, Options{Egress: []string{"127.0.0.1"}})
	if _, err := allowed.Put(t.Context(), toURL("api", s.URL), ""); err != nil {
		t.Fatal(err)
	}
	publish()
	s.next(t)
}

// What was allowed when it was declared is refused at the connection when it is not any more, and the status says why.
func TestEgressAtTheConnection(t *testing.T) {
	s := newSink(t, httptest.NewServer, nil)
	log := openLog(t)
	quiet := slog.New(slog.DiscardHandler)
	before := New(log, Options{Logger: quiet, Egress: []string{"127.0.0.0/8"}})
	if _, err := before.Put(t.Context(), toURL("api", s.URL), ""); err != nil {
		t.Fatal(err)
	}
	m := New(log, Options{Logger: quiet})
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer m.Stop(context.Background())
	if _, err := log.Append(t.Context(), "orders", []tandem.Event{event("k")}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		st, err := m.Status(t.Context(), "api")
		if err != nil {
			t.Fatal(err)
		}
		if st.State == "failing" {
			if !strings.Contains(st.Reason, `"127.0.0.1" is refused: its address is of this machine`) {
				t.Errorf("%+v", st)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", st)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if s.count() != 0 {
		t.Errorf("%d requests came through", s.count())
	}
}

func TestHeadersAndBasicAuth(t *testing.T) {
	s := newSink(t, httptest.NewServer, nil)
	m, publish := running(t, Options{Secrets: secrets(map[string]string{"env:TANDEM_SECRET_A": "s3cret\n", "file:/pw": "pw"})})
	sub := toURL("s", s.URL)
	sub.Headers = map[string]string{"x-shop": "north", "X-Api-Key": "env:TANDEM_SECRET_A", "user-agent": "shop/1"}
	sub.Auth = &tandem.TargetAuth{Basic: &tandem.BasicAuth{User: "me", Password: "file:/pw"}}
	sub.Content = tandem.ContentBinary
	if err := m.Apply(t.Context(), []tandem.Subscription{sub}); err != nil {
		t.Fatal(err)
	}
	publish()
	r, _ := s.next(t)
	user, password, _ := r.BasicAuth()
	if r.Header.Get("X-Shop") != "north" || r.Header.Get("X-Api-Key") != "s3cret" || r.Header.Get("User-Agent") != "shop/1" || user != "me" || password != "pw" || r.Header.Get("Ce-Type") != "order.placed" {
		t.Errorf("%v", r.Header)
	}
}

// Tokens are asked for once, kept, and replaced once when they are refused.
func TestOAuth2(t *testing.T) {
	var asked atomic.Int64
	tokens := newSink(t, httptest.NewServer, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"access_token":"t%d","token_type":"Bearer","expires_in":3600}`, asked.Add(1))
	})
	s := newSink(t, httptest.NewServer, nil)
	m, publish := running(t, Options{Secrets: secrets(map[string]string{"env:A": "p w%"})})
	sub := toURL("s", s.URL)
	sub.Auth = &tandem.TargetAuth{OAuth2: &tandem.OAuth2Auth{TokenURL: tokens.URL, ClientID: "cli:ent", ClientSecret: "env:A", Scopes: []string{"a", "b"}, Audience: "shop"}}
	if err := m.Apply(t.Context(), []tandem.Subscription{sub}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		publish()
		if r, _ := s.next(t); r.Header.Get("Authorization") != "Bearer t1" {
			t.Fatalf("%v", r.Header)
		}
	}
	r, body := tokens.next(t)
	user, password, _ := r.BasicAuth()
	if user != "cli%3Aent" || password != "p+w%25" || body != "audience=shop&grant_type=client_credentials&scope=a+b" {
		t.Errorf("%s %s %s", user, password, body)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("%d tokens", n)
	}
}

// certificate is a self-signed server's, whose authority is itself.
func serverCA(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func TestMutualTLS(t *testing.T) {
	cert, key := clientCertificate(t)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(cert))
	s := newSink(t, func(h http.Handler) *httptest.Server {
		s := httptest.NewUnstartedServer(h)
		s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		s.StartTLS()
		return s
	}, nil)
	m, publish := running(t, Options{Secrets: secrets(map[string]string{"file:c": cert, "file:k": key, "file:ca": serverCA(s.Server)})})
	sub := toURL("s", s.URL)
	sub.Auth = &tandem.TargetAuth{TLS: &tandem.TLSAuth{Cert: "file:c", Key: "file:k", CA: "file:ca"}}
	plain := toURL("plain", s.URL)
	if err := m.Apply(t.Context(), []tandem.Subscription{sub, plain}); err != nil {
		t.Fatal(err)
	}
	publish()
	if r, _ := s.next(t); len(r.TLS.PeerCertificates) != 1 || r.Header.Get(tandem.HeaderSubscription) != "s" {
		t.Errorf("%v", r.Header)
	}
}

// The endpoint is asked before the first delivery, and nothing is sent while it says no.
func TestHandshake(t *testing.T) {
	var allow atomic.Bool
	s := newSink(t, httptest.NewServer, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions && allow.Load() {
			w.Header().Set("WebHook-Allowed-Origin", r.Header.Get("WebHook-Request-Origin"))
			w.Header().Set("WebHook-Allowed-Rate", "120")
		}
	})
	m, publish := running(t, Options{Origin: "shop.example"})
	sub := toURL("s", s.URL)
	sub.Handshake, sub.Rate = true, 5
	sub.Headers = map[string]string{"X-Shop": "north"}
	sub.Backoff = tandem.Backoff{Base: tandem.Duration(10 * time.Millisecond), Max: tandem.Duration(10 * time.Millisecond)}
	if err := m.Apply(t.Context(), []tandem.Subscription{sub}); err != nil {
		t.Fatal(err)
	}
	publish()
	r, _ := s.next(t)
	if r.Method != http.MethodOptions || r.Header.Get("WebHook-Request-Origin") != "shop.example" || r.Header.Get("WebHook-Request-Rate") != "300" || r.Header.Get("X-Shop") != "north" {
		t.Fatalf("%s %v", r.Method, r.Header)
	}
	for {
		st, err := m.Status(t.Context(), "s")
		if err != nil {
			t.Fatal(err)
		}
		if st.State == "failing" {
			if !strings.Contains(st.Reason, `the endpoint does not allow the origin "shop.example"`) {
				t.Fatalf("%+v", st)
			}
			break
		}
		time.Sleep(time.Millisecond)
	}
	allow.Store(true)
	for r.Method == http.MethodOptions {
		r, _ = s.next(t)
	}
	asked := s.count()
	publish()
	if r, _ := s.next(t); r.Method != http.MethodPost || s.count() != asked+1 {
		t.Errorf("%s after %d requests", r.Method, s.count()-asked)
	}
	c, err := m.find("s")
	if err != nil {
		t.Fatal(err)
	}
	if target, err := c.target.get(t.Context(), c, c.config.current()); err != nil || target.AllowedRate != 2 {
		t.Errorf("%v: %v events a second", err, target.AllowedRate)
	}
}

func TestTest(t *testing.T) {
	const secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
	key, err := tandem.ParseWebhookKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	s := newSink(t, httptest.NewServer, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "session=1")
		w.Header().Set("X-Echo", r.Header.Get("X-Api"))
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "you sent %s and %s", r.Header.Get("X-Api"), r.Header.Get("Authorization"))
	})
	m, _ := running(t, Options{Secrets: secrets(map[string]string{"env:A": "little", "env:K": secret})})
	sub := toURL("s", s.URL+"/hook")
	sub.Secret = "env:K"
	sub.Headers = map[string]string{"X-Api": "env:A", "X-Shop": "north"}
	sub.Auth = &tandem.TargetAuth{Basic: &tandem.BasicAuth{User: "me", Password: "env:A"}}
	pulled := tandem.Subscription{Name: "pulled", Topics: sub.Topics, Pull: &tandem.Pull{}}
	if err := m.Apply(t.Context(), []tandem.Subscription{sub, pulled}); err != nil {
		t.Fatal(err)
	}
	if err := m.Pause(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	x, err := m.Test(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	r, body := s.next(t)
	e, err := tandem.ParseEventJSON([]byte(body))
	if err != nil || e.Type != "tandem.test" || r.Header.Get("Tandem-Test") != "true" || r.Header.Get(tandem.HeaderPosition) != "" {
		t.Errorf("%v %s %v", r.Header, body, err)
	}
	if err := tandem.VerifyWebhook(r.Header, []byte(body), time.Now(), key); err != nil {
		t.Error(err)
	}
	if x.Outcome != tandem.AnswerRetry || x.Sent.URL != s.URL+"/hook" || x.Sent.Headers["X-Shop"] != "north" || x.Sent.Headers["Tandem-Test"] != "true" || x.Sent.Body != body ||
		x.Received == nil || x.Received.Status != http.StatusTeapot || x.Took <= 0 {
		t.Errorf("%+v", x)
	}
	shown, _ := json.Marshal(x)
	for _, hidden := range []string{"little", "session=1", base64.StdEncoding.EncodeToString([]byte("me:little"))} {
		if strings.Contains(string(shown), hidden) {
			t.Errorf("%s shows %s", shown, hidden)
		}
	}
	if st, err := m.Status(t.Context(), "s"); err != nil || st.Failed != 0 || st.State != "paused" {
		t.Errorf("%+v %v", st, err)
	}
	for status, outcome := range map[int]string{204: "delivered", 400: "dead", 410: "disable", 503: "retry"} {
		s.answer = func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }
		if x, err := m.Test(t.Context(), "s"); err != nil || x.Outcome != outcome {
			t.Errorf("%d: %+v %v", status, x, err)
		}
	}
	s.answer = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", tandem.MediaEvent)
		io.WriteString(w, "{}")
	}
	if x, err := m.Test(t.Context(), "s"); err != nil || x.Outcome != "retry" || !strings.Contains(x.Detail, "the reply is invalid") {
		t.Errorf("%+v %v", x, err)
	}
	if _, err := m.Test(t.Context(), "pulled"); tandem.CodeOf(err) != tandem.CodeInvalid {
		t.Errorf("of a pulled one: %v", err)
	}
	if _, err := m.Test(t.Context(), "absent"); tandem.CodeOf(err) != tandem.CodeNotFound {
		t.Errorf("of none: %v", err)
	}
	s.Close()
	if x, err := m.Test(t.Context(), "s"); err != nil || x.Outcome != "retry" || x.Received != nil || x.Detail == "" {
		t.Errorf("%+v %v", x, err)
	}
}
