package operation

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

func (h *house) serve(t *testing.T) *httptest.Server {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.Serve(w, r, strings.TrimPrefix(r.URL.Path, "/")) }))
	t.Cleanup(srv.Close)
	return srv
}

func do(t *testing.T, method, url string, header ...string) *http.Response {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), method, url, nil)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close(); http.DefaultClient.CloseIdleConnections() })
	return res
}

func TestServe(t *testing.T) {
	h := newHouse(t, Options{})
	url := h.serve(t).URL + "/"
	op := h.begin()
	for _, c := range []struct {
		method, path string
		header       []string
		status       int
		want         map[string]string // headers
	}{
		{"GET", op.ID, nil, 200, map[string]string{"ETag": `"running"`, "Retry-After": "1", "Content-Type": "application/json"}},
		{"GET", op.ID, []string{"If-None-Match", `"running"`}, 304, map[string]string{"ETag": `"running"`}},
		{"HEAD", op.ID, []string{"If-None-Match", `W/"x", W/"running"`}, 304, map[string]string{"Retry-After": "1", "Cache-Control": "private, no-cache"}},
		{"GET", op.ID + "?wait=1ms", []string{"If-None-Match", `"running"`}, 304, map[string]string{"Retry-After": ""}},
		{"GET", op.ID + "?wait=soon", nil, 400, nil},
		{"GET", tandem.NewID(), nil, 404, map[string]string{"Content-Type": "application/problem+json"}},
		{"GET", tandem.NewID(), []string{"Accept", "text/event-stream"}, 404, nil},
		{"POST", op.ID, nil, 405, map[string]string{"Allow": "GET, HEAD, DELETE"}},
		{"DELETE", op.ID, []string{"If-None-Match", `"cancelled"`}, 200, map[string]string{"ETag": `"cancelled"`, "Retry-After": ""}},
		{"DELETE", op.ID, nil, 200, nil},
		{"GET", op.ID, []string{"If-None-Match", `"running"`}, 200, map[string]string{"ETag": `"cancelled"`}},
		{"GET", op.ID, []string{"Prefer", "wait=5"}, 200, map[string]string{"Preference-Applied": "wait=5"}},
		{"GET", op.ID, []string{"Accept", "text/event-stream", "Last-Event-ID", "cancelled"}, 204, nil},
	} {
		res := do(t, c.method, url+c.path, c.header...)
		if res.StatusCode != c.status {
			t.Errorf("%s %s %v: %d, want %d", c.method, c.path, c.header, res.StatusCode, c.status)
		}
		for name, v := range c.want {
			if got := res.Header.Get(name); got != v {
				t.Errorf("%s %s %v: %s is %q, want %q", c.method, c.path, c.header, name, got, v)
			}
		}
	}
}

// TestAgain: the hint grows with the age of the operation, and does not go beyond its time.
func TestAgain(t *testing.T) {
	now := time.Now()
	for _, c := range []struct{ age, left, want time.Duration }{
		{0, time.Hour, time.Second},
		{8 * time.Second, time.Hour, time.Second},
		{40 * time.Second, time.Hour, 4 * time.Second},
		{time.Hour, time.Hour, 30 * time.Second},
		{time.Hour, 7 * time.Second, 7 * time.Second},
		{time.Hour, -time.Second, time.Second},
	} {
		op := tandem.Operation{Created: timeText(now.Add(-c.age)), Expires: timeText(now.Add(c.left))}
		if got := again(&op, now); got < c.want-10*time.Millisecond || got > c.want+10*time.Millisecond { // texts are cut to milliseconds
			t.Errorf("aged %v with %v left: %v, want %v", c.age, c.left, got, c.want)
		}
	}
}

func TestServeWaits(t *testing.T) {
	h := newHouse(t, Options{})
	url := h.serve(t).URL + "/"
	op := h.begin()
	answer := make(chan tandem.Operation)
	go func() {
		var got tandem.Operation
		json.NewDecoder(do(t, "GET", url+op.ID, "Prefer", "wait=30", "If-None-Match", `"running"`).Body).Decode(&got)
		answer <- got
	}()
	h.publish("order.done", op.ID)
	if got := <-answer; got.State != tandem.OperationSucceeded || got.Result == nil || got.Result.Type != "order.done" || got.Flow != "flow" {
		t.Errorf("got %+v", got)
	}
}

func TestServeStream(t *testing.T) {
	h := newHouse(t, Options{})
	op := h.begin()
	res := do(t, "GET", h.serve(t).URL+"/"+op.ID, "Accept", "text/event-stream")
	lines := bufio.NewScanner(res.Body)
	next := func() (id, state string) {
		t.Helper()
		for lines.Scan() && lines.Text() != "" {
			if v, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				id = v
			}
			if v, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var op tandem.Operation
				if err := json.Unmarshal([]byte(v), &op); err != nil {
					t.Error(err)
				}
				state = string(op.State)
			}
		}
		return id, state
	}
	if id, state := next(); id != "running" || state != "running" {
		t.Errorf("first message: %q %q", id, state)
	}
	h.publish("order.failed", op.ID)
	if id, state := next(); id != "failed" || state != "failed" {
		t.Errorf("second message: %q %q", id, state)
	}
	if lines.Scan() {
		t.Errorf("the stream goes on after the end: %q", lines.Text())
	}
}

// A server waits for open requests before it stops the rooms: draining must free them.
func TestDrainFreesWaiters(t *testing.T) {
	h := newHouse(t, Options{})
	op := h.begin()
	res := do(t, "GET", h.serve(t).URL+"/"+op.ID, "Accept", "text/event-stream")
	lines := bufio.NewScanner(res.Body)
	lines.Scan()
	polled := make(chan int)
	go func() { polled <- do(t, "GET", res.Request.URL.String()+"?wait=1m").StatusCode }()
	h.Drain(t.Context())
	for lines.Scan() {
	}
	if status := <-polled; status != 200 {
		t.Errorf("a long poll: %d", status)
	}
	if got, err := h.Cancel(t.Context(), op.ID); err != nil || got.State != tandem.OperationCancelled {
		t.Errorf("operations do not end any more: %+v, %v", got, err)
	}
}
