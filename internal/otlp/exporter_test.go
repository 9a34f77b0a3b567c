package otlp

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// collector answers as it is told, and notes what it took.
type collector struct {
	mu     sync.Mutex               // guards all
	answer func(n int) (int, error) // status of the n-th request, from 1
	says   string                   // its body
	bodies []string
	taken  int // spans
	n      int
}

func (c *collector) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	status, err := http.StatusOK, error(nil)
	if c.answer != nil {
		status, err = c.answer(c.n)
	}
	if err != nil {
		return nil, err
	}
	if status == http.StatusOK {
		c.bodies = append(c.bodies, string(body))
		c.taken += strings.Count(string(body), `"parentSpanId"`)
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(strings.NewReader(cmp.Or(c.says, "why"))), Request: r}, nil
}

// got returns how many requests came, and how many spans were taken.
func (c *collector) got() (requests, spans int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n, c.taken
}

func exporting(t *testing.T, c *collector, fn func(e *Exporter, logged *bytes.Buffer)) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		e := New(Options{URL: "http://collector/", Service: "tandem", Version: "1", Client: &http.Client{Transport: c}, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		fn(e, &logged)
		if err := e.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func aSpan() Span {
	began := time.Unix(1, 5)
	return Span{Trace: strings.Repeat("a", 32), ID: strings.Repeat("b", 16), Parent: strings.Repeat("c", 16), Name: "publish orders", Kind: Producer, Began: began,
		Ended: began.Add(time.Second), Failed: "why", Links: []Link{{strings.Repeat("d", 32), strings.Repeat("e", 16)}}, Attributes: []Attribute{Text("a", "b"), Text("none", ""), Number("n", 7)}}
}

// TestEncoding follows the JSON encoding of OTLP: ids in hexadecimal, numbers of 64 bits as text.
func TestEncoding(t *testing.T) {
	c := &collector{}
	exporting(t, c, func(e *Exporter, _ *bytes.Buffer) { e.Add(aSpan()) })
	const want = `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"tandem"}},{"key":"service.version","value":{"stringValue":"1"}}]},
		"scopeSpans":[{"scope":{"name":"github.com/tandem-hybrid/tandem","version":"1"},"spans":[{"traceId":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","spanId":"bbbbbbbbbbbbbbbb",
		"parentSpanId":"cccccccccccccccc","name":"publish orders","kind":4,"startTimeUnixNano":"1000000005","endTimeUnixNano":"2000000005",
		"attributes":[{"key":"a","value":{"stringValue":"b"}},{"key":"n","value":{"intValue":"7"}}],"links":[{"traceId":"dddddddddddddddddddddddddddddddd","spanId":"eeeeeeeeeeeeeeee"}],"status":{"code":2,"message":"why"}}]}]}]}`
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(want)); err != nil {
		t.Fatal(err)
	}
	if len(c.bodies) != 1 || c.bodies[0] != compact.String() {
		t.Errorf("sent %s\nwant %s", c.bodies, &compact)
	}
}

// TestSpansGoInBatches: a full one at once, the rest within a second.
func TestSpansGoInBatches(t *testing.T) {
	c := &collector{}
	exporting(t, c, func(e *Exporter, _ *bytes.Buffer) {
		for range batchSpans {
			e.Add(aSpan())
		}
		synctest.Wait()
		if n, taken := c.got(); n != 1 || taken != batchSpans {
			t.Errorf("a full batch: %d requests, %d spans", n, taken)
		}
		e.Add(aSpan())
		synctest.Wait()
		if n, _ := c.got(); n != 1 {
			t.Errorf("one span was sent at once")
		}
		time.Sleep(every)
		synctest.Wait()
		if n, taken := c.got(); n != 2 || taken != batchSpans+1 {
			t.Errorf("the rest: %d requests, %d spans", n, taken)
		}
		e.Add(aSpan())
	})
	if c.taken != batchSpans+2 || c.n != 3 {
		t.Errorf("%d requests, %d spans after it was stopped", c.n, c.taken)
	}
}

// TestCollectorAway: it is tried again, said once, and what does not fit the queue is dropped and counted.
func TestCollectorAway(t *testing.T) {
	for name, answer := range map[string]func() (int, error){
		"no connection": func() (int, error) { return 0, errors.New("refused") },
		"503":           func() (int, error) { return http.StatusServiceUnavailable, nil },
		"429":           func() (int, error) { return http.StatusTooManyRequests, nil },
	} {
		var back atomic.Bool
		c := &collector{answer: func(int) (int, error) {
			if back.Load() {
				return http.StatusOK, nil
			}
			return answer()
		}}
		exporting(t, c, func(e *Exporter, logged *bytes.Buffer) {
			e.Add(aSpan())
			time.Sleep(time.Hour)
			synctest.Wait()
			if n, _ := c.got(); n < 100 || n > 140 {
				t.Errorf("%s: %d requests in an hour", name, n)
			}
			want := 1
			if name == "503" {
				want += queueSpans
				for range queueSpans + 3 {
					e.Add(aSpan())
				}
				if got := e.dropped.Load(); got != 3 {
					t.Errorf("%d were dropped", got)
				}
			}
			back.Store(true)
			time.Sleep(lastWait + time.Second)
			synctest.Wait()
			if _, taken := c.got(); taken != want || e.sent.Load() != uint64(want) {
				t.Errorf("%s: %d of %d were taken", name, taken, want)
			}
			if n := strings.Count(logged.String(), "takes nothing"); n != 1 || !strings.Contains(logged.String(), "again") {
				t.Errorf("%s: logged %s", name, logged)
			}
		})
	}
}

// TestCollectorRefuses: what it refuses is not sent again, and counted; it is said once.
func TestCollectorRefuses(t *testing.T) {
	c := &collector{answer: func(n int) (int, error) { return []int{400, 400, 200, 200}[n-1], nil }}
	exporting(t, c, func(e *Exporter, logged *bytes.Buffer) {
		for range 2 {
			e.Add(aSpan())
			time.Sleep(2 * every)
			synctest.Wait()
		}
		if n, _ := c.got(); n != 2 || e.dropped.Load() != 2 || strings.Count(logged.String(), "why") != 1 {
			t.Errorf("%d requests, %d dropped, logged %s", n, e.dropped.Load(), logged)
		}
		for range 2 {
			e.Add(aSpan())
			time.Sleep(2 * every)
			synctest.Wait()
		}
		if _, taken := c.got(); taken != 2 || strings.Count(logged.String(), "again") != 1 {
			t.Errorf("%d were taken after it, logged %s", taken, logged)
		}
	})
}

// TestCollectorRefusesSome: what it refuses of a batch that it takes is counted as dropped.
func TestCollectorRefusesSome(t *testing.T) {
	for says, want := range map[string]uint64{`{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}`: 2, `{"partialSuccess":{"rejectedSpans":1}}`: 1,
		`{"partialSuccess":{"rejectedSpans":"99"}}`: 3, `{"partialSuccess":{}}`: 0, `{}`: 0} {
		exporting(t, &collector{says: says}, func(e *Exporter, logged *bytes.Buffer) {
			for range 3 {
				e.Add(aSpan())
			}
			time.Sleep(2 * every)
			synctest.Wait()
			if e.dropped.Load() != want || e.sent.Load() != 3-want || strings.Contains(logged.String(), "refuses") != (want > 0) {
				t.Errorf("%s: %d dropped, %d sent, logged %s", says, e.dropped.Load(), e.sent.Load(), logged)
			}
		})
	}
}

// TestSpansKeepLittle: of what a client sent a span that waits keeps its own short texts, and not what they were cut from.
func TestSpansKeepLittle(t *testing.T) {
	all := strings.Repeat("x", 4000)
	exporting(t, &collector{}, func(e *Exporter, _ *bytes.Buffer) {
		s := aSpan()
		s.Trace, s.Parent, s.Name, s.Attributes = all[:32], all[:16], all, []Attribute{Text("url.path", all), Text("id", all[:5])}
		e.Add(s)
		kept := e.take()[0]
		for _, text := range []string{kept.Trace, kept.Parent, kept.Name, kept.Attributes[0].text, kept.Attributes[1].text} {
			if len(text) > maxText || unsafe.StringData(text) == unsafe.StringData(all) {
				t.Errorf("it keeps %d bytes, or all: %.20s", len(text), text)
			}
		}
	})
}

// TestStopLosesSpans: what the collector does not take before the end is counted and said.
func TestStopLosesSpans(t *testing.T) {
	c := &collector{answer: func(int) (int, error) { return http.StatusServiceUnavailable, nil }}
	var e *Exporter
	var logged *bytes.Buffer
	exporting(t, c, func(x *Exporter, l *bytes.Buffer) {
		e, logged = x, l
		for range batchSpans + 1 {
			e.Add(aSpan())
		}
	})
	if e.dropped.Load() != batchSpans+1 || !strings.Contains(logged.String(), "spans=513") {
		t.Errorf("%d dropped, logged %s", e.dropped.Load(), logged)
	}
}

// TestStopWhileAway: it does not wait longer than it may, and forgets no batch that the collector would take.
func TestStopWhileAway(t *testing.T) {
	c := &collector{answer: func(n int) (int, error) { return []int{503, 200, 200}[n-1], nil }}
	exporting(t, c, func(e *Exporter, _ *bytes.Buffer) {
		e.Add(aSpan())
		time.Sleep(every + time.Millisecond)
		synctest.Wait()
		e.Add(aSpan())
	})
	if c.taken != 2 {
		t.Errorf("%d were taken", c.taken)
	}
}
