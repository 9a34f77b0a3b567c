package interop

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// module follows a stream with the browser module in node; see js/module.mjs.
func (s *tandem) module(url, options string) *program {
	// The flag is for node 20; later ones have WebSocket without it.
	return run(s.t, "node", "--experimental-websocket", "js/module.mjs", s.url("/v1/client.js"), url, options)
}

const moduleConfig = "topics:\n  orders: {partitions: 4}\n"

// moduleSees expects the events of numbers n to before end.
func (p *program) moduleSees(n, end int) (cursor string) {
	p.t.Helper()
	for ; n < end; n++ {
		rest := p.next("state")
		if !strings.HasPrefix(rest, fmt.Sprintf("event %d ", n)) {
			p.t.Fatalf("%s where event %d was next", rest, n)
		}
		cursor = rest[strings.LastIndex(rest, " ")+1:]
	}
	return cursor
}

// TestModule: the browser module, in node, reads over both transports and goes on by itself over a kill and a stop of the server.
func TestModule(t *testing.T) {
	for _, webSocket := range []bool{false, true} {
		t.Run(fmt.Sprintf("webSocket=%t", webSocket), func(t *testing.T) {
			t.Parallel()
			s := start(t, moduleConfig)
			for n := range 3 {
				s.publish("orders", "k", n)
			}
			p := s.module(s.url("/v1/topics/orders/events"), fmt.Sprintf(`{"websocket":%t,"last":2}`, webSocket))
			p.moduleSees(1, 3)
			n := 3
			for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
				s.stop(signal)
				for state := ""; state != "waiting"; {
					_, rest, _ := strings.Cut(p.next("event"), " ")
					state, rest, _ = strings.Cut(rest, " ")
					if state == "waiting" && signal == syscall.SIGTERM && rest != "draining" {
						t.Errorf("it waits since %q", rest)
					}
				}
				s.run()
				for range 10 {
					s.publish("orders", fmt.Sprint("k", n%3), n)
					n++
				}
				p.moduleSees(n-10, n)
			}
			p.tell("close")
			if line := p.next(); line != "state closed " {
				t.Errorf("%s where the end was next", line)
			}
			// A refusal is told with its status, also that of an upgrade.
			p = s.module(s.url("/v1/topics/nothing/events"), fmt.Sprintf(`{"websocket":%t}`, webSocket))
			if line := p.next("state connecting"); line != "state failed 404" {
				t.Errorf("%s where 404 was next", line)
			}
		})
	}
}

// TestModulePublishes: the browser module publishes over a WebSocket and is told what became of it; what has no receipt when the server
// is killed is stored once.
func TestModulePublishes(t *testing.T) {
	s := start(t, moduleConfig)
	p := s.module(s.url("/v1/topics/orders/events"), `{"websocket":true,"from":"earliest"}`)
	event := func(id string, n int) string {
		return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/page","type":"said","subject":"k","data":{"n":%d}}`, id, n)
	}
	p.tell("publish %s", event("a", 0)) // before it is open
	said := []string{p.next("state"), p.next("state")}
	if got := strings.Join(said, ", "); !strings.Contains(got, "receipt a false") || !strings.Contains(got, "event 0 k") {
		t.Errorf("it was told %s", got)
	}
	p.tell("publish %s", event("a", 0))
	if line := p.next("state"); line != "receipt a true" {
		t.Errorf("the repeat was answered with %s", line)
	}
	p.tell(`publish {"specversion":"1.0","source":"/page","data":{}}`)
	if line := p.next("state"); !strings.HasPrefix(line, "refused 400 ") {
		t.Errorf("no type was answered with %s", line)
	}
	const events = 200
	for n := 1; n <= events; n++ {
		p.tell("publish %s", event(fmt.Sprint(n), n))
		if n == events/2 {
			s.stop(syscall.SIGKILL)
		}
	}
	s.run()
	seen, receipts := 1, 0
	for seen <= events || receipts < events {
		switch line := p.next("state"); {
		case strings.HasPrefix(line, fmt.Sprintf("event %d ", seen)):
			seen++
		case strings.HasPrefix(line, "receipt "):
			receipts++
		default:
			t.Fatalf("%s where event %d was next", line, seen)
		}
	}
}

// TestModuleWindow: the browser module is sent no more than its window holds, and acknowledges what onevent is done with.
func TestModuleWindow(t *testing.T) {
	s := start(t, moduleConfig)
	for n := range 50 {
		s.publish("orders", map[bool]string{true: "k", false: "other"}[n < 5], n) // places behind filtered events are processed, too
	}
	for n := 50; n < 70; n++ {
		s.publish("orders", "k", n)
	}
	p := s.module(s.url("/v1/topics/orders/events"), `{"websocket":true,"from":"earliest","window":4,"hold":true,"query":{"subject":"k"}}`)
	presence := func() (streams []struct {
		Events int
		Acked  string
	}) {
		t.Helper()
		_, _, body := s.call("GET", s.url("/v1/streams"), "")
		if err := json.Unmarshal(body, &struct{ Streams any }{&streams}); err != nil || len(streams) != 1 {
			t.Fatalf("%v %s", err, body)
		}
		return streams
	}
	cursor := ""
	for n := range 25 {
		at := n
		if n >= 5 {
			at += 45
		}
		cursor = p.moduleSees(at, at+1)
		if sent := presence()[0].Events; sent > n+4 {
			t.Fatalf("%d events were sent when %d were processed", sent, n)
		}
		if n == 0 {
			eventually(t, "the window is used", func() bool { return presence()[0].Events == 4 })
		}
		p.tell("done")
	}
	eventually(t, "the last acknowledgement", func() bool { return presence()[0].Acked == cursor })
}
