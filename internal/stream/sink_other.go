//go:build !linux

package stream

import (
	"syscall"
	"time"
)

func setUserTimeout(syscall.RawConn, time.Duration) {}
