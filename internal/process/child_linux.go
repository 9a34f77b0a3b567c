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
