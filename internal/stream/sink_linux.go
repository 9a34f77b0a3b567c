package stream

import (
	"syscall"
	"time"
)

// setUserTimeout ends a connection whose peer acknowledges nothing for so long (RFC 5482): one that vanished without a word.
func setUserTimeout(raw syscall.RawConn, d time.Duration) {
	const tcpUserTimeout = 0x12 // TCP_USER_TIMEOUT, of linux/tcp.h
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds()))
	})
}
