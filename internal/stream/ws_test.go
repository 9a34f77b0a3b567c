package stream_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/stream"
	"github.com/tandem-hybrid/tandem/internal/websocket"
)

// socket is a plain client of a WebSocket.
type socket struct {
	t      testing.TB
	conn   net.Conn
	resp   *http.Response
	parser websocket.Parser
	rest   []byte
	buf    [4096]byte
}

// socket connects; protocol may be empty. Reading gives up after half a minute.
func (h *harness) socket(query, protocol string) *socket {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.srv.Listener.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	s := &socket{t: h.t, conn: conn, parser: websocket.Parser{Client: true}}
	s.dial(query, protocol)
	if s.resp.StatusCode != 101 {
		h.t.Fatalf("upgrade: %s", s.resp.Status)
	}
	if got := s.resp.Header.Get("Sec-WebSocket-Protocol"); got != protocol {
		h.t.Fatalf("subprotocol %q, want %q", got, protocol)
	}
	return s
}

func (s *socket) dial(query, protocol string) {
	s.t.Helper()
	if protocol != "" {
		protocol = "Sec-WebSocket-Protocol: other, " + protocol + "\r\n"
	}
	fmt.Fprintf(s.conn, "GET /?%s HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", query, protocol)
	_ = s.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	r := bufio.NewReader(s.conn)
	var err error
	if s.resp, err = http.ReadResponse(r, nil); err != nil {
		s.t.Fatal(err)
	}
	s.rest = make([]byte, r.Buffered())
	_, _ = r.Read(s.rest)
}

// next returns the next message; ok is false at the end of the connection.
func (s *socket) next() (m websocket.Message, ok bool) {
	s.t.Helper()
	for {
		m, rest, ok, err := s.parser.Next(s.rest)
		if err != nil {
			s.t.Fatal(err)
		}
		if s.rest = rest; ok {
			m.Data = append([]byte(nil), m.Data...)
			return m, true
		}
		n, err := s.conn.Read(s.buf[:])
		if n == 0 {
			var late net.Error
			if errors.As(err, &late) && late.Timeout() {
				s.t.Fatal("nothing came")
			}
			return m, false
		}
		s.rest = s.buf[:n]
	}
}

// reply is a frame of the server of tandem.v1.json.
type reply struct {
	Event     json.RawMessage
	Cursor    tandem.Cursor
	Gap       *tandem.Gap
	Receipt   map[string]any
	Problem   map[string]any
	Expiring  *struct{ Reason string }
	Reconnect *struct {
		Reason string
		After  int
	}
}

// frame returns the next text message as a frame; pings are answered.
func (s *socket) frame() (f reply) {
	s.t.Helper()
	for {
		m, ok := s.next()
		if !ok {
			s.t.Fatal("the connection ended")
		}
		switch m.Op {
		case websocket.Ping:
			s.send(websocket.Pong, string(m.Data))
		case websocket.Text:
			if err := json.Unmarshal(m.Data, &f); err != nil {
				s.t.Fatalf("%v: %s", err, m.Data)
			}
			return f
		default:
			s.t.Fatalf("message %d %q", m.Op, m.Data)
		}
	}
}

// data reads n events and returns their data, and the cursor of the last.
func (s *socket) data(n int) (string, tandem.Cursor) {
	s.t.Helper()
	var got []string
	var last tandem.Cursor
	for len(got) < n {
		f := s.frame()
		if f.Event == nil {
			if f.Cursor != "" {
				continue
			}
			s.t.Fatalf("frame %+v", f)
		}
		e, err := tandem.ParseEventJSON(f.Event)
		if err != nil {
			s.t.Fatal(err)
		}
		got, last = append(got, string(e.Data)), f.Cursor
	}
	return strings.Join(got, " "), last
}

func (s *socket) send(op websocket.Op, payload string) {
	s.t.Helper()
	if _, err := s.conn.Write(websocket.AppendMasked(nil, op, [4]byte{1, 2, 3, 4}, []byte(payload))); err != nil {
		s.t.Fatal(err)
	}
}

// closed reads to the end and returns the code and reason of the close frame.
func (s *socket) closed() (code int, reason string) {
	s.t.Helper()
	for {
		m, ok := s.next()
		if !ok {
			return code, reason
		}
		if m.Op == websocket.Close {
			code, reason, _ = websocket.ParseClose(m.Data)
			s.send(websocket.Close, string(m.Data))
			_ = s.conn.(*net.TCPConn).CloseWrite()
		}
	}
}

const tandemV1 = "tandem.v1.json"

func TestSocketResumes(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, engine, stream.Options{})
			s := h.socket("topic=a", tandemV1)
			if f := s.frame(); f.Cursor == "" || f.Event != nil {
				t.Errorf("first frame %+v", f)
			}
			for i := range 10 {
				h.publish("a", "t", fmt.Sprint(i))
			}
			seen := map[string]int{}
			got, at := s.data(4)
			for _, d := range strings.Fields(got) {
				seen[d]++
			}
			got, _ = h.socket("topic=a&cursor="+string(at), tandemV1).data(6)
			for _, d := range strings.Fields(got) {
				seen[d]++
			}
			for i := range 10 {
				if seen[fmt.Sprint(i)] != 1 {
					t.Errorf("event %d came %d times", i, seen[fmt.Sprint(i)])
				}
			}
		})
	}
}

func TestSocketSpeaksCloudEvents(t *testing.T) {
	for _, protocol := range []string{"cloudevents.json", ""} {
		h := newHarness(t, memlog.Options{}, stream.Options{})
		foreign := newHarness(t, memlog.Options{}, stream.Options{}).publish("a", "t", "0").Cursor
		h.publish("a", "t", `{"n":1}`)
		s := h.socket("topic=a&cursor="+string(foreign), protocol)
		m, _ := s.next()
		gap, err := tandem.ParseEventJSON(m.Data)
		if err != nil || gap.Type != "tandem.stream.gap" || gap.Source != "/tandem" || !strings.Contains(string(gap.Data), `"foreign"`) {
			t.Errorf("%s: %v", m.Data, err)
		}
		m, _ = s.next()
		if e, err := tandem.ParseEventJSON(m.Data); err != nil || string(e.Data) != `{"n":1}` {
			t.Errorf("%s: %v", m.Data, err)
		}
	}
}

func TestSocketRefusesUnknownSubprotocols(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	for protocol, status := range map[string]int{"graphql-ws": 400, "": 101, tandemV1: 101} {
		conn, err := net.Dial("tcp", h.srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s := &socket{t: t, conn: conn}
		s.dial("topic=a", protocol)
		if s.resp.StatusCode != status {
			t.Errorf("%q: %s", protocol, s.resp.Status)
		}
		conn.Close()
	}
	if resp, _ := get(h, "topic=a&slow=conflate&credit=4", "Upgrade", "websocket"); resp.StatusCode != 400 {
		t.Errorf("slow with credit: %s", resp.Status)
	}
	resp, _ := get(h, "topic=a", "Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version", "8")
	if resp.StatusCode != 426 && resp.StatusCode != 400 || resp.Header.Get("Sec-WebSocket-Version") != "13" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
}

func TestSocketPublishes(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{}, publishing)
	s := h.socket("topic=a", tandemV1)
	s.frame()
	const n = 200
	var all []byte
	for i := range n { // all at once: they are stored together, in order
		text := fmt.Sprintf(`{"publish":{"ref":%d,"event":{"specversion":"1.0","source":"/c","type":"t","subject":"k","id":"%d","data":%d}}}`, i, i, i)
		if i == 50 {
			text = `{"publish":{"ref":"bad","event":{"specversion":"1.0","type":"t","id":"x"}}}`
		}
		all = websocket.AppendMasked(all, websocket.Text, [4]byte{byte(i), 1, 2, 3}, []byte(text))
	}
	if _, err := s.conn.Write(all); err != nil {
		t.Fatal(err)
	}
	next, refs := 0, 0
	for next < n-1 || refs < n {
		f := s.frame()
		switch {
		case f.Event != nil:
			e, err := tandem.ParseEventJSON(f.Event)
			if next == 50 {
				next++
			}
			if err != nil || string(e.Data) != fmt.Sprint(next) {
				t.Fatalf("event %s, want %d: %v", f.Event, next, err)
			}
			if next++; next == n {
				next = n
			}
		case f.Receipt != nil:
			if f.Receipt["ref"] != float64(refs) || f.Receipt["topic"] != "a" || f.Receipt["cursor"] == "" {
				t.Fatalf("receipt %v, want %d", f.Receipt, refs)
			}
			refs++
		case f.Problem != nil:
			if f.Problem["ref"] != "bad" || f.Problem["status"] != float64(400) || refs != 50 {
				t.Fatalf("problem %v after %d", f.Problem, refs)
			}
			refs++
		}
	}
}

func TestSocketRefusesToPublish(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	s := h.socket("topic=a", tandemV1)
	s.frame()
	s.send(websocket.Text, `{"publish":{"ref":1,"event":{"specversion":"1.0","source":"/c","type":"t","id":"1"}}}`)
	if f := s.frame(); f.Problem["status"] != float64(403) || f.Problem["ref"] != float64(1) {
		t.Errorf("%+v", f)
	}
	s = h.socket("topic=a", "cloudevents.json")
	s.send(websocket.Text, `{"specversion":"1.0","source":"/c","type":"t","id":"1"}`)
	if code, reason := s.closed(); code != 1008 || reason == "" {
		t.Errorf("%d %s", code, reason)
	}
}

func TestSocketWindow(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	for i := range 20 {
		h.publish("a", "t", fmt.Sprint(i))
	}
	s := h.socket("topic=a&from=earliest&credit=3", tandemV1)
	got, at := s.data(3)
	if got != upTo(0, 3) {
		t.Fatal(got)
	}
	none := func() { // a ping is answered, and nothing came before
		t.Helper()
		s.send(websocket.Ping, "x")
		if m, ok := s.next(); !ok || m.Op != websocket.Pong {
			t.Fatalf("%d %s, want nothing beyond the credit", m.Op, m.Data)
		}
	}
	none()
	s.send(websocket.Text, `{"ack":"`+string(at)+`"}`)
	if got, _ = s.data(3); got != upTo(3, 6) {
		t.Fatal(got)
	}
	s.send(websocket.Text, `{"credit":2}`)
	if got, at = s.data(2); got != upTo(6, 8) {
		t.Fatal(got)
	}
	none()
	s.send(websocket.Text, `{"ack":"`+string(at)+`"}`)
	s.send(websocket.Text, `{"ack":"`+string(at)+`"}`) // again: nothing
	if got, _ = s.data(5); got != upTo(8, 13) {
		t.Fatal(got)
	}
	none()
	s.send(websocket.Text, `{"credit":0}`)
	if f := s.frame(); f.Problem["status"] != float64(400) {
		t.Errorf("%+v", f)
	}
	s.send(websocket.Text, `{"credit":10}`)
	if got, _ = s.data(7); got != upTo(13, 20) { // all there is, and then what comes
		t.Fatal(got)
	}
	h.publish("a", "t", "20")
	if got, _ = s.data(1); got != "20" {
		t.Fatal(got)
	}
}

// TestSocketCloses: what a peer does wrong ends with the code of RFC 6455, section 7.4.1.
func TestSocketCloses(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{MaxEventBytes: 1000}, publishing)
	frame := func(op websocket.Op, payload string) []byte {
		return websocket.AppendMasked(nil, op, [4]byte{9, 8, 7, 6}, []byte(payload))
	}
	for name, c := range map[string]struct {
		sent []byte
		code int
	}{
		"binary":         {frame(websocket.Binary, "x"), 1003},
		"not UTF-8":      {frame(websocket.Text, "\xff"), 1007},
		"not masked":     {websocket.AppendFrame(nil, websocket.Text, []byte("{}")), 1002},
		"reserved":       {frame(3, ""), 1002},
		"too large":      {websocket.AppendMasked(nil, websocket.Text, [4]byte{}, make([]byte, 100<<10)), 1009},
		"close":          {frame(websocket.Close, "\x03\xe8bye"), 1000},
		"close, no code": {frame(websocket.Close, ""), 1000},
		"close, 3000":    {frame(websocket.Close, "\x0b\xb8"), 3000},
		"close, bad":     {frame(websocket.Close, "\x03\xed"), 1002},
		"close, one":     {frame(websocket.Close, "\x03"), 1002},
	} {
		s := h.socket("topic=a", tandemV1)
		s.frame()
		if _, err := s.conn.Write(c.sent); err != nil {
			t.Fatal(err)
		}
		if code, _ := s.closed(); code != c.code {
			t.Errorf("%s: %d, want %d", name, code, c.code)
		}
	}
	s := h.socket("topic=a", tandemV1)
	for range 17 {
		s.send(websocket.Text, `{"what":1}`)
	}
	if code, _ := s.closed(); code != 1008 {
		t.Errorf("frames that nobody understands: %d", code)
	}
	waitOpen(t, h, 0)
}

func TestSocketDrain(t *testing.T) {
	for _, protocol := range []string{tandemV1, "cloudevents.json"} {
		h := newHarness(t, memlog.Options{}, stream.Options{Retry: time.Second})
		s := h.socket("topic=a", protocol)
		waitOpen(t, h, 1)
		go func() { _ = h.streams.Drain(context.Background()) }()
		if protocol == tandemV1 {
			f := s.frame()
			for f.Cursor != "" {
				f = s.frame()
			}
			if f.Reconnect == nil || f.Reconnect.Reason != "draining" || f.Reconnect.After < 500 {
				t.Errorf("%+v", f)
			}
		}
		if code, reason := s.closed(); code != 1012 || reason != "draining" {
			t.Errorf("%s: %d %s", protocol, code, reason)
		}
		waitOpen(t, h, 0)
	}
}

// TestSocketHeartbeat: a quiet connection is pinged, told of the place, and let go when it does not answer.
func TestSocketHeartbeat(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{Heartbeat: 40 * time.Millisecond})
	s := h.socket("topic=a&type=wanted", tandemV1)
	first := s.frame()
	skipped := h.publish("a", "other", "1")
	f := s.frame()
	for f.Cursor == first.Cursor { // pings are answered meanwhile
		f = s.frame()
	}
	if f.Cursor != skipped.Cursor {
		t.Errorf("%+v", f)
	}
	for { // does not answer any more
		if _, ok := s.next(); !ok {
			break
		}
	}
	waitOpen(t, h, 0)
}
