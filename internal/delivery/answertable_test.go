package delivery

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// answerRow is a row of the table of answers: what an endpoint does, and what becomes of the event in at most two attempts.
type answerRow struct {
	path     string // a status, or what else the endpoint does
	answers  map[string]string
	attempts int
	outcome  string // delivered, disabled, failing, or the reason of the dead letter
}

// overrides as a user could declare them: an exact status stands before its class.
var overrides = map[string]string{
	"2xx": tandem.AnswerRetry, "201": tandem.AnswerDelivered, "202": tandem.AnswerDead, "203": tandem.AnswerDisable,
	"3xx": tandem.AnswerDelivered, "307": tandem.AnswerDead,
	"4xx": tandem.AnswerDead, "404": tandem.AnswerDelivered, "400": tandem.AnswerRetry, "410": tandem.AnswerRetry, "429": tandem.AnswerDisable,
	"5xx": tandem.AnswerDead, "501": tandem.AnswerDisable, "503": tandem.AnswerRetry, "504": tandem.AnswerDelivered,
}

func answerRows() []answerRow {
	var rows []answerRow
	add := func(answers map[string]string, attempts int, outcome string, paths ...string) {
		for _, p := range paths {
			rows = append(rows, answerRow{p, answers, attempts, outcome})
		}
	}
	add(nil, 1, "delivered", "200", "201", "202", "203", "204", "205", "206", "208", "226", "299")
	add(nil, 1, "refused", "400", "413", "415", "422")
	add(nil, 1, "disabled", "410")
	add(nil, 2, "exhausted", "300", "301", "302", "303", "304", "305", "307", "308",
		"401", "402", "403", "404", "405", "406", "407", "408", "409", "411", "412", "414", "416", "417", "418", "421", "423", "424", "425", "426",
		"428", "429", "431", "451", "499", "500", "501", "502", "503", "504", "505", "507", "508", "511", "520", "599",
		"timeout", "broken", "short")
	add(nil, 0, "failing", "refusing", "nameless") // cannot connect: the endpoint fails, nothing counts

	add(overrides, 2, "exhausted", "200", "204", "299", "400", "410", "503", "timeout", "broken")
	add(overrides, 1, "delivered", "201", "301", "302", "304", "308", "404", "504")
	add(overrides, 1, "refused", "202", "307", "401", "413", "422", "499", "500", "502", "599")
	add(overrides, 1, "disabled", "203", "429", "501")
	add(map[string]string{"4xx": tandem.AnswerRetry}, 2, "exhausted", "400", "413", "415", "422", "410", "429")
	return rows
}

// answeringServer answers by path and notes how often it was asked. A redirect leads to a path that would deliver.
type answeringServer struct {
	mu   sync.Mutex
	seen map[string]int // by subscription
	lost int            // requests that followed a redirect
}

func (a *answeringServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	io.Copy(io.Discard, r.Body) // only then the end of the client is noticed
	a.mu.Lock()
	if path == "elsewhere" {
		a.lost++
	}
	a.seen[r.Header.Get(tandem.HeaderSubscription)]++
	a.mu.Unlock()
	switch path {
	case "timeout":
		<-r.Context().Done()
		return
	case "broken", "short":
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			if path == "short" {
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe rest is missing")
			}
			c.Close()
		}
		return
	}
	status, err := strconv.Atoi(path)
	if err != nil {
		status = http.StatusNoContent
	}
	w.Header().Set("Location", "/elsewhere")
	w.WriteHeader(status)
}

// TestAnswerTable holds each row of the table of answers against an HTTP server.
func TestAnswerTable(t *testing.T) {
	answering := &answeringServer{seen: map[string]int{}}
	server := httptest.NewServer(answering)
	defer server.Close()
	refusing := httptest.NewServer(nil)
	refusing.Close()
	opts := quietOptions(server.URL)
	opts.Services = func(name string) (tandem.Service, bool) {
		return tandem.Service{Name: name, URL: map[string]string{"svc": server.URL, "refusing": refusing.URL, "nameless": "http://nameless"}[name]}, true
	}
	opts.Transport = func(service string) http.RoundTripper {
		tr := &http.Transport{MaxIdleConnsPerHost: 64}
		t.Cleanup(tr.CloseIdleConnections)
		if service == "nameless" {
			tr.DialContext = func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.DNSError{Err: "no such host", Name: "nameless", IsNotFound: true}
			}
		}
		return tr
	}
	ctx := context.Background()
	log := openLog(t)
	m := New(log, opts)
	if err := m.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer m.Stop(ctx)
	rows := answerRows()
	var subs []tandem.Subscription
	for i, row := range rows {
		s := sub("row" + strconv.Itoa(i))
		s.Path, s.Answers, s.Attempts = "/"+row.path, row.answers, 2
		s.Backoff.List = []tandem.Duration{tandem.Duration(time.Millisecond)}
		if row.outcome == "failing" {
			s.Service = row.path
		}
		if row.path == "timeout" {
			s.Timeout = tandem.Duration(time.Second) // enough for a request to arrive on a busy machine
		}
		subs = append(subs, s)
	}
	if err := m.Apply(ctx, subs); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(ctx, "orders", []tandem.Event{event("k")}); err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		name := subs[i].Name
		outcome := awaitOutcome(t, m, name)
		answering.mu.Lock()
		attempts := answering.seen[name]
		answering.mu.Unlock()
		if outcome != row.outcome || attempts != row.attempts {
			t.Errorf("%s with %v: %s after %d attempts, want %s after %d", row.path, row.answers, outcome, attempts, row.outcome, row.attempts)
		}
	}
	if answering.lost > 0 {
		t.Errorf("%d redirects were followed", answering.lost)
	}
}

// awaitOutcome waits until the only event of a subscription has an outcome, or the subscription stopped.
func awaitOutcome(t *testing.T, m *Manager, name string) string {
	t.Helper()
	ctx := context.Background()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); <-tick.C {
		st, err := m.Status(ctx, name)
		switch {
		case err != nil:
			t.Fatal(err)
		case st.State != "running":
			return st.State
		case st.Delivered == 1:
			return "delivered"
		case st.Dead == 1:
			letters, _, err := m.DeadLetters(ctx, name, "", 0)
			if err != nil {
				t.Fatal(err)
			}
			if len(letters) == 1 { // it is stored a moment after it is known
				return letters[0].Reason
			}
		}
	}
	return "none"
}
