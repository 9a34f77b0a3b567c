package stream_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/stream"
	"github.com/tandem-hybrid/tandem/internal/websocket"
)

// upgrade is a request that is answered with 101.
const upgrade = "GET /?topic=a HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// raw sends bytes to the server and returns the connection. Reading gives up after half a minute.
func (h *harness) raw(sent string) *net.TCPConn {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.srv.Listener.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, sent); err != nil {
		h.t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// TestHandshake is section 4.2 of RFC 6455 over a socket.
func TestHandshake(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	with := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(upgrade) }
	header := func(lines string) string { return strings.TrimSuffix(upgrade, "\r\n") + lines + "\r\n" }
	const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"as it should be":        {upgrade, 101},
		"a list":                 {with("Connection: Upgrade", "Connection: keep-alive, Upgrade"), 101},
		"lower case":             {strings.ReplaceAll(strings.ToLower(with(key, "")), "get /?topic=a http", "GET /?topic=a HTTP")[:len(with(key, ""))-2] + key + "\r\n", 101},
		"upper case":             {with("Upgrade: websocket", "UPGRADE: WEBSOCKET", "Connection: Upgrade", "CONNECTION: UPGRADE"), 101},
		"two lines":              {with("Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade"), 101},
		"several to upgrade to":  {with("Upgrade: websocket", "Upgrade: h2c, websocket"), 101},
		"extensions are ignored": {header("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"), 101},
		"subprotocols":           {header("Sec-WebSocket-Protocol: x,\ttandem.v1.json\r\n"), 101},
		"an empty body":          {header("Content-Length: 0\r\n"), 101},
		"HTTP/1.0":               {with("HTTP/1.1", "HTTP/1.0"), 400},
		"no key":                 {with(key, ""), 400},
		"two keys":               {header(key), 400},
		"a short key":            {with("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ=="), 400},
		"a long key":             {with("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZSE="), 400},
		"a key that is not":      {with("dGhlIHNhbXBsZSBub25jZQ==", "!!!!!!!!!!!!!!!!!!!!!!=="), 400},
		"no version":             {with("Sec-WebSocket-Version: 13\r\n", ""), 400},
		"version 8":              {with("Version: 13", "Version: 8"), 400},
		"two versions":           {with("Version: 13", "Version: 13, 8"), 400},
		"no Connection":          {with("Connection: Upgrade\r\n", ""), 400},
		"unknown subprotocol":    {header("Sec-WebSocket-Protocol: chat\r\n"), 400},
		"a body":                 {header("Content-Length: 3\r\n") + "abc", 400},
		"a chunked body":         {header("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n", 400},
		"POST":                   {with("GET", "POST"), 405},
		"HEAD":                   {with("GET", "HEAD"), 405},
	} {
		conn := h.raw(c.request)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if resp.StatusCode != c.status {
			t.Errorf("%s: %s, want %d", name, resp.Status, c.status)
		}
		if resp.StatusCode == 101 {
			if resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || resp.Header["Sec-Websocket-Extensions"] != nil ||
				!strings.EqualFold(resp.Header.Get("Connection"), "upgrade") || !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") {
				t.Errorf("%s: %v", name, resp.Header)
			}
		} else if resp.Header.Get("Sec-WebSocket-Version") != "13" || resp.Header.Get("Sec-WebSocket-Accept") != "" {
			t.Errorf("%s: %v", name, resp.Header)
		}
		conn.Close()
	}
	h.idle()
}

// TestFramesWithTheRequest: what comes in the same segment as the request, whole or cut, is read like the rest.
func TestFramesWithTheRequest(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	ping := websocket.AppendMasked(nil, websocket.Ping, [4]byte{9, 8, 7, 6}, []byte("early"))
	for cut := range len(ping) + 1 {
		s := h.upgraded(upgrade + string(ping[:cut]))
		if _, err := s.conn.Write(ping[cut:]); err != nil {
			t.Fatal(err)
		}
		if m := s.control(); m.Op != websocket.Pong || string(m.Data) != "early" {
			t.Errorf("cut at %d: %d %q", cut, m.Op, m.Data)
		}
		s.conn.Close()
	}
	h.idle()
}

// upgraded sends a request, and more, and returns the connection behind its answer.
func (h *harness) upgraded(sent string) *socket {
	h.t.Helper()
	s := &socket{t: h.t, conn: h.raw(sent), parser: websocket.Parser{Client: true}}
	r := bufio.NewReader(s.conn)
	var err error
	if s.resp, err = http.ReadResponse(r, nil); err != nil || s.resp.StatusCode != 101 {
		h.t.Fatal(s.resp, err)
	}
	s.rest = make([]byte, r.Buffered())
	_, _ = r.Read(s.rest)
	return s
}

// control returns the next control frame.
func (s *socket) control() websocket.Message {
	s.t.Helper()
	for {
		m, ok := s.next()
		if !ok {
			s.t.Fatal("the connection ended")
		}
		if m.Op >= websocket.Close {
			return m
		}
	}
}
