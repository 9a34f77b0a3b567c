package stream

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

// Options configure Streams. The zero value works.
type Options struct {
	MaxStreams   int           // streams and long polls open at a time; zero means 10,000
	Heartbeat    time.Duration // silence after which a stream shows that it lives, give or take a tenth; zero means 15s
	WriteTimeout time.Duration // a write without progress for so long ends the stream; zero means 30s
	Retry        time.Duration // what clients are told to wait before they connect again; zero means 2s
	Logger       *slog.Logger  // nil means slog.Default
}

func (o *Options) setDefaults() {
	if o.MaxStreams == 0 {
		o.MaxStreams = 10_000
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 15 * time.Second
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 30 * time.Second
	}
	if o.Retry == 0 {
		o.Retry = 2 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

// Streams serves the readers of one log. All methods are safe for concurrent use.
type Streams struct {
	log  *eventlog.Log
	opts Options

	draining context.Context // done when streams are to end
	drain    context.CancelCauseFunc

	mu     sync.Mutex // guards closed and Add of serving after Wait
	closed bool
	// serving counts requests that may last: streams and long polls.
	serving sync.WaitGroup
	open    atomic.Int64
	sent    atomic.Uint64
	buffers sync.Pool // *[]byte
}

var errDraining = errors.New("the server is stopping")

// New returns the Streams of a log.
func New(log *eventlog.Log, opts Options) *Streams {
	opts.setDefaults()
	s := &Streams{log: log, opts: opts}
	s.draining, s.drain = context.WithCancelCause(context.Background())
	s.buffers.New = func() any { return new([]byte) }
	return s
}

// Open returns the number of streams and long polls that are open.
func (s *Streams) Open() int { return int(s.open.Load()) }

// Sent returns the number of events handed out since New, in pages and streams.
func (s *Streams) Sent() uint64 { return s.sent.Load() }

// Drain tells open streams to reconnect, ends them and long polls, and waits until they have ended or ctx is done. New
// ones are refused with Unavailable. It may be repeated.
func (s *Streams) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.drain(errDraining)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serving.Wait() // ends: every write has a deadline
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return tandem.Wrap("drain streams", tandem.Errorf(tandem.CodeTimeout, "%d are still open: %w", s.Open(), context.Cause(ctx)))
	}
}

// Stop is Drain without a limit: a client that does not read holds it for the write timeout at most.
func (s *Streams) Stop() { _ = s.Drain(context.Background()) }

// enter counts a stream or long poll in; leave must follow.
func (s *Streams) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return &tandem.Error{Code: tandem.CodeUnavailable, Err: errDraining}
	}
	if s.open.Load() >= int64(s.opts.MaxStreams) {
		return tandem.Errorf(tandem.CodeOverloaded, "%d streams are open", s.opts.MaxStreams).
			WithRetryAfter(5 * time.Second).WithHint("read pages without wait, or follow several topics with one stream")
	}
	s.open.Add(1)
	s.serving.Add(1)
	return nil
}

func (s *Streams) leave() {
	s.open.Add(-1)
	s.serving.Done()
}

// Serve answers a GET with the events of a selection that match a filter: as text/event-stream if the request prefers
// that, otherwise a page of JSON, which wait= holds back until there is an event. It reads cursor=, from=, limit=, wait=
// and Last-Event-ID from the request and writes problems itself: Invalid, NotFound, Overloaded, Unavailable, and
// Unsupported for WebSocket upgrades.
func (s *Streams) Serve(w http.ResponseWriter, r *http.Request, sel eventlog.Selection, filter tandem.Filter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Vary", "Accept")
	q, err := parseQuery(r)
	if err == nil {
		if q.sse {
			err = s.serveSSE(w, r, sel, filter, q)
		} else {
			err = s.servePage(w, r, sel, filter, q)
		}
	}
	if err == nil || r.Context().Err() != nil {
		return
	}
	if tandem.CodeOf(err) == tandem.CodeInternal {
		s.opts.Logger.Error("reading events failed", "topics", sel.String(), "error", err)
	}
	httpx.WriteProblem(w, q.inRequest(err))
}

// waiting returns the context of a request that lasts, done when the client has gone, the server drains or d has passed.
func (s *Streams) waiting(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	stop := context.AfterFunc(s.draining, func() { cancel(errDraining) })
	return ctx, func() { stop(); cancel(nil) }
}

func (s *Streams) buffer() *[]byte { return s.buffers.Get().(*[]byte) }

// release gives a buffer back unless it became too large to keep.
func (s *Streams) release(b *[]byte) {
	if cap(*b) <= 256<<10 {
		*b = (*b)[:0]
		s.buffers.Put(b)
	}
}

func isWebSocket(h http.Header) bool {
	return strings.EqualFold(h.Get("Upgrade"), "websocket")
}
