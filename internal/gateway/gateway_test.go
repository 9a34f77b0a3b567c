package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/operation"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a gateway on a server, with services behind it, over a log in memory.
type world struct {
	*Gateway
	t   *testing.T
	url string
	eng *memlog.Engine
	log *eventlog.Log
	ops *operation.Operations
}

type services map[string]http.Handler

// newWorld serves routes, which are given as JSON as a configuration would.
func newWorld(t *testing.T, handlers services, routes string) *world {
	t.Helper()
	w := &world{t: t, eng: memlog.New(memlog.Options{})}
	quiet := slog.New(slog.DiscardHandler)
	var err error
	if w.log, err = eventlog.Open(t.Context(), w.eng, eventlog.Options{Logger: quiet}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"orders", "replies"} {
		if _, err := w.log.CreateTopic(t.Context(), tandem.Topic{Name: name, Partitions: 2}); err != nil {
			t.Fatal(err)
		}
	}
	w.ops = operation.New(w.log, operation.Options{Logger: quiet})
	if err := w.ops.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Gateway = New(w.log, Options{Operations: w.ops, Streams: fakeStreams{}, Logger: quiet})
	var list []tandem.Service
	for name, h := range handlers {
		s := tandem.Service{Name: name, Timeout: tandem.Duration(30e9)}
		if h != nil {
			srv := httptest.NewServer(h)
			t.Cleanup(srv.Close)
			s.URL = srv.URL
		} else {
			s.URL = "http://" + closedAddr(t)
		}
		if strings.HasPrefix(name, "slow") {
			s.Timeout = tandem.Duration(50e6)
		}
		list = append(list, s)
	}
	if err := w.Apply(parseRoutes(t, routes), list); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(w.Gateway)
	w.url = srv.URL
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		w.Gateway.Stop(context.Background())
		w.ops.Stop(context.Background())
		srv.Close()
		w.log.Close()
	})
	return w
}

func parseRoutes(t *testing.T, s string) (routes []Route) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(s))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&routes); err != nil {
		t.Fatal(err)
	}
	return routes
}

// closedAddr is an address that nobody listens on.
func closedAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

type fakeStreams struct{}

func (fakeStreams) Serve(w http.ResponseWriter, r *http.Request, ask tandem.StreamRequest) {
	b, _ := json.Marshal(ask.Filter)
	w.Header().Set("X-Filter", string(b))
	w.Header().Set("X-Topics", strings.Join(ask.Topics, ","))
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

func (a answer) problem(t *testing.T) (p tandem.Problem) {
	t.Helper()
	if ct := a.Header.Get("Content-Type"); ct != tandem.MediaProblem {
		t.Errorf("%d %s with %q is not a problem", a.StatusCode, a.body, ct)
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Error(err)
	}
	return p
}

// do sends a request; header is names and values in turn. "Host" sets the host.
func (w *world) do(method, path, body string, header ...string) answer {
	w.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, r)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header[header[i]] = append(req.Header[header[i]], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{res, string(b)}
}

func text(status int, s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); io.WriteString(w, s) }
}

// echo answers with the request's headers, and its path in X-Path.
func echo(w http.ResponseWriter, r *http.Request) {
	h := r.Header.Clone()
	h.Set("Host", r.Host)
	w.Header().Set("X-Path", r.Method+" "+r.RequestURI)
	json.NewEncoder(w).Encode(h)
}

func (a answer) echoed(t *testing.T) (h http.Header) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &h); err != nil {
		t.Fatalf("%d %s: %v", a.StatusCode, a.body, err)
	}
	return h
}

// events reads all of a topic.
func (w *world) events(topic string) []tandem.Record {
	w.t.Helper()
	sel, _ := eventlog.Select(topic)
	r, err := w.log.NewReader(w.t.Context(), sel, tandem.Start{Earliest: true})
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Close()
	page, err := r.Read(w.t.Context(), tandem.Filter{}, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	return page.Events
}

func TestNotFoundAndMethod(t *testing.T) {
	w := newWorld(t, services{"a": text(200, "ok")}, `[{"match":"GET /a","service":"a"}]`)
	if a := w.do("GET", "/b", ""); a.StatusCode != 404 || a.problem(t).Type != tandem.ProblemBase+"not-found" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := w.do("PUT", "/a", ""); a.StatusCode != 405 || a.Header.Get("Allow") != "GET, HEAD" || a.problem(t).Status != 405 {
		t.Errorf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
	if a := w.do("GET", "/a/../b", ""); a.StatusCode != 400 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestStreamRoute(t *testing.T) {
	w := newWorld(t, nil, `[{"match":"GET /orders/{id}/events","stream":{"topics":["orders"],"filter":{"subject":"{id}"}}}]`)
	a := w.do("GET", "/orders/o%207/events", "")
	if got := a.Header.Get("X-Filter"); !strings.Contains(got, `"o 7"`) || a.Header.Get("X-Topics") != "orders" {
		t.Errorf("filter %s over %s", got, a.Header.Get("X-Topics"))
	}
	a = w.do("GET", "/orders/7/events", "", "Connection", "Upgrade", "Upgrade", "websocket", "Sec-Fetch-Site", "same-origin")
	if a.StatusCode != 200 {
		t.Errorf("a WebSocket of a page of this origin is not handed on: %d %s", a.StatusCode, a.body)
	}
	a = w.do("GET", "/orders/7/events", "", "Connection", "Upgrade", "Upgrade", "websocket", "Sec-Fetch-Site", "cross-site")
	if a.StatusCode != 403 {
		t.Errorf("a WebSocket of a page of another origin: %d %s", a.StatusCode, a.body)
	}
}

func TestApplyKeepsTheLastGood(t *testing.T) {
	w := newWorld(t, services{"a": text(200, "one")}, `[{"match":"GET /a","service":"a"}]`)
	up := w.table.Load().upstreams["a"]
	if err := w.Apply([]Route{{Match: "GET /b", Service: "nobody"}}, nil); tandem.CodeOf(err) != tandem.CodeInvalid {
		t.Errorf("a wrong configuration: %v", err)
	}
	if a := w.do("GET", "/a", ""); a.body != "one" {
		t.Errorf("after a refused one: %d %s", a.StatusCode, a.body)
	}
	if err := w.Apply([]Route{{Match: "GET /b", Service: "a"}}, []tandem.Service{up.service}); err != nil {
		t.Fatal(err)
	}
	if a := w.do("GET", "/b", ""); a.body != "one" {
		t.Errorf("after the next: %d %s", a.StatusCode, a.body)
	}
	if w.table.Load().upstreams["a"] != up {
		t.Error("the connections of a service that stayed were dropped")
	}
}

func TestObserve(t *testing.T) {
	type seen struct {
		route  string
		status int
	}
	got := make(chan seen, 10)
	w := newWorld(t, services{"a": text(201, "ok")}, `[{"match":"GET /a","service":"a"}]`)
	g := New(w.log, Options{Observe: func(o *Observed) { got <- seen{o.Route, o.Status} }})
	if err := g.Apply([]Route{{Match: "GET /a", Service: "a"}}, []tandem.Service{w.table.Load().upstreams["a"].service}); err != nil {
		t.Fatal(err)
	}
	defer g.Stop(context.Background())
	g.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/a", nil))
	g.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/nowhere", nil))
	if a, b := <-got, <-got; a != (seen{"GET /a", 201}) || b != (seen{"", 404}) {
		t.Errorf("observed %v and %v", a, b)
	}
}

type panicking struct{}

func (panicking) Serve(http.ResponseWriter, *http.Request, tandem.StreamRequest) {
	panic("a defect")
}

// A defect is answered with 500 and is in the log, with its stack.
func TestPanic(t *testing.T) {
	w := newWorld(t, nil, `[]`)
	var logged bytes.Buffer
	g := New(w.log, Options{Streams: panicking{}, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	if err := g.Apply([]Route{{Match: "GET /a", Stream: &Stream{Topics: []string{"orders"}}}}, nil); err != nil {
		t.Fatal(err)
	}
	defer g.Stop(context.Background())
	rec := httptest.NewRecorder()
	g.ServeHTTP(rec, httptest.NewRequest("GET", "/a", nil))
	if rec.Code != 500 || !strings.Contains(logged.String(), "a defect") || !strings.Contains(logged.String(), "gateway_test.go") {
		t.Errorf("%d, logged %s", rec.Code, &logged)
	}
}
