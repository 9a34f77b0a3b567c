package stream_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/stream"
)

func TestPagesFollowEachOther(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	for i := range 10 {
		h.publish([]string{"a", "b"}[i%2], "t", upTo(i, i+1))
	}
	query, got := "topic=a&topic=b&from=earliest&limit=3", ""
	for range 4 {
		resp, page := get(h, query)
		if resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("ETag") == "" || resp.Header.Get("Tandem-Cursor") != string(page.Cursor) {
			t.Errorf("header %v", resp.Header)
		}
		got += " " + numbers(page)
		link := resp.Header.Get("Link")
		_, query, _ = strings.Cut(strings.TrimSuffix(link, `>; rel="next"`), "?")
		if !strings.Contains(query, "limit=3") || strings.Contains(query, "from=") || strings.Count(query, "topic=") != 2 {
			t.Fatalf("link %s", link)
		}
	}
	if got != " "+upTo(0, 10) {
		t.Errorf("got%s", got)
	}
	if _, page := get(h, query); len(page.Events) != 0 || page.Cursor == "" {
		t.Errorf("behind the end: %+v", page)
	}
	if _, page := get(h, "topic=a"); len(page.Events) != 0 {
		t.Errorf("the default is latest: %s", numbers(page))
	}
}

// TestLongPollWakes: a poll is answered by the event, long before its time is out.
func TestLongPollWakes(t *testing.T) {
	for name, header := range map[string][]string{"wait=5m": nil, "wait=300": nil, "": {"Prefer", "wait=300"}} {
		h := newHarness(t, memlog.Options{}, stream.Options{})
		type result struct {
			resp *http.Response
			page tandem.Page
		}
		done := make(chan result)
		go func() {
			resp, page := get(h, "topic=a&type=yes&"+name, header...)
			done <- result{resp, page}
		}()
		waitOpen(t, h, 1)
		h.publish("a", "no", "1") // does not match, so does not wake for good
		h.publish("b", "yes", "2")
		h.publish("a", "yes", "3")
		select {
		case r := <-done:
			if numbers(r.page) != "3" || (header != nil) != (r.resp.Header.Get("Preference-Applied") == "wait=300") {
				t.Errorf("got %s, %v", numbers(r.page), r.resp.Header)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the poll was not woken")
		}
	}
}

func TestLongPollEndsEmpty(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	resp, page := get(h, "topic=a&wait=20ms")
	if resp.StatusCode != 200 || len(page.Events) != 0 || page.Cursor == "" {
		t.Errorf("%s %+v", resp.Status, page)
	}
}

// waitOpen returns when n streams or polls are open. Their number is all that tells.
func waitOpen(t *testing.T, h *harness, n int) {
	t.Helper()
	wait(t, h, fmt.Sprint(n), func(open int) bool { return open == n })
}

// waitBelow returns when fewer than n are open.
func waitBelow(t *testing.T, h *harness, n int) {
	t.Helper()
	wait(t, h, fmt.Sprint("fewer than ", n), func(open int) bool { return open < n })
}

func wait(t *testing.T, h *harness, want string, fits func(open int) bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !fits(h.streams.Open()) {
		if time.Now().After(deadline) {
			t.Fatalf("%d are open, want %s", h.streams.Open(), want)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestDrainEndsPolls(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	done := make(chan *http.Response)
	go func() { resp, _ := get(h, "topic=a&wait=5m"); done <- resp }()
	waitOpen(t, h, 1)
	if err := h.streams.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	if resp := <-done; resp.StatusCode != 200 {
		t.Errorf("%s", resp.Status)
	}
	if resp, _ := get(h, "topic=a&wait=5m"); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	if resp, _ := get(h, "topic=a&from=earliest"); resp.StatusCode != 200 {
		t.Errorf("a page that does not wait: %s", resp.Status)
	}
}

func TestStreamsAreCapped(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{MaxStreams: 2})
	h.open("topic=a").next()
	c := h.open("topic=a")
	c.next()
	for _, query := range []string{"topic=a&wait=5s", "topic=a"} {
		accept := "application/json"
		if !strings.Contains(query, "wait") {
			accept = tandem.MediaSSE
		}
		if resp, _ := get(h, query, "Accept", accept); resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %s", query, resp.Status)
		}
	}
	c.cancel()
	waitOpen(t, h, 1)
	h.open("topic=a").next()
}

func TestHead(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	for _, accept := range []string{"application/json", tandem.MediaSSE} {
		req, _ := http.NewRequest("HEAD", h.srv.URL+"/?topic=a&wait=5m", nil)
		req.Header.Set("Accept", accept)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != accept {
			t.Errorf("%s: %s %v", accept, resp.Status, resp.Header)
		}
	}
	req, _ := http.NewRequest("HEAD", h.srv.URL+"/?topic=a", nil)
	req.Header.Set("Prefer", "wait=300")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.Header.Get("Preference-Applied") != "" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("it did not wait, and says %v", resp.Header)
	}
}
