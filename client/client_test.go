package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-hybrid/tandem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stand is a server that answers with a function, and a client of it that does not sleep.
func stand(t *testing.T, opts Options, h http.HandlerFunc) (*Client, *[]time.Duration) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	if opts.HTTP == nil {
		opts.HTTP = s.Client()
	}
	c, err := New(s.URL, opts)
	if err != nil {
		t.Fatal(err)
	}
	var slept []time.Duration
	c.sleep = func(ctx context.Context, d time.Duration) error {
		slept = append(slept, d)
		return ctx.Err()
	}
	return c, &slept
}

func answerProblem(w http.ResponseWriter, err error) {
	p := tandem.ProblemOf(err)
	w.Header().Set("Content-Type", tandem.MediaProblem)
	if s, ok := p.RetryAfterSeconds(); ok {
		w.Header().Set("Retry-After", fmt.Sprint(s))
	}
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p)
}

func TestNewRefusesWhatIsNoServer(t *testing.T) {
	for _, u := range []string{"", "localhost:8090", "ftp://x", "http://x?y", "http://x#y", "http://[::1"} {
		if _, err := New(u, Options{}); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%q: %v", u, err)
		}
	}
}

func TestPublishSendsOneOrABatch(t *testing.T) {
	c, _ := stand(t, Options{Token: "secret"}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != "POST" || r.URL.Path != "/v1/topics/orders/events" || r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		if r.Header.Get("Content-Type") == tandem.MediaEvent {
			e, err := tandem.ParseEventJSON(body)
			if err != nil || e.Type != "order.placed" || string(e.Data) != `{"total":12}` {
				t.Errorf("%+v %v", e, err)
			}
			io.WriteString(w, `{"id":"1","topic":"orders","partition":3,"offset":7,"cursor":"c","duplicate":false}`)
			return
		}
		es, err := tandem.ParseBatchJSON(body)
		if err != nil || len(es) != 2 {
			t.Errorf("%+v %v", es, err)
		}
		io.WriteString(w, `[{"id":"1","offset":1},{"id":"2","offset":2}]`)
	})
	e := tandem.Event{ID: "1", Source: "/t", Type: "order.placed", Data: []byte(`{"total":12}`)}
	got, err := c.Publish(t.Context(), "orders", e)
	if err != nil || len(got) != 1 || got[0] != (tandem.Receipt{ID: "1", Topic: "orders", Partition: 3, Offset: 7, Cursor: "c"}) {
		t.Errorf("%+v %v", got, err)
	}
	got, err = c.Publish(t.Context(), "orders", e, e)
	if err != nil || len(got) != 2 || got[1].Offset != 2 {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := c.Publish(t.Context(), "orders"); err != nil || got != nil {
		t.Errorf("%+v %v", got, err)
	}
}

func TestWhatIsRepeated(t *testing.T) {
	withID := tandem.Event{ID: "1", Source: "/t", Type: "x"}
	withoutID := tandem.Event{Source: "/t", Type: "x"}
	tests := []struct {
		name  string
		err   error
		event tandem.Event
		calls int
	}{
		{"unavailable, with id", tandem.Errorf(tandem.CodeUnavailable, "later"), withID, 3},
		{"unavailable, without", tandem.Errorf(tandem.CodeUnavailable, "later"), withoutID, 1},
		{"overloaded, without", tandem.Errorf(tandem.CodeOverloaded, "later"), withoutID, 3},
		{"much later", tandem.Errorf(tandem.CodeOverloaded, "later").WithRetryAfter(time.Hour), withID, 1},
		{"invalid", tandem.Errorf(tandem.CodeInvalid, "wrong"), withID, 1},
		{"conflict", tandem.Errorf(tandem.CodeConflict, "other"), withID, 1},
		{"internal", tandem.Errorf(tandem.CodeInternal, "defect"), withID, 1},
		{"timeout", tandem.Errorf(tandem.CodeTimeout, "deadline"), withID, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			calls := 0
			c, slept := stand(t, Options{Retries: 2}, func(w http.ResponseWriter, r *http.Request) { calls++; answerProblem(w, tt.err) })
			_, err := c.Publish(t.Context(), "orders", tt.event)
			if tandem.CodeOf(err) != tandem.CodeOf(tt.err) || calls != tt.calls || len(*slept) != tt.calls-1 {
				t.Errorf("%d calls, slept %v: %v", calls, *slept, err)
			}
			for _, d := range *slept {
				if d < time.Second { // Retry-After says at least one
					t.Errorf("slept %s", d)
				}
			}
		})
	}
}

func TestBrokenConnection(t *testing.T) {
	var calls atomic.Int32
	c, _ := stand(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) < 3 {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, `{"id":"1"}`)
	})
	if _, err := c.Publish(t.Context(), "orders", tandem.Event{ID: "1", Source: "/t", Type: "x"}); err != nil || calls.Load() != 3 {
		t.Errorf("%d calls: %v", calls.Load(), err)
	}
	calls.Store(0)
	if _, err := c.Publish(t.Context(), "orders", tandem.Event{Source: "/t", Type: "x"}); tandem.CodeOf(err) != tandem.CodeUnavailable || calls.Load() != 1 {
		t.Errorf("%d calls: %v", calls.Load(), err)
	}
}

func TestErrorsAreThoseOfTheServer(t *testing.T) {
	sent := tandem.Errorf(tandem.CodeInvalid, "not an event").WithField("/type", "is missing").WithHint("say what happened")
	c, _ := stand(t, Options{}, func(w http.ResponseWriter, r *http.Request) { answerProblem(w, sent) })
	_, err := c.Publish(t.Context(), "orders", tandem.Event{})
	var e *tandem.Error
	if !errors.As(err, &e) || e.Code != tandem.CodeInvalid || len(e.Fields) != 1 || e.Fields[0].Pointer != "/type" || e.Hint != sent.Hint {
		t.Errorf("%#v", err)
	}
	c, _ = stand(t, Options{Retries: -1}, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) })
	if _, err = c.Read(t.Context(), Query{Topics: []string{"a"}}); err == nil || !strings.Contains(err.Error(), "502") {
		t.Errorf("%v", err)
	}
	c, _ = stand(t, Options{Retries: -1}, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") })
	if _, err = c.Read(t.Context(), Query{Topics: []string{"a"}}); tandem.CodeOf(err) != tandem.CodeInternal {
		t.Errorf("%v", err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer elsewhere.Close()
	own := defaultHTTP()
	defer own.CloseIdleConnections()
	c, _ := stand(t, Options{HTTP: own, Token: "secret"}, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	if _, err := c.Publish(t.Context(), "orders", tandem.Event{}); err == nil {
		t.Error("no error")
	}
}

func TestRead(t *testing.T) {
	filter, err := tandem.ParseFilter([]byte(`{"type":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		q    Query
		want string
	}{
		{Query{Topics: []string{"a", "b.*"}}, "topic=a&topic=b.%2A"},
		{Query{Topics: []string{"a"}, Start: tandem.Start{Earliest: true}, Limit: 5}, "from=earliest&limit=5&topic=a"},
		{Query{Topics: []string{"a"}, Start: tandem.Start{Time: "2026-01-31T08:00:00Z"}, Wait: 2 * time.Second}, "from=2026-01-31T08%3A00%3A00Z&topic=a&wait=2s"},
		{Query{Topics: []string{"a"}, Start: tandem.Start{Cursor: "c1"}, Filter: filter}, "cursor=c1&filter=%7B%22exact%22%3A%7B%22type%22%3A%22x%22%7D%7D&topic=a"},
		{Query{Topics: []string{"a"}, Last: 20, Limit: 5, Slow: "conflate"}, "last=20&limit=5&topic=a"},
	}
	for _, tt := range tests {
		c, _ := stand(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
			if got := r.URL.Query().Encode(); r.URL.Path != "/v1/events" || got != tt.want {
				t.Errorf("%s?%s, want %s", r.URL.Path, got, tt.want)
			}
			io.WriteString(w, `{"events":[{"specversion":"1.0","id":"1","source":"/t","type":"x","data":1}],"cursor":"c2","gap":{"reason":"retention","from":"c0","to":"c1"}}`)
		})
		page, err := c.Read(t.Context(), tt.q)
		if err != nil || len(page.Events) != 1 || page.Cursor != "c2" || page.Gap == nil || page.Gap.Reason != tandem.GapRetention {
			t.Errorf("%+v %v", page, err)
		}
	}
	c, _ := stand(t, Options{}, nil)
	for _, q := range []Query{{}, {Topics: []string{"a"}, Last: -1}, {Topics: []string{"a"}, Last: 1, Start: tandem.Start{Earliest: true}}} {
		if _, err := c.Read(t.Context(), q); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

func TestDeadlineIsTimeout(t *testing.T) {
	release := make(chan struct{})
	c, _ := stand(t, Options{Timeout: 20 * time.Millisecond, Retries: -1}, func(w http.ResponseWriter, r *http.Request) { <-release })
	defer close(release)
	_, err := c.Publish(t.Context(), "orders", tandem.Event{ID: "1"})
	if tandem.CodeOf(err) != tandem.CodeTimeout {
		t.Errorf("%v", err)
	}
}

// A password in the address is for the server, not for logs and terminals.
func TestPasswordIsNotShown(t *testing.T) {
	const secret = "s3cr3t"
	for _, base := range []string{"http://me:" + secret + "@h?q=1", "http://me:" + secret + "@h:x", "ftp://me:" + secret + "@h"} {
		if _, err := New(base, Options{}); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("New(%s): %v", base, err)
		}
	}
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	c, err := New(strings.Replace(srv.URL, "http://", "http://me:"+secret+"@", 1), Options{Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Topics(t.Context()); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("no server: %v", err)
	}
}
