//go:build !unix

package stream

import "syscall"

// tryWrite writes nothing where writing without waiting is not known: a goroutine does it then.
func tryWrite(syscall.RawConn, []byte) (int, error) { return 0, nil }

// canRead is false where reading without a buffer of one's own is not known.
const canRead = false

func readSome(syscall.RawConn, func() *[]byte, func(*[]byte)) (*[]byte, int, error) {
	panic("not called")
}
