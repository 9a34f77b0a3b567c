package stream_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// run runs the tests, and holds Streams and their logs to what Stop and Close promise: that nothing of them is left.
func run(m *testing.M) int {
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// idle waits until no stream is left: none is open, nothing waits for one, and nothing reads for one.
func (h *harness) idle() {
	h.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		tails, members := h.streams.Internals()
		if tails == 0 && members == 0 && h.streams.Open() == 0 && h.streams.WaitingBytes() == 0 && running() == 0 {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%d tails, %d members, %d open, %d bytes, %d goroutines", tails, members, h.streams.Open(), h.streams.WaitingBytes(), running())
		}
		time.Sleep(time.Millisecond)
	}
}

// running counts the goroutines that serve a stream.
func running() (n int) {
	all := make([]byte, 8<<20)
	all = all[:runtime.Stack(all, true)]
	for _, of := range []string{"stream.(*member).pump(", "stream.(*member).listen(", "stream.(*member).converse(", "stream.(*tail).run("} {
		n += bytes.Count(all, []byte(of))
	}
	return n
}
