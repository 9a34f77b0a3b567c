package eventlog

import (
	"encoding/base64"
	"encoding/binary"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// A cursor is base64url without padding of: version, kind, the eight bytes of the log's identity, and then
//
//	kind number: the number of the last event consumed, eight bytes, most significant first;
//	kind vector: the places in the partitions of each topic (see vector.go);
//	kind heads: a number, and the partitions that were read further than it says (see heads.go).
//
// See docs/adr/0002-one-cursor.md.
const (
	cursorVersion = 1

	kindNumber = 1
	kindVector = 2
	kindHeads  = 3 // where a cursor of another log was translated to no single number

	cursorHeader    = 10
	numberCursorLen = 24 // of 18 bytes
	// maxCursorLen is the longest cursor accepted or given, so that it fits into a header and a query parameter.
	maxCursorLen = 3 << 10
)

// place is a parsed cursor.
type place struct {
	logID  [8]byte
	kind   byte
	number uint64        // kindNumber and kindHeads
	vector []vectorTopic // kindVector
	heads  []head        // kindHeads
}

// parseCursor reads a cursor of any log. Code: Invalid.
func parseCursor(c tandem.Cursor) (place, error) {
	if len(c) > maxCursorLen {
		return place{}, badCursor("it is longer than 3 KiB")
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(string(c))
	if err != nil || len(raw) < cursorHeader {
		return place{}, badCursor("it is not one of Tandem's")
	}
	if raw[0] != cursorVersion {
		return place{}, badCursor("its version is not known here")
	}
	p := place{kind: raw[1], logID: [8]byte(raw[2:10])}
	body := raw[cursorHeader:]
	switch p.kind {
	case kindNumber:
		if len(body) != 8 {
			return place{}, badCursor("it is cut off")
		}
		p.number = binary.BigEndian.Uint64(body)
	case kindVector:
		var ok bool
		if p.vector, ok = parseVector(body); !ok {
			return place{}, badCursor("it is cut off")
		}
	case kindHeads:
		var ok bool
		if p.number, p.heads, ok = parseHeads(body); !ok {
			return place{}, badCursor("it is cut off")
		}
	default:
		return place{}, badCursor("its kind is not known here")
	}
	return p, nil
}

func badCursor(why string) error {
	return tandem.Errorf(tandem.CodeInvalid, "the cursor cannot be read: %s", why).WithField("cursor", "%s", why).
		WithHint("use a cursor as it was given, or start with from=earliest or from=latest")
}

// numberCodec writes cursors of kind number.
type numberCodec struct{ header [cursorHeader]byte }

func newNumberCodec(logID [8]byte) numberCodec {
	c := numberCodec{header: [cursorHeader]byte{cursorVersion, kindNumber}}
	copy(c.header[2:], logID[:])
	return c
}

func (c *numberCodec) append(dst []byte, number uint64) []byte {
	var raw [cursorHeader + 8]byte
	copy(raw[:], c.header[:])
	binary.BigEndian.PutUint64(raw[cursorHeader:], number)
	return base64.RawURLEncoding.AppendEncode(dst, raw[:])
}

func (c *numberCodec) encode(number uint64) tandem.Cursor {
	return tandem.Cursor(c.append(make([]byte, 0, numberCursorLen), number))
}

// encodeAll returns the cursors after each record, one behind the other.
func (c *numberCodec) encodeAll(records []driver.Record) string {
	buf := make([]byte, 0, len(records)*numberCursorLen)
	for i := range records {
		buf = c.append(buf, records[i].Offset)
	}
	return string(buf)
}
