package eventlog

import (
	"crypto/rand"
	"encoding/hex"
	"time"
)

const idLen = 36

// idMaker makes UUIDv7s (RFC 9562, section 5.7) for the events of one call, asking the system for randomness and for
// memory once for several of them.
type idMaker struct {
	now  time.Time
	left int    // events of the call that may still want one
	text string // ids that were not given yet, one behind the other
}

// idsAtOnce bounds what is made ahead, so that an id that is kept keeps few others alive.
const idsAtOnce = 64

func (m *idMaker) next() string {
	if m.text == "" {
		m.make(max(1, min(m.left, idsAtOnce)))
	}
	m.left--
	id := m.text[:idLen]
	m.text = m.text[idLen:]
	return id
}

func (m *idMaker) make(n int) {
	var random [idsAtOnce * 10]byte
	var text [idsAtOnce * idLen]byte
	rand.Read(random[:n*10])
	ms := m.now.UnixMilli()
	for i := range n {
		var b [16]byte
		b[0], b[1], b[2], b[3], b[4], b[5] = byte(ms>>40), byte(ms>>32), byte(ms>>24), byte(ms>>16), byte(ms>>8), byte(ms)
		copy(b[6:], random[i*10:])
		b[6] = 0x70 | b[6]&0x0f
		b[8] = 0x80 | b[8]&0x3f
		t := text[i*idLen : (i+1)*idLen]
		hex.Encode(t[0:8], b[0:4])
		hex.Encode(t[9:13], b[4:6])
		hex.Encode(t[14:18], b[6:8])
		hex.Encode(t[19:23], b[8:10])
		hex.Encode(t[24:36], b[10:16])
		t[8], t[13], t[18], t[23] = '-', '-', '-', '-'
	}
	m.text = string(text[:n*idLen])
}
