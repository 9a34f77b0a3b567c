package health

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/tandem-hybrid/tandem"
)

// Through returns what carries requests to a service over next. Requests are made for the first base URL; they go to each of those that are
// healthy in turn, or to each of all when none is. What becomes of them is watched where the service is checked. Where neither is needed, it
// returns next.
func (s *Services) Through(decl tandem.Service, next http.RoundTripper) http.RoundTripper {
	if decl.Health == nil && len(decl.Others) == 0 {
		return next
	}
	t := &through{s: s, name: decl.Name, next: next}
	t.turn.Store(uint64(rand.Uint32())) // not every one of many begins with the same
	for _, text := range decl.BaseURLs() {
		if u, err := url.Parse(text); err == nil {
			t.bases = append(t.bases, target{text, u})
		}
	}
	return t
}

type through struct {
	s     *Services
	name  string
	next  http.RoundTripper
	bases []target
	turn  atomic.Uint64
}

type target struct {
	text string
	url  *url.URL
}

// RoundTrip implements http.RoundTripper.
func (t *through) RoundTrip(req *http.Request) (*http.Response, error) {
	to, svc, b := t.pick()
	if first := t.bases[0].url; to != first {
		moved := *req
		u := *req.URL
		u.Scheme, u.Host = to.Scheme, to.Host
		if moved.URL = &u; req.Host == first.Host {
			moved.Host = to.Host
		}
		req = &moved
	}
	res, err := t.next.RoundTrip(req)
	if b != nil {
		// A success after a success changes nothing, and is what happens all the time.
		if failure, counts := judge(req, res, err); counts && (failure != "" || b.refused.Load() > 0) {
			t.s.note(svc, b, func() (bool, string) { return b.answered(svc, failure) })
		}
	}
	return res, err
}

// pick chooses where a request goes; b is nil where that is not checked.
func (t *through) pick() (to *url.URL, svc *service, b *base) {
	turn := t.turn.Add(1)
	t.s.mu.RLock()
	defer t.s.mu.RUnlock()
	svc = t.s.byName[t.name]
	healthy := uint64(0)
	for i := range t.bases {
		if b := svc.base(t.bases[i].text); b == nil || b.healthy {
			healthy++
		}
	}
	all := healthy == 0
	if all {
		healthy = uint64(len(t.bases))
	}
	nth := turn % healthy // what the others would get is spread over those that are healthy
	for i := range t.bases {
		if b = svc.base(t.bases[i].text); !all && b != nil && !b.healthy {
			continue
		}
		if to = t.bases[i].url; nth == 0 {
			break
		}
		nth--
	}
	return to, svc, b
}

// base returns a base URL of a service that may be none, or another one than the request was made for. Called with mu held.
func (svc *service) base(text string) *base {
	if svc != nil {
		for _, b := range svc.bases {
			if b.text == text {
				return b
			}
		}
	}
	return nil
}

// answered counts what became of a request. Called with mu held. A success does not make a base URL healthy: that is for the checks.
func (b *base) answered(svc *service, failure string) (healthy bool, reason string) {
	if failure == "" {
		b.refused.Store(0)
		return b.healthy, b.reason
	}
	n := int(b.refused.Add(1))
	if b.healthy && n >= svc.health.Unhealthy {
		b.passed = 0
		return false, strconv.Itoa(n) + " requests in a row failed, the last one with: " + failure
	}
	return b.healthy, b.reason
}

// judge tells what an answer, or none, says of the service: the failure, "" for none. It does not count when the client or this server ended the
// request, or when the client's body may be what broke off. Whoever makes a request says with a cause of CodeTimeout that the service had all the
// time it was promised; a bare deadline is what a client was willing to wait.
func judge(req *http.Request, res *http.Response, err error) (failure string, counts bool) {
	if err == nil {
		switch res.StatusCode {
		case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return "status " + strconv.Itoa(res.StatusCode), true
		}
		return "", true
	}
	if req.Context().Err() != nil {
		cause := context.Cause(req.Context())
		return "no answer in time", tandem.CodeOf(cause) == tandem.CodeTimeout
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return err.Error(), true
	}
	return strings.TrimSpace(err.Error()), repeatable(req.Body, req.GetBody)
}

// repeatable reports whether a body is not one that a client sends meanwhile.
func repeatable(body io.ReadCloser, again func() (io.ReadCloser, error)) bool {
	return body == nil || body == http.NoBody || again != nil
}
