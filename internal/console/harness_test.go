package console_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/internal/auth"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/server"
)

const hostile = `</pre><script>alert(1)</script><img src=x onerror=alert(2)>"'&` + "\u202e"

// world is a server with something of everything: routes, services, topics, subscriptions, dead letters of two causes.
type world struct {
	t      testing.TB
	base   string
	public string
	api    *client.Client
	logged *lines
	job    string // flow of a request that became an event, whose delivery failed once and was answered, which ended an operation
}

// lines is what a server logged.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func token(name string, roles ...string) auth.Token {
	sum := sha256.Sum256([]byte("secret-" + name))
	return auth.Token{Name: name, SHA256: hex.EncodeToString(sum[:]), Roles: roles}
}

// newWorld starts a server with tokens, or without.
func newWorld(t testing.TB, tokens ...auth.Token) *world {
	t.Helper()
	var jobs atomic.Int32
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case bytes.Contains(body, []byte(`"order.job"`)) && jobs.Add(1) == 1:
			http.Error(w, "stock is being counted", http.StatusInternalServerError)
		case bytes.Contains(body, []byte(`"order.job"`)):
			w.Header().Set("Content-Type", tandem.MediaEvent)
			fmt.Fprint(w, `{"specversion":"1.0","id":"1","source":"/stock","type":"job.done","data":{"left":3}}`)
		case bytes.Contains(body, []byte(`"order.bad"`)):
			http.Error(w, "stock "+hostile, http.StatusUnprocessableEntity)
		case bytes.Contains(body, []byte(`"order.gone"`)):
			w.WriteHeader(http.StatusGone)
		}
	}))
	t.Cleanup(service.Close)
	w := &world{t: t, logged: new(lines)}
	filter, err := tandem.FilterOf(map[string]any{"prefix": map[string]any{"type": "order."}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Options{
		Data: t.TempDir(), FreeBytes: -1, PublicAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0", Tokens: tokens, Version: "test",
		Logger:   slog.New(slog.NewTextHandler(w.logged, nil)),
		Services: []tandem.Service{{Name: "orders", URL: service.URL, Health: &tandem.Health{Path: "/healthz"}}, {Name: "stock", URL: service.URL}},
		Topics:   []tandem.Topic{{Name: "orders", Partitions: 2}, {Name: "empty", Partitions: 1}},
		Routes: []gateway.Route{{Match: "POST /orders", Service: "orders"}, {Match: "GET /orders/{id}", Service: "orders"},
			{Match: "POST /positions", Topic: "orders", Type: "position"}, {Match: "GET /events", Stream: &gateway.Stream{Topics: []string{"orders"}}},
			{Match: "GET /operations/{id}", Operation: &gateway.Operation{Public: true}},
			{Match: "POST /jobs", Topic: "orders", Type: "order.job", Operation: &gateway.Operation{Spec: tandem.OperationSpec{Topics: []string{"orders"}, Succeed: []string{"job.done"}}}}},
		Subscriptions: []tandem.Subscription{
			{Name: "stock", Topics: []string{"orders"}, Filter: filter, Service: "stock", Path: "/events", From: "earliest", Answers: map[string]string{"410": "dead"},
				Backoff: tandem.Backoff{List: []tandem.Duration{tandem.Duration(20 * time.Millisecond)}}},
			{Name: "report", Topics: []string{"**"}, Pull: &tandem.Pull{}, From: "earliest"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	w.base, w.public = "http://"+s.APIAddr(), "http://"+s.PublicAddr()
	opts := client.Options{}
	if len(tokens) > 0 {
		opts.Token = "secret-" + tokens[0].Name
	}
	if w.api, err = client.New(w.base, opts); err != nil {
		t.Fatal(err)
	}
	w.fill()
	return w
}

// fill publishes events, of which some become dead letters.
func (w *world) fill() {
	w.t.Helper()
	var events []tandem.Event
	for i := range 30 {
		e := tandem.Event{ID: fmt.Sprint("e", i), Source: "/shop", Type: "order.placed", Subject: fmt.Sprint("k", i), Time: "2026-01-31T09:30:00Z", Data: []byte(`{"total":12,"lines":[{"sku":"a"}]}`)}
		switch i {
		case 1, 2, 3:
			e.Type = "order.bad"
		case 4:
			e.Type = "order.gone"
		case 5:
			e.Subject, e.Data, e.DataContentType = hostile, []byte(hostile), "text/html"
		case 6:
			e.Data, e.DataContentType = []byte{0xff, 0xfe, 0, 1, 0x80}, "application/octet-stream"
		case 7:
			e.Data = []byte(strings.Repeat("[", 500) + strings.Repeat("]", 500))
		case 8:
			e.Data = []byte(`"` + strings.Repeat("x", 900_000) + `"`)
		case 9:
			e.ID, e.Data = "odd/id?&#<b>", []byte(`{"name":"<script>alert(1)</script>"}`)
		}
		events = append(events, e)
	}
	if _, err := w.api.Publish(w.t.Context(), "orders", events...); err != nil {
		w.t.Fatal(err)
	}
	res, err := http.Post(w.public+"/jobs", "application/json", strings.NewReader(`{"sku":"<b>"}`))
	if err != nil {
		w.t.Fatal(err)
	}
	res.Body.Close()
	w.job = res.Header.Get(tandem.HeaderFlow)
	w.until("four dead letters and nothing behind", func() bool {
		s, err := w.api.Subscription(w.t.Context(), "stock")
		letters, _, _ := w.api.DeadLetters(w.t.Context(), "stock", "", 0)
		return err == nil && s.Status.Dead == 4 && s.Status.Lag == 0 && len(letters) == 4 // they are counted before they can be read
	})
}

func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("waited a minute for %s", what)
		}
	}
}

// browser is somebody with cookies who follows redirects.
func (w *world) browser() *http.Client {
	jar, _ := cookiejar.New(nil)
	return &http.Client{Jar: jar, Timeout: time.Minute}
}

// logIn logs in with the token of a name.
func (w *world) logIn(name string) *http.Client {
	w.t.Helper()
	b := w.browser()
	page := w.get(b, "/login", 200)
	w.post(b, "/login", url.Values{"csrf": {secretOf(page)}, "token": {"secret-" + name}}, 200)
	return b
}

func (w *world) get(b *http.Client, path string, status int) string {
	w.t.Helper()
	req, _ := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.base+path, nil)
	req.Header.Set("Accept", "text/html")
	return w.do(b, req, status)
}

func (w *world) post(b *http.Client, path string, form url.Values, status int) string {
	w.t.Helper()
	req, _ := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.base+path, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "text/html")
	return w.do(b, req, status)
}

func (w *world) do(b *http.Client, req *http.Request, status int) string {
	w.t.Helper()
	res, err := b.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if res.StatusCode != status {
		w.t.Errorf("%s %s: %s, not %d: %.400s", req.Method, req.URL, res.Status, status, body)
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store"} {
		if got := res.Header.Get(name); got != want {
			w.t.Errorf("%s: %s is %q", res.Request.URL, name, got)
		}
	}
	if csp := res.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none';") || strings.Contains(csp, "unsafe") {
		w.t.Errorf("%s: the policy is %q", res.Request.URL, csp)
	}
	return string(body)
}

// secretOf finds what the forms of a page carry.
func secretOf(page string) string {
	_, rest, _ := strings.Cut(page, `name="csrf" value="`)
	secret, _, _ := strings.Cut(rest, `"`)
	return secret
}
