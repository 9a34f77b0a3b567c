package compare

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const dirPrefix = "tandem-compare-"

// newDir makes a directory for a cell. Its name has the id of this process.
func newDir() (string, error) { return os.MkdirTemp("", fmt.Sprintf("%s%d-", dirPrefix, os.Getpid())) }

// sweep removes the directories of runs that were killed, and so could not do it.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*-*"))
	for _, dir := range dirs {
		id, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		if pid, err := strconv.Atoi(id); err == nil && !lives(pid) {
			_ = os.RemoveAll(dir) // it may be another user's
		}
	}
}

// lives reports whether there is such a process, or that cannot be told.
func lives(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	return !errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
}
