package stream_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/stream"
)

// harness serves the topics a and b of a log in memory; ?topic= selects and ?type= filters.
type harness struct {
	t         testing.TB
	log       *eventlog.Log
	streams   *stream.Streams
	srv       *httptest.Server
	publishes bool // clients may publish to a
	narrow    bool // the kernel holds little for a client that does not read
	engine    *memlog.Engine
	wrap      func(driver.Driver) driver.Driver // what stands before the engine
}

func narrow(h *harness) { h.narrow = true }

// publishing lets clients publish to the topic a.
func publishing(h *harness) { h.publishes = true }

func newHarness(t testing.TB, engine memlog.Options, opts stream.Options, change ...func(*harness)) *harness {
	t.Helper()
	h := &harness{t: t, wrap: func(d driver.Driver) driver.Driver { return d }}
	h.engine = memlog.New(engine)
	for _, fn := range change {
		fn(h)
	}
	var err error
	if h.log, err = eventlog.Open(context.Background(), h.wrap(h.engine), eventlog.Options{}); err != nil {
		t.Fatal(err)
	}
	h.streams = stream.New(h.log, opts)
	for _, name := range []string{"a", "b"} {
		if _, err := h.log.CreateTopic(context.Background(), tandem.Topic{Name: name, Partitions: 2}); err != nil {
			t.Fatal(err)
		}
	}
	h.srv = httptest.NewUnstartedServer(http.HandlerFunc(h.handle))
	if h.narrow {
		h.srv.Config.ConnState = func(c net.Conn, s http.ConnState) {
			if s == http.StateNew {
				_ = c.(*net.TCPConn).SetWriteBuffer(32 << 10)
			}
		}
	}
	h.srv.Start()
	t.Cleanup(func() {
		h.srv.CloseClientConnections()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = h.streams.Stop(ctx)
		h.srv.Close()
		h.log.Close()
	})
	return h
}

func (h *harness) handle(w http.ResponseWriter, r *http.Request) {
	ask := tandem.StreamRequest{Topics: r.URL.Query()["topic"], Principal: r.URL.Query().Get("principal")}
	if typ := r.URL.Query().Get("type"); typ != "" {
		var err error
		if ask.Filter, err = tandem.FilterOf(map[string]any{"type": typ}); err != nil {
			h.t.Error(err)
		}
	}
	if h.publishes {
		ask.Publish = func(ctx context.Context, events []tandem.Event) []tandem.Stored {
			return h.log.AppendEach(ctx, "a", events)
		}
	}
	h.streams.Serve(w, r, ask)
}

// publish appends an event whose data is n and returns its receipt.
func (h *harness) publish(topic, typ, data string) tandem.Receipt {
	h.t.Helper()
	got, err := h.log.Append(context.Background(), topic, []tandem.Event{{Source: "/test", Type: typ, Data: []byte(data)}})
	if err != nil {
		h.t.Fatal(err)
	}
	return got[0]
}

// message is one message of a stream, as the HTML standard reads it, with or without data.
type message struct{ event, id, data, retry, comment string }

// client is a stock reader of server-sent events.
type client struct {
	t      testing.TB
	resp   *http.Response
	lines  *bufio.Reader
	lastID string
	cancel context.CancelFunc
}

// open connects; header is pairs. Reading gives up after half a minute.
func (h *harness) open(query string, header ...string) *client {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	h.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", h.srv.URL+"/?"+query, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Accept", tandem.MediaSSE)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { resp.Body.Close() })
	return &client{h.t, resp, bufio.NewReader(resp.Body), "", cancel}
}

// next reads one message; ok is false at the end of the stream.
func (c *client) next() (m message, ok bool) {
	c.t.Helper()
	var data []string
	for {
		line, err := c.lines.ReadString('\n')
		if err != nil {
			return m, false
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			m.data = strings.Join(data, "\n")
			if m.id != "" {
				c.lastID = m.id
			}
			return m, true
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			m.event = value
		case "id":
			m.id = value
		case "data":
			data = append(data, value)
		case "retry":
			m.retry = value
		case "":
			m.comment = line
		default:
			c.t.Errorf("field %q", line)
		}
	}
}

// events reads n events and returns their data.
func (c *client) events(n int) string {
	c.t.Helper()
	var got []string
	for len(got) < n {
		m, ok := c.next()
		if !ok {
			c.t.Fatalf("the stream ended after %d events", len(got))
		}
		if m.event != "" {
			c.t.Fatalf("message %+v", m)
		}
		if m.data == "" {
			continue
		}
		e, err := tandem.ParseEventJSON([]byte(m.data))
		if err != nil {
			c.t.Fatalf("%v: %s", err, m.data)
		}
		got = append(got, string(e.Data))
	}
	return strings.Join(got, " ")
}

// skip reads until a message that fits.
func (c *client) skip(fits func(message) bool) message {
	c.t.Helper()
	for {
		m, ok := c.next()
		if !ok {
			c.t.Fatal("the stream ended")
		}
		if fits(m) {
			return m
		}
	}
}

func get(h *harness, query string, header ...string) (*http.Response, tandem.Page) {
	h.t.Helper()
	req, err := http.NewRequest("GET", h.srv.URL+"/?"+query, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	body := new(strings.Builder)
	if _, err := bufio.NewReader(resp.Body).WriteTo(body); err != nil {
		h.t.Fatal(err)
	}
	var page tandem.Page
	if resp.StatusCode == 200 {
		if err := page.UnmarshalJSON([]byte(body.String())); err != nil {
			h.t.Fatalf("%v: %s", err, body)
		}
	}
	return resp, page
}

func numbers(page tandem.Page) string {
	var got []string
	for _, e := range page.Events {
		got = append(got, string(e.Data))
	}
	return strings.Join(got, " ")
}

func escape(c tandem.Cursor) string { return url.QueryEscape(string(c)) }

func upTo(from, n int) string {
	var s []string
	for i := from; i < n; i++ {
		s = append(s, fmt.Sprint(i))
	}
	return strings.Join(s, " ")
}
