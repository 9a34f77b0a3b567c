//go:build !linux

package benchstream

import "time"

// Monotonic returns nanoseconds on a clock that all processes of this machine share.
func Monotonic() int64 { return time.Now().UnixNano() - 1_600_000_000_000_000_000 }

func cpu() time.Duration { return 0 }

func resident() int64 { return 0 }

// Files returns how many files a process may have open, raised to want where that is allowed.
func Files(want int) int { return want }
