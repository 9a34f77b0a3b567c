package api_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/api"
)

func lineEvent(id, key string, n int) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":"%s","source":"/s","type":"t","subject":"%s","data":%d}`, id, key, n)
}

// TestNDJSONMixed: each line on its own, answered in order.
func TestNDJSONMixed(t *testing.T) {
	h := newHarness(t, nil)
	h.publish(tandem.MediaEvent, anEvent).want(201)
	body := strings.Join([]string{
		lineEvent("a", "k", 1),
		`{"plain":true}`,
		``,
		`{"specversion":"1.0","id":"b"}`,
		`{"broken":`,
		strings.Replace(anEvent, "12", "13", 1), // other data under an id that is taken
		lineEvent("a", "k", 1),                  // repeat within the request
		`{"specversion":"1.0","id":"l","source":"/s","type":"t","data":"` + strings.Repeat("x", tandem.DefaultMaxEventBytes) + `"}`,
		strings.Repeat("y", 2*tandem.DefaultMaxEventBytes),
		lineEvent("z", "k", 2),
	}, "\n")
	for name, length := range map[string]int64{"whole": int64(len(body)), "streamed": -1} {
		t.Run(name, func(t *testing.T) {
			before := len(h.stored("orders"))
			r := httptest.NewRequest("POST", events+plainType, strings.NewReader(body))
			r.Host, r.ContentLength = "localhost", length
			r.Header.Set("Content-Type", tandem.MediaNDJSON)
			w := httptest.NewRecorder()
			h.api.ServeHTTP(w, r)
			a := answer{t, w.Code, w.Header(), w.Body.String()}
			if a.want(200); a.header.Get("Content-Type") != tandem.MediaNDJSON {
				t.Errorf("header %v", a.header)
			}
			type either struct {
				ID     string
				Status int
				Line   int
				Errors []tandem.FieldError
			}
			var got []string
			for _, l := range lines(a) {
				var e either
				if err := json.Unmarshal([]byte(l), &e); err != nil {
					t.Fatalf("%v: %s", err, l)
				}
				if e.Status == 0 {
					if len(e.ID) == 36 {
						e.ID = "new"
					}
					got = append(got, e.ID)
					continue
				}
				pointer := ""
				if len(e.Errors) > 0 {
					pointer = e.Errors[0].Pointer
				}
				got = append(got, fmt.Sprint(e.Line, ":", e.Status, pointer))
			}
			want := "a new 4:400/source 5:400 6:409/id a 8:413/data 9:413 z"
			if strings.Join(got, " ") != want {
				t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
			}
			// The second round repeats all but the plain line.
			stored := len(h.stored("orders")) - before
			if before == 1 && stored != 3 || before != 1 && stored != 1 {
				t.Errorf("%d events were stored", stored)
			}
		})
	}
	flows := map[string]bool{}
	for _, e := range h.stored("orders") {
		flows[e.Meta.Flow] = true
	}
	if len(flows) != len(h.stored("orders")) {
		t.Error("lines share a flow")
	}
}

// TestNDJSONKeepsOrder: many lines in many groups, with some that are refused, keep the order of their keys.
func TestNDJSONKeepsOrder(t *testing.T) {
	h := newHarness(t, nil)
	const n = 5000
	body, want := new(strings.Builder), 0
	for i := range n {
		if i%97 == 0 {
			fmt.Fprintf(body, "%s\n", lineEvent("taken", "x", i)) // the first is stored, the others conflict
			continue
		}
		fmt.Fprintf(body, "%s\n", lineEvent(fmt.Sprint("id", i), fmt.Sprint("k", i%7), i))
		want++
	}
	r := httptest.NewRequest("POST", events, io.NopCloser(strings.NewReader(body.String())))
	r.Host = "localhost"
	r.Header.Set("Content-Type", tandem.MediaNDJSON)
	w := httptest.NewRecorder()
	h.api.ServeHTTP(w, r)
	a := answer{t, w.Code, w.Header(), w.Body.String()}
	got := lines(a)
	if len(got) != n {
		t.Fatalf("%d lines are answered", len(got))
	}
	for i, l := range got {
		switch {
		case i == 0:
		case i%97 == 0:
			if !strings.HasPrefix(l, fmt.Sprintf(`{"line":%d,`, i+1)) || !strings.Contains(l, `"status":409`) {
				t.Fatalf("line %d: %s", i, l)
			}
		case !strings.HasPrefix(l, fmt.Sprintf(`{"id":"id%d",`, i)):
			t.Fatalf("line %d: %s", i, l)
		}
	}
	last := map[string]int{}
	stored := h.stored("orders")
	if len(stored) != want+1 {
		t.Errorf("%d events are stored, want %d", len(stored), want+1)
	}
	for _, e := range stored {
		var i int
		if err := json.Unmarshal(e.Data, &i); err != nil {
			t.Fatal(err)
		}
		if before, ok := last[e.Subject]; ok && i < before {
			t.Fatalf("%s: %d is stored behind %d", e.Subject, i, before)
		}
		last[e.Subject] = i
	}
}

// serve runs the API behind a real server.
func (h *harness) serve() *httptest.Server {
	srv := httptest.NewServer(h.api)
	h.t.Cleanup(srv.Close)
	return srv
}

// TestNDJSONAnswersWhileItIsSent: a slow sender has its receipts before the body ends.
func TestNDJSONAnswersWhileItIsSent(t *testing.T) {
	h := newHarness(t, nil)
	srv := h.serve()
	pr, pw := io.Pipe()
	req, err := http.NewRequest("POST", srv.URL+events, pr)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", tandem.MediaNDJSON)
	go fmt.Fprintln(pw, lineEvent("1", "k", 1))
	resp, err := http.DefaultClient.Do(req) // returns with the header, which comes with the first receipt
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	receipts := bufio.NewScanner(resp.Body)
	for i := 1; i <= 3; i++ {
		if i > 1 {
			fmt.Fprintln(pw, lineEvent(fmt.Sprint(i), "k", i))
		}
		if !receipts.Scan() || !strings.HasPrefix(receipts.Text(), fmt.Sprintf(`{"id":"%d"`, i)) {
			t.Fatalf("receipt %d: %q %v", i, receipts.Text(), receipts.Err())
		}
	}
	pw.Close()
	if receipts.Scan() {
		t.Errorf("one line too many: %s", receipts.Text())
	}
}

// TestNDJSONFailsInTheMiddle: when the log can no longer write, lines are answered with problems and the request ends.
func TestNDJSONFailsInTheMiddle(t *testing.T) {
	h := newHarness(t, nil)
	srv := h.serve()
	pr, pw := io.Pipe()
	req, _ := http.NewRequest("POST", srv.URL+events, pr)
	req.Header.Set("Content-Type", tandem.MediaNDJSON)
	go fmt.Fprintln(pw, lineEvent("1", "k", 1))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	receipts := bufio.NewScanner(resp.Body)
	if !receipts.Scan() {
		t.Fatal("no receipt")
	}
	h.engine.Fail(tandem.Errorf(tandem.CodeUnavailable, "the disk is full"))
	fmt.Fprintln(pw, lineEvent("2", "k", 2))
	if !receipts.Scan() || !strings.Contains(receipts.Text(), `"line":2`) || !strings.Contains(receipts.Text(), `"status":503`) {
		t.Errorf("got %s", receipts.Text())
	}
	h.engine.Fail(nil)
	fmt.Fprintln(pw, lineEvent("3", "k", 3))
	if !receipts.Scan() || !strings.HasPrefix(receipts.Text(), `{"id":"3"`) {
		t.Errorf("got %s", receipts.Text())
	}
	pw.Close()
}

// TestNDJSONRefusedAtOnce: a first group that cannot be stored is a plain problem, though the body has not ended.
func TestNDJSONRefusedAtOnce(t *testing.T) {
	h := newHarness(t, nil)
	srv := h.serve()
	pr, pw := io.Pipe()
	defer pw.Close()
	req, _ := http.NewRequest("POST", srv.URL+"/v1/topics/nowhere/events", pr)
	req.Header.Set("Content-Type", tandem.MediaNDJSON)
	go fmt.Fprintln(pw, lineEvent("1", "k", 1))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 404 || resp.Header.Get("Content-Type") != tandem.MediaProblem {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
}

// TestNDJSONOfAClientThatDoesNotRead: the answer has a deadline, and the request ends though the client goes on.
func TestNDJSONOfAClientThatDoesNotRead(t *testing.T) {
	h := newHarness(t, func(o *api.Options) { o.BodyTimeout = 200 * time.Millisecond })
	srv := h.serve()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	_ = conn.SetWriteDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n", events+plainType, tandem.MediaNDJSON)
	chunk := strings.Repeat("1\n", 4096)
	chunk = fmt.Sprintf("%x\r\n%s\r\n", len(chunk), chunk)
	for i := 0; ; i++ {
		if _, err := io.WriteString(conn, chunk); err != nil {
			if e, ok := err.(net.Error); ok && e.Timeout() {
				t.Error("the server neither reads nor lets go")
			}
			return // it let go
		}
		if i > 10_000 {
			t.Fatal("the server goes on reading though nobody takes the answers")
		}
	}
}

// TestSlowBody: a body that does not arrive ends in 408.
func TestSlowBody(t *testing.T) {
	h := newHarness(t, func(o *api.Options) { o.BodyTimeout = 50 * time.Millisecond })
	srv := h.serve()
	for _, form := range []string{tandem.MediaEvent, tandem.MediaNDJSON} {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: 100\r\n\r\n{", events, form)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusRequestTimeout {
			t.Errorf("%s: %s", form, resp.Status)
		}
	}
	if n := len(h.stored("orders")); n != 0 {
		t.Errorf("%d events are stored", n)
	}
}
