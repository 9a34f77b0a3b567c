package client

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/internal/websocket"
)

// peer is the server's end of a WebSocket.
type peer struct {
	t      *testing.T
	conn   net.Conn
	parser websocket.Parser
	buf    [4096]byte
	rest   []byte
}

// upgraded answers each connection with h, which is told its number. What h refuses before it takes the connection is the answer.
func upgraded(t *testing.T, h func(n int, w http.ResponseWriter, r *http.Request, accept func() *peer)) http.HandlerFunc {
	n := 0
	return func(w http.ResponseWriter, r *http.Request) {
		n++
		var p *peer
		h(n, w, r, func() *peer {
			protocol, response, err := websocket.Accept(r, socketProtocol)
			if err != nil || protocol != socketProtocol {
				t.Errorf("%q %v", protocol, err)
			}
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
			}
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			conn.Write(response)
			p = &peer{t: t, conn: conn}
			return p
		})
		if p != nil {
			p.conn.Close()
		}
	}
}

// talk is upgraded for one connection.
func talk(t *testing.T, h func(p *peer)) http.HandlerFunc {
	return upgraded(t, func(_ int, _ http.ResponseWriter, _ *http.Request, accept func() *peer) { h(accept()) })
}

func (p *peer) write(b []byte) { p.conn.Write(b) }

func (p *peer) send(frames ...string) {
	for _, f := range frames {
		p.write(websocket.AppendFrame(nil, websocket.Text, []byte(f)))
	}
}

// close sends a Close frame and takes the answer to it, which says the same.
func (p *peer) close(code int, reason string) {
	p.write(websocket.AppendClose(nil, code, reason))
	p.expect(fmt.Sprintf("close %d", code))
}

// read returns the next message: its text, "pong TEXT", "close CODE", or "end".
func (p *peer) read() string {
	for {
		m, rest, ok, err := p.parser.Next(p.rest)
		p.rest = rest
		switch {
		case err != nil:
			return err.Error()
		case ok && m.Op == websocket.Text:
			return string(m.Data)
		case ok && m.Op == websocket.Close:
			code, _, err := websocket.ParseClose(m.Data)
			if err != nil {
				return err.Error()
			}
			return "close " + strconv.Itoa(code)
		case ok && m.Op == websocket.Pong:
			return "pong " + string(m.Data)
		case ok:
			return fmt.Sprintf("op %d", m.Op)
		}
		n, err := p.conn.Read(p.buf[:])
		if err != nil {
			return "end"
		}
		p.rest = p.buf[:n]
	}
}

func (p *peer) expect(want string) {
	p.t.Helper()
	if got := p.read(); got != want {
		p.t.Errorf("the client sent %s, want %s", got, want)
	}
}

// published reads one publish, and returns its ref and the id of its event.
func (p *peer) published() (ref uint64, id string) {
	p.t.Helper()
	text := p.read()
	var m struct {
		Publish struct {
			Ref   uint64
			Event struct{ ID, Specversion string }
		}
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil || m.Publish.Ref == 0 || m.Publish.Event.Specversion != "1.0" {
		p.t.Errorf("the client sent %s", text)
	}
	return m.Publish.Ref, m.Publish.Event.ID
}

func eventFrame(id, cursor string) string {
	return fmt.Sprintf(`{"event":{"specversion":"1.0","id":%q,"source":"/t","type":"x","data":{"n":1}},"cursor":%q}`, id, cursor)
}

func receiptFrame(ref uint64, id string) string {
	return fmt.Sprintf(`{"receipt":{"ref":%d,"id":%q,"duplicate":true,"topic":"orders","partition":1,"offset":%d,"cursor":"c"}}`, ref, id, ref)
}

// fragmented is a message in three fragments, with a ping between them.
func fragmented(text string) []byte {
	a, b := len(text)/3, 2*len(text)/3
	first := websocket.AppendFrame(nil, websocket.Text, []byte(text[:a]))
	second := websocket.AppendFrame(nil, websocket.Continuation, []byte(text[a:b]))
	first[0] &^= 0x80
	second[0] &^= 0x80
	out := append(websocket.AppendFrame(first, websocket.Ping, []byte("there?")), second...)
	return websocket.AppendFrame(out, websocket.Continuation, []byte(text[b:]))
}

// dialed is a Socket of a server that talks as h says.
func dialed(t *testing.T, opts SocketOptions, h func(p *peer)) *Socket {
	t.Helper()
	done := make(chan struct{})
	c, _ := stand(t, Options{}, talk(t, func(p *peer) { defer close(done); h(p) }))
	s, err := c.Dial(t.Context(), "orders", Query{}, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); <-done })
	return s
}

// drain returns what Next returns until the end, and the end.
func drain(t *testing.T, s *Socket) (string, error) {
	var got []string
	for {
		m, err := s.Next(t.Context())
		switch {
		case err != nil:
			return strings.Join(got, " "), err
		case m.Gap != nil:
			got = append(got, "gap "+m.Gap.Reason+"@"+string(m.Cursor))
		default:
			got = append(got, m.Event.ID+"@"+string(m.Cursor))
		}
	}
}
