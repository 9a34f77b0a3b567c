package tandem

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"time"
)

// NewID returns a new UUIDv7 (RFC 9562, section 5.7) in text form. Ids sort by the millisecond they were made in.
func NewID() string {
	var b [16]byte
	rand.Read(b[6:])
	ms := time.Now().UnixMilli()
	b[0], b[1], b[2] = byte(ms>>40), byte(ms>>32), byte(ms>>24)
	b[3], b[4], b[5] = byte(ms>>16), byte(ms>>8), byte(ms)
	b[6] = 0x70 | b[6]&0x0f
	b[8] = 0x80 | b[8]&0x3f
	var t [36]byte
	hex.Encode(t[0:8], b[0:4])
	hex.Encode(t[9:13], b[4:6])
	hex.Encode(t[14:18], b[6:8])
	hex.Encode(t[19:23], b[8:10])
	hex.Encode(t[24:36], b[10:16])
	t[8], t[13], t[18], t[23] = '-', '-', '-', '-'
	return string(t[:])
}

// Fingerprint is 128 bits of SHA-256 over length-prefixed parts, so that no two lists of parts collide by joining.
func Fingerprint(parts ...string) [16]byte {
	buf := make([]byte, 0, 256)
	for _, p := range parts {
		n := len(p)
		buf = append(buf, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		buf = append(buf, p...)
	}
	sum := sha256.Sum256(buf)
	return [16]byte(sum[:16])
}

// Ref is the name of an event inside Tandem: 22 URL-safe characters made of its topic, source and id. It can be made
// before the event is stored, and is what tandemcause holds.
func Ref(topic, source, id string) string {
	f := Fingerprint(topic, source, id)
	return base64.RawURLEncoding.EncodeToString(f[:])
}

// DerivedID returns an id in the form of a Ref that depends on nothing but its parts, so that a repeat derives it again.
func DerivedID(parts ...string) string {
	f := Fingerprint(parts...)
	return base64.RawURLEncoding.EncodeToString(f[:])
}
