package websocket

import (
	"encoding/binary"
	"math/bits"
	"strings"
	"unicode/utf8"
)

const (
	finBit  = 0x80
	maskBit = 0x80
	// maxControlBytes bounds the payload of a control frame (section 5.5).
	maxControlBytes = 125
)

// AppendFrame appends a frame of a server: final and not masked.
func AppendFrame(dst []byte, op Op, payload []byte) []byte {
	return append(AppendHeader(dst, op, len(payload)), payload...)
}

// AppendHeader appends the header of a frame of a server whose payload of n bytes follows.
func AppendHeader(dst []byte, op Op, n int) []byte { return appendHeader(dst, op, n, 0) }

// AppendMasked appends a frame of a client: final, and masked with a key that nobody can foretell (section 5.3). It leaves payload as it is.
func AppendMasked(dst []byte, op Op, mask [4]byte, payload []byte) []byte {
	dst = append(appendHeader(dst, op, len(payload), maskBit), mask[:]...)
	start := len(dst)
	dst = append(dst, payload...)
	xor(dst[start:], mask, 0)
	return dst
}

func appendHeader(dst []byte, op Op, n int, masked byte) []byte {
	dst = append(dst, finBit|byte(op))
	switch {
	case n <= 125:
		return append(dst, masked|byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, masked|126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, masked|127), uint64(n))
}

// AppendClose appends the Close frame of a server with the payload of AppendClosePayload.
func AppendClose(dst []byte, code int, reason string) []byte {
	var b [maxControlBytes]byte
	return AppendFrame(dst, Close, AppendClosePayload(b[:0], code, reason))
}

// AppendClosePayload appends the payload of a Close frame, for AppendMasked. The reason is cut to 123 bytes at the end of a character.
// CloseNoStatus appends nothing.
func AppendClosePayload(dst []byte, code int, reason string) []byte {
	if code == CloseNoStatus {
		return dst
	}
	reason = strings.ToValidUTF8(reason, "\uFFFD")
	if limit := maxControlBytes - 2; len(reason) > limit {
		for !utf8.RuneStart(reason[limit]) {
			limit--
		}
		reason = reason[:limit]
	}
	return append(binary.BigEndian.AppendUint16(dst, uint16(code)), reason...)
}

// ParseClose reads the payload of a Close frame; without one the code is CloseNoStatus. An error is a *CloseError, to be answered with: a
// code that must not be sent (section 7.4), half a code, or a reason that is not UTF-8.
func ParseClose(payload []byte) (code int, reason string, err error) {
	switch len(payload) {
	case 0:
		return CloseNoStatus, "", nil
	case 1:
		return 0, "", protocolError("a close code has two bytes")
	}
	code = int(binary.BigEndian.Uint16(payload))
	switch {
	case !validCode(code):
		return 0, "", protocolError("a close code that must not be sent")
	case !utf8.Valid(payload[2:]):
		return 0, "", &CloseError{CloseInvalid, "the reason is not UTF-8"}
	}
	return code, string(payload[2:]), nil
}

// validCode tells the codes that are defined for the wire, 1014 being the last that is registered, and those of libraries and applications.
func validCode(code int) bool {
	return code >= 1000 && code <= 1014 && (code < 1004 || code > 1006) || code >= 3000 && code <= 4999
}

// xor masks or unmasks b in place, whose first byte is number pos of the payload.
func xor(b []byte, mask [4]byte, pos int) {
	key := bits.RotateLeft32(binary.LittleEndian.Uint32(mask[:]), -8*(pos&3))
	key8 := uint64(key)<<32 | uint64(key)
	for len(b) >= 32 {
		v := b[:32]
		binary.LittleEndian.PutUint64(v, binary.LittleEndian.Uint64(v)^key8)
		binary.LittleEndian.PutUint64(v[8:], binary.LittleEndian.Uint64(v[8:])^key8)
		binary.LittleEndian.PutUint64(v[16:], binary.LittleEndian.Uint64(v[16:])^key8)
		binary.LittleEndian.PutUint64(v[24:], binary.LittleEndian.Uint64(v[24:])^key8)
		b = b[32:]
	}
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^key8)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(key)
		key = bits.RotateLeft32(key, -8)
	}
}
