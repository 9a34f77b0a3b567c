//go:build !linux

package compare

import "time"

func sleep(d time.Duration) { time.Sleep(d) }
