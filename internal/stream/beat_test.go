package stream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/stream"
	"github.com/tandem-hybrid/tandem/internal/websocket"
)

// TestQuietStreamsOutliveTheWriteTimeout: the deadline of one write is not that of those that come later.
func TestQuietStreamsOutliveTheWriteTimeout(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{WriteTimeout: 100 * time.Millisecond, Heartbeat: 40 * time.Millisecond})
	c, s := h.open("topic=a"), h.socket("topic=a", tandemV1)
	for i := range 12 { // heartbeats, over several timeouts
		if _, ok := c.next(); !ok {
			t.Fatalf("the stream ended after %d messages", i)
		}
		s.frame() // fails at the end
	}
}

// ticking publishes to a until the test ends.
func (h *harness) ticking(every time.Duration) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	h.t.Cleanup(func() { close(stop); <-stopped })
	go func() {
		defer close(stopped)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
			e := tandem.Event{Source: "/s", Type: "t", Data: []byte(fmt.Sprint(i))}
			if _, err := h.log.Append(context.Background(), "a", []tandem.Event{e}); err != nil {
				h.t.Error(err)
			}
		}
	}()
}

// TestBusySocketIsAsked: a connection that is never silent is asked as well whether somebody is there, so that one who only reads stays,
// and one who answers nothing goes.
func TestBusySocketIsAsked(t *testing.T) {
	for _, protocol := range []string{tandemV1, "cloudevents.json"} {
		h := newHarness(t, memlog.Options{}, stream.Options{Heartbeat: 80 * time.Millisecond})
		h.ticking(5 * time.Millisecond)
		s := h.socket("topic=a", protocol)
		for pings := 0; pings < 8; { // each a heartbeat after the last answer
			m, ok := s.next()
			if !ok {
				t.Fatalf("%s: closed after %d answers", protocol, pings)
			}
			if m.Op == websocket.Ping {
				pings++
				s.send(websocket.Pong, string(m.Data))
			}
		}
		for ok := true; ok; { // answers no more
			_, ok = s.next()
		}
		waitOpen(t, h, 0)
	}
}

// TestSlowSocketIsNotDead: a client that is being written to, and takes it, has time for the pings that it has not come to yet.
func TestSlowSocketIsNotDead(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{Heartbeat: 100 * time.Millisecond}, narrow)
	const n = 600
	for i := range n {
		h.publish("a", "t", fmt.Sprintf(`[%d,"%s"]`, i, strings.Repeat("x", 8<<10)))
	}
	conn, err := net.Dial("tcp", h.srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(16 << 10)
	s := &socket{t: t, conn: conn, parser: websocket.Parser{Client: true}}
	s.dial("topic=a&from=earliest", tandemV1)
	pace := time.NewTicker(2 * time.Millisecond)
	defer pace.Stop()
	for next := 0; next < n; {
		m, ok := s.next()
		if !ok {
			t.Fatalf("closed after %d events", next)
		}
		var f reply
		if m.Op == websocket.Ping { // late: it lay behind what the kernels hold
			s.send(websocket.Pong, string(m.Data))
		}
		if m.Op != websocket.Text {
			continue
		}
		if err := json.Unmarshal(m.Data, &f); err != nil {
			t.Fatal(err)
		}
		if f.Event != nil {
			next++
			<-pace.C
		}
	}
}

// long is an engine whose reads take their time, so that a way of many events takes many readings on any machine.
type long struct{ driver.Driver }

func (d long) Read(ctx context.Context, id driver.ID, part int, from uint64, max, maxBytes int, dst []tandem.Record) ([]tandem.Record, error) {
	time.Sleep(5 * time.Millisecond)
	return d.Driver.Read(ctx, id, part, from, min(max, 100), maxBytes, dst)
}

// TestLongWayIsNotSilent: who has to be read for over many events that its filter leaves out is told how far that is.
func TestLongWayIsNotSilent(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{Heartbeat: 2 * time.Millisecond}, func(h *harness) {
		h.wrap = func(d driver.Driver) driver.Driver { return long{d} }
	})
	batch := make([]tandem.Event, 20_000) // a second
	for i := range batch {
		batch[i] = tandem.Event{Source: "/s", Type: "other"}
	}
	last, err := h.log.Append(context.Background(), "a", batch)
	if err != nil {
		t.Fatal(err)
	}
	end := last[len(last)-1].Cursor
	for _, slow := range []string{"catchup", "conflate"} {
		c := h.open("topic=a&type=wanted&from=earliest&slow=" + slow)
		first := c.skip(func(m message) bool { return m.id != "" })
		m := c.skip(func(m message) bool { return m.id != first.id && m.id != "" })
		if m.id == string(end) || m.data != "" {
			t.Errorf("%s: %+v, which is not on the way from %s to %s", slow, m, first.id, end)
		}
	}
}
