package stream_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/stream"
)

// TestHubOrder: clients that come, go, read slowly, filter and come back all see every event of theirs once and in order, over both kinds
// of engine, while what may wait for them is so little that they fall behind all the time.
func TestHubOrder(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, engine, stream.Options{WaitingBytes: 664 << 10}, narrow)
			const events, clients = 3000, 24
			pad := strings.Repeat("x", 500)
			var wg sync.WaitGroup
			began := make(chan struct{}, clients)
			for c := range clients {
				wg.Go(func() { h.follow(c, events, began) })
			}
			for range clients {
				<-began
			}
			types := []string{"even", "odd"}
			rng := rand.New(rand.NewPCG(1, 2))
			for i := 0; i < events; {
				n := min(1+rng.IntN(40), events-i)
				batch := make([]tandem.Event, n)
				for j := range batch {
					batch[j] = tandem.Event{Source: "/s", Type: types[i%2], Subject: "k", Data: fmt.Appendf(nil, `[%d,%q]`, i, pad)}
					i++
				}
				if _, err := h.log.Append(context.Background(), "a", batch); err != nil {
					t.Fatal(err)
				}
				if rng.IntN(8) == 0 { // let some catch up
					time.Sleep(time.Millisecond)
				}
			}
			wg.Wait()
			if h.streams.Lagging() == 0 {
				t.Error("nobody fell behind, so the test shows less than it should")
			}
		})
	}
}

// follow is one client of TestHubOrder.
func (h *harness) follow(c, events int, began chan<- struct{}) {
	rng := rand.New(rand.NewPCG(uint64(c), 7))
	query, step := "topic=a", 1
	if c%3 == 1 {
		query, step = "topic=a&type=even", 2
	}
	at, next := "", 0
	for begun := false; next < events; {
		target := query
		if at != "" {
			target += "&cursor=" + at
		} else {
			target += "&from=earliest"
		}
		read, end := h.reader(target, c%2 == 1)
		if !begun {
			begun = true
			began <- struct{}{}
		}
		if c%4 == 3 { // slow to begin with: what is sent piles up
			time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
		}
		for left := 200 + rng.IntN(2000); left > 0 && next < events; left-- {
			cursor, data := read()
			if cursor != "" {
				at = cursor
			}
			if data == nil {
				continue
			}
			var got []any
			if err := json.Unmarshal(data, &got); err != nil {
				h.t.Error(err)
				end()
				return
			}
			if int(got[0].(float64)) != next {
				h.t.Errorf("client %d got %v, want %d", c, got[0], next)
				end()
				return
			}
			next += step
		}
		end()
	}
}

// reader opens a stream and returns what reads a message of it: its cursor, and the data of its event, if there is one.
func (h *harness) reader(query string, webSocket bool) (read func() (string, []byte), end func()) {
	if webSocket {
		s := h.socket(query, tandemV1)
		_ = s.conn.(*net.TCPConn).SetReadBuffer(64 << 10)
		return func() (string, []byte) {
			f := s.frame()
			if f.Gap != nil {
				h.t.Errorf("gap %+v", f.Gap)
			}
			if f.Event == nil {
				return string(f.Cursor), nil
			}
			e, err := tandem.ParseEventJSON(f.Event)
			if err != nil {
				h.t.Error(err)
			}
			return string(f.Cursor), e.Data
		}, func() { s.conn.Close() }
	}
	conn, err := net.Dial("tcp", h.srv.Listener.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "GET /?%s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n", query)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 200 {
		h.t.Fatal(resp, err)
	}
	c := &client{t: h.t, lines: bufio.NewReader(resp.Body)}
	return func() (string, []byte) {
		m, ok := c.next()
		if !ok {
			h.t.Error("the stream ended")
			return "", []byte("[-1]")
		}
		if m.event != "" {
			h.t.Errorf("message %+v", m)
		}
		if m.data == "" {
			return m.id, nil
		}
		e, err := tandem.ParseEventJSON([]byte(m.data))
		if err != nil {
			h.t.Error(err)
		}
		return m.id, e.Data
	}, func() { conn.Close() }
}

// stuck opens a stream that is not read from until go on.
func (h *harness) stuck(query string) *client {
	conn, err := net.Dial("tcp", h.srv.Listener.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	_ = conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "GET /?%s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n", query)
	r := bufio.NewReader(conn)
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 200 {
		h.t.Fatal(resp, err)
	}
	return &client{t: h.t, lines: r}
}

// lag publishes n rounds of large events with keys 0 to 9 until the stream that does not read has fallen behind.
func (h *harness) lag(rounds int) (last int) {
	h.t.Helper()
	before := h.streams.Lagging()
	pad := strings.Repeat("x", 16<<10)
	for i := 0; i < rounds || h.streams.Lagging() == before && h.streams.Open() > 0; i++ {
		if i > 5000 {
			h.t.Fatal("the stream does not fall behind")
		}
		last = i
		e := tandem.Event{Source: "/s", Type: "t", Subject: fmt.Sprint(i % 10), Data: fmt.Appendf(nil, `[%d,%q]`, i, pad)}
		if _, err := h.log.Append(context.Background(), "a", []tandem.Event{e}); err != nil {
			h.t.Fatal(err)
		}
	}
	return last
}

// TestConflate: a client that fell behind gets the latest event of each key, and then what comes.
func TestConflate(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, engine, stream.Options{}, narrow)
			c := h.stuck("topic=a&slow=conflate")
			last := h.lag(1000)
			got, latest := 0, map[string]int{}
			for at := 0; at < 10; at++ { // the last ones, of all keys
				if latest[fmt.Sprint((last-at)%10)] == last-at {
					continue
				}
				at = -1
				m, ok := c.next()
				if !ok {
					t.Fatal("the stream ended")
				}
				if m.data == "" {
					continue
				}
				e, err := tandem.ParseEventJSON([]byte(m.data))
				if err != nil {
					t.Fatal(err)
				}
				var data []any
				if err := json.Unmarshal(e.Data, &data); err != nil {
					t.Fatal(err)
				}
				n := int(data[0].(float64))
				if old, ok := latest[e.Subject]; ok && n <= old {
					t.Fatalf("key %s: %d after %d", e.Subject, n, old)
				}
				latest[e.Subject] = n
				got++
			}
			if got > last {
				t.Errorf("%d events of %d: nothing was left out", got, last+1)
			}
		})
	}
}

// TestConflatedKnowsItsPlace: a stream that conflates and was sent nothing yet knows where it began, so that falling behind from there
// leaves nothing out.
func TestConflatedKnowsItsPlace(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	first, _ := h.open("topic=a&slow=conflate").next()
	if p := h.streams.Present(tandem.StreamQuery{Limit: 1}); first.id == "" || string(p.Streams[0].Cursor) != first.id {
		t.Errorf("it knows %q, and the client was told %q", p.Streams[0].Cursor, first.id)
	}
}

func TestSlowDisconnects(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{WriteTimeout: 6 * time.Second, Heartbeat: time.Second}, narrow) // slow for a second
	c := h.stuck("topic=a&slow=disconnect&principal=slow")
	pace := time.NewTicker(2 * time.Millisecond)
	defer pace.Stop()
	for i := 0; !h.ending("slow"); i++ {
		<-pace.C
		h.publish("a", "t", `"`+strings.Repeat("x", 16<<10)+`"`)
		if i > 10_000 {
			t.Fatal("it is still open")
		}
	}
	m := c.skip(func(m message) bool { return m.event != "" })
	if m.event != "reconnect" || m.data != `{"reason":"slow"}` {
		t.Errorf("%+v", m)
	}
	if _, ok := c.next(); ok {
		t.Error("it goes on")
	}
	waitOpen(t, h, 0)
}

// TestOneGap: a reader that retention overtook while it was away is told once, with the places between which events are missing.
func TestOneGap(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			engine.Now = func() time.Time { return now }
			h := newHarness(t, engine, stream.Options{})
			if _, err := h.log.UpdateTopic(context.Background(), tandem.Topic{Name: "a", Retention: tandem.Duration(time.Minute)}); err != nil {
				t.Fatal(err)
			}
			first := h.publish("a", "t", "0")
			for i := range 100 {
				h.publish("a", "t", fmt.Sprint(i+1))
			}
			now = now.Add(time.Hour)
			h.engine.RunRetention()
			kept := h.publish("a", "t", "1000")
			for _, webSocket := range []bool{false, true} {
				gaps := 0
				if webSocket {
					s := h.socket("topic=a&cursor="+string(first.Cursor), tandemV1)
					for {
						f := s.frame()
						if f.Gap != nil {
							gaps++
							if f.Gap.Reason != tandem.GapRetention || f.Gap.From != first.Cursor {
								t.Errorf("%+v", f.Gap)
							}
						}
						if f.Event != nil {
							break
						}
					}
				} else {
					c := h.open("topic=a", "Last-Event-ID", string(first.Cursor))
					for {
						m, _ := c.next()
						if m.event == "gap" {
							var g tandem.Gap
							if err := json.Unmarshal([]byte(m.data), &g); err != nil || g.Reason != tandem.GapRetention || g.From != first.Cursor || string(g.To) != m.id {
								t.Errorf("%+v %v", m, err)
							}
							gaps++
						}
						if m.data != "" && m.event == "" {
							if m.id != string(kept.Cursor) && !engine.Partitioned {
								t.Errorf("the first event behind the gap is at %s, want %s", m.id, kept.Cursor)
							}
							break
						}
					}
				}
				if gaps != 1 {
					t.Errorf("WebSocket %v: %d gaps", webSocket, gaps)
				}
			}
		})
	}
}

// TestAge: a stream is warned and ends at its greatest age, and the client goes on with another.
func TestAge(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{MaxAge: 400 * time.Millisecond, Heartbeat: 200 * time.Millisecond})
	c := h.open("topic=a")
	h.publish("a", "t", "1")
	c.events(1)
	if m := c.skip(func(m message) bool { return m.event != "" }); m.event != "expiring" {
		t.Errorf("%+v", m)
	}
	if m := c.skip(func(m message) bool { return m.event != "" }); m.event != "reconnect" || m.data != `{"reason":"age"}` || m.id == "" {
		t.Errorf("%+v", m)
	}
	waitOpen(t, h, 0)
	s := h.socket("topic=a", tandemV1)
	for s.frame().Expiring == nil {
	}
	if code, reason := s.closed(); code != 1012 || reason != "age" {
		t.Errorf("%d %s", code, reason)
	}
}

func TestCapsPerCaller(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{MaxPerPrincipal: 2})
	c := h.open("topic=a&principal=ann")
	h.socket("topic=a&principal=ann", tandemV1)
	if resp, _ := get(h, "topic=a&principal=ann", "Accept", tandem.MediaSSE); resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("the third of one: %s", resp.Status)
	}
	h.open("topic=a&principal=bob").next()
	h.open("topic=a").next() // nobody is not limited
	h.open("topic=a").next()
	h.open("topic=a").next()
	c.cancel()
	waitOpen(t, h, 5)
	h.open("topic=a&principal=ann").next()

	h = newHarness(t, memlog.Options{}, stream.Options{MaxPerAddress: 2})
	h.open("topic=a").next()
	h.open("topic=a").next()
	if resp, _ := get(h, "topic=a", "Accept", tandem.MediaSSE); resp.StatusCode != 429 {
		t.Errorf("the third of an address: %s", resp.Status)
	}
}

func TestPresence(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	h.open("topic=a&principal=ann").next()
	h.open("topic=*&type=t").next()
	s := h.socket("topic=b&topic=a&credit=5", tandemV1)
	s.frame()
	h.publish("a", "t", "1")
	_, at := s.data(1)
	s.send(1, `{"ack":"`+string(at)+`"}`)
	s.send(9, "")
	s.next() // its pong: the acknowledgement was taken
	p := h.streams.Present(tandem.StreamQuery{Limit: 10})
	if p.Open != 3 || p.Matching != 3 || len(p.Streams) != 3 || fmt.Sprint(p.Topics) != "map[*:1 a:2 b:1]" {
		t.Errorf("%+v", p)
	}
	if first := p.Streams[0]; first.Kind != tandemV1 || first.Acked != at || first.Cursor != at || first.Events != 1 || first.State != "live" || first.Address == "" {
		t.Errorf("%+v", first)
	}
	if p := h.streams.Present(tandem.StreamQuery{Topic: "b", Limit: 1}); p.Matching != 2 || len(p.Streams) != 1 {
		t.Errorf("%+v", p)
	}
	if p := h.streams.Present(tandem.StreamQuery{Principal: "ann", Limit: 10}); p.Matching != 1 || p.Streams[0].Principal != "ann" || p.Streams[0].Kind != "sse" {
		t.Errorf("%+v", p)
	}
}

// TestLast: the last events that match, and then what comes.
func TestLast(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, engine, stream.Options{})
			for i := range 40 {
				h.publish("a", []string{"even", "odd"}[i%2], fmt.Sprint(i))
			}
			got := map[string]bool{}
			c := h.open("topic=a&type=odd&last=3")
			for _, d := range strings.Fields(c.events(3)) {
				got[d] = true
			}
			if !got["35"] || !got["37"] || !got["39"] {
				t.Errorf("got %v", got)
			}
			h.publish("a", "odd", "41")
			if d := c.events(1); d != "41" {
				t.Errorf("then %s", d)
			}
			_, page := get(h, "topic=a&last=1")
			if n := numbers(page); n != "41" && (!engine.Partitioned || n != "39") { // of one moment, in two partitions
				t.Errorf("page %s", numbers(page))
			}
		})
	}
}
