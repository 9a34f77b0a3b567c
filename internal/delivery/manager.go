package delivery

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/internal/amqp"
	"github.com/tandem-hybrid/tandem/internal/chain"
	"github.com/tandem-hybrid/tandem/internal/delivery/webhook"
)

// Bounds of a subscription, unless Options says otherwise.
const (
	DefaultParkedKeys    = 1000
	DefaultWaitingEvents = 10_000
	DefaultCopyBytes     = 1 << 30
)

// Options configure a Manager. Services is required where a subscription names one.
type Options struct {
	// Services returns a service of the current configuration. It is asked before each attempt and must be cheap.
	Services func(name string) (tandem.Service, bool)
	// Secrets resolves a reference such as env:NAME. Nil refuses subscriptions with a secret.
	Secrets func(ref string) (string, error)
	// Conditions compiles the text of sql and cel in filters. Nil refuses them.
	Conditions func(dialect, text string) (tandem.Condition, error)
	// Chain calls the subscriptions of mode request, which it is given. Nil refuses them.
	Chain *chain.Chain
	// Egress names what requests may reach beside public addresses for URLs that came by Put: prefixes, addresses and hosts, which
	// CheckEgress has checked. URLs of the file may lead anywhere.
	Egress []string
	// Origin names this sender to endpoints in a handshake; empty means "tandem".
	Origin string
	// Transport returns what carries the requests to a service, or to the host of a URL, in place of connections of the Manager's
	// own; neither Egress nor certificates hold for it. It is asked for each target, and again when that changes.
	Transport func(service string) http.RoundTripper

	// Through returns what carries the requests to a service over what makes its connections. Nil means just that.
	Through func(service tandem.Service, next http.RoundTripper) http.RoundTripper
	// Principal names who sent the request of a context, for explanations. Nil means that nobody has a name.
	Principal func(ctx context.Context) string
	// Healthy reports whether a service takes requests, and if not, why: then it counts as an endpoint that fails, and only probes are sent.
	// It must be cheap, and its change be told by Recovered. Nil means they all do.
	Healthy func(service string) (ok bool, reason string)

	// DialAMQP makes the connections to RabbitMQ; nil means a net.Dialer.
	DialAMQP func(ctx context.Context, network, address string) (net.Conn, error)

	ParkedKeys    int   // keys held back by a failing event, per subscription; zero means DefaultParkedKeys
	WaitingEvents int   // events behind those; zero means DefaultWaitingEvents
	CopyBytes     int64 // copies of events, dead or parked, per subscription; zero means DefaultCopyBytes

	// The ledger of a subscription goes back LedgerAge, or as far as LedgerBytes allow (of records, before compression). Zero means
	// tandem.DefaultLedgerAge and tandem.DefaultLedgerBytes; negative keeps none.
	LedgerAge   time.Duration
	LedgerBytes int64

	// Metrics takes the metrics of all subscriptions while the Manager runs. Nil means none.
	Metrics prometheus.Registerer

	UserAgent string       // zero means "Tandem"
	Logger    *slog.Logger // nil means slog.Default
}

// Manager owns the subscriptions of a log and delivers to them. All methods are safe for concurrent use.
type Manager struct {
	log       *eventlog.Log
	opts      Options
	collector *collector

	ops sync.Mutex // one operation that changes configurations at a time; taken before all other locks
	// guarded by ops:
	fence   driver.Fence
	loaded  bool
	running bool
	stopped bool // since the last Start
	cancel  context.CancelCauseFunc
	done    sync.WaitGroup
	ctx     context.Context // of the attempts

	topics  atomic.Pointer[topicTable]
	listing sync.Mutex // held while the topics are listed, so that an older list never replaces a newer one
	// following is held from reading the topics until all subscriptions follow them: a topic that appeared meanwhile must
	// not be taken away again by the older list. Taken before subscription.mu.
	following sync.Mutex
	linking   sync.Mutex // held while the links of chains are listed, so that an older list never replaces a newer one

	unread bool // only declarations are checked, without secrets
	guard  *webhook.Guard
	// Connections to all targets without certificates of their own: of the file, and of the API.
	trusted, stranger *http.Transport
	brokers           *amqp.Pool

	mu      sync.RWMutex // guards what follows
	subs    map[string]*subscription
	readers map[driver.ID]*reader
	order   map[string]int // of the subscriptions that the file declares
}

var errStopped = errors.New("the delivery loop stops")

// New returns a Manager that delivers nothing before Start.
func New(log *eventlog.Log, opts Options) *Manager {
	if opts.Services == nil {
		opts.Services = func(string) (tandem.Service, bool) { return tandem.Service{}, false }
	}
	if opts.ParkedKeys == 0 {
		opts.ParkedKeys = DefaultParkedKeys
	}
	if opts.WaitingEvents == 0 {
		opts.WaitingEvents = DefaultWaitingEvents
	}
	if opts.CopyBytes == 0 {
		opts.CopyBytes = DefaultCopyBytes
	}
	if opts.LedgerAge == 0 {
		opts.LedgerAge = tandem.DefaultLedgerAge
	}
	if opts.LedgerBytes == 0 {
		opts.LedgerBytes = tandem.DefaultLedgerBytes
	}
	if opts.UserAgent == "" {
		opts.UserAgent = "Tandem"
	}
	if opts.Through == nil {
		opts.Through = func(_ tandem.Service, next http.RoundTripper) http.RoundTripper { return next }
	}
	if opts.Healthy == nil {
		opts.Healthy = func(string) (bool, string) { return true, "" }
	}
	if opts.Principal == nil {
		opts.Principal = func(context.Context) string { return "" }
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Origin == "" {
		opts.Origin = "tandem"
	}
	guard, err := webhook.NewGuard(opts.Egress)
	if err != nil {
		guard, _ = webhook.NewGuard(nil) // what is not valid allows nothing
	}
	m := &Manager{log: log, opts: opts, guard: guard, trusted: webhook.NewTransport(nil, nil), stranger: webhook.NewTransport(guard, nil)}
	m.brokers = amqp.NewPool(amqp.Options{Name: opts.UserAgent + " delivery", Use: "delivery", Dial: opts.DialAMQP})
	m.collector = newCollector(m)
	return m
}

// Start takes the subscriptions over from any other Manager of this log and begins to deliver; it returns when all run. ctx
// bounds only the start. Repeating it while the Manager runs does nothing; after Stop it starts again.
func (m *Manager) Start(ctx context.Context) error {
	m.ops.Lock()
	defer m.ops.Unlock()
	if m.running {
		return nil
	}
	m.stopped = false
	if err := m.load(ctx); err != nil {
		return tandem.Wrap("start deliveries", err)
	}
	m.ctx, m.cancel = context.WithCancelCause(context.Background())
	m.running = true
	if err := m.runAll(ctx, m.sorted()); err != nil {
		return errors.Join(err, m.stop(ctx))
	}
	m.done.Go(m.housekeeping)
	if m.opts.Metrics != nil {
		if err := m.opts.Metrics.Register(m.collector); err != nil {
			m.opts.Logger.Error("delivery: no metrics", "error", err)
		}
	}
	m.done.Go(m.keepLedgers)
	return nil
}

// Stop takes no new work, lets attempts under way finish until ctx is done, then cancels them, stores what is known and
// returns when no goroutine of the Manager is left. What was cancelled is sent again after the next start. Repeating it does
// nothing.
func (m *Manager) Stop(ctx context.Context) error {
	m.ops.Lock()
	defer m.ops.Unlock()
	return m.stop(ctx)
}

func (m *Manager) stop(ctx context.Context) error {
	if !m.running {
		return nil
	}
	m.running, m.loaded, m.stopped = false, false, true
	if m.opts.Metrics != nil {
		m.opts.Metrics.Unregister(m.collector)
	}
	subs := m.sorted()
	for _, s := range subs {
		s.drain()
	}
	for _, s := range subs {
		select {
		case <-s.idle:
		case <-s.over: // nothing of it can be stored
		case <-ctx.Done():
		}
	}
	m.cancel(errStopped)
	for _, r := range m.takeReaders() {
		r.close()
	}
	var halts errgroup.Group
	halts.SetLimit(atOnce)
	for _, s := range subs {
		halts.Go(func() error { return s.halt(ctx) })
	}
	err := halts.Wait()
	m.done.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trusted.CloseIdleConnections()
	m.stranger.CloseIdleConnections()
	m.subs = nil
	return tandem.Wrap("stop deliveries", err)
}

// atOnce is how many subscriptions are started or stopped at the same time: their commits share syncs.
const atOnce = 64

// runAll starts subscriptions.
func (m *Manager) runAll(ctx context.Context, subs []*subscription) error {
	m.readTopics()
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, s := range subs {
		g.Go(func() error { return tandem.Wrap("start subscription "+s.name, s.run(ctx)) })
	}
	err := g.Wait()
	m.relink()
	return err
}

// load reads all subscriptions of the log, once. Code: Unavailable after Stop.
func (m *Manager) load(ctx context.Context) error {
	if m.loaded {
		return nil
	}
	if m.stopped { // an operation must not take the subscriptions back from who has them now
		return tandem.Errorf(tandem.CodeUnavailable, "deliveries are stopped")
	}
	fence, err := m.log.Own(ctx, "delivery")
	if err != nil {
		return err
	}
	m.fence = fence
	subs := map[string]*subscription{}
	err = m.log.ScanState(ctx, configPrefix, func(key string, value []byte) bool {
		name := key[len(configPrefix):]
		c, err := parseConfig(value)
		if err == nil {
			err = m.bindConfig(&c)
		}
		if err != nil {
			subs[name] = unreadable(m, name, c, err)
		} else {
			subs[name] = newSubscription(m, name, c)
		}
		return true
	})
	if err != nil {
		return err
	}
	for name, s := range subs {
		if s.config.Deleted {
			if err := m.erase(ctx, name); err != nil {
				return err
			}
			delete(subs, name)
		}
	}
	m.mu.Lock()
	m.subs, m.readers = subs, map[driver.ID]*reader{}
	m.mu.Unlock()
	m.loaded = true
	return nil
}

// flushEvery is how often a cursor that moved only over events that do not match is stored. What lies between is read again
// after a restart, and nothing of it is sent.
const flushEvery = 10 * time.Second

// housekeeping follows the topics and stores cursors that moved without deliveries.
func (m *Manager) housekeeping() {
	topics := make(chan struct{}, 1)
	defer m.log.OnTopics(func() {
		select {
		case topics <- struct{}{}:
		default:
		}
	})()
	m.refresh()
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-topics:
			m.refresh()
		case <-tick.C:
			for _, s := range m.sorted() {
				s.flushMoved()
			}
			m.removeEnded(time.Now())
		case <-m.ctx.Done():
			return
		}
	}
}

func (m *Manager) sorted() []*subscription {
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := make([]*subscription, 0, len(m.subs))
	for _, name := range slices.Sorted(maps.Keys(m.subs)) {
		all = append(all, m.subs[name])
	}
	return all
}

// find returns a subscription. Code: NotFound.
func (m *Manager) find(name string) (*subscription, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if s := m.subs[name]; s != nil {
		return s, nil
	}
	return nil, tandem.Errorf(tandem.CodeNotFound, "there is no subscription %q", name)
}

func (m *Manager) has(name string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.subs[name] != nil
}

// transport returns what carries the requests to a service, or, where that is empty, to the host of u.
func (m *Manager) transport(service string, u *url.URL, guarded bool) http.RoundTripper {
	switch {
	case m.opts.Transport != nil && service == "":
		return m.opts.Transport("url:" + u.Scheme + "://" + u.Host)
	case m.opts.Transport != nil:
		return m.opts.Transport(service)
	case guarded:
		return m.stranger
	}
	return m.trusted
}
