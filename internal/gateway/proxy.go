package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

// bodyTimeout is how long a client may take for a body that becomes an event, and between two parts of one that is streamed.
const bodyTimeout = 30 * time.Second

type exchangeKey struct{}

// forward passes a request to the route's service and its answer back.
func (x *exchange) forward(r *http.Request) error {
	if n := x.route.maxBody; n > 0 && r.ContentLength > n {
		return tandem.Errorf(tandem.CodeTooLarge, "the body is larger than %d bytes", n)
	}
	if err := x.begin(r); err != nil {
		return err
	}
	defer x.abandon()
	ctx, cancel := context.WithCancelCause(context.WithValue(r.Context(), exchangeKey{}, x))
	defer cancel(nil)
	in := r.WithContext(ctx)
	x.patience.start(x.route.upstream.timeout, cancel)
	defer x.patience.end()
	if r.Body != nil && r.Body != http.NoBody {
		x.body = &body{ReadCloser: r.Body, x: x, rc: http.NewResponseController(x.ResponseWriter)}
		if n := x.route.maxBody; n > 0 {
			x.body.ReadCloser = http.MaxBytesReader(x.ResponseWriter, r.Body, n)
		}
		in.Body = x.body
		defer x.body.end()
	}
	// The proxy adds the service's header to this one, and clears it after an interim answer: modifyResponse sets the flow.
	x.Header().Del(tandem.HeaderFlow)
	x.route.upstream.proxy.ServeHTTP(x, in)
	return nil
}

// rewrite makes the request that the service sees.
func (up *upstream) rewrite(pr *httputil.ProxyRequest) {
	x := pr.In.Context().Value(exchangeKey{}).(*exchange)
	pr.SetURL(up.url)
	// As it was sent: the proxy would drop parts that Go cannot parse, though the service may.
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery
	h := pr.Out.Header
	setForwarded(h, pr.In)
	x.stamp(h)
	if x.op.ID != "" {
		h.Set(tandem.HeaderOperation, x.op.ID)
	}
	if x.body != nil {
		x.body.trailer.Store(&pr.Out.Trailer)
	}
}

// modifyResponse runs before the header of the service's answer goes out.
func modifyResponse(res *http.Response) error {
	x := res.Request.Context().Value(exchangeKey{}).(*exchange)
	x.patience.end()
	dropReserved(res.Header)
	dropReserved(res.Trailer)
	x.settle(res)
	x.early(res.Header)
	res.Header.Set(tandem.HeaderFlow, x.flow)
	return nil
}

// early lets an answer go out though the body of the request has not all come. HTTP/1 would wait for it; and since the rest
// of it may never come, or come after the handler is gone, the connection is not used again.
func (x *exchange) early(answer http.Header) {
	if x.body == nil || x.body.ended.Load() || x.in.ProtoMajor != 1 {
		return
	}
	if x.body.rc.EnableFullDuplex() == nil {
		answer.Set("Connection", "close")
	}
}

// serviceFailed answers when there is no answer to pass on.
func serviceFailed(w http.ResponseWriter, out *http.Request, err error) {
	x := out.Context().Value(exchangeKey{}).(*exchange)
	x.Header().Set(tandem.HeaderFlow, x.flow)
	x.early(x.Header())
	if x.body != nil && !errors.Is(context.Cause(out.Context()), errServiceSlow) {
		if cause := x.body.failure(out.Context()); cause != nil {
			httpx.WriteProblem(x, httpx.BodyError(cause))
			return
		}
	}
	httpx.WriteProblem(x, x.serviceError(out.Context(), x.route.upstream, err))
}

func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// body is the body of a request on its way to a service. It gives the client time for each part, stops the service's
// clock meanwhile, and passes on the trailers, which are known at the end.
type body struct {
	io.ReadCloser
	x       *exchange
	rc      *http.ResponseController
	trailer atomic.Pointer[http.Header] // of the outgoing request
	ended   atomic.Bool
	failed  atomic.Pointer[error]
	reading sync.Mutex // held by Read

	mu   sync.Mutex // guards the read deadline of the connection
	over bool       // the handler returns: it is the server's again
}

// drainTimeout is what a client has to stop sending a body that nobody reads any more. Until then what it sends is dropped,
// since closing the connection at once could take the answer with it.
const drainTimeout = 500 * time.Millisecond

// end gives the connection back to the server, which reads to the end of a body or closes the connection (see early).
func (b *body) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	if !b.ended.Load() && b.x.in.ProtoMajor == 1 {
		_ = b.rc.SetReadDeadline(time.Now().Add(drainTimeout))
	}
}

// deadline gives the client time for the next part; zero means no limit. Not every writer has deadlines.
func (b *body) deadline(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var at time.Time
	if d > 0 {
		at = time.Now().Add(d)
	}
	if !b.over {
		_ = b.rc.SetReadDeadline(at)
	}
}

// failure returns why the body could not be read. The server cancels ctx before the read that failed returns: then it is
// waited for, so that a client that is too slow is not mistaken for one that has left.
func (b *body) failure(ctx context.Context) error {
	if ctx.Err() != nil {
		b.reading.Lock()
		defer b.reading.Unlock()
	}
	if err := b.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Read is called by the transport, maybe still while the answer is written.
func (b *body) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	b.x.patience.hold()
	b.deadline(b.x.g.bodyTimeout)
	n, err := b.ReadCloser.Read(p)
	// Without this the server, which reads on to notice that the client leaves, would take the deadline for that.
	b.deadline(0)
	b.x.patience.goOn()
	switch {
	case err == io.EOF:
		b.ended.Store(true)
		if out := b.trailer.Load(); out != nil {
			for name := range *out {
				(*out)[name] = b.x.in.Trailer[name]
			}
		}
	case err != nil:
		b.failed.Store(&err)
	}
	return n, err
}
