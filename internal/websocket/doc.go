// Package websocket is the framing of RFC 6455 over bytes, for both ends of a connection: Accept checks an upgrade, a Parser reads
// messages out of pieces of a byte stream, and the Append functions write frames. It does no I/O, starts no goroutine and holds
// no memory for a connection between messages, so that one server can keep many quiet connections and send all of them
// the same bytes. Extensions are not negotiated.
package websocket

import "fmt"

// Op is the opcode of a frame (section 5.2). A Message has any but Continuation.
type Op byte

// The opcodes. Those from Close on are control frames.
const (
	Continuation Op = 0x0
	Text         Op = 0x1
	Binary       Op = 0x2
	Close        Op = 0x8
	Ping         Op = 0x9
	Pong         Op = 0xa
)

// Status codes of a Close frame (section 7.4.1 and its registry).
const (
	CloseNormal      = 1000
	CloseGoingAway   = 1001
	CloseProtocol    = 1002 // a frame that breaks RFC 6455
	CloseUnsupported = 1003 // a kind of message that is not taken
	CloseNoStatus    = 1005 // never sent: the frame has no code
	CloseInvalid     = 1007 // text that is not UTF-8
	ClosePolicy      = 1008
	CloseTooLarge    = 1009
	CloseInternal    = 1011
	CloseRestart     = 1012
	CloseTryLater    = 1013
)

// CloseError is why a connection is closed: what the end that found it sends in its Close frame.
type CloseError struct {
	Code   int
	Reason string
}

func (e *CloseError) Error() string { return fmt.Sprintf("websocket: %d %s", e.Code, e.Reason) }

func protocolError(reason string) *CloseError { return &CloseError{CloseProtocol, reason} }
