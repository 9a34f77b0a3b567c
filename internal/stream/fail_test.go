package stream_test

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/stream"
)

// failing is an engine whose reads fail while it is told to.
type failing struct {
	driver.Driver
	broken atomic.Bool
	remote bool
	failed chan struct{} // told of each failure, if set
}

func (d *failing) Info() driver.Info {
	i := d.Driver.Info()
	i.Remote = d.remote
	return i
}

func (d *failing) Read(ctx context.Context, id driver.ID, part int, from uint64, max, maxBytes int, dst []tandem.Record) ([]tandem.Record, error) {
	if d.broken.Load() {
		if d.failed != nil {
			select {
			case d.failed <- struct{}{}:
			default:
			}
		}
		return dst, tandem.Errorf(tandem.CodeUnavailable, "the disk is gone")
	}
	return d.Driver.Read(ctx, id, part, from, max, maxBytes, dst)
}

// newFailing returns a harness over an engine whose reads can be made to fail.
func newFailing(t *testing.T, engine memlog.Options, opts stream.Options, change ...func(*failing)) (*harness, *failing) {
	d := new(failing)
	for _, fn := range change {
		fn(d)
	}
	return newHarness(t, engine, opts, func(h *harness) {
		h.wrap = func(e driver.Driver) driver.Driver { d.Driver = e; return d }
	}), d
}

// TestLogFails: streams end with a reason when the log cannot be read, and go on from where they were when it can. Each is logged once at
// most, and no error of theirs.
func TestLogFails(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			logs := new(logs)
			h, d := newFailing(t, engine, stream.Options{Logger: logs.logger()})
			c, s, cloud := h.open("topic=a"), h.socket("topic=a", tandemV1), h.socket("topic=a", "cloudevents.json")
			window := h.socket("topic=a&credit=10", tandemV1)
			h.publish("a", "t", "0")
			c.events(1)
			_, at := s.data(1)
			cloud.next()
			_, windowAt := window.data(1)
			d.broken.Store(true)
			h.publish("a", "t", "1")
			if m := c.skip(func(m message) bool { return m.event != "" }); m.event != "reconnect" || m.data != `{"reason":"unavailable"}` || m.retry == "" {
				t.Errorf("%+v", m)
			}
			for _, s := range []*socket{s, window} {
				f := s.frame()
				for f.Reconnect == nil && f.Cursor != "" {
					f = s.frame()
				}
				if f.Reconnect == nil || f.Reconnect.Reason != "unavailable" {
					t.Errorf("%+v", f)
				}
			}
			for _, s := range []*socket{s, window, cloud} {
				if code, reason := s.closed(); code != 1011 || reason != "unavailable" {
					t.Errorf("%d %s", code, reason)
				}
			}
			h.idle()
			d.broken.Store(false)
			if got := h.open("topic=a", "Last-Event-ID", c.lastID).events(1); got != "1" {
				t.Errorf("it goes on with %s", got)
			}
			for _, at := range []tandem.Cursor{at, windowAt} {
				if got, _ := h.socket("topic=a&cursor="+string(at), tandemV1).data(1); got != "1" {
					t.Errorf("it goes on with %s", got)
				}
			}
			logs.check(t, 4)
		})
	}
}

// TestBrokerIsLost: streams stay open while an engine over a network cannot be read, show that they live, and go on where they were. Those
// that are opened meanwhile are served then.
func TestBrokerIsLost(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			logs := new(logs)
			h, d := newFailing(t, engine, stream.Options{Logger: logs.logger(), Heartbeat: time.Second}, func(d *failing) { d.remote, d.failed = true, make(chan struct{}) })
			c, s := h.open("topic=a"), h.socket("topic=a", tandemV1)
			window, conflate := h.socket("topic=a&credit=10", tandemV1), h.open("topic=a&slow=conflate")
			h.publish("a", "t", "0")
			c.events(1)
			s.data(1)
			window.data(1)
			conflate.events(1)
			d.broken.Store(true)
			h.publish("a", "t", "1")
			late, behind := h.open("topic=a"), h.open("topic=a&from=earliest")
			for range 6 { // all that read have met it
				select {
				case <-d.failed:
				case <-time.After(10 * time.Second):
					t.Fatal("nobody tries to read")
				}
			}
			for _, c := range []*client{c, late, behind} { // a heartbeat while nothing can be read
				c.next()
			}
			d.broken.Store(false)
			h.publish("a", "t", "2")
			for name, got := range map[string]string{"SSE": c.events(2), "conflate": conflate.events(2), "opened late": late.events(1), "from earliest": behind.events(3)} {
				if want := map[string]string{"opened late": "2", "from earliest": "0 1 2"}[name]; sorted(got) != cmp.Or(want, "1 2") { // over two partitions
					t.Errorf("%s goes on with %s", name, got)
				}
			}
			for _, s := range []*socket{s, window} {
				first, _ := s.data(1)
				second, _ := s.data(1)
				if got := sorted(first + " " + second); got != "1 2" {
					t.Errorf("a socket goes on with %s", got)
				}
			}
			logs.check(t, 1)
		})
	}
}

// faltering is an engine over a network of which two readings of three fail.
type faltering struct {
	driver.Driver
	n atomic.Int32
}

func (d *faltering) Info() driver.Info {
	i := d.Driver.Info()
	i.Remote = true
	return i
}

func (d *faltering) Read(ctx context.Context, id driver.ID, part int, from uint64, max, maxBytes int, dst []tandem.Record) ([]tandem.Record, error) {
	if d.n.Add(1)%3 != 1 {
		return dst, tandem.Errorf(tandem.CodeUnavailable, "no answer")
	}
	return d.Driver.Read(ctx, id, part, from, max, maxBytes, dst)
}

// TestFailureLosesNothing: where reading fails in the middle, what was read before is given out, also to who has it conflated.
func TestFailureLosesNothing(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{}, func(h *harness) {
		h.wrap = func(d driver.Driver) driver.Driver { return &faltering{Driver: d} }
	})
	const n = 60 // without a key: none takes the place of another
	for i := range n {
		h.publish("a", "t", fmt.Sprintf(`[%d,"%s"]`, i, strings.Repeat("x", 40<<10)))
	}
	for _, slow := range []string{"conflate", "catchup"} {
		c := h.open("topic=a&from=earliest&slow=" + slow)
		got := c.events(n)
		for i := range n {
			if strings.Count(got, fmt.Sprintf(`[%d,`, i)) != 1 {
				t.Errorf("%s: event %d was given %d times", slow, i, strings.Count(got, fmt.Sprintf(`[%d,`, i)))
			}
		}
	}
}

func sorted(words string) string {
	w := strings.Fields(words)
	slices.Sort(w)
	return strings.Join(w, " ")
}

// hijack holds back the taking over of a connection.
type hijack struct {
	http.ResponseWriter
	before func()
}

func (w hijack) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.before()
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// TestJoinsWhatFailed: a stream that comes when what it was to join fails is asked to come again, like those that were there.
func TestJoinsWhatFailed(t *testing.T) {
	h, d := newFailing(t, memlog.Options{}, stream.Options{})
	first := h.open("topic=a")
	first.next()
	reached, goOn := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.handle(hijack{w, func() { close(reached); <-goOn }}, r)
	}))
	defer srv.Close()
	h.srv.URL, srv.URL = srv.URL, h.srv.URL
	opened := make(chan *client)
	go func() { opened <- h.open("topic=a") }()
	<-reached
	d.broken.Store(true)
	h.publish("a", "t", "1")
	first.skip(func(m message) bool { return m.event == "reconnect" })
	waitOpen(t, h, 1)
	d.broken.Store(false)
	close(goOn)
	if m := (<-opened).skip(func(m message) bool { return m.event != "" }); m.data != `{"reason":"unavailable"}` {
		t.Errorf("%+v", m)
	}
	h.idle()
}
