//go:build !linux

package process

import "os"

const canMeasure = false

func running(int) (Usage, bool) { return Usage{}, false }

func ended(*os.ProcessState) Usage { return Usage{} }
