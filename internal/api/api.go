package api

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/internal/auth"
	"github.com/tandem-hybrid/tandem/internal/chain"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

// Streams answers requests for events. internal/stream has one.
type Streams interface {
	// Serve may return while the stream goes on.
	Serve(w http.ResponseWriter, r *http.Request, ask tandem.StreamRequest)
	// Present lists open streams, newest first, and counts them.
	Present(q tandem.StreamQuery) tandem.StreamPresence
	Open() int           // streams and long polls open
	Sent() uint64        // events handed out
	Lagging() uint64     // how often a stream fell behind
	WaitingBytes() int64 // held for clients that do not take it
}

// Operations answers requests for an operation. internal/operation has one.
type Operations interface {
	Serve(w http.ResponseWriter, r *http.Request, id string)
	Running() int // operations that have not ended
}

// Subscriptions is what the API needs of internal/delivery. Unknown names are NotFound.
type Subscriptions interface {
	List() []tandem.Subscription
	// Get returns a declaration, its entity tag and its owner: "file", "api" or "orphan".
	Get(name string) (sub tandem.Subscription, etag, owner string, err error)
	// Put creates or changes one. ifMatch is the entity tag that it must have, "" for any.
	Put(ctx context.Context, sub tandem.Subscription, ifMatch string) (created bool, err error)
	Delete(ctx context.Context, name string) error
	Status(ctx context.Context, name string) (tandem.SubscriptionStatus, error)
	Pause(ctx context.Context, name string) error
	Resume(ctx context.Context, name string) error
	// Seek returns what it does; dryRun only says so.
	Seek(ctx context.Context, name string, to tandem.Start, dryRun bool) (tandem.SeekPlan, error)
	// DeadLetters returns those after an id, "" for the first ones, and the id to go on after, "" at the end.
	DeadLetters(ctx context.Context, name, after string, limit int) (letters []tandem.DeadLetter, next string, err error)
	DeadLetter(ctx context.Context, name, id string) (tandem.DeadLetter, error)
	// Redrive and Discard return how many dead letters they met; a selection of nothing means all.
	Redrive(ctx context.Context, name string, sel tandem.DeadLetterSelection) (tandem.DeadLetterCount, error)
	Discard(ctx context.Context, name string, sel tandem.DeadLetterSelection) (tandem.DeadLetterCount, error)
}

// Leases is what the API needs for subscriptions that are pulled. Unknown names are NotFound, and those that are not
// pulled Invalid.
type Leases interface {
	Pull(ctx context.Context, name string, ask tandem.PullRequest) ([]tandem.Lease, error)
	// Ack, Nack and Extend answer for each token, in order. A negative delay means the backoff, a visibility of zero the subscription's.
	Ack(ctx context.Context, name string, tokens []string) ([]tandem.LeaseResult, error)
	Nack(ctx context.Context, name string, tokens []string, delay time.Duration) ([]tandem.LeaseResult, error)
	Extend(ctx context.Context, name string, tokens []string, visibility time.Duration) ([]tandem.LeaseResult, error)
}

// Ledger says what became of deliveries.
type Ledger interface {
	Deliveries(ctx context.Context, name string, q tandem.DeliveryQuery) (tandem.DeliveryPage, error)
}

// Flows says what caused what. internal/flow has one.
type Flows interface {
	Get(ctx context.Context, id string) (tandem.Flow, error)
	List(ctx context.Context, q tandem.FlowQuery) (tandem.FlowPage, error)
	Status(ctx context.Context) tandem.FlowIndexStatus
	// Explain says why an event arrived or did not.
	Explain(ctx context.Context, q tandem.ExplainQuery) (tandem.Explanation, error)
}

// Tests sends a test event to the target of a subscription. Code: Invalid for one that is pulled.
type Tests interface {
	Test(ctx context.Context, name string) (tandem.TestExchange, error)
}

// Replays begins replays.
type Replays interface {
	// Replay returns the temporary subscription that delivers again.
	Replay(ctx context.Context, name string, ask tandem.ReplayRequest) (tandem.Subscription, error)
}

// Config is the configuration file.
type Config interface {
	// Owns reports whether the file declares a name; kind is "topic" or "subscription".
	Owns(kind, name string) bool
	// Orphan reports whether an earlier file declared a topic that this one does not.
	Orphan(topic string) bool
	// Reload reads the file again: all of it takes effect, or nothing and the error says why.
	Reload(ctx context.Context) error
	// Show returns what is in force.
	Show() Configuration
}

// Options say what an API serves. Log, Auth and Streams are required; resources whose room is nil answer 501.
type Options struct {
	Log           *eventlog.Log
	Chain         *chain.Chain // nil: no topic has request links
	Auth          *auth.Auth
	Streams       Streams
	Operations    Operations
	Subscriptions Subscriptions
	Leases        Leases
	Ledger        Ledger
	Flows         Flows
	Tests         Tests
	Replays       Replays
	Config        Config
	// Conditions compiles the text of sql and cel in filters. Nil refuses them.
	Conditions func(dialect, text string) (tandem.Condition, error)
	Services   func() []tandem.ServiceHealth // those that are checked, for the status; nil shows none

	Metrics *prometheus.Registry // nil means one of its own
	Logger  *slog.Logger         // nil means slog.Default
	// Ready says why the server is not ready, beside what the log says; nil means always.
	Ready   func() error
	Window  func() Window // of remembered ids, for the status; nil shows none
	Version string

	MaxEventBytes int           // as the log's; zero means tandem.DefaultMaxEventBytes
	MaxBatchBytes int64         // largest body of a batch; zero means 16 MiB
	BodyTimeout   time.Duration // for a body, or for each piece of NDJSON and of its answer; zero means one minute
}

func (o *Options) setDefaults() {
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.MaxEventBytes == 0 {
		o.MaxEventBytes = tandem.DefaultMaxEventBytes
	}
	if o.MaxBatchBytes == 0 {
		o.MaxBatchBytes = 16 << 20
	}
	if o.BodyTimeout == 0 {
		o.BodyTimeout = time.Minute
	}
}

// API is the handler of the API listener. It is safe for concurrent use.
type API struct {
	opts      Options
	log       *eventlog.Log
	resources []resource
	metrics   *metrics
	declared  *declarations
	began     time.Time
	publishes sync.Pool // *publishing
	groups    sync.Pool // *group

	looking chan struct{} // slots of those who wait for documents to change

	change sync.Mutex // held while a declaration is compared with its entity tag and changed

	draining context.Context // done when the server stops
	drain    context.CancelFunc
}

// New returns the API of a log.
func New(opts Options) *API {
	opts.setDefaults()
	if opts.Chain == nil {
		opts.Chain = chain.New(opts.Log, chain.Options{})
	}
	a := &API{opts: opts, log: opts.Log, began: time.Now(), looking: make(chan struct{}, maxLookers)}
	a.metrics = newMetrics(&opts)
	a.resources = resources(a.metrics)
	a.declared = newDeclarations(opts.Log)
	a.publishes.New = func() any { return new(publishing) }
	a.groups.New = func() any { return new(group) }
	a.draining, a.drain = context.WithCancel(context.Background())
	return a
}

// Drain lets those go who wait for documents to change, and for leases: they are told to ask again later, as all who come after them.
func (a *API) Drain() { a.drain() }

// Close takes the API's registration off the log. Requests under way are not waited for: that is the http.Server's to do.
func (a *API) Close() {
	a.drain()
	a.declared.stop()
}

// call is one request.
type call struct {
	w    httpx.Recorder
	r    *http.Request
	arg  string         // the first variable part of the path
	item string         // the second one, of a resource within the first
	who  *auth.Identity // nil where anybody may ask

	begin time.Time
}

// deadline bounds how long the body of the request may take to arrive.
func (c *call) deadline(d time.Duration) {
	_ = http.NewResponseController(c.w.ResponseWriter).SetReadDeadline(c.begin.Add(d)) // not every writer of a test has one
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{w: httpx.Recorder{ResponseWriter: w}, r: r, begin: time.Now()}
	defer httpx.Recovered(a.opts.Logger, &c.w, r)
	m, err := a.route(c)
	if err == nil {
		err = m.handle(a, c)
	}
	if err != nil {
		a.problem(c, err)
	}
	a.metrics.answered(m, c)
}

// route finds the method that a request is for and checks that the caller may use it.
func (a *API) route(c *call) (*method, error) {
	res, args := find(a.resources, c.r.URL.Path)
	if res == nil {
		return nil, tandem.Errorf(tandem.CodeNotFound, "there is no resource at this path").WithHint("GET /v1/openapi.json lists them")
	}
	c.arg, c.item = args[0], args[1]
	m := res.method(c.r.Method)
	if m == nil {
		c.w.Header().Set("Allow", res.allow)
		if c.r.Method == http.MethodOptions {
			return &res.options, nil
		}
		return nil, tandem.Errorf(tandem.CodeMethod, "%s is not allowed here", shorten(c.r.Method)).WithHint("allowed are %s", res.allow)
	}
	if m.role == "" {
		return m, nil
	}
	var err error
	if c.who, err = a.opts.Auth.Identify(c.r); err != nil {
		return m, err
	}
	return m, c.who.Require(m.role)
}

// signed is the context of the request with who sent it, for what is kept of that.
func (c *call) signed() context.Context { return auth.With(c.r.Context(), c.who) }

// problem answers with what went wrong. What a client cannot have caused is logged, since the answer does not show it.
func (a *API) problem(c *call, err error) {
	if tandem.CodeOf(err) == tandem.CodeInternal && c.r.Context().Err() == nil {
		a.opts.Logger.Error("a request failed", "method", c.r.Method, "path", c.r.URL.Path, "error", err)
	}
	if c.w.Status != 0 {
		panic(http.ErrAbortHandler) // the answer has begun: it must not look whole
	}
	auth.WriteProblem(&c.w, c.r, err)
}

func shorten(s string) string {
	if len(s) > 32 {
		s = s[:32] + "…"
	}
	return strings.ToValidUTF8(s, "")
}
