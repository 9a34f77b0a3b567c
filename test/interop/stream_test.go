package interop

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReloadKeepsStreams: SIGHUP with a good and with a bad file: the open stream goes on over both, on one connection.
func TestReloadKeepsStreams(t *testing.T) {
	const good = "topics:\n  orders: {partitions: 4}\n"
	s := start(t, good)
	req, _ := http.NewRequestWithContext(t.Context(), "GET", s.url("/v1/topics/orders/events?from=earliest"), nil)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	want := 0
	follow := func() {
		t.Helper()
		s.publish("orders", "k", want)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "event:") {
				t.Fatalf("the stream was told %q", lines.Text())
			}
			if !strings.HasPrefix(lines.Text(), "data: ") {
				continue
			}
			if !strings.Contains(lines.Text(), fmt.Sprintf(`{"n":%d}`, want)) {
				t.Fatalf("%s where event %d was next", lines.Text(), want)
			}
			want++
			return
		}
		t.Fatalf("the stream ended: %v", lines.Err())
	}
	reload := func(file string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(s.dir, "tandem.yaml"), []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	again := func() (status int, body []byte) {
		eventually(t, "the reload by the signal is over", func() bool {
			status, _, body = s.call("POST", s.url("/v1/config:reload"), "")
			return !strings.Contains(string(body), "is under way")
		})
		return status, body
	}
	has := func(topic string) bool {
		status, _, _ := s.call("GET", s.url("/v1/topics/%s", topic), "")
		return status == http.StatusOK
	}
	await := func(topic string) {
		t.Helper()
		for range 200 {
			if has(topic) {
				return
			}
			time.Sleep(25 * time.Millisecond)
		}
		t.Fatalf("the reload did not make topic %s within 5 s", topic)
	}

	follow()
	reload(good + "  more: {}\n")
	await("more")
	follow()
	// Partitions are fixed, so this file cannot be applied as a whole: its other topic must not come into being. The same
	// through the API answers when it is done.
	reload("topics:\n  another: {}\n  orders: {partitions: 5}\n")
	if status, body := again(); status != http.StatusConflict {
		t.Errorf("a reload that contradicts the log: %d %s", status, body)
	}
	if has("another") {
		t.Error("half of a reload was applied")
	}
	follow()
	reload("topics:\n  orders: {partition: 4}\n")
	if status, body := again(); status != http.StatusBadRequest || !strings.Contains(string(body), "tandem.yaml:2:12") {
		t.Errorf("a reload of a bad file: %d %s", status, body)
	}
	follow()
	reload(good + "  last: {}\n")
	await("last")
	follow()
}

// TestSlowReaders: readers that take nothing off their connections cost the publisher no event and the server no more
// than a page each. One that reads on, from where it was if the server has let it go, gets every event once and in order.
func TestSlowReaders(t *testing.T) {
	const (
		readers = 20
		total   = 50_000
		batch   = 5_000
		bound   = 1 << 30 // buffering everything for everybody would take 2 GB
	)
	s := start(t, "topics:\n  orders: {partitions: 1}\n")
	open := func(lastID string) *http.Response {
		t.Helper()
		req, _ := http.NewRequestWithContext(t.Context(), "GET", s.url("/v1/topics/orders/events?from=earliest"), nil)
		req.Header.Set("Accept", "text/event-stream")
		if lastID != "" {
			req.Header.Set("Last-Event-ID", lastID)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	stream := open("")
	for range readers - 1 {
		open("")
	}
	pad := strings.Repeat("x", 2_000)
	for n := 0; n < total; {
		var body strings.Builder
		for range batch {
			fmt.Fprintf(&body, "{\"pad\":\"%s\",\"n\":%d}\n", pad, n)
			n++
		}
		status, _, answer := s.call("POST", s.url("/v1/topics/orders/events?type=t&source=/s&key=k"), body.String(), "Content-Type: application/x-ndjson")
		if stored := strings.Count(string(answer), `"offset":`); status != http.StatusOK || stored != batch {
			t.Fatalf("%d, %d stored", status, stored)
		}
	}

	next, id, lastID := 0, "", ""
	for next < total {
		for lines := bufio.NewScanner(stream.Body); next < total && lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "event: gap") {
				t.Fatalf("a gap after %d events", next)
			}
			if v, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				id = v
			}
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok || !strings.Contains(data, `"specversion"`) {
				continue
			}
			if !strings.HasSuffix(data, fmt.Sprintf(`"n":%d}}`, next)) {
				t.Fatalf("%.200s… where event %d was next", data, next)
			}
			next, lastID = next+1, id
		}
		if next < total {
			t.Logf("let go after %d events", next)
			stream = open(lastID)
		}
	}
	peak := peakBytes(t, s.cmd.Process.Pid)
	t.Logf("the server took %d MiB at most", peak>>20)
	if peak > bound {
		t.Errorf("that is over %d MiB", bound>>20)
	}
}

// peakBytes is the largest resident set of a process so far.
func peakBytes(t *testing.T, pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("this system does not tell the memory of a process")
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
