package pebblelog

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tandem-hybrid/tandem"
)

// failure is what made the engine read-only. It is set once.
type failure struct {
	once sync.Once
	done chan struct{} // closed when set
	err  atomic.Pointer[tandem.Error]
}

func (f *failure) set(cause error) (first bool) {
	f.once.Do(func() {
		first = true
		f.err.Store(&tandem.Error{
			Code: tandem.CodeUnavailable, Op: "write the log", Err: cause,
			Hint: "the log is read-only since a write failed; check the volume of the data directory, then restart",
		})
		close(f.done)
	})
	return first
}

// get returns nil while nothing failed.
func (f *failure) get() error {
	if err := f.err.Load(); err != nil {
		return err
	}
	return nil
}

// pebbleLogger turns Pebble's log into ours. Pebble calls Fatalf where it cannot go on, often with locks held, and
// expects the process to end. Returning would let it go on over a broken state, so the goroutine is parked: nothing more
// is written, readers need none of those locks, and whoever waits for the committer is woken by failure.done.
type pebbleLogger struct{ e *Engine }

func (l pebbleLogger) Infof(string, ...any) {}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.e.opts.Logger.Error("pebble", "text", oneLine(format, args))
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.e.fail(fmt.Errorf("pebble: %s", oneLine(format, args)))
	select {}
}

func oneLine(format string, args []any) string {
	s, _, _ := strings.Cut(fmt.Sprintf(format, args...), "\n")
	return s
}

// fail makes the engine read-only.
func (e *Engine) fail(cause error) {
	if e.failure.set(cause) {
		e.opts.Logger.Error("log is read-only", "error", cause)
	}
}
