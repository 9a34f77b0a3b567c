// Package vehicle is what drives in the fleet: positions from a file or made up, and a vehicle that sends its own over one WebSocket.
package vehicle

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem/examples/fleet/stream"
)

// Window is how many positions a vehicle sends ahead of their receipts.
const Window = 32

const (
	againMin = 50 * time.Millisecond // wait before connecting again, doubled by failures, with jitter
	againMax = 2 * time.Second
)

// Vehicle sends a track. It connects again when the connection breaks, and sends what has no receipt again, in order and with the same
// ids, so that each position is stored once.
type Vehicle struct {
	Addr  string // of the server's public listener: host and port
	Trip  string // makes the ids of this trip differ from those of others
	Track Track
	// When says when a position is sent. Nil means at once.
	When func(Position) time.Time

	// Stored is told of each receipt, in the order of the track: how long it took since the position was last sent, and whether it was stored by an
	// earlier attempt.
	Stored func(p Position, took time.Duration, repeat bool)
	// Again is told why the connection broke, before it connects again.
	Again func(error)
}

// Drive returns when all positions have a receipt; otherwise with the error of ctx, or with what is of no use to try again: that a position
// was refused, the stream was, or a position of another vehicle came over it.
func (v *Vehicle) Drive(ctx context.Context) error {
	next := 0 // the first position without a receipt
	for failures := 0; ; failures++ {
		before := next
		err := v.connect(ctx, &next)
		var end *finalError
		switch {
		case next == len(v.Track.Positions):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &end):
			return fmt.Errorf("vehicle %s: %w", v.Track.Vehicle, end.err)
		case next > before:
			failures = 0
		}
		v.Again(err)
		wait := min(againMin<<min(failures, 10), againMax)
		wait = wait/2 + rand.N(wait)
		if asked := (*stream.Reconnect)(nil); errors.As(err, &asked) {
			wait = asked.Wait()
		}
		if !sleep(ctx, wait) {
			return context.Cause(ctx)
		}
	}
}

// finalError is of no use to try again after.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }

func final(err error) error { return &finalError{err} }

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// connect sends over one connection. next moves with the receipts.
func (v *Vehicle) connect(ctx context.Context, next *int) error {
	if v.When != nil && !sleep(ctx, time.Until(v.When(v.Track.Positions[*next]))) {
		return nil
	}
	conn, err := stream.Dial(ctx, v.Addr, "/vehicles/"+v.Track.Vehicle+"/positions")
	var status *stream.StatusError
	switch {
	case errors.As(err, &status) && status.ForGood():
		return final(err)
	case err != nil:
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &sender{v: v, conn: conn, first: *next, sent: make([]time.Time, len(v.Track.Positions)), window: make(chan struct{}, Window)}
	var sending sync.WaitGroup
	sending.Go(func() { s.send(ctx) })
	stop := context.AfterFunc(ctx, conn.Close)
	defer func() {
		cancel()
		stop()
		conn.Close()
		sending.Wait()
	}()
	for *next < len(v.Track.Positions) {
		f, err := conn.Next()
		if err != nil {
			return err
		}
		if err := s.take(f, next); err != nil {
			return err
		}
	}
	return nil
}

// sender is what a vehicle does over one connection.
type sender struct {
	v      *Vehicle
	conn   *stream.Conn
	first  int
	window chan struct{} // has one for each position without a receipt

	mu   sync.Mutex // guards what follows
	sent []time.Time
}

func (s *sender) send(ctx context.Context) {
	for i := s.first; i < len(s.v.Track.Positions); i++ {
		p := s.v.Track.Positions[i]
		if s.v.When != nil && !sleep(ctx, time.Until(s.v.When(p))) {
			return
		}
		select {
		case s.window <- struct{}{}:
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		s.sent[i] = time.Now()
		s.mu.Unlock()
		// Ids are those of a route: of all its vehicles.
		if s.conn.Publish(p.N, fmt.Sprintf("%s/%s/%d", s.v.Trip, s.v.Track.Vehicle, p.N), p) != nil {
			s.conn.Close() // Next says why
			return
		}
	}
}

// take takes a frame of the server.
func (s *sender) take(f stream.Frame, next *int) error {
	switch {
	case f.Receipt != nil:
		p := s.v.Track.Positions[*next]
		if f.Receipt.Ref != p.N {
			return final(fmt.Errorf("a receipt for position %d, the next is %d", f.Receipt.Ref, p.N))
		}
		<-s.window
		s.mu.Lock()
		took := time.Since(s.sent[*next])
		s.mu.Unlock()
		*next++
		s.v.Stored(p, took, f.Receipt.Duplicate)
	case f.Problem != nil && f.Problem.ForGood():
		return final(f.Problem)
	case f.Problem != nil:
		return f.Problem // it and what follows is sent again
	case f.Reconnect != nil:
		return f.Reconnect
	case f.Event != nil && f.Event.Subject != s.v.Track.Vehicle:
		return final(fmt.Errorf("it was sent a position of vehicle %s", f.Event.Subject))
	}
	return nil
}
