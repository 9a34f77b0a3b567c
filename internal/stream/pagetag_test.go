package stream_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/stream"
)

// TestPageTag walks through what a client that polls one address meets: 304 as long as no event of it comes, whatever else happens.
func TestPageTag(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, engine, stream.Options{})
			h.publish("a", "yes", "0")
			_, start := get(h, "topic=a")
			query := "topic=a&type=yes&limit=3&cursor=" + escape(start.Cursor)
			tags := map[string]string{}
			ask := func(step, header string, status int, want string) *http.Response {
				t.Helper()
				resp, page := get(h, query, "If-None-Match", header)
				got := strings.Fields(numbers(page))
				slices.Sort(got) // there may be no order of all partitions
				if resp.StatusCode != status || strings.Join(got, " ") != want {
					t.Errorf("%s: %s with %q, want %d with %q", step, resp.Status, numbers(page), status, want)
				}
				return resp
			}
			empty := ask("at first", `"x"`, 200, "").Header
			tags["empty"] = empty.Get("ETag")
			if !strings.HasPrefix(tags["empty"], `W/"`) || empty.Get("Cache-Control") != "private, no-cache" || empty.Get("Retry-After") != "1" {
				t.Errorf("header %v", empty)
			}
			ask("nothing new", tags["empty"], 304, "")
			h.publish("b", "yes", "1")
			h.publish("a", "no", "2")
			resp := ask("others moved", tags["empty"], 304, "")
			if resp.Header.Get("Tandem-Cursor") == string(start.Cursor) || !strings.Contains(resp.Header.Get("Link"), escape(tandem.Cursor(resp.Header.Get("Tandem-Cursor")))) ||
				resp.Header.Get("Retry-After") != "1" || resp.Header.Get("Vary") != "Accept, Authorization" || resp.Header.Get("Content-Type") != "" || resp.ContentLength > 0 {
				t.Errorf("the header of a 304: %v", resp.Header)
			}
			h.publish("a", "yes", "3")
			tags["one"] = ask("one event", tags["empty"], 200, "3").Header.Get("ETag")
			ask("a list", `"x", `+tags["one"], 304, "")
			ask("anything", "*", 304, "")
			h.publish("a", "yes", "4")
			tags["two"] = ask("two events", tags["one"], 200, "3 4").Header.Get("ETag")
			h.publish("a", "yes", "5")
			full := ask("full", tags["two"], 200, "3 4 5").Header
			tags["full"] = full.Get("ETag")
			forLong := "private, max-age=86400, immutable"
			if engine.Partitioned {
				forLong = "private, no-cache" // another full page may be behind the cursor later
			}
			if full.Get("Cache-Control") != forLong || full.Get("Retry-After") != "" {
				t.Errorf("the header of a full page: %v", full)
			}
			if engine.Partitioned {
				return
			}
			h.publish("a", "yes", "6")
			if again := ask("full for ever", tags["full"], 304, "").Header; again.Get("Cache-Control") != full.Get("Cache-Control") || again.Get("ETag") != tags["full"] {
				t.Errorf("the header of a 304 for a full page: %v", again)
			}
			ask("what it was", tags["two"], 200, "3 4 5")
			ask("a list that holds a star, which is none", `"x", *`, 200, "3 4 5")
			if different := map[string]bool{tags["empty"]: true, tags["one"]: true, tags["two"]: true, tags["full"]: true}; len(different) != 4 {
				t.Errorf("tags %v", tags)
			}
			// Another question has another tag.
			for _, other := range []string{strings.Replace(query, "limit=3", "limit=2", 1), strings.Replace(query, "type=yes", "type=no", 1), query + "&topic=b",
				strings.Replace(query, "cursor="+escape(start.Cursor), "from=earliest", 1)} {
				if resp, _ := get(h, other, "If-None-Match", tags["full"]); resp.StatusCode != 200 || resp.Header.Get("ETag") == tags["full"] {
					t.Errorf("%s: %s %v", other, resp.Status, resp.Header)
				}
			}
		})
	}
}

// TestPageTagNeverImmutable: what has no cursor in its address is another page later, so it is asked for again.
func TestPageTagNeverImmutable(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	for i := range 3 {
		h.publish("a", "t", upTo(i, i+1))
	}
	for _, query := range []string{"topic=a&from=earliest&limit=2", "topic=a&last=2&limit=2", "topic=a&from=2020-01-01T00:00:00Z&limit=2"} {
		resp, _ := get(h, query)
		tag := resp.Header.Get("ETag")
		if resp.Header.Get("Cache-Control") != "private, no-cache" {
			t.Errorf("%s: %v", query, resp.Header)
		}
		if resp, _ := get(h, query, "If-None-Match", tag); resp.StatusCode != 304 {
			t.Errorf("%s: %s", query, resp.Status)
		}
	}
	resp, _ := get(h, "topic=a")
	h.publish("a", "t", "9")
	if resp, _ := get(h, "topic=a", "If-None-Match", resp.Header.Get("ETag")); resp.StatusCode != 200 {
		t.Errorf("the latest place is another one after an event: %s", resp.Status)
	}
}

// TestPageTagRecreated: a topic that was created again is another one, also for who has a full page of it.
func TestPageTagRecreated(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, engine, stream.Options{})
			_, start := get(h, "topic=a")
			h.publish("a", "t", "1")
			query := "topic=a&limit=1&cursor=" + escape(start.Cursor)
			resp, _ := get(h, query)
			ctx := context.Background()
			if err := h.log.DeleteTopic(ctx, "a"); err != nil {
				t.Fatal(err)
			}
			if _, err := h.log.CreateTopic(ctx, tandem.Topic{Name: "a", Partitions: 1}); err != nil {
				t.Fatal(err)
			}
			h.publish("a", "t", "2")
			if resp, page := get(h, query, "If-None-Match", resp.Header.Get("ETag")); resp.StatusCode != 200 || page.Gap == nil || resp.Header.Get("Cache-Control") != "private, no-cache" {
				t.Errorf("%s %+v %v", resp.Status, page, resp.Header)
			}
		})
	}
}

// TestPollWithTag: a poll that names the page it has waits until there is more of it, and is then answered with all of it.
func TestPollWithTag(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, engine, stream.Options{})
			_, start := get(h, "topic=a")
			h.publish("a", "t", "1")
			query := "topic=a&limit=3&cursor=" + escape(start.Cursor)
			resp, _ := get(h, query)
			tag := resp.Header.Get("ETag")
			if resp, page := get(h, query, "If-None-Match", `"other"`, "Prefer", "wait=300"); resp.StatusCode != 200 || numbers(page) != "1" {
				t.Errorf("who does not have it need not wait: %s %s", resp.Status, numbers(page))
			}
			if resp, _ := get(h, query+"&wait=20ms", "If-None-Match", tag); resp.StatusCode != 304 || resp.Header.Get("ETag") != tag || resp.Header.Get("Retry-After") != "" {
				t.Errorf("after the wait: %s %v", resp.Status, resp.Header)
			}
			type result struct {
				resp *http.Response
				page tandem.Page
			}
			done := make(chan result)
			go func() {
				resp, page := get(h, query, "If-None-Match", tag, "Prefer", "wait=300")
				done <- result{resp, page}
			}()
			waitOpen(t, h, 1)
			h.publish("a", "t", "2")
			r := <-done
			if r.resp.StatusCode != 200 || numbers(r.page) != "1 2" || r.resp.Header.Get("Preference-Applied") != "wait=300" {
				t.Fatalf("%s %s %v", r.resp.Status, numbers(r.page), r.resp.Header)
			}
			// The page that grew is the one that is read at once.
			if resp, _ := get(h, query, "If-None-Match", r.resp.Header.Get("ETag")); resp.StatusCode != 304 {
				t.Errorf("asked again: %s", resp.Status)
			}
			if _, page := get(h, "topic=a&cursor="+escape(r.page.Cursor)); len(page.Events) > 0 {
				t.Errorf("behind it: %s", numbers(page))
			}
			// However many come at once, it gets no longer than its limit.
			go func() {
				resp, page := get(h, query, "If-None-Match", r.resp.Header.Get("ETag"), "Prefer", "wait=300")
				done <- result{resp, page}
			}()
			waitOpen(t, h, 1)
			batch := make([]tandem.Event, 5)
			for i := range batch {
				batch[i] = tandem.Event{Source: "/test", Type: "t", Subject: "k"}
			}
			if _, err := h.log.Append(context.Background(), "a", batch); err != nil {
				t.Fatal(err)
			}
			if r := <-done; len(r.page.Events) != 3 {
				t.Errorf("%d events where 3 are the limit", len(r.page.Events))
			}
		})
	}
}

// TestDrainEndsPollsWithTag: who is let go early is told not to come back at once.
func TestDrainEndsPollsWithTag(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	h.publish("a", "t", "1")
	resp, _ := get(h, "topic=a&from=earliest")
	done := make(chan *http.Response)
	go func() {
		resp, _ := get(h, "topic=a&from=earliest&wait=5m", "If-None-Match", resp.Header.Get("ETag"))
		done <- resp
	}()
	waitOpen(t, h, 1)
	if err := h.streams.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	if resp := <-done; resp.StatusCode != 304 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
}
