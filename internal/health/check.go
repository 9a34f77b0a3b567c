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
	"time"
)

// checkURL is where a base URL is checked.
func checkURL(base, path string) (*url.URL, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	ref, err := url.Parse(path)
	if err != nil {
		return nil, err
	}
	escaped := strings.TrimSuffix(u.EscapedPath(), "/") + ref.EscapedPath()
	u.Path, err = url.PathUnescape(escaped)
	u.RawPath, u.RawQuery = escaped, ref.RawQuery
	return u, err
}

// checks checks a base URL until ctx is done. The first check comes at a random time within the interval, so that a start or a reload does not
// send all of them at once. Each other one comes an interval after the one before has ended, a tenth earlier or later, so that many servers do not fall
// into step.
func (s *Services) checks(ctx context.Context, svc *service, b *base) {
	interval := time.Duration(svc.health.Interval)
	timer := time.NewTimer(rand.N(interval))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := s.check(ctx, svc, b)
		if ctx.Err() != nil {
			return
		}
		s.note(svc, b, func() (bool, string) { return b.checked(svc, err) })
		timer.Reset(interval - interval/10 + rand.N(interval/5+1))
	}
}

// check asks once. Redirects are not followed: they are an answer.
func (s *Services) check(ctx context.Context, svc *service, b *base) error {
	limit := time.Duration(svc.health.Timeout)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req := (&http.Request{Method: http.MethodGet, URL: b.check, Host: b.check.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": {s.opts.UserAgent}}}).WithContext(ctx)
	transport := s.opts.Transport
	if transport == nil {
		transport = fresh(ctx)
	}
	res, err := transport.RoundTrip(req)
	switch {
	case err != nil && ctx.Err() != nil:
		return errors.New("no answer within " + svc.health.Timeout.String())
	case err != nil:
		return err
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 4<<10)
	if res.StatusCode < 200 || res.StatusCode > 399 {
		return errors.New("status " + strconv.Itoa(res.StatusCode))
	}
	return nil
}

// fresh returns a transport for one request, whose connection lasts no longer than ctx. Package http goes on to make a connection that nobody waits
// for any more, so one to a host that says nothing would stay.
func fresh(ctx context.Context) *http.Transport {
	dial := func(_ context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			context.AfterFunc(ctx, func() { conn.Close() })
		}
		return conn, err
	}
	return &http.Transport{DialContext: dial, DisableKeepAlives: true, DisableCompression: true}
}

// checked counts a check. Called with mu held.
func (b *base) checked(svc *service, err error) (healthy bool, reason string) {
	if err != nil {
		b.checks[0]++
		b.passed, b.failed = 0, b.failed+1
		return b.healthy && b.failed < svc.health.Unhealthy, "GET " + svc.health.Path + ": " + err.Error()
	}
	b.checks[1]++
	b.passed, b.failed = b.passed+1, 0
	if b.healthy || b.passed < svc.health.Healthy {
		return b.healthy, b.reason
	}
	b.refused.Store(0)
	return true, ""
}
