package websocket

import (
	"encoding/binary"
	"unicode/utf8"
)

// DefaultMaxBytes is what Parser.MaxBytes is when it is zero.
const DefaultMaxBytes = 1 << 20

// Message is a message put together from its fragments, or a control frame.
type Message struct {
	Op Op
	// Data is the payload, unmasked; of Text it is UTF-8. It is valid until what was given to Next is used again.
	Data []byte
}

// Parser reads messages out of pieces of a byte stream, as they come. The zero value reads what clients send. Between messages it
// keeps no memory, and within one no more than twice what has arrived. Not safe for concurrent use.
type Parser struct {
	// MaxBytes bounds the payload of a message, all fragments together; a larger one is refused when its header is read. Zero
	// means DefaultMaxBytes.
	MaxBytes int
	// Client is set at the client's end: frames of servers are not masked.
	Client bool

	header     [14]byte // of the frame that is being read
	headerLen  uint8    // bytes of it that have arrived
	inPayload  bool     // the header is complete and checked
	fragmented bool     // a message has begun whose last fragment has not
	op         Op       // of that message, or of the one whose payload is being read
	read, size int      // of the payload of the frame: what has arrived, and all
	message    []byte   // fragments, and what has arrived of a message cut by the pieces
	checked    int      // bytes of message that are whole characters of UTF-8
	control    []byte   // what has arrived of a control frame
	err        *CloseError
}

// Partial reports whether a message, or a frame, has begun and is not complete.
func (p *Parser) Partial() bool { return p.headerLen > 0 || p.inPayload || p.fragmented }

// Next reads from b, the next piece of the stream or what the last call left of it, and returns a message, or a control frame, which may
// come between the fragments of a message, and what is left of b. It unmasks in place: b is changed, and Data may be a part of
// it. ok is false when b is used up; what is incomplete is kept. An error is a *CloseError to be sent to the peer, and the
// end: all later calls return it.
func (p *Parser) Next(b []byte) (m Message, rest []byte, ok bool, err error) {
	for p.err == nil {
		if !p.inPayload {
			if b = p.readHeader(b); !p.inPayload {
				break
			}
		}
		part := b[:min(len(b), p.size-p.read)]
		b = b[len(part):]
		if m, ok = p.take(part); ok && p.err == nil {
			return m, b, true, nil
		}
		if p.inPayload {
			break
		}
	}
	if p.err != nil {
		p.message, p.control = nil, nil
		return Message{}, nil, false, p.err
	}
	return Message{}, nil, false, nil
}

// readHeader takes what belongs to the header. It sets inPayload when that is complete and right.
func (p *Parser) readHeader(b []byte) []byte {
	for {
		need := p.headerSize()
		n := copy(p.header[p.headerLen:need], b)
		p.headerLen += uint8(n)
		b = b[n:]
		if int(p.headerLen) < need {
			return b
		}
		if need == 2 { // as soon as they are there, since what is wrong with them is no matter of the rest
			if p.err = p.checkStart(); p.err != nil {
				return b
			}
		}
		if p.headerSize() == need {
			break
		}
	}
	size := uint64(p.header[1] & 0x7f)
	switch size {
	case 126:
		size = uint64(binary.BigEndian.Uint16(p.header[2:]))
	case 127:
		size = binary.BigEndian.Uint64(p.header[2:])
	}
	limit := p.MaxBytes
	if limit == 0 {
		limit = DefaultMaxBytes
	}
	switch op := Op(p.header[0] & 0xf); {
	case size>>63 != 0:
		p.err = protocolError("the length of a frame has its top bit set")
	case op >= Close: // whose size was checked
	case size > uint64(max(0, limit-len(p.message))):
		p.err = &CloseError{CloseTooLarge, "the message is too large"}
	case op != Continuation:
		p.op = op
	}
	p.read, p.size, p.inPayload, p.headerLen = 0, int(size), p.err == nil, 0
	return b
}

// headerSize is how long the header is, as far as is known.
func (p *Parser) headerSize() int {
	if p.headerLen < 2 {
		return 2
	}
	n := 2
	switch p.header[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if p.header[1]&maskBit != 0 {
		n += 4
	}
	return n
}

// checkStart checks the first two bytes of a header.
func (p *Parser) checkStart() *CloseError {
	op := Op(p.header[0] & 0xf)
	masked := p.header[1]&maskBit != 0
	switch {
	case p.header[0]&0x70 != 0:
		return protocolError("reserved bits are set")
	case op > Binary && op < Close || op > Pong:
		return protocolError("a reserved opcode")
	case masked && p.Client:
		return protocolError("a frame of a server is masked")
	case !masked && !p.Client:
		return protocolError("a frame of a client is not masked")
	case op >= Close && p.header[0]&finBit == 0:
		return protocolError("a control frame is fragmented")
	case op >= Close && p.header[1]&0x7f > maxControlBytes:
		return protocolError("a control frame is longer than 125 bytes")
	case op == Continuation && !p.fragmented:
		return protocolError("a continuation of nothing")
	case op != Continuation && op < Close && p.fragmented:
		return protocolError("a new message within a fragmented one")
	}
	return nil
}

// take handles a part of a payload, and returns what it completes. It ends inPayload with the frame.
func (p *Parser) take(part []byte) (Message, bool) {
	op, final := Op(p.header[0]&0xf), p.header[0]&finBit != 0
	whole := len(part) == p.size // in one piece
	p.unmask(part)
	p.read += len(part)
	p.inPayload = p.read < p.size
	switch {
	case op >= Close && whole:
		return Message{op, part}, true
	case op >= Close:
		p.control = append(p.control, part...)
		if p.inPayload {
			return Message{}, false
		}
		m := Message{op, p.control}
		p.control = nil
		return m, true
	case whole && final && !p.fragmented:
		if p.op == Text && !utf8.Valid(part) {
			p.err = notUTF8()
		}
		return Message{p.op, part}, true
	}
	p.keep(part)
	ends := final && !p.inPayload
	if p.op == Text {
		p.checked += validPrefix(p.message[p.checked:])
		if rest := p.message[p.checked:]; len(rest) > 0 && (ends || utf8.FullRune(rest)) {
			p.err = notUTF8()
		}
	}
	if !p.inPayload {
		p.fragmented = !final
	}
	if !ends {
		return Message{}, false
	}
	m := Message{p.op, p.message}
	p.message, p.checked = nil, 0
	return m, true
}

func notUTF8() *CloseError { return &CloseError{CloseInvalid, "text that is not UTF-8"} }

// unmask unmasks the next part of the frame's payload in place.
func (p *Parser) unmask(part []byte) {
	if p.Client {
		return
	}
	var at int // where the mask is in the header
	switch p.header[1] & 0x7f {
	case 126:
		at = 4
	case 127:
		at = 10
	default:
		at = 2
	}
	xor(part, [4]byte(p.header[at:]), p.read)
}

// keep appends a part to the message. Its memory doubles with what has arrived, whatever was announced, and does not grow beyond the
// end where that is known.
func (p *Parser) keep(part []byte) {
	have := len(p.message)
	if need := have + len(part); need > cap(p.message) {
		room := max(need, 2*cap(p.message))
		if p.header[0]&finBit != 0 {
			room = min(room, need+p.size-p.read)
		}
		grown := make([]byte, have, room)
		copy(grown, p.message)
		p.message = grown
	}
	p.message = append(p.message, part...)
}

// validPrefix returns how many bytes of b, from its beginning, are whole characters, up to one at its end that is cut or wrong. It
// returns 0 when there is something wrong before that.
func validPrefix(b []byte) int {
	end := len(b)
	for i := len(b) - 1; i >= max(0, len(b)-3); i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) { // a cut character, and not a wrong one
				end = i
			}
			break
		}
	}
	if !utf8.Valid(b[:end]) {
		return 0
	}
	return end
}
