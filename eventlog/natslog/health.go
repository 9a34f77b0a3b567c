package natslog

import (
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// health is what Health answers from.
type health struct {
	mu        sync.Mutex
	connected chan struct{} // closed while there is a connection
	since     time.Time     // without one
	why       error
	trouble   error // what the server refused or did not answer last, since it last took something
	complaint error // the newest of the errors that NATS reports on the side, such as missing permissions
	taken     error // another process has the log
}

func (h *health) init() {
	h.connected = make(chan struct{})
	close(h.connected)
}

// lost reports whether there was a connection before.
func (h *health) lost(err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.why = err
	}
	select {
	case <-h.connected:
		h.connected, h.since = make(chan struct{}), time.Now()
		return true
	default:
		return false
	}
}

func (h *health) back() {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.connected:
	default:
		close(h.connected)
	}
	h.why, h.complaint = nil, nil
}

// state returns the channel that is closed while there is a connection, and since when there is none.
func (h *health) state() (connected chan struct{}, since time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.connected, h.since
}

func (h *health) wrote() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trouble = nil
}

func (h *health) failed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trouble = err
}

func (h *health) complained(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.complaint = err
}

func (h *health) takenOver(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.taken = err
}

// Health implements driver.Driver.
func (e *Engine) Health() error {
	if e.isClosed() {
		return errClosed()
	}
	h := &e.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.taken != nil {
		return h.taken
	}
	select {
	case <-h.connected:
	default:
		return tandem.Errorf(tandem.CodeUnavailable, "no connection to NATS at %s since %s: %w", e.where(), h.since.UTC().Format(time.RFC3339), reason(h.why))
	}
	return h.trouble
}

// writable is Health without what may be over by now.
func (e *Engine) writable() error {
	if e.isClosed() {
		return errClosed()
	}
	e.health.mu.Lock()
	defer e.health.mu.Unlock()
	return e.health.taken
}

// unavailable is the error of a call that the server did not serve, and trouble for Health.
func (e *Engine) unavailable(err error) error {
	h := &e.health
	h.mu.Lock()
	complaint := h.complaint
	h.mu.Unlock()
	out := tandem.Errorf(tandem.CodeUnavailable, "NATS at %s: %w", e.where(), reason(err))
	if complaint != nil {
		out = out.WithHint("the server said last: %v", complaint)
	}
	h.failed(out)
	e.watch.soon()
	return out
}

func reason(err error) error {
	if err == nil {
		return errLost
	}
	return err
}

func errClosed() error { return tandem.Errorf(tandem.CodeUnavailable, "the log is closed") }

// waitConnected waits for a connection until a time, at most until there was none for Options.Timeout. It reports whether there is one.
func (e *Engine) waitConnected(until time.Time) bool {
	connected, since := e.health.state()
	select {
	case <-connected:
		return time.Now().Before(until)
	default:
	}
	if late := since.Add(e.opts.Timeout); late.Before(until) {
		until = late
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-connected:
		return true
	case <-timer.C:
	case <-e.closing:
	}
	return false
}

// pause waits a while. It reports whether there is time left.
func (e *Engine) pause(d time.Duration, until time.Time) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return time.Now().Before(until)
	case <-e.closing:
		return false
	}
}
