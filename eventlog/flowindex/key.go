package flowindex

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Key is a flow in the index. The zero Key is none.
type Key [17]byte

// The first byte of a Key says what the rest is.
const (
	keyTimed = 1 // a UUIDv7, so that keys sort by time
	keyOther = 2 // a fingerprint of another id, or the ref of an event that has no flow
)

// KeyOf returns the key of a flow by its id.
func KeyOf(flow string) (k Key) {
	if parseUUID(flow, k[1:]) && k[7]>>4 == 7 {
		k[0] = keyTimed
		return k
	}
	return other(tandem.Fingerprint("flow", flow))
}

// KeysOf is KeyOf for an id that may also have been made by Key.String, in which case it returns a second key.
func KeysOf(flow string) []Key {
	keys := []Key{KeyOf(flow)}
	if b, err := base64.RawURLEncoding.DecodeString(flow); err == nil && len(b) == 16 {
		keys = append(keys, other([16]byte(b)))
	}
	return keys
}

func other(b [16]byte) (k Key) {
	k[0] = keyOther
	copy(k[1:], b[:])
	return k
}

// keyOfRecord returns the key of the flow of an event; one without a flow begins one that is named like itself.
func keyOfRecord(rec *tandem.Record, ref [16]byte) Key {
	if rec.Meta.Flow == "" {
		return other(ref)
	}
	return KeyOf(rec.Meta.Flow)
}

// String returns the id of a flow that is a UUIDv7, and for another one a text that KeysOf knows.
func (k Key) String() string {
	if k[0] != keyTimed {
		return base64.RawURLEncoding.EncodeToString(k[1:])
	}
	t := hex.EncodeToString(k[1:])
	return t[:8] + "-" + t[8:12] + "-" + t[12:16] + "-" + t[16:20] + "-" + t[20:]
}

// Time returns when the flow began, if its id tells.
func (k Key) Time() (time.Time, bool) {
	if k[0] != keyTimed {
		return time.Time{}, false
	}
	var ms int64
	for _, b := range k[1:7] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms).UTC(), true
}

// keyAt is at or before every key of a flow that began at t or later.
func keyAt(t time.Time) (k Key) {
	k[0] = keyTimed
	ms := max(0, t.UnixMilli())
	for i := 6; i > 0; i-- {
		k[i] = byte(ms)
		ms >>= 8
	}
	return k
}

// parseUUID reads the text form of a UUID, in lower case.
func parseUUID(s string, into []byte) bool {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' || strings.ToLower(s) != s {
		return false
	}
	n := 0
	for _, part := range [...]string{s[:8], s[9:13], s[14:18], s[19:23], s[24:]} {
		m, err := hex.Decode(into[n:], []byte(part))
		if err != nil {
			return false
		}
		n += m
	}
	return true
}

// traceOf reads the trace id of a traceparent (W3C Trace Context, section 3.2.2).
func traceOf(parent string) (id [16]byte, ok bool) {
	if len(parent) < 55 {
		return id, false
	}
	return ParseTrace(parent[3:35])
}

// ParseTrace reads a W3C trace id: 32 hexadecimal digits in lower case, not all zero.
func ParseTrace(s string) (id [16]byte, ok bool) {
	if len(s) != 32 || strings.ToLower(s) != s {
		return id, false
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return [16]byte{}, false
	}
	return id, id != [16]byte{}
}

// ParseRef reads a tandem.Ref.
func ParseRef(ref string) (id [16]byte, ok bool) {
	if len(ref) != 22 {
		return id, false
	}
	n, err := base64.RawURLEncoding.Decode(id[:], []byte(ref))
	return id, err == nil && n == len(id)
}
