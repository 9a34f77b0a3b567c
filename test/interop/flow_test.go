package interop

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// flood publishes so many events of 2 kB that no buffer on the way to a client takes them all, with keys 0 to 9.
func (s *tandem) flood(topic string, from, events int) {
	s.t.Helper()
	pad := strings.Repeat("x", 2000)
	for n := from; n < from+events; {
		var body strings.Builder
		for range min(5000, from+events-n) {
			fmt.Fprintf(&body, `{"specversion":"1.0","id":"%d","source":"/flood","type":"test","subject":"k%d","data":{"pad":%q,"n":%d}}`+"\n", n, n%10, pad, n)
			n++
		}
		status, _, answer := s.call("POST", s.url("/v1/topics/%s/events", topic), body.String(), "Content-Type: application/x-ndjson")
		if status != http.StatusOK || strings.Contains(string(answer), `"status":`) {
			s.t.Fatalf("%d %.300s", status, answer)
		}
	}
}

const flooded = 12_000

// live waits until one stream is open and keeps up.
func (s *tandem) live() {
	s.t.Helper()
	eventually(s.t, "a stream that keeps up", func() bool {
		_, _, body := s.call("GET", s.url("/v1/streams"), "")
		var p struct{ Streams []struct{ State string } }
		return json.Unmarshal(body, &p) == nil && len(p.Streams) == 1 && p.Streams[0].State == "live"
	})
}

// TestWebSocketWindow: a client that was opened with credit is sent no more than that until it acknowledges or gives credit.
func TestWebSocketWindow(t *testing.T) {
	s := start(t, "topics:\n  orders: {}\n")
	for n := range 10 {
		s.publish("orders", "k", n)
	}
	w := socket(t, s.url("/v1/topics/orders/events?from=earliest&credit=3"), "tandem.v1.json")
	w.says("open")
	quiet := func() {
		t.Helper()
		w.tell("ping enough?")
		if line := w.next("ping"); line != "pong enough?" {
			t.Fatalf("beyond the window: %s", line)
		}
	}
	second := w.follow(0, 2)
	third := w.follow(2, 3)
	quiet()
	w.tell(`send {"ack":%q}`, second)
	w.follow(3, 5)
	quiet()
	w.tell(`send {"ack":%q}`, second) // again: gives nothing
	quiet()
	w.tell(`send {"ack":%q}`, third)
	w.follow(5, 6)
	quiet()
	w.tell(`send {"credit":2}`)
	w.follow(6, 8)
	quiet()
	if _, _, body := s.call("GET", s.url("/v1/streams"), ""); !strings.Contains(string(body), `"acked":"`+third+`"`) || !strings.Contains(string(body), `"kind":"tandem.v1.json"`) {
		t.Errorf("presence: %s", body)
	}
	w.tell(`send {"credit":10000}`)
	w.follow(8, 10)
	w.tell(`send {"credit":10000}`)
	if f := w.frame(); f.Problem == nil || f.Problem.Status != http.StatusBadRequest {
		t.Errorf("too much credit: %+v", f)
	}
}

// TestWebSocketSlow: slow=disconnect lets a client go that does not read, with what it needs to go on without a loss.
func TestWebSocketSlow(t *testing.T) {
	s := start(t, "topics:\n  orders: {partitions: 1}\n")
	w := socket(t, s.url("/v1/topics/orders/events?slow=disconnect"), "tandem.v1.json")
	w.says("open")
	s.live()
	w.tell("pause")
	s.publish("orders", "k", 0)
	s.flood("orders", 1, flooded)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) { // slow is who is behind for five seconds
		_, _, body := s.call("GET", s.url("/v1/streams"), "")
		if strings.Contains(string(body), `"state":"ending"`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it is not let go: %s", body)
		}
	}
	w.tell("resume")
	n, cursor := 0, ""
	for {
		f := w.frame()
		if f.Event == nil {
			if f.Reconnect == nil || f.Reconnect.Reason != "slow" {
				t.Fatalf("%+v after %d events", f, n)
			}
			break
		}
		if f.Event.Data.N != n {
			t.Fatalf("event %d where %d was next", f.Event.Data.N, n)
		}
		n, cursor = n+1, f.Cursor
	}
	w.says("close 1008 slow")
	if n == 0 || n > flooded {
		t.Fatalf("%d of %d events came before it was let go", n, flooded+1)
	}
	t.Logf("let go after %d of %d events", n, flooded+1)
	w = socket(t, s.url("/v1/topics/orders/events?slow=disconnect&cursor=%s", cursor), "tandem.v1.json")
	w.says("open")
	w.follow(n, flooded+1)
}

// TestStreamsAge: at its greatest age a stream is told so beforehand and asked to come back, which a stock EventSource does by itself.
func TestStreamsAge(t *testing.T) {
	t.Parallel()
	s := start(t, "topics:\n  orders: {}\nstreams: {maxAge: 2s}\n")
	events := s.url("/v1/topics/orders/events")
	source := run(t, "node", "js/events.mjs", events+"?from=earliest", "10")
	w := socket(t, events, "tandem.v1.json")
	w.says("open")
	for n := range 10 { // over the greatest age, which is looked at every two seconds
		s.publish("orders", "k", n)
		if line := next(t, source.out); !strings.HasSuffix(line, fmt.Sprint(" k ", n)) {
			t.Fatalf("%s where event %d was next", line, n)
		}
		time.Sleep(500 * time.Millisecond)
	}
	var said []string
	for len(said) < 2 {
		switch f := w.frame(); {
		case f.Expiring != nil:
			said = append(said, "expiring "+f.Expiring.Reason)
		case f.Reconnect != nil && f.Reconnect.After > 0:
			said = append(said, "reconnect "+f.Reconnect.Reason)
		case f.Event == nil:
			t.Fatalf("%+v", f)
		}
	}
	if got := strings.Join(said, ", "); got != "expiring age, reconnect age" {
		t.Errorf("it was told %s", got)
	}
	w.says("close 1012 age")
}

// TestTail: tandem tail begins with the last events, and goes on over a kill of the server.
func TestTail(t *testing.T) {
	s := start(t, "topics:\n  orders: {partitions: 4}\n")
	for n := range 20 {
		s.publish("orders", fmt.Sprint("k", n%3), n)
	}
	tail := func(args ...string) *program {
		return run(t, os.Getenv("TANDEM_BINARY"), append([]string{"tail", "orders", "--json", "--api", "http://" + s.api}, args...)...)
	}
	want := func(p *program, n int) {
		t.Helper()
		if line := p.next(); !strings.Contains(line, fmt.Sprintf(`"data":{"n":%d}`, n)) {
			t.Fatalf("%s where event %d was next", line, n)
		}
	}
	p := tail("--last", "3", "--filter", "subject=k1")
	for _, n := range []int{13, 16, 19} {
		want(p, n)
	}
	p = tail("--last", "3")
	for n := 17; n < 22; n++ {
		if n >= 20 {
			s.publish("orders", "k", n)
		}
		want(p, n)
	}
	s.stop(syscall.SIGKILL)
	s.run()
	for n := 22; n < 30; n++ {
		s.publish("orders", fmt.Sprint("k", n%3), n)
		want(p, n)
	}
	// Without following it ends by itself.
	out, err := exec.CommandContext(t.Context(), os.Getenv("TANDEM_BINARY"), "tail", "orders", "--last", "2", "--no-follow", "--json", "--api", "http://"+s.api).Output()
	if err != nil || strings.Count(string(out), "\n") != 2 || !strings.Contains(string(out), `{"n":29}`) {
		t.Errorf("%v %s", err, out)
	}
}

// TestTailConflates: tandem tail --slow conflate that is not read from misses what later events of a key made old, and nothing else.
func TestTailConflates(t *testing.T) {
	s := start(t, "topics:\n  orders: {partitions: 1}\n")
	s.publish("orders", "k0", 0)
	p := run(t, os.Getenv("TANDEM_BINARY"), "tail", "orders", "--json", "--last", "1", "--slow", "conflate", "--api", "http://"+s.api)
	p.next()
	s.live()
	const end = 2 * flooded
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.flood("orders", 1, end)
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	last, seen := map[string]int{}, 0
	for n := 0; n < end; seen++ {
		var m message
		if line := p.next(); json.Unmarshal([]byte(line), &m) != nil || m.Data.N <= n {
			t.Fatalf("%.200s after event %d", line, n)
		}
		n = m.Data.N
		last[m.Subject] = n
	}
	for key, n := range last {
		if n <= end-10 {
			t.Errorf("the last event of %s was %d", key, n)
		}
	}
	if len(last) != 10 || seen >= end-1000 {
		t.Errorf("%d of %d events came, of %d keys", seen, end, len(last))
	}
	t.Logf("%d of %d events came", seen, end)
}
