package webhook

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// MaxAnswerBytes is how much of an answer is read. A longer one is no valid reply.
const MaxAnswerBytes = 1 << 20

// Target is where messages go. It does not change while it is in use.
type Target struct {
	URL       *url.URL
	Secret    []byte        // signs by Standard Webhooks, scheme v1; nil sends unsigned
	Timeout   time.Duration // of one attempt, with the reading of the answer
	UserAgent string
	Transport http.RoundTripper
}

// Message is one attempt to deliver an event.
type Message struct {
	Record       *tandem.Record
	ID           string // webhook-id: the same for every attempt, without a dot
	Subscription string
	Attempt      int // from 1
	MaxAttempts  int
}

// Answer is what came back: either Err, or a status with what followed.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // at most MaxAnswerBytes
	Cut    bool   // the body was longer

	Err     error // no complete answer came
	Connect bool  // Err: no connection could be made, so that nothing was sent
	Timeout bool  // Err: the time of the attempt was out

	Took time.Duration
}

// Send posts the event of m and waits for the whole answer, Target.Timeout or the end of ctx. It is safe for concurrent
// use and keeps no reference to m.
func Send(ctx context.Context, t *Target, m *Message) Answer {
	start := time.Now()
	limited, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	a := exchange(limited, t, m, start)
	a.Took = time.Since(start)
	if a.Err != nil {
		var dial *net.OpError
		var dns *net.DNSError
		a.Connect = errors.As(a.Err, &dial) && dial.Op == "dial" || errors.As(a.Err, &dns)
		a.Timeout = !a.Connect && ctx.Err() == nil && limited.Err() != nil
	}
	return a
}

func exchange(ctx context.Context, t *Target, m *Message, now time.Time) Answer {
	rt := t.Transport
	body := tandem.AppendEventJSON(make([]byte, 0, 512+len(m.Record.Data)), &m.Record.Event)
	// RoundTrip, not http.Client: nothing may follow a redirect, keep a cookie or try again on its own.
	resp, err := rt.RoundTrip(newRequest(ctx, t, m, body, now))
	if err != nil {
		return Answer{Err: err}
	}
	defer resp.Body.Close()
	a := Answer{Status: resp.StatusCode, Header: resp.Header}
	if resp.ContentLength == 0 {
		return a
	}
	a.Body, err = io.ReadAll(io.LimitReader(resp.Body, MaxAnswerBytes+1))
	if len(a.Body) > MaxAnswerBytes {
		a.Body, a.Cut = a.Body[:MaxAnswerBytes], true
	}
	if err != nil {
		// A status whose body broke off says nothing about what the handler did or meant to reply.
		return Answer{Err: err}
	}
	return a
}

func newRequest(ctx context.Context, t *Target, m *Message, body []byte, now time.Time) *http.Request {
	r := (&http.Request{
		Method: http.MethodPost, URL: t.URL, Host: t.URL.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header(t, m, body, now), ContentLength: int64(len(body)),
		// GetBody lets the transport repeat a request of which nothing was written, because the kept connection was gone.
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}).WithContext(ctx)
	r.Body, _ = r.GetBody()
	return r
}

// Header names in canonical form, which the map is keyed by.
const (
	headerTraceParent = "Traceparent"
	headerTraceState  = "Tracestate"
)

func header(t *Target, m *Message, body []byte, now time.Time) http.Header {
	rec := m.Record
	h := make(http.Header, 16)
	values := make([]string, 0, 16) // one backing array for all values
	set := func(name, value string) {
		if value != "" {
			values = append(values, value)
			h[name] = values[len(values)-1 : len(values) : len(values)]
		}
	}
	set("Content-Type", tandem.MediaEvent)
	set("User-Agent", t.UserAgent)
	set(tandem.HeaderFlow, rec.Meta.Flow)
	set(tandem.HeaderCause, tandem.Ref(rec.Position.Topic, rec.Source, rec.ID))
	set(tandem.HeaderOperation, rec.Meta.Operation)
	set(tandem.HeaderAttempt, strconv.Itoa(m.Attempt))
	set(tandem.HeaderMaxAttempts, strconv.Itoa(m.MaxAttempts))
	set(tandem.HeaderPosition, rec.Position.String())
	set(tandem.HeaderSubscription, m.Subscription)
	set(headerTraceParent, rec.Meta.TraceParent)
	set(headerTraceState, rec.Meta.TraceState)
	set(tandem.HeaderWebhookID, m.ID)
	set(tandem.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	if t.Secret != nil {
		set(tandem.HeaderWebhookSignature, tandem.SignWebhook(t.Secret, m.ID, now, body))
	}
	return h
}

// RetryAfter returns how long an answer asks to wait: seconds or a date (RFC 9110, section 10.2.3), never negative.
func (a *Answer) RetryAfter(now time.Time) (time.Duration, bool) {
	v := a.Header.Get("Retry-After")
	if v == "" {
		return 0, false
	}
	if sec, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(sec) * time.Second, true
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0, false
	}
	return max(0, at.Sub(now)), true
}
