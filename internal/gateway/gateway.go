package gateway

import (
	"context"
	"log"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/internal/chain"
	"github.com/tandem-hybrid/tandem/internal/httpx"
	"github.com/tandem-hybrid/tandem/internal/tracecontext"
)

// Operations are what package operation gives.
type Operations interface {
	// Begin makes an operation; state is committed by the caller, or by Confirm.
	Begin(ctx context.Context, spec tandem.OperationSpec, flow string) (op tandem.Operation, state driver.StateOp, err error)
	// Confirm stores what Begin made, unless it has ended already.
	Confirm(ctx context.Context, id string) error
	// Abandon forgets an operation whose id was told to nobody; stored says that its state may have been committed.
	Abandon(id string, stored bool)
	// Serve answers a request for an operation.
	Serve(w http.ResponseWriter, r *http.Request, id string)
}

// Streams are what package stream gives.
type Streams interface {
	// Serve hands out events, and takes some where that is asked for. It may return while the stream goes on.
	Serve(w http.ResponseWriter, r *http.Request, ask tandem.StreamRequest)
}

// Options configure a Gateway.
type Options struct {
	Operations Operations // required for routes with operation
	Streams    Streams    // required for routes with stream
	// Chain publishes to topics with request links. Nil: no topic has any.
	Chain *chain.Chain
	// Conditions compiles the text of sql and cel in the filters of streams. Nil refuses them.
	Conditions func(dialect, text string) (tandem.Condition, error)

	// Through returns what carries the requests to a service over what makes its connections. Nil means just that.
	Through func(service tandem.Service, next http.RoundTripper) http.RoundTripper

	Sampling      tracecontext.Sampling // how traces begin
	MaxEventBytes int                   // default of Route.MaxBodyBytes on topic routes; zero means tandem.DefaultMaxEventBytes
	Logger        *slog.Logger          // nil means slog.Default

	// Observe is called after every request, but for streams that go on. It must not block, and keeps no reference. Nil means nobody asks.
	Observe func(*Observed)
}

// Observed is a request that was answered.
type Observed struct {
	Flow  string // empty: it matched no route
	Began time.Time
	Took  time.Duration
	// TraceParent is what services were told; Parent is the span of the client, if it has one.
	TraceParent, Parent string
	// FlowRequest has the Match of the route, and the status, zero when the client left before there was one.
	tandem.FlowRequest
}

// Gateway is the handler of the public listener. Its methods are safe for concurrent use.
type Gateway struct {
	log      *eventlog.Log
	opts     Options
	table    atomic.Pointer[table]
	replies  replies
	buffers  buffers
	proxyLog *log.Logger
	// bodyTimeout is bodyTimeout; tests are less patient.
	bodyTimeout time.Duration
}

// New returns a gateway without routes: all is 404 until Apply.
func New(log *eventlog.Log, opts Options) *Gateway {
	if opts.MaxEventBytes == 0 {
		opts.MaxEventBytes = tandem.DefaultMaxEventBytes
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Through == nil {
		opts.Through = func(_ tandem.Service, next http.RoundTripper) http.RoundTripper { return next }
	}
	if opts.Chain == nil {
		opts.Chain = chain.New(log, chain.Options{})
	}
	g := &Gateway{log: log, opts: opts, bodyTimeout: bodyTimeout}
	// What the proxy logs is mostly clients that left.
	g.proxyLog = slog.NewLogLogger(opts.Logger.Handler(), slog.LevelDebug)
	g.replies.init(log, opts.Logger)
	g.table.Store(&table{})
	return g
}

// Drain lets those who wait for replies go, with 202, so that a server need not wait for them. It returns when the
// gateway's goroutines are gone or ctx is done, and may be repeated.
func (g *Gateway) Drain(ctx context.Context) error { return g.replies.stop(ctx) }

// Stop drains and closes idle connections. Requests under way go on: the server that runs the handler waits for them
// first. It may be repeated.
func (g *Gateway) Stop(ctx context.Context) error {
	for _, up := range g.table.Load().upstreams {
		up.transport.CloseIdleConnections()
	}
	return g.Drain(ctx)
}

// exchange is one request on its way.
type exchange struct {
	httpx.Recorder
	g     *Gateway
	in    *http.Request // as it came: its trailers appear in it at the end of the body
	table *table
	route *endpoint

	params                  params
	flow                    string
	principal               string
	traceParent, traceState string
	parent                  string // span of who asked, where there is one

	replied  []tandem.Event // by request links
	body     *body          // of a request that is forwarded
	patience patience
	op       tandem.Operation // begun for this request; no id: none
	async    bool             // Prefer: respond-async

	operationID string // of the operation that the client was told of
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{Recorder: httpx.Recorder{ResponseWriter: w}, g: g, in: r, table: g.table.Load()}
	if g.opts.Observe != nil {
		began := time.Now()
		defer func() {
			if !x.Gone { // a stream lasts as long as its client likes
				g.opts.Observe(x.observed(r, began))
			}
		}()
	}
	defer httpx.Recovered(g.opts.Logger, &x.Recorder, r)
	if err := x.serve(r); err != nil {
		x.fail(r, err)
	}
}

func (x *exchange) observed(r *http.Request, began time.Time) *Observed {
	o := &Observed{Flow: x.flow, Began: began, Took: time.Since(began)}
	o.Method, o.Path, o.Status, o.Principal, o.Operation = r.Method, r.URL.Path, x.Status, x.principal, x.operationID
	if x.route != nil {
		o.Route, o.Service = x.route.Match, x.route.Service
	}
	o.Trace, o.TraceParent, o.Parent = tracecontext.ID(x.traceParent), x.traceParent, x.parent
	return o
}

// serve answers, or returns why it did not.
func (x *exchange) serve(r *http.Request) error {
	path := r.URL.EscapedPath()
	if smuggles(path) {
		return invalid("the path has empty, . or .. segments").WithHint("send the path as it is meant to be resolved")
	}
	route, allow := x.table.root.match(r.Method, path, &x.params)
	if route == nil {
		if allow == nil {
			return tandem.Errorf(tandem.CodeNotFound, "nothing is served at this path")
		}
		x.Header().Set("Allow", joinMethods(allow))
		return tandem.Errorf(tandem.CodeMethod, "this path does not take %s", r.Method)
	}
	x.route = route
	x.flow = tandem.NewID()
	x.Header().Set(tandem.HeaderFlow, x.flow)
	if x.traceParent, x.traceState = tracecontext.FromHeader(r.Header); x.traceParent == "" {
		x.traceParent = x.g.opts.Sampling.Begin(x.flow)
	} else {
		x.parent = tracecontext.Span(x.traceParent)
		x.traceParent = x.g.opts.Sampling.EnterRequest(x.traceParent, x.flow)
	}
	if err := checkOrigin(r); err != nil {
		return err
	}
	r = withoutReserved(r)
	for i := range route.asks {
		if passed, err := x.authorize(r, &route.asks[i]); !passed {
			return err
		}
	}
	return route.serve(x, r)
}

// fail answers with a problem. Causes that clients are not shown are logged.
func (x *exchange) fail(r *http.Request, err error) {
	if x.Status != 0 {
		panic(http.ErrAbortHandler) // the answer has begun: it must not look whole
	}
	if tandem.CodeOf(err) == tandem.CodeInternal {
		x.g.opts.Logger.Error("a request failed", "method", r.Method, "path", r.URL.Path, "flow", x.flow, "error", err)
	}
	httpx.WriteProblem(x, err)
}

// param returns the value of a placeholder.
func (x *exchange) param(name string) (string, bool) {
	i := indexOf(x.route.pattern.names, name)
	if i < 0 {
		return "", false
	}
	return x.params.v[i], true
}
