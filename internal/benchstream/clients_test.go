package benchstream

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Main(nil)
	os.Exit(m.Run())
}

// sse is an event as server-sent events have it.
func sse(seq uint64) []byte {
	return fmt.Appendf(nil, "id: c%d\ndata: {\"id\":\"1\",\"data\":%s}\n\n", seq, Data(seq, Monotonic(), 200))
}

// frame is a frame of a server.
func frame(op byte, payload string) []byte {
	b := []byte{opFinal | op, byte(len(payload))}
	if len(payload) > 125 {
		b = binary.BigEndian.AppendUint16([]byte{opFinal | op, 126}, uint16(len(payload)))
	}
	return append(b, payload...)
}

func ws(seq uint64) []byte {
	return frame(opText, fmt.Sprintf(`{"event":{"id":"1","data":%s},"cursor":"c%d"}`, Data(seq, Monotonic(), 200), seq))
}

// tells says whether the system tells what a process uses.
const tells = runtime.GOOS == "linux"

const patience = 20 * time.Second

func connect(t *testing.T, opts Options) *Clients {
	t.Helper()
	c, err := Connect(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func bare(t *testing.T, webSocket bool) (*Bare, func(seq uint64) []byte) {
	t.Helper()
	b, err := NewBare(BareOptions{WebSocket: webSocket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if webSocket {
		return b, ws
	}
	return b, sse
}

// TestClientsCount: every client has every event, the slow ones later, and what is around events is not taken for one.
func TestClientsCount(t *testing.T) {
	for _, webSocket := range []bool{false, true} {
		t.Run(fmt.Sprint("webSocket=", webSocket), func(t *testing.T) {
			b, event := bare(t, webSocket)
			c := connect(t, Options{Addr: b.Addr(), Path: "/x?y=1", N: 100, WebSocket: webSocket, Verify: true, First: 7, Latency: true, Slow: 10, SlowBytes: 1})
			noise := []byte(":\n\nid: c\n\nevent: expiring\ndata: {}\n\n")
			gap := []byte("event: gap\nid: c2\ndata: {}\n\n")
			if webSocket {
				noise = append(frame(opText, `{"cursor":"c"}`), frame(opPing, "ping")...)
				gap = frame(opText, `{"gap":{"reason":"retention"}}`)
			}
			for seq := range uint64(50) {
				b.Send(append(event(7+seq), noise...))
			}
			b.Send(gap)
			if _, err := c.Await(57, patience); err != nil {
				t.Fatal(err)
			}
			r, err := c.Report()
			if err != nil || r.Least >= 57 {
				t.Errorf("the slow are as fast: %+v, %v", r, err)
			}
			if err := c.Hurry(); err != nil {
				t.Fatal(err)
			}
			if _, err := c.AwaitAll(57, patience); err != nil {
				t.Fatal(err)
			}
			b.Send(event(57))
			if r, err = c.AwaitAll(58, patience); err != nil {
				t.Fatal(err)
			}
			if r.Open != 100 || r.Events != 51*100 || r.Missing+r.Repeated != 0 || r.Gaps != 100 || r.Ended != 0 || r.Samples != r.Events {
				t.Errorf("%+v", r)
			}
			if r.P50 <= 0 || r.P99 < r.P50 || r.Max < r.P99 || r.Max > time.Minute {
				t.Errorf("latencies %s, %s, %s", r.P50, r.P99, r.Max)
			}
			if r, err = c.Report(); err != nil || (tells && (r.Usage.CPU <= 0 || r.Usage.RSS <= 0)) {
				t.Errorf("usage %+v, %v", r.Usage, err)
			}
		})
	}
}

// TestClientsNotice: what is missing, comes twice or not at all.
func TestClientsNotice(t *testing.T) {
	b, event := bare(t, false)
	c := connect(t, Options{Addr: b.Addr(), Path: "/", N: 3, Verify: true})
	for _, seq := range []uint64{0, 1, 3, 3, 2, 4} {
		b.Send(event(seq))
	}
	if _, err := c.Await(5, patience); err != nil {
		t.Fatal(err)
	}
	r, err := c.Await(6, 50*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "3 are behind 6, the least at 5") {
		t.Errorf("%v", err)
	}
	if r.Missing != 3 || r.Repeated != 6 {
		t.Errorf("%+v", r)
	}
	b.Close()
	if _, err := c.Await(6, patience); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("all connections are gone: %v", err)
	}
}

// TestExpect: the counting load, as benchmarks use it.
func TestExpect(t *testing.T) {
	b, event := bare(t, true)
	c := connect(t, Options{Addr: b.Addr(), Path: "/", N: 10, WebSocket: true})
	for i := range uint64(3) {
		if err := c.Expect(4*(i+1), patience, func() error {
			for range 4 {
				b.Send(event(9))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := c.Report(); err != nil || r.Events != 120 || r.Least != 12 || r.Bytes < 120*uint64(len(ws(9))) {
		t.Errorf("%+v %v", r, err)
	}
}
