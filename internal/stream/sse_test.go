package stream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/stream"
)

var engines = map[string]memlog.Options{"total": {}, "partitioned": {Partitioned: true}}

func TestSSEShape(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{Retry: 1234 * time.Millisecond})
	receipt := h.publish("a", "t", "{\"a\":1,\r\n\"b\":\n2}")
	c := h.open("topic=a&from=earliest")
	for name, want := range map[string]string{"Content-Type": tandem.MediaSSE, "Cache-Control": "no-store", "X-Accel-Buffering": "no"} {
		if got := c.resp.Header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	m, _ := c.next()
	if m.retry != "1234" || m.id == "" || m.data != "" {
		t.Errorf("first message %+v", m)
	}
	m, _ = c.next()
	if m.id != string(receipt.Cursor) || m.event != "" || !strings.Contains(m.data, "\"data\":{\"a\":1,\n\"b\":\n2}}") {
		t.Errorf("event %+v", m)
	}
	if _, err := tandem.ParseEventJSON([]byte(m.data)); err != nil {
		t.Error(err)
	}
}

// TestSSEResumes: from any place, by header or parameter, with neither gap nor repeat, over both kinds of cursor.
func TestSSEResumes(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, engine, stream.Options{})
			c := h.open("topic=a") // the latest: what comes from now on
			first, _ := c.next()
			for i := range 10 {
				h.publish("a", "t", fmt.Sprint(i))
			}
			seen := map[string]int{}
			for i := range 4 {
				seen[c.events(1)]++
				if i%2 == 0 { // connect again: with the header, which wins over what the address says
					c = h.open("topic=a&from=earliest", "Last-Event-ID", c.lastID)
				} else {
					c = h.open("topic=a&cursor=" + c.lastID)
				}
			}
			for range 6 {
				seen[c.events(1)]++
			}
			for i := range 10 {
				if seen[fmt.Sprint(i)] != 1 {
					t.Errorf("event %d came %d times", i, seen[fmt.Sprint(i)])
				}
			}
			// One that lost the connection before its first event goes on from where it connected.
			if n := len(strings.Fields(h.open("topic=a", "Last-Event-ID", first.id).events(10))); n != 10 {
				t.Errorf("%d events", n)
			}
		})
	}
}

func TestSSEFollowsManyTopicsInOrder(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	c := h.open("topic=*")
	c.next()
	for i := range 50 {
		h.publish([]string{"a", "b"}[i%2], "t", fmt.Sprint(i))
	}
	if got := c.events(50); got != upTo(0, 50) {
		t.Errorf("got %s", got)
	}
	// A topic that appears later belongs to the selection, from its start.
	if _, err := h.log.CreateTopic(context.Background(), tandem.Topic{Name: "late"}); err != nil {
		t.Fatal(err)
	}
	h.publish("late", "t", "50")
	if got := c.events(1); got != "50" {
		t.Errorf("got %s", got)
	}
}

func TestSSETellsOfAGap(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, engine, stream.Options{})
			other := newHarness(t, engine, stream.Options{})
			foreign := other.publish("a", "t", "0").Cursor
			h.publish("a", "t", "1")
			h.publish("a", "t", "2")
			c := h.open("topic=a", "Last-Event-ID", string(foreign))
			gap := c.skip(func(m message) bool { return m.event != "" })
			if gap.event != "gap" || gap.id == "" || !strings.Contains(gap.data, `"reason":"foreign"`) || !strings.Contains(gap.data, string(foreign)) {
				t.Errorf("%+v", gap)
			}
			if got := strings.Fields(c.events(2)); len(got) != 2 {
				t.Errorf("got %s", got)
			}
			// Who goes on from the gap's place is not told again.
			c = h.open("topic=a", "Last-Event-ID", gap.id)
			if got := strings.Fields(c.events(2)); len(got) != 2 {
				t.Errorf("got %s", got)
			}
			_, page := get(h, "topic=a&cursor="+escape(foreign))
			if page.Gap == nil || page.Gap.Reason != tandem.GapForeign || len(page.Events) != 2 {
				t.Errorf("page %+v", page)
			}
		})
	}
}

func TestSSEHeartbeats(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{Heartbeat: 20 * time.Millisecond})
	c := h.open("topic=a&type=wanted")
	first, _ := c.next()
	if m, _ := c.next(); m.comment == "" || m.id != "" {
		t.Errorf("heartbeat %+v", m)
	}
	// A filter that leaves out everything still moves the cursor.
	skipped := h.publish("a", "other", "1")
	m := c.skip(func(m message) bool { return m.id != "" })
	if m.data != "" || m.event != "" || m.id == first.id || m.id != string(skipped.Cursor) {
		t.Errorf("%+v, skipped %s", m, skipped.Cursor)
	}
	if m, _ := c.next(); m.id != "" || m.comment == "" {
		t.Errorf("heartbeat behind it %+v", m)
	}
	h.publish("a", "wanted", "2")
	if got := c.events(1); got != "2" {
		t.Errorf("got %s", got)
	}
}

func TestSSEDrain(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{Retry: time.Second})
	c := h.open("topic=a")
	c.next()
	r := h.publish("a", "t", "1")
	c.events(1)
	if err := h.streams.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	m, ok := c.next()
	if !ok || m.event != "reconnect" || m.data == "" || m.retry == "" || c.lastID != string(r.Cursor) {
		t.Errorf("%+v, last id %s", m, c.lastID)
	}
	if m, ok := c.next(); ok {
		t.Errorf("behind the end: %+v", m)
	}
	if h.streams.Open() != 0 {
		t.Errorf("%d are open", h.streams.Open())
	}
	req, _ := http.NewRequest("GET", h.srv.URL+"/?topic=a", nil)
	req.Header.Set("Accept", tandem.MediaSSE)
	if resp, err := http.DefaultClient.Do(req); err == nil { // a status would be the end for a stock EventSource
		t.Errorf("%s", resp.Status)
	}
	if err := h.streams.Stop(context.Background()); err != nil { // again
		t.Error(err)
	}
}

// TestSSESlowReader: one that reads slowly is caught up from the log, and one that does not read is let go; neither
// holds up the publisher nor another reader.
func TestSSESlowReader(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{WriteTimeout: time.Second})
	dead, err := net.Dial("tcp", h.srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	_ = dead.(*net.TCPConn).SetReadBuffer(4 << 10)
	fmt.Fprintf(dead, "GET /?topic=a HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n\r\n", tandem.MediaSSE)
	waitOpen(t, h, 1)
	quick, slow := h.open("topic=a"), h.open("topic=a")
	quick.next()
	slow.next()
	large := []byte(`"` + strings.Repeat("x", 64<<10) + `"`)
	const n = 300 // about 20 MiB, more than the buffers between
	published := make(chan error)
	go func() {
		var err error
		for i := 0; i < n && err == nil; i++ {
			_, err = h.log.Append(context.Background(), "a", []tandem.Event{{Source: "/test", Type: "t", Data: large}})
		}
		published <- err
	}()
	quick.events(n)
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	waitBelow(t, h, 3) // the dead one is let go
	// The slow one may have been let go as well; it resumes and has every event once.
	got := 0
	for got < n {
		m, ok := slow.next()
		if !ok {
			slow = h.open("topic=a", "Last-Event-ID", slow.lastID)
			continue
		}
		if m.data != "" {
			got++
		}
	}
}

func TestSSEEndsWithItsClient(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	c := h.open("topic=a")
	c.next()
	c.cancel()
	waitOpen(t, h, 0)
}

// TestServerTimeoutsDoNotEndStreams: a read timeout of the server is for requests, not for what they wait for.
func TestServerTimeoutsDoNotEndStreams(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{Heartbeat: 30 * time.Millisecond})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(h.handle), ReadTimeout: 50 * time.Millisecond, WriteTimeout: 50 * time.Millisecond}
	go srv.Serve(l)
	defer srv.Close()
	h.srv.URL = "http://" + l.Addr().String()
	c := h.open("topic=a")
	for i := range 8 { // heartbeats over several timeouts
		if _, ok := c.next(); !ok {
			t.Fatalf("the stream ended after %d messages", i)
		}
	}
	_, page := get(h, "topic=a&wait=200ms")
	if page.Cursor == "" {
		t.Error("the poll was cut off")
	}
}

// TestBadLastEventID: the problem names what the client sent, where it sent it.
func TestBadLastEventID(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{})
	for name, target := range map[string]string{"Last-Event-ID": "?topic=a", "cursor": "?topic=a&cursor=garbage"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.srv.URL+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", tandem.MediaSSE)
		if name != "cursor" {
			r.Header.Set(name, "garbage")
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var p tandem.Problem
		err = json.NewDecoder(resp.Body).Decode(&p)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 400 || len(p.Errors) != 1 || p.Errors[0].Pointer != name {
			t.Errorf("%s: %s %+v %v", name, resp.Status, p, err)
		}
	}
}
