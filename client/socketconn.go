package client

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/websocket"
)

// maxGaps is how many gaps may wait to be taken; they need no credit.
const maxGaps = 1000

// socket is the connection below a Socket. One goroutine reads and one writes, so that neither waits for the other: pings are
// answered and receipts handed out while nobody takes messages, and what waits to be sent goes out in one write.
type socket struct {
	conn   io.ReadWriteCloser
	window int

	arrived  chan struct{} // has a place for one: the queue is not empty
	outgoing chan struct{} // has a place for one: there is something to write
	slots    chan struct{} // has one for each event without a receipt
	written  chan struct{} // closed when the writer has ended
	ended    chan struct{} // closed when err is set
	running  sync.WaitGroup

	read inbox // of the reader alone

	mu      sync.Mutex // guards the rest
	queue   []arrival
	pending map[uint64]chan<- answer
	lastRef uint64
	out     []byte        // frames to be sent
	ack     tandem.Cursor // to be sent; of several the last
	pong    []byte        // payload to be sent when ponging; of several the last
	ponging bool
	bye     []byte // the last frame to be sent
	closing bool   // by Close
	err     error  // why it ended
}

// arrival is what Next takes.
type arrival struct {
	Message
	moved bool // of the Message only Cursor counts
}

// answer is what became of an event.
type answer struct {
	receipt tandem.Receipt
	err     error
}

func (s *socket) open(conn io.ReadWriteCloser, window int) {
	s.conn, s.window = conn, window
	s.arrived, s.outgoing = make(chan struct{}, 1), make(chan struct{}, 1)
	s.slots = make(chan struct{}, maxPublishing)
	s.written, s.ended = make(chan struct{}), make(chan struct{})
	s.pending = map[uint64]chan<- answer{}
	s.running.Go(s.reader)
	s.running.Go(s.writer)
}

// end ends the connection for a reason, unless it has one.
func (s *socket) end(err error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	if s.closing {
		err = tandem.Errorf(tandem.CodeGone, "the socket is closed")
	}
	s.err = err
	pending := s.pending
	s.pending = nil
	s.mu.Unlock()
	close(s.ended)
	s.conn.Close()
	for _, p := range pending {
		p <- answer{err: &tandem.Error{Code: tandem.CodeUnavailable, Op: "publish", Err: fmt.Errorf("the connection ended before the receipt: %w", err)}}
	}
}

// reader reads until the connection ends.
func (s *socket) reader() {
	alarm := time.AfterFunc(streamSilence, func() {
		s.end(tandem.Errorf(tandem.CodeUnavailable, "nothing was heard for %s", streamSilence))
	})
	defer alarm.Stop()
	err := s.receive(watched{s.conn, alarm})
	var bye *websocket.CloseError
	if errors.As(err, &bye) { // theirs to be echoed, or ours
		s.hangUp(bye.Code, bye.Reason)
		timer := time.NewTimer(closeWait)
		defer timer.Stop()
		select {
		case <-s.written:
		case <-s.ended:
		case <-timer.C:
		}
	}
	s.end(s.read.verdict(err))
}

// receive reads frames until something ends them: a *websocket.CloseError when there is a Close frame to be sent.
func (s *socket) receive(r io.Reader) error {
	parser := websocket.Parser{Client: true, MaxBytes: maxBodyBytes}
	buf := make([]byte, 64<<10)
	for {
		n, readErr := r.Read(buf)
		for b := buf[:n]; ; {
			m, rest, ok, err := parser.Next(b)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			if err := s.take(m); err != nil {
				return err
			}
			b = rest
		}
		if errors.Is(readErr, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		if readErr != nil {
			return readErr
		}
	}
}

// settle hands out the answer to an event.
func (s *socket) settle(ref uint64, a answer) {
	s.mu.Lock()
	to := s.pending[ref]
	delete(s.pending, ref)
	s.mu.Unlock()
	if to != nil {
		<-s.slots
		to <- a
	}
}

// push queues what Next takes. It does not wait: the server keeps to the window, and places in a row are one.
func (s *socket) push(a arrival) error {
	s.mu.Lock()
	n := len(s.queue)
	switch {
	case a.moved && n > 0 && s.queue[n-1].moved:
		s.queue[n-1] = a
	case n >= 2*s.window+maxGaps: // with a place behind each event
		s.mu.Unlock()
		return &websocket.CloseError{Code: websocket.ClosePolicy, Reason: "more events than there is credit for"}
	default:
		s.queue = append(s.queue, a)
	}
	s.mu.Unlock()
	wake(s.arrived)
	return nil
}

// pop returns the first in the queue and, when it is empty, why the connection ended.
func (s *socket) pop() (a arrival, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		s.queue = nil
		return arrival{}, false, s.err
	}
	a, s.queue[0] = s.queue[0], arrival{}
	s.queue = s.queue[1:]
	return a, true, nil
}
