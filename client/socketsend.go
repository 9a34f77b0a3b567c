package client

import (
	"crypto/rand"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/websocket"
)

// writer writes what is to be sent until the connection ends.
func (s *socket) writer() {
	var err error
	for last := false; !last && err == nil; {
		var b []byte
		if b, last = s.flush(); len(b) > 0 {
			_, err = s.conn.Write(b)
			continue
		}
		select {
		case <-s.outgoing:
		case <-s.ended:
			last = true
		}
	}
	close(s.written)
	if err == nil {
		return
	}
	// What the server sent before it went says more.
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	select {
	case <-s.ended:
	case <-timer.C:
		s.end(&tandem.Error{Code: tandem.CodeUnavailable, Op: "stream", Err: err})
	}
}

// flush returns the frames to be written, and whether they are the last.
func (s *socket) flush() (b []byte, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, s.out = s.out, nil
	if s.ponging {
		b = appendMasked(b, websocket.Pong, s.pong)
		s.ponging = false
	}
	if s.ack != "" {
		b = appendMasked(b, websocket.Text, jsonBody(map[string]tandem.Cursor{"ack": s.ack}))
		s.ack = ""
	}
	return append(b, s.bye...), s.bye != nil
}

func appendMasked(dst []byte, op websocket.Op, payload []byte) []byte {
	var mask [4]byte
	rand.Read(mask[:])
	return websocket.AppendMasked(dst, op, mask, payload)
}

// send changes what is to be sent, and wakes the writer.
func (s *socket) send(change func()) error {
	s.mu.Lock()
	err := s.err
	if err == nil {
		change()
	}
	s.mu.Unlock()
	wake(s.outgoing)
	return err
}

func (s *socket) sendAck(at tandem.Cursor) error { return s.send(func() { s.ack = at }) }

func (s *socket) sendPong(payload []byte) {
	_ = s.send(func() { s.pong, s.ponging = append([]byte(nil), payload...), true }) // a connection that has ended needs none
}

// hangUp sends a Close frame as the last, unless there is one.
func (s *socket) hangUp(code int, reason string) {
	_ = s.send(func() {
		if s.bye == nil {
			s.bye = appendMasked(nil, websocket.Close, websocket.AppendClosePayload(nil, code, reason))
		}
	})
}

// sendPublish sends an event, and returns where its answer will be.
func (s *socket) sendPublish(event []byte) (<-chan answer, error) {
	to := make(chan answer, 1)
	err := s.send(func() {
		s.lastRef++
		s.pending[s.lastRef] = to
		frame := append(strconv.AppendUint([]byte(`{"publish":{"ref":`), s.lastRef, 10), `,"event":`...)
		s.out = appendMasked(s.out, websocket.Text, append(append(frame, event...), "}}"...))
	})
	return to, err
}

func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
