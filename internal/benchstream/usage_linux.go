package benchstream

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// Monotonic returns nanoseconds on a clock that all processes of this machine share.
func Monotonic() int64 {
	var t syscall.Timespec
	_, _, _ = syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, 1 /* CLOCK_MONOTONIC */, uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano()
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func resident() int64 {
	var size, pages int64
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	_, _ = fmt.Sscan(string(b), &size, &pages)
	return pages * int64(os.Getpagesize())
}

// Files returns how many files a process may have open, raised to want where that is allowed.
func Files(want int) int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return want
	}
	raised := syscall.Rlimit{Cur: max(l.Max, uint64(want)), Max: max(l.Max, uint64(want))}
	for _, next := range []syscall.Rlimit{raised, {Cur: l.Max, Max: l.Max}} {
		if l.Cur < uint64(want) && syscall.Setrlimit(syscall.RLIMIT_NOFILE, &next) == nil {
			l.Cur = next.Cur
		}
	}
	return int(min(l.Cur, 1<<30))
}
