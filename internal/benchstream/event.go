package benchstream

import (
	"bytes"
	"fmt"
	"strconv"
)

// Numbers are written with as many digits whatever they are, so that every event is of one size and a message that is ready
// can be stamped again.
const (
	seqBase   = 1_000_000_000
	seqDigits = 10
	atBase    = 1_000_000_000_000_000_000
	atDigits  = 19
)

var (
	seqName = []byte(`"seq":`)
	atName  = []byte(`"at":`)
)

// Data is the data of an event: JSON of size bytes, 64 at least, that carries a number below 9,000,000,000, which counts the
// events of a run from 0, and a time of Monotonic.
func Data(seq uint64, at int64, size int) []byte {
	b := make([]byte, 0, size)
	b = fmt.Appendf(b, `{"seq":%d,"at":%d,"text":"`, seqBase+seq, atBase+at)
	for len(b) < size-2 {
		b = append(b, 'x')
	}
	return append(b, `"}`...)
}

// number finds a number that Data wrote.
func number(b, name []byte, digits int) (n int64, ok bool) {
	i := bytes.Index(b, name)
	if i < 0 || len(b) < i+len(name)+digits {
		return 0, false
	}
	for _, c := range b[i+len(name):][:digits] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// Stamp writes a number and a time over those of a message that holds Data, in place.
func Stamp(message []byte, seq uint64, at int64) {
	if i := bytes.Index(message, seqName); i >= 0 {
		strconv.AppendUint(message[:i+len(seqName)], seqBase+seq, 10)
	}
	if i := bytes.Index(message, atName); i >= 0 {
		strconv.AppendInt(message[:i+len(atName)], atBase+at, 10)
	}
}
