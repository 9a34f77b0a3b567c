package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/websocket"
)

// frame is what the server sends: one of its members, and Cursor with Event.
type frame struct {
	Event   json.RawMessage `json:"event"`
	Cursor  tandem.Cursor   `json:"cursor"`
	Gap     *tandem.Gap     `json:"gap"`
	Receipt *struct {
		Ref uint64 `json:"ref"`
		tandem.Receipt
	} `json:"receipt"`
	Problem *struct {
		Ref uint64 `json:"ref"` // zero for what was wrong with a frame
		tandem.Problem
	} `json:"problem"`
	Reconnect *reconnect `json:"reconnect"`
}

// maxAfter bounds what a server may ask for, in milliseconds.
const maxAfter = 24 * 60 * 60 * 1000

// reconnect is why the server ends a stream.
type reconnect struct {
	Reason string `json:"reason"`
	After  int64  `json:"after"` // milliseconds
}

// inbox remembers what explains the end of a connection.
type inbox struct {
	problem   *tandem.Error // the last one without an event
	reconnect *reconnect
	closed    bool // by the server
}

// take handles one message. A *websocket.CloseError ends the connection.
func (s *socket) take(m websocket.Message) error {
	switch m.Op {
	case websocket.Text:
		return s.takeFrame(m.Data)
	case websocket.Binary:
		return &websocket.CloseError{Code: websocket.CloseUnsupported, Reason: "a binary message"}
	case websocket.Ping:
		s.sendPong(m.Data)
	case websocket.Close:
		code, reason, err := websocket.ParseClose(m.Data)
		if err != nil {
			return err
		}
		s.read.closed = true
		return &websocket.CloseError{Code: code, Reason: reason}
	}
	return nil
}

func (s *socket) takeFrame(data []byte) error {
	var f frame
	if err := json.Unmarshal(data, &f); err != nil {
		return unreadable("a frame", err)
	}
	switch {
	case f.Event != nil:
		e, err := tandem.ParseEventJSON(f.Event)
		if err != nil {
			return unreadable("an event", err)
		}
		return s.push(arrival{Message: Message{Event: e, Cursor: f.Cursor}})
	case f.Gap != nil:
		return s.push(arrival{Message: Message{Gap: f.Gap, Cursor: f.Gap.To}})
	case f.Receipt != nil:
		s.settle(f.Receipt.Ref, answer{receipt: f.Receipt.Receipt})
	case f.Problem != nil:
		e := f.Problem.Err()
		if f.Problem.Ref == 0 {
			s.read.problem = e
			return nil
		}
		e.Op = "publish"
		s.settle(f.Problem.Ref, answer{err: e})
	case f.Reconnect != nil:
		s.read.reconnect = f.Reconnect
	case f.Cursor != "":
		return s.push(arrival{Message: Message{Cursor: f.Cursor}, moved: true})
	}
	return nil // "expiring", and what later versions add
}

// unreadable is what the server sent that is not in the form of the subprotocol.
func unreadable(what string, err error) error {
	return fmt.Errorf("read %s of the stream: %w, %w", what, err, &websocket.CloseError{Code: websocket.CloseInvalid, Reason: "not the subprotocol"})
}

// verdict is the error that the end of a connection stands for: what the server said of it, else err.
func (in *inbox) verdict(err error) error {
	var bye *websocket.CloseError
	theirs := errors.As(err, &bye) && in.closed
	switch {
	case in.reconnect != nil:
		return tandem.Errorf(tandem.CodeUnavailable, "the server asked to connect again: %s", in.reconnect.Reason).
			WithRetryAfter(time.Duration(min(max(in.reconnect.After, 0), maxAfter)) * time.Millisecond)
	case theirs && in.problem != nil:
		in.problem.Op = "stream"
		return in.problem
	case theirs:
		return tandem.Errorf(closeCode(bye.Code), "the server closed the connection: %d %s", bye.Code, bye.Reason)
	case bye != nil && bye.Code == websocket.CloseInvalid:
		return &tandem.Error{Code: tandem.CodeInvalid, Op: "stream", Err: err}
	case bye != nil:
		return &tandem.Error{Code: tandem.CodeInternal, Op: "stream", Err: err}
	}
	return &tandem.Error{Code: tandem.CodeUnavailable, Op: "stream", Err: err}
}

// closeCode is the code of an end that the server explained by no more than a status.
func closeCode(status int) tandem.Code {
	switch status {
	case websocket.CloseProtocol, websocket.CloseUnsupported, websocket.CloseInvalid, websocket.CloseInternal:
		return tandem.CodeInternal // a defect of one side
	case websocket.ClosePolicy:
		return tandem.CodeInvalid
	case websocket.CloseTooLarge:
		return tandem.CodeTooLarge
	}
	return tandem.CodeUnavailable
}
