package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/tandem-hybrid/tandem"
)

// authorize asks one service whether the request may pass. It either passes, or was answered with what the service said,
// or is to be answered with the error: Unavailable, Timeout.
func (x *exchange) authorize(r *http.Request, a *asked) (passed bool, err error) {
	ctx, cancel := context.WithTimeoutCause(r.Context(), a.upstream.timeout, errServiceSlow)
	defer cancel()
	u := *a.upstream.url
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/")+a.path, ""
	req := (&http.Request{
		Method: http.MethodGet, URL: &u, Host: u.Host, Header: x.askHeader(r),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	// Not a Client: it would follow a redirect to a log-in page, which is the answer.
	res, err := a.upstream.carrier.RoundTrip(req)
	if err != nil {
		return false, unasked(x.serviceError(ctx, a.upstream, err), a)
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode >= 200 && res.StatusCode <= 299:
		if p := res.Header.Get(tandem.HeaderPrincipal); p != "" {
			x.principal = p
		}
		_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
		return true, nil
	case res.StatusCode < 200:
		return false, unasked(x.serviceError(ctx, a.upstream, errors.New("it switched protocols")), a)
	}
	dropHopByHop(res.Header)
	dropReserved(res.Header)
	h := x.Header()
	for name, values := range res.Header {
		h[name] = values
	}
	x.WriteHeader(res.StatusCode)
	if _, err := io.Copy(x, res.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
	return false, nil
}

// unasked makes a broken authorizer 503: the request did not get to its service, so sending it again is safe.
func unasked(err error, a *asked) error {
	if tandem.CodeOf(err) == tandem.CodeUpstream {
		return tandem.Errorf(tandem.CodeUnavailable, "service %s, which authorizes this request, did not answer", a.upstream.service.Name)
	}
	return err
}

// askHeader is the header of the request, without what belongs to its connection, its body, or to the resource that it
// asks for, which the answer is not about.
func (x *exchange) askHeader(r *http.Request) http.Header {
	h := r.Header.Clone()
	dropHopByHop(h)
	for name := range h {
		if strings.HasPrefix(name, "Content-") || strings.HasPrefix(name, "If-") || strings.HasPrefix(name, "Sec-Websocket-") {
			delete(h, name)
		}
	}
	for _, name := range [...]string{"Expect", "Range", "Prefer", "Idempotency-Key", "Last-Event-Id"} {
		h.Del(name)
	}
	setForwarded(h, r)
	x.stamp(h)
	h.Set(tandem.HeaderRequestMethod, r.Method)
	h.Set(tandem.HeaderRequestPath, requestPath(r.URL))
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // package http would put in its own
	}
	return h
}

// requestPath is path and query, with the path in one spelling: each segment is escaped where it has to be and nowhere
// else. Routes match the decoded path, so an authorizer that compares paths must not be passed by by another spelling.
func requestPath(u *url.URL) string {
	segments := strings.Split(u.EscapedPath(), "/")
	for i, s := range segments {
		if plain, err := url.PathUnescape(s); err == nil {
			segments[i] = url.PathEscape(plain)
		}
	}
	path := strings.Join(segments, "/")
	if u.RawQuery == "" {
		return path
	}
	return path + "?" + u.RawQuery
}

// serviceError is the problem of a request to a service that has no answer. The cause, which may name addresses, is for
// the log.
func (x *exchange) serviceError(ctx context.Context, up *upstream, cause error) error {
	name := up.service.Name
	switch {
	case errors.Is(context.Cause(ctx), errServiceSlow):
		x.g.opts.Logger.Warn("a service did not answer in time", "service", name, "route", x.route.Match, "flow", x.flow, "timeout", up.timeout)
		return tandem.Errorf(tandem.CodeTimeout, "service %s did not answer within %s", name, up.timeout)
	case ctx.Err() != nil:
		// The client has left, or the server ends: whoever still reads this may try again.
		return tandem.Errorf(tandem.CodeUnavailable, "the request to service %s was broken off", name)
	}
	x.g.opts.Logger.Warn("a service did not answer", "service", name, "route", x.route.Match, "flow", x.flow, "error", cause)
	if isDial(cause) {
		return tandem.Errorf(tandem.CodeUpstream, "cannot connect to service %s", name)
	}
	return tandem.Errorf(tandem.CodeUpstream, "service %s broke off, or its answer is not HTTP", name)
}
