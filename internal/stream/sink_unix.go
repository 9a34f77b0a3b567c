//go:build unix

package stream

import (
	"errors"
	"syscall"
)

// canRead says that readSome works.
const canRead = true

// tryWrite writes what the kernel takes at once.
func tryWrite(raw syscall.RawConn, b []byte) (n int, err error) {
	ctlErr := raw.Write(func(fd uintptr) bool {
		for {
			n, err = syscall.Write(int(fd), b)
			if !errors.Is(err, syscall.EINTR) {
				return true // also when it would have to wait
			}
		}
	})
	if n < 0 {
		n = 0
	}
	if ctlErr != nil {
		return n, ctlErr
	}
	if errors.Is(err, syscall.EAGAIN) {
		err = nil
	}
	return n, err
}

// readSome waits until there is something to read. The room for it is lent only then, so that a quiet connection holds none;
// it has readBytes at least, and the caller gives it back. It returns zero bytes at the end of the stream.
func readSome(raw syscall.RawConn, lend func() *[]byte, back func(*[]byte)) (buf *[]byte, n int, err error) {
	ctlErr := raw.Read(func(fd uintptr) bool {
		buf = lend()
		for {
			n, err = syscall.Read(int(fd), (*buf)[:readBytes])
			if !errors.Is(err, syscall.EINTR) {
				break
			}
		}
		if errors.Is(err, syscall.EAGAIN) {
			back(buf)
			buf = nil
			return false
		}
		return true
	})
	if ctlErr != nil {
		err = ctlErr
	}
	return buf, max(n, 0), err
}
