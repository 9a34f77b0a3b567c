package webhook

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// maxShown is how much of a body a test shows.
const maxShown = 64 << 10

// Try sends m as Send does and returns what went over the wire, for people to read: secrets are masked. Outcome and Detail of the
// exchange are left to the caller.
func Try(ctx context.Context, t *Target, m *Message) (tandem.TestExchange, Answer) {
	watched := *t
	seen := &watcher{next: t.Transport}
	watched.Transport = seen
	a := Send(ctx, &watched, m)
	x := tandem.TestExchange{Took: tandem.Duration(a.Took), Sent: tandem.TestMessage{Method: http.MethodPost, URL: t.URL.Redacted()}}
	if seen.header != nil {
		x.Sent.Headers, x.Sent.Body = shownHeaders(seen.header, t.Hidden), shownBody(seen.body, t.Hidden)
	}
	if a.Err == nil {
		x.Received = &tandem.TestMessage{Status: a.Status, Headers: shownHeaders(a.Header, a.hidden), Body: shownBody(a.Body, a.hidden)}
	}
	return x, a
}

// watcher keeps the last request. It is used by one goroutine.
type watcher struct {
	next   http.RoundTripper
	header http.Header
	body   []byte
}

// RoundTrip implements http.RoundTripper.
func (w *watcher) RoundTrip(r *http.Request) (*http.Response, error) {
	w.header = r.Header.Clone()
	w.body = nil
	if body, err := r.GetBody(); err == nil {
		w.body, _ = io.ReadAll(body)
	}
	return w.next.RoundTrip(r)
}

func shownHeaders(h http.Header, hidden []string) map[string]string {
	out := make(map[string]string, len(h))
	for name, values := range h {
		if maySecret(name) {
			out[name] = mask
			continue
		}
		out[name] = strings.ToValidUTF8(hide([]byte(strings.Join(values, ", ")), hidden, maxHeaderBytes), "\uFFFD")
	}
	return out
}

// maySecret reports whether headers of a name hold secrets more often than not.
func maySecret(name string) bool {
	name = strings.ToLower(name)
	for _, part := range [...]string{"auth", "cookie", "key", "password", "secret", "token"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

func shownBody(b []byte, hidden []string) string {
	return strings.ToValidUTF8(hide(bytes.TrimSpace(b), hidden, maxShown), "\uFFFD")
}

// TestEvent returns the event that tests a subscription.
func TestEvent(subscription string, now time.Time) *tandem.Record {
	return &tandem.Record{Event: tandem.Event{
		ID: tandem.NewID(), Source: "/tandem/subscriptions/" + subscription, Type: "tandem.test", Time: now.UTC().Format(time.RFC3339Nano),
		DataContentType: "application/json", Data: []byte(`{"test":true}`), Encoding: tandem.DataJSON,
	}}
}
