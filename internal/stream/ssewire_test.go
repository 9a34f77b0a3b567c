package stream_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/stream"
)

// eventSource interprets a stream as section 9.2.6 of the HTML standard has it, and is stricter than that about what a server has no reason
// to send.
type eventSource struct {
	t     testing.TB
	begun bool   // a byte order mark is taken off the beginning
	rest  []byte // of a line
	cr    bool   // the last byte was a carriage return

	data, typ, id string // buffers
	fields        string // names, in order, of the block that is being read

	lastID   string
	retry    string
	got      []dispatched
	blocks   []string // what fields each block had
	comments int
}

// dispatched is a message as a page sees it.
type dispatched struct{ typ, data, id string }

func (p *eventSource) feed(b []byte) {
	for _, c := range b {
		switch {
		case c == '\n' && p.cr: // of a CR LF
			p.cr = false
		case c == '\n' || c == '\r':
			p.cr = c == '\r'
			if !p.begun {
				p.rest, p.begun = bytes.TrimPrefix(p.rest, []byte("\ufeff")), true
			}
			p.line(string(p.rest))
			p.rest = p.rest[:0]
		default:
			p.cr = false
			p.rest = append(p.rest, c)
		}
	}
}

func (p *eventSource) line(s string) {
	if !utf8.ValidString(s) {
		p.t.Errorf("not UTF-8: %q", s)
	}
	if s == "" {
		p.dispatch()
		return
	}
	name, value, _ := strings.Cut(s, ":")
	value = strings.TrimPrefix(value, " ")
	p.fields += name + ";"
	switch name {
	case "":
		p.comments++
	case "event":
		p.typ = value
	case "data":
		p.data += value + "\n"
	case "id":
		if strings.Contains(value, "\x00") || value == "" {
			p.t.Errorf("id %q", value)
			return
		}
		p.id = value
	case "retry":
		if strings.Trim(value, "0123456789") != "" || value == "" {
			p.t.Errorf("retry %q", value)
		}
		p.retry = value
	default:
		p.t.Errorf("a field that is none: %q", s)
	}
}

// blockShapes are what a message may consist of; another one has been cut, or has something of another within it.
var blockShapes = regexp.MustCompile(`^(;|id;|retry;(id;)?|id;(data;)+|event;id;data;|event;data;|retry;event;(id;)?data;)$`)

func (p *eventSource) dispatch() {
	if !blockShapes.MatchString(p.fields) {
		p.t.Errorf("a message of %s", p.fields)
	}
	p.blocks = append(p.blocks, p.fields)
	p.fields, p.lastID = "", p.id
	if p.data == "" {
		p.typ = ""
		return
	}
	m := dispatched{p.typ, strings.TrimSuffix(p.data, "\n"), p.lastID}
	if m.typ == "" {
		m.typ = "message"
	}
	p.data, p.typ = "", ""
	p.got = append(p.got, m)
}

// end holds the stream to an end between two messages.
func (p *eventSource) end() {
	if len(p.rest) > 0 || p.fields != "" {
		p.t.Errorf("the stream ends within a message: %s %q", p.fields, p.rest)
	}
}

// source connects and returns a parser, and what reads up to so many bytes into it; more is false at the end.
func (h *harness) source(query string) (p *eventSource, read func(most int) (more bool)) {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.srv.Listener.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	_ = conn.(*net.TCPConn).SetReadBuffer(16 << 10)
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "GET /?%s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n", query)
	var head []byte
	one := make([]byte, 1)
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		if _, err := io.ReadFull(conn, one); err != nil {
			h.t.Fatal(err)
		}
		head = append(head, one...)
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
		h.t.Fatalf("%s", head)
	}
	p = &eventSource{t: h.t}
	buf := make([]byte, 64<<10)
	return p, func(most int) bool {
		n, err := conn.Read(buf[:min(most, len(buf))])
		p.feed(buf[:n])
		return err == nil
	}
}

// odd are events that try to break out of their message.
func odd() []tandem.Event {
	var all []tandem.Event
	for _, data := range []string{`1`, `""`, `" leading"`, `{"a":1,` + "\r\n" + `"b":` + "\n\r" + `2}`, "[1,\r2]", "[1,\n\n2]", "\t[1\n,\r\n\r\n 2]\n", `"data: x"`, `"\n\ndata: x\n\nid: 7\n\n"`, "[\"id: 7\",\n\"event: gap\"]",
		`"\u0000"`, "\"\u2028\u2029\u0085\ufeff\"", "\"\ufeff\"", `"` + strings.Repeat("é", 300_000) + `"`, `":"`, "{\"data\"\n:\n1}", "\"\xff\"", "{\"\xed\xa0\x80\":1}"} {
		all = append(all, tandem.Event{Data: []byte(data)})
	}
	for _, text := range []string{"", " ", "a\r\nb\rc\nd", "\ufeffdata: x\n\nevent: gap\n\n", "\x00", "\n", "\r", ": comment\n\n", strings.Repeat("\n", 5000), "retry: 0\n\n"} {
		all = append(all, tandem.Event{DataContentType: "text/plain", Data: []byte(text)})
	}
	all = append(all, tandem.Event{}, tandem.Event{DataContentType: "application/octet-stream", Data: []byte("\x00\xff\n\n\r")},
		tandem.Event{DataContentType: "text/plain", Data: []byte("\xff\n\n")}, tandem.Event{Subject: "é: x\u2028"},
		tandem.Event{Extensions: []tandem.Extension{{Name: "id2", Value: "x"}, {Name: "retry", Value: "id: 7"}}})
	for i := range all {
		all[i].ID, all[i].Source, all[i].Type = fmt.Sprint(i), "/s", "t"
	}
	return all
}

// TestSSEWire: what a standard reader makes of a stream, however it is cut, is the events as they were stored, at their places.
func TestSSEWire(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	if _, err := h.log.CreateTopic(context.Background(), tandem.Topic{Name: "odd", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	var stored []tandem.Event
	var places []tandem.Cursor
	live, readLive := h.source("topic=odd")
	for _, e := range odd() {
		r, err := h.log.Append(context.Background(), "odd", []tandem.Event{e})
		if err != nil {
			if e.DataContentType != "" || utf8.Valid(e.Data) { // JSON that is not UTF-8 must not come into a stream
				t.Errorf("%s %q: %v", e.ID, e.Data, err)
			}
			continue
		}
		stored, places = append(stored, e), append(places, r[0].Cursor)
	}
	if refused := len(odd()) - len(stored); refused != 2 {
		t.Errorf("%d odd events were refused", refused)
	}
	for _, most := range []int{1 << 20, 1, 7, 1000} {
		p, read := h.source("topic=odd&from=earliest")
		if most == 1<<20 {
			p, read = live, readLive
		}
		for len(p.got) < len(stored) && read(most) {
		}
		for i, m := range p.got {
			var got tandem.Event
			got, err := tandem.ParseEventJSON([]byte(m.data))
			if err != nil {
				t.Fatalf("%v: %.200q", err, m.data)
			}
			want := &stored[i]
			if m.typ != "message" || m.id != string(places[i]) || got.ID != want.ID || got.Subject != want.Subject || fmt.Sprint(got.Extensions) != fmt.Sprint(want.Extensions) || !sameData(t, got.Data, want) {
				t.Errorf("%.300q %s, want %+.200v at %s", m.data, m.id, want, places[i])
			}
		}
	}
}

// sameData compares byte for byte, or as JSON where that had line ends, which become line feeds.
func sameData(t *testing.T, got []byte, want *tandem.Event) bool {
	if bytes.Equal(got, want.Data) || want.DataContentType != "" {
		return bytes.Equal(got, want.Data)
	}
	var a, b any
	if err := json.Unmarshal(got, &a); err != nil {
		t.Error(err)
	}
	if err := json.Unmarshal(want.Data, &b); err != nil {
		t.Error(err)
	}
	return fmt.Sprint(a) == fmt.Sprint(b) && bytes.ContainsAny(want.Data, "\r\n")
}

// TestSSEInterleaved: neither heartbeats nor control messages are ever within a message, whatever the client takes at once and whenever
// the stream ends.
func TestSSEInterleaved(t *testing.T) {
	for seed := range uint64(4) {
		h := newHarness(t, memlog.Options{}, stream.Options{Heartbeat: time.Millisecond, MaxAge: 300 * time.Millisecond}, narrow)
		rng := rand.New(rand.NewPCG(seed, 5))
		p, read := h.source("topic=a&type=even")
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				e := tandem.Event{Source: "/s", Type: []string{"even", "odd"}[i%2], Data: fmt.Appendf(nil, "[%d,\n%q]", i, strings.Repeat("x", i%5*(8<<10)))}
				if _, err := h.log.Append(context.Background(), "a", []tandem.Event{e}); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Duration(i%3) * time.Millisecond)
			}
		}()
		for read(1 + rng.IntN(40_000)) {
			if rng.IntN(20) == 0 {
				time.Sleep(time.Duration(rng.IntN(10)) * time.Millisecond)
			}
		}
		close(stop)
		<-stopped
		p.end()
		last := p.got[len(p.got)-1]
		if last.typ != "reconnect" || len(p.got) < 10 || p.comments == 0 {
			t.Errorf("%d messages, %d comments, and the last is %+.100v", len(p.got), p.comments, last)
		}
	}
}
