package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// canMeasure says whether Usage can be told on this system.
const canMeasure = true

// tick is the unit of times in /proc, which is the same on all architectures (proc(5), USER_HZ).
const tick = 10 * time.Millisecond

// running reads what a running process has used from /proc. A process that has just ended counts as nothing: the
// keeper is about to add it.
func running(pid int) (Usage, bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, os.IsNotExist(err)
	}
	// The name of the program, in parentheses, may hold anything. Fields 14 and 15 are utime and stime; 3 comes first here.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return Usage{}, false
	}
	user, uerr := strconv.ParseInt(string(fields[11]), 10, 64)
	system, serr := strconv.ParseInt(string(fields[12]), 10, 64)
	if uerr != nil || serr != nil {
		return Usage{}, false
	}
	return Usage{CPU: time.Duration(user+system) * tick, MemoryBytes: peak(pid)}, true
}

// peak reads VmHWM, in kB, which is absent for a process that has just ended.
func peak(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(status) {
		if f := bytes.Fields(line); len(f) >= 2 && string(f[0]) == "VmHWM:" {
			kb, _ := strconv.ParseInt(string(f[1]), 10, 64)
			return kb << 10
		}
	}
	return 0
}

// ended is what a process had used when it ended. Maxrss is in kB (getrusage(2)).
func ended(s *os.ProcessState) Usage {
	u := Usage{CPU: s.UserTime() + s.SystemTime()}
	if r, ok := s.SysUsage().(*syscall.Rusage); ok {
		u.MemoryBytes = int64(r.Maxrss) << 10 //nolint:unconvert // 32 bits on some architectures
	}
	return u
}
