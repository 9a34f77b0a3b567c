package interop

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// TestResumeEventSource: the stock npm EventSource, kept running over a restart of the server, and another one started
// with the last id that the first saw: no gap and no repeat.
func TestResumeEventSource(t *testing.T) {
	s := start(t, "topics:\n  orders: {partitions: 4}\n")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	for n := range 10 {
		s.publish("orders", fmt.Sprint("k", n%3), n)
	}
	const total = 40
	first := lines(ctx, t, "node", "js/events.mjs", s.url("/v1/topics/orders/events?from=earliest"), fmt.Sprint(total))
	var lastID string
	want := func(ch <-chan string, n int) string {
		t.Helper()
		id, rest, _ := strings.Cut(next(t, ch), " ")
		if got := rest[strings.LastIndex(rest, " ")+1:]; got != fmt.Sprint(n) {
			t.Fatalf("event %s where %d was next", got, n)
		}
		return id
	}
	for n := range 10 {
		lastID = want(first, n)
	}
	for n := 10; n < 15; n++ {
		s.publish("orders", fmt.Sprint("k", n%3), n)
	}
	for n := 10; n < 15; n++ {
		want(first, n)
	}

	s.stop(syscall.SIGKILL)
	s.run()
	for n := 15; n < total; n++ {
		s.publish("orders", fmt.Sprint("k", n%3), n)
	}
	for n := 15; n < total; n++ {
		want(first, n)
	}

	second := lines(ctx, t, "node", "js/events.mjs", s.url("/v1/topics/orders/events"), "30", lastID)
	for n := 10; n < total; n++ {
		want(second, n)
	}
}

// TestResumeCurl: curl -N reads a few events, is ended, and goes on from the last id over a restart of the server.
func TestResumeCurl(t *testing.T) {
	s := start(t, "topics:\n  orders: {partitions: 4}\n")
	for n := range 20 {
		s.publish("orders", fmt.Sprint("k", n%3), n)
	}
	seen, lastID := 0, ""
	read := func(until int) {
		t.Helper()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		args := []string{"-sN", "-H", "Accept: text/event-stream"}
		if lastID != "" {
			args = append(args, "-H", "Last-Event-ID: "+lastID)
		}
		ch := lines(ctx, t, "curl", append(args, s.url("/v1/topics/orders/events?from=earliest"))...)
		id := ""
		for seen < until {
			line := next(t, ch)
			if strings.HasPrefix(line, "event: gap") {
				t.Fatal("a gap where there was none")
			}
			if v, ok := strings.CutPrefix(line, "id: "); ok {
				id = v
			}
			if strings.HasPrefix(line, "data: ") {
				if !strings.Contains(line, fmt.Sprintf(`{"n":%d}`, seen)) {
					t.Fatalf("line %q where event %d was next", line, seen)
				}
				seen++
				lastID = id
			}
		}
	}
	read(7)
	s.stop(syscall.SIGTERM)
	s.run()
	read(20)
	for n := 20; n < 30; n++ {
		s.publish("orders", fmt.Sprint("k", n%3), n)
	}
	s.stop(syscall.SIGKILL)
	s.run()
	read(30)
}
