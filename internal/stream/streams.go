package stream

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// Options configure Streams. The zero value works.
type Options struct {
	MaxStreams      int           // streams and long polls open at a time; zero means 20,000
	MaxPerPrincipal int           // of them, those of one principal; zero means no limit
	MaxPerAddress   int           // of them, those of one address; zero means no limit, since many may stand behind one proxy
	MaxAge          time.Duration // after which a stream is asked to connect again, less up to a tenth; zero means 1h, negative never
	Heartbeat       time.Duration // silence after which a stream shows that it lives, less up to an eighth; zero means 15s
	WriteTimeout    time.Duration // a write without progress for so long ends the stream; zero means 30s
	Retry           time.Duration // what clients are told to wait before they connect again; zero means 2s
	ReconnectRate   int           // how many may come back in a second after a stop, about; zero means 2,000
	WaitingBytes    int64         // of what is shared by all, held for clients that do not take it; zero means 64 MiB
	MaxEventBytes   int           // largest message of a WebSocket; zero means tandem.DefaultMaxEventBytes
	Logger          *slog.Logger  // nil means slog.Default

	linger time.Duration // that a client has to close after a goodbye
}

func (o *Options) setDefaults() {
	for value, def := range map[*time.Duration]time.Duration{
		&o.MaxAge: time.Hour, &o.Heartbeat: 15 * time.Second, &o.WriteTimeout: 30 * time.Second, &o.Retry: 2 * time.Second, &o.linger: 2 * time.Second,
	} {
		if *value == 0 {
			*value = def
		}
	}
	if o.MaxStreams == 0 {
		o.MaxStreams = 20_000
	}
	if o.ReconnectRate == 0 {
		o.ReconnectRate = 2000
	}
	if o.WaitingBytes == 0 {
		o.WaitingBytes = 64 << 20
	}
	if o.MaxEventBytes == 0 {
		o.MaxEventBytes = tandem.DefaultMaxEventBytes
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

// readers is how many members that fell behind, and how many tails, read the log at the same time, for each processor. Each needs a MiB or
// some while it does.
const readers = 4

// Streams serves the readers of one log. All methods are safe for concurrent use.
type Streams struct {
	log     *eventlog.Log
	opts    Options
	writers []*writer
	reading chan struct{} // slots of members that read for themselves
	tailing chan struct{} // slots of tails

	draining context.Context // done when long polls are to end
	drain    context.CancelCauseFunc
	life     context.Context // done when everything is to end
	end      context.CancelFunc
	stopped  chan struct{} // closed for the writers, last of all
	stopOnce sync.Once

	mu      sync.Mutex // guards what follows, and Add of serving after Wait
	closed  bool
	members map[*member]struct{}
	tails   map[string]*tail
	callers map[string]int // streams by principal and by address, where those are limited
	asked   map[string]int // streams by the names and patterns they ask for
	next    int            // writer of the next member

	serving sync.WaitGroup // streams and long polls
	running sync.WaitGroup // goroutines of members and tails
	writing sync.WaitGroup // writers

	open    atomic.Int64
	sent    atomic.Uint64
	lagging atomic.Uint64
	waiting atomic.Int64 // bytes held for members that do not take them
	buffers sync.Pool    // *[]byte
}

var errDraining = errors.New("the server is stopping")

// New returns the Streams of a log. Stop it.
func New(log *eventlog.Log, opts Options) *Streams {
	opts.setDefaults()
	n := runtime.GOMAXPROCS(0)
	s := &Streams{log: log, opts: opts, reading: make(chan struct{}, readers*n), tailing: make(chan struct{}, readers*n), stopped: make(chan struct{}),
		members: map[*member]struct{}{}, tails: map[string]*tail{}, callers: map[string]int{}, asked: map[string]int{}}
	s.draining, s.drain = context.WithCancelCause(context.Background())
	s.life, s.end = context.WithCancel(context.Background())
	s.buffers.New = func() any { return new([]byte) }
	for i := range n {
		w := &writer{s: s, index: i, wake: make(chan struct{}, 1)}
		s.writers = append(s.writers, w)
		s.writing.Add(1)
		go w.run()
	}
	return s
}

// Open returns the number of streams and long polls that are open.
func (s *Streams) Open() int { return int(s.open.Load()) }

// Sent returns the number of events handed out since New, in pages and streams.
func (s *Streams) Sent() uint64 { return s.sent.Load() }

// Lagging returns how often a stream fell behind since New.
func (s *Streams) Lagging() uint64 { return s.lagging.Load() }

// WaitingBytes returns what is held for clients that do not take it.
func (s *Streams) WaitingBytes() int64 { return s.waiting.Load() }

// Drain tells open streams to reconnect, ends them and long polls, and waits until they have ended or ctx is done. New
// ones are refused with Unavailable. It may be repeated.
func (s *Streams) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.drain(errDraining)
	for _, m := range s.all() {
		m.end(reasonDraining)
	}
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

// Stop is Drain as long as ctx lasts, then ends what is open at once, and waits until nothing uses the log any more. It may be repeated.
func (s *Streams) Stop(ctx context.Context) error {
	err := s.Drain(ctx)
	s.end()
	for _, m := range s.all() {
		m.close()
	}
	s.serving.Wait()
	s.running.Wait()
	s.stopOnce.Do(func() { close(s.stopped) })
	s.writing.Wait()
	return err
}

// all returns the members there are.
func (s *Streams) all() []*member {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*member, 0, len(s.members))
	for m := range s.members {
		all = append(all, m)
	}
	return all
}

// enter counts a stream or long poll in; leave must follow, with the same caller. Codes: Unavailable, Overloaded.
func (s *Streams) enter(c caller) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return &tandem.Error{Code: tandem.CodeUnavailable, Err: errDraining}
	}
	var full error
	switch {
	case s.open.Load() >= int64(s.opts.MaxStreams):
		full = tandem.Errorf(tandem.CodeOverloaded, "%d streams are open", s.opts.MaxStreams)
	case s.over(c.principalKey(), s.opts.MaxPerPrincipal):
		full = tandem.Errorf(tandem.CodeOverloaded, "%s has %d streams open", c.principal, s.opts.MaxPerPrincipal)
	case s.over(c.addressKey(), s.opts.MaxPerAddress):
		full = tandem.Errorf(tandem.CodeOverloaded, "this address has %d streams open", s.opts.MaxPerAddress)
	}
	if full != nil {
		var e *tandem.Error
		errors.As(full, &e)
		return e.WithRetryAfter(5 * time.Second).WithHint("read pages without wait, or follow several topics with one stream")
	}
	s.count(c, 1)
	s.open.Add(1)
	s.serving.Add(1)
	return nil
}

func (s *Streams) leave(c caller) {
	s.mu.Lock()
	s.count(c, -1)
	s.mu.Unlock()
	s.open.Add(-1)
	s.serving.Done()
}

// forget is what leave is for a member.
func (s *Streams) forget(m *member) {
	s.mu.Lock()
	delete(s.members, m)
	for _, pattern := range m.ask.Topics {
		if s.asked[pattern]--; s.asked[pattern] == 0 {
			delete(s.asked, pattern)
		}
	}
	s.mu.Unlock()
	s.leave(m.caller)
}

// caller is whom a stream is counted for.
type caller struct{ principal, address string }

func (c caller) principalKey() string { return "p" + c.principal }
func (c caller) addressKey() string   { return "a" + c.address }

func (s *Streams) over(key string, limit int) bool {
	return limit > 0 && len(key) > 1 && s.callers[key] >= limit
}

// count is called with mu held.
func (s *Streams) count(c caller, n int) {
	for key, limit := range map[string]int{c.principalKey(): s.opts.MaxPerPrincipal, c.addressKey(): s.opts.MaxPerAddress} {
		if limit == 0 || len(key) == 1 {
			continue
		}
		if s.callers[key] += n; s.callers[key] == 0 {
			delete(s.callers, key)
		}
	}
}

// waitingFor returns the context of a long poll, done when the client has gone or the server drains.
func (s *Streams) waitingFor(parent context.Context) (context.Context, func()) {
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
