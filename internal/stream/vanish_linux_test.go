package stream_test

import (
	"bufio"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/stream"
)

// vanish closes a connection without a word to the peer, as when the power fails. It needs a privilege, without which the test is skipped.
func vanish(t *testing.T, conn interface {
	SyscallConn() (syscall.RawConn, error)
	Close() error
}) {
	const tcpRepair = 19 // TCP_REPAIR, of linux/tcp.h
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpRepair, 1) })
	if err != nil {
		t.Skip("a connection cannot be cut: ", err)
	}
	conn.Close()
}

// TestVanishedClients: clients that are gone without a word are found out by the next heartbeat.
func TestVanishedClients(t *testing.T) {
	logs := new(logs)
	h := newHarness(t, memlog.Options{}, stream.Options{Heartbeat: 50 * time.Millisecond, Logger: logs.logger()})
	for _, request := range []string{sseRequest, upgrade} {
		for range 10 {
			conn := h.raw(request)
			if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
				t.Fatal(err)
			}
			vanish(t, conn)
		}
	}
	h.idle()
	logs.check(t, 0)
}
