package process

import (
	"os/exec"
	"syscall"
)

// bindToParent has the kernel kill the child when the thread that started it ends: the starter's, which lives as long as
// the run.
func bindToParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// lowerPriority gives the calling thread a lower priority, which the processes that it starts inherit (setpriority(2): on Linux
// each thread has its own).
func lowerPriority() {
	// The system call returns 20 - nice.
	if now, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0); err == nil {
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, 20-now+5) // lowering it is allowed to everybody
	}
}
