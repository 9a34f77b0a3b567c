package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/server"
)

// requestService answers with one event of the type that its path names, unless it is to answer with a status.
type requestService struct {
	*httptest.Server

	mu     sync.Mutex
	status map[string]int // by path
	called []string       // path and type
}

func newRequestService(t *testing.T) *requestService {
	s := &requestService{status: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		e, err := tandem.ParseEventJSON(body)
		if err != nil || r.Header.Get(tandem.HeaderPosition) != "" {
			t.Errorf("sent %s with position %q: %v", body, r.Header.Get(tandem.HeaderPosition), err)
		}
		name := strings.TrimPrefix(r.URL.Path, "/")
		s.mu.Lock()
		s.called = append(s.called, name+" "+e.Type)
		status := s.status[name]
		s.mu.Unlock()
		if status != 0 {
			w.WriteHeader(status)
			return
		}
		w.Header().Set("Content-Type", tandem.MediaEvent)
		fmt.Fprintf(w, `{"specversion":"1.0","id":"own","source":"/%s","type":"%s.done","data":{"by":"%s"}}`, name, name, name)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *requestService) answer(path string, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status[path] = status
}

func (s *requestService) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	called := strings.Join(s.called, ", ")
	s.called = nil
	return called
}

// requestOptions are a chain of two links over one topic: inventory takes the order, payments what inventory answers.
func requestOptions(svc *requestService) server.Options {
	return server.Options{
		Services: []tandem.Service{{Name: "shop", URL: svc.URL}},
		Topics:   []tandem.Topic{{Name: "orders", Type: "order.placed", Source: "/orders"}},
		Subscriptions: []tandem.Subscription{
			{Name: "inventory", Topics: []string{"orders"}, Filter: exactType("order.placed"), Service: "shop", Path: "/inventory", Mode: "request"},
			{Name: "payments", Topics: []string{"orders"}, Filter: exactType("inventory.done"), Service: "shop", Path: "/payments", Mode: "request"},
		},
	}
}

func exactType(typ string) tandem.Filter {
	var f tandem.Filter
	if err := json.Unmarshal([]byte(`{"type":"`+typ+`"}`), &f); err != nil {
		panic(err)
	}
	return f
}

// send makes a request of the API, or of the public listener.
func send(t *testing.T, method, url, contentType, body string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

// TestRequestMode: a publish is answered with the replies of the whole chain, which are stored with it, and a repeat calls nobody.
func TestRequestMode(t *testing.T) {
	svc := newRequestService(t)
	s := startServer(t, requestOptions(svc))
	events := "http://" + s.APIAddr() + "/v1/topics/orders/events"

	var first string
	for _, repeat := range []bool{false, true} {
		res, body := send(t, "POST", events+"?id=1&subject=o1", "application/json", `{"n":1}`)
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != tandem.MediaBatch {
			t.Fatalf("%s %s: %s", res.Status, res.Header.Get("Content-Type"), body)
		}
		replies, err := tandem.ParseBatchJSON([]byte(body))
		if err != nil || len(replies) != 2 || replies[0].Type != "inventory.done" || replies[1].Type != "payments.done" {
			t.Fatalf("%v: %s", err, body)
		}
		if replies[1].Meta.Hops != 2 || replies[1].Subject != "" || replies[1].Meta.Flow != res.Header.Get(tandem.HeaderFlow) {
			t.Errorf("the last reply: %+v", replies[1])
		}
		place := res.Header.Get(tandem.HeaderPosition) + " " + res.Header.Get(tandem.HeaderCursor) + " " + res.Header.Get(tandem.HeaderID)
		if first == "" {
			first = place
		}
		if _, err := tandem.ParsePosition(res.Header.Get(tandem.HeaderPosition)); err != nil || place != first || !strings.HasSuffix(place, " 1") {
			t.Errorf("placed at %q, the first at %q", place, first)
		}
		want, duplicate := "inventory order.placed, payments inventory.done", ""
		if repeat {
			want, duplicate = "", "true"
		}
		if got := svc.take(); got != want || res.Header.Get(tandem.HeaderDuplicate) != duplicate {
			t.Errorf("repeat %v called %q, duplicate %q", repeat, got, res.Header.Get(tandem.HeaderDuplicate))
		}
	}
	if n := count(t, "http://"+s.APIAddr(), "orders"); n != 3 {
		t.Errorf("%d events stored", n)
	}
}
