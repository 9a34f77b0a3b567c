package webhook

import (
	"context"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/tandem-hybrid/tandem"
)

// Headers of the handshake (CloudEvents HTTP Webhook 1.0, section 4).
const (
	headerRequestOrigin = "Webhook-Request-Origin"
	headerRequestRate   = "Webhook-Request-Rate"
	headerAllowedOrigin = "Webhook-Allowed-Origin"
	headerAllowedRate   = "Webhook-Allowed-Rate"
)

// Handshake asks a target whether it wants deliveries from origin, and how many: rate is how many events a second there may be, zero
// for no limit, and allowed is how many there may be then, zero for as many as one likes. It waits for the answer, Target.Timeout or
// the end of ctx. Codes: Upstream (it does not want any, or cannot be asked); or the error of ctx.
func Handshake(ctx context.Context, t *Target, origin string, rate float64) (allowed float64, err error) {
	limited, cancel := context.WithTimeoutCause(ctx, t.Timeout, errSlow)
	defer cancel()
	f := newFields()
	f.set("User-Agent", t.UserAgent)
	maps.Copy(f.h, t.Headers)
	f.set(headerRequestOrigin, origin)
	if rate > 0 {
		f.set(headerRequestRate, strconv.FormatInt(max(1, int64(rate*60)), 10))
	}
	a := authorized(limited, t, http.MethodOptions, f.h, nil)
	if a.Err != nil && ctx.Err() != nil {
		return 0, ctx.Err()
	}
	denied := func(format string, args ...any) (float64, error) {
		return 0, &tandem.Error{Code: tandem.CodeUpstream, Op: "handshake", Err: tandem.Errorf(tandem.CodeUpstream, format, args...)}
	}
	a.classify(limited)
	switch {
	case a.Err != nil:
		return denied("%s", a.Excerpt())
	case a.Status < 200 || a.Status > 299:
		return denied("the endpoint answered OPTIONS with status %d", a.Status)
	case !originAllowed(a.Header, origin):
		return denied("the endpoint does not allow the origin %q", origin)
	}
	v := strings.TrimSpace(a.Header.Get(headerAllowedRate))
	if v == "" || v == "*" {
		return 0, nil
	}
	n, err := strconv.ParseFloat(v, 64)
	if err != nil || !(n > 0) || n > 1e12 {
		return denied("the endpoint allows the rate %q, which is neither a number a minute nor *", redact(v, 32))
	}
	return n / 60, nil
}

func originAllowed(h http.Header, origin string) bool {
	v := strings.TrimSpace(h.Get(headerAllowedOrigin))
	return v == "*" || strings.EqualFold(v, origin)
}
