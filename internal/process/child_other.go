//go:build !linux

package process

import "os/exec"

// bindToParent does nothing here: a child ends when its standard input closes.
func bindToParent(*exec.Cmd) {}

// lowerPriority does nothing here: other systems have no priority of a thread that is inherited.
func lowerPriority() {}
