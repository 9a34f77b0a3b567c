package vehicle

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/examples/fleet/stream"
	"github.com/tandem-hybrid/tandem/internal/websocket"
)

// peer is the server's end of one connection.
type peer struct {
	t      *testing.T
	conn   net.Conn
	in     *bufio.Reader
	parser websocket.Parser
	rest   []byte
}

// take answers the next connection with a WebSocket, or with status unless that is 0.
func take(t *testing.T, l net.Listener, status int) *peer {
	t.Helper()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	r, err := http.ReadRequest(in)
	if err != nil {
		t.Fatal(err)
	}
	if r.URL.Path != "/vehicles/v1/positions" || r.Header.Get("Origin") != "http://"+r.Host {
		t.Errorf("%s with Origin %s", r.URL, r.Header.Get("Origin"))
	}
	if status != 0 {
		fmt.Fprintf(conn, "HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n", status)
		conn.Close()
		return nil
	}
	_, answer, err := websocket.Accept(r, "tandem.v1.json")
	if err != nil {
		t.Fatal(err)
	}
	conn.Write(answer)
	return &peer{t: t, conn: conn, in: in}
}

// publish is what a vehicle publishes.
type publish struct {
	Ref   int
	Event struct {
		ID   string
		Data Position
	}
}

// next returns what the vehicle sends next.
func (p *peer) next() publish {
	p.t.Helper()
	for {
		m, rest, ok, err := p.parser.Next(p.rest)
		if err != nil {
			p.t.Fatal(err)
		}
		if p.rest = rest; ok {
			if m.Op != websocket.Text {
				continue
			}
			var f struct{ Publish publish }
			if err := json.Unmarshal(m.Data, &f); err != nil {
				p.t.Fatalf("%v in %s", err, m.Data)
			}
			return f.Publish
		}
		buf := make([]byte, 4096)
		n, err := p.in.Read(buf)
		if err != nil {
			p.t.Fatal(err)
		}
		p.rest = buf[:n]
	}
}

// expect takes positions from to to, with the ids of their trip.
func (p *peer) expect(from, to int) {
	p.t.Helper()
	for n := from; n <= to; n++ {
		if got := p.next(); got.Ref != n || got.Event.Data.N != n || got.Event.ID != fmt.Sprintf("trip/v1/%d", n) {
			p.t.Fatalf("%+v, want position %d", got, n)
		}
	}
}

func (p *peer) say(frame string, args ...any) {
	p.conn.Write(websocket.AppendFrame(nil, websocket.Text, fmt.Appendf(nil, frame, args...)))
}

func (p *peer) receipts(from, to int) {
	for n := from; n <= to; n++ {
		p.say(`{"receipt":{"ref":%d,"id":"x","duplicate":%v}}`, n, n%2 == 0)
	}
}

// drive lets a vehicle with 100 positions send them, to a server that is played by fn. It returns the numbers of the receipts, those of repeats
// as negative, why it connected again, and its error.
func drive(t *testing.T, fn func(l net.Listener)) (stored []int, again []error, err error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	track := Generate(1, 100, 1)[0]
	track.Vehicle = "v1"
	v := Vehicle{Addr: l.Addr().String(), Trip: "trip", Track: track, Again: func(err error) { again = append(again, err) },
		Stored: func(p Position, _ time.Duration, repeat bool) {
			if repeat {
				p.N = -p.N
			}
			stored = append(stored, p.N)
		}}
	done := make(chan error, 1)
	go func() { done <- v.Drive(ctx) }()
	fn(l)
	return stored, again, <-done
}

// A connection breaks, the server is away, asks to connect again, and cannot store: what has no receipt is sent again, in order and with
// the same ids, and no more than a window ahead of the receipts.
func TestDriveGoesOn(t *testing.T) {
	stored, again, err := drive(t, func(l net.Listener) {
		p := take(t, l, 0)
		p.expect(1, Window)
		p.receipts(1, 10)
		p.expect(Window+1, Window+10)
		p.conn.Close()
		take(t, l, 503)
		p = take(t, l, 0)
		p.expect(11, 10+Window)
		p.receipts(11, 20)
		p.say(`{"event":{"subject":"v1","data":{}},"cursor":"c"}`) // its own
		p.say(`{"reconnect":{"reason":"draining","after":1}}`)
		p = take(t, l, 0)
		p.expect(21, 20+Window)
		p.receipts(21, 30)
		p.say(`{"problem":{"ref":31,"status":503,"title":"Unavailable","detail":"the disk is full"}}`)
		p = take(t, l, 0)
		for n := 31; n <= 100; n++ {
			p.expect(n, n)
			p.receipts(n, n)
		}
	})
	want := make([]int, 100)
	for i := range want {
		if want[i] = i + 1; i%2 == 1 {
			want[i] = -(i + 1)
		}
	}
	if err != nil || !slices.Equal(stored, want) {
		t.Errorf("%v, receipts %v", err, stored)
	}
	if len(again) != 4 || !strings.Contains(again[1].Error(), "503") || !strings.Contains(again[2].Error(), "draining") || !strings.Contains(again[3].Error(), "disk is full") {
		t.Errorf("connected again because of %v", again)
	}
}

func TestDriveEndsForGood(t *testing.T) {
	for name, c := range map[string]struct {
		play func(l net.Listener)
		says string
	}{
		"no route": {func(l net.Listener) { take(t, l, 404) }, "404"},
		"refused": {func(l net.Listener) {
			take(t, l, 0).say(`{"problem":{"ref":1,"status":409,"title":"Conflict","detail":"other data"}}`)
		}, "409 Conflict: other data"},
		"another's position": {func(l net.Listener) { take(t, l, 0).say(`{"event":{"subject":"v2","data":{}},"cursor":"c"}`) }, "position of vehicle v2"},
		"a receipt too many": {func(l net.Listener) { take(t, l, 0).receipts(2, 2) }, "a receipt for position 2"},
	} {
		if _, again, err := drive(t, c.play); err == nil || !strings.Contains(err.Error(), c.says) || again != nil {
			t.Errorf("%s: %v, after %v", name, err, again)
		}
	}
}

// Pings are answered while frames are waited for, and a Close frame is the end.
func TestConn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var c *stream.Conn
	dialed := make(chan error, 1)
	go func() {
		var err error
		c, err = stream.Dial(t.Context(), l.Addr().String(), "/vehicles/v1/positions")
		dialed <- err
	}()
	p := take(t, l, 0)
	defer p.conn.Close()
	if err := <-dialed; err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := websocket.AppendFrame(nil, websocket.Ping, []byte("p"))
	p.conn.Write(websocket.AppendClose(b, websocket.CloseRestart, "draining"))
	var bye *websocket.CloseError
	if _, err := c.Next(); !errors.As(err, &bye) || bye.Code != websocket.CloseRestart {
		t.Errorf("%v", err)
	}
	buf := make([]byte, 100)
	n, err := p.in.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if m, _, ok, err := p.parser.Next(buf[:n]); !ok || m.Op != websocket.Pong || string(m.Data) != "p" {
		t.Errorf("%v %q %v", m.Op, m.Data, err)
	}
}
