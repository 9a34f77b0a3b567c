package webhook

import (
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
	Content   string        // as tandem.Subscription.Content
	Keys      []Key         // sign by Standard Webhooks; none sends unsigned
	Headers   http.Header   // on every request, names in canonical form
	Tokens    *Tokens       // for the header Authorization; nil sends none
	Timeout   time.Duration // of one attempt, with the getting of a token and the reading of the answer
	UserAgent string
	Transport http.RoundTripper
	// AllowedRate is how many events a second the endpoint takes at most, as its handshake said; zero means as many as one likes.
	AllowedRate float64
	// Hidden are the secrets among what is sent. What is told of an answer does not show them.
	Hidden []string
}

// Key signs until its day.
type Key struct {
	Key   tandem.WebhookKey
	Until time.Time // zero: no end
}

// Message is one attempt to deliver an event.
type Message struct {
	Record       *tandem.Record
	ID           string // webhook-id: the same for every attempt, without a dot
	Subscription string
	Replay       int // number of the replay that it is part of; zero for none
	Attempt      int // from 1
	MaxAttempts  int
	TraceParent  string // of the request, in place of that of the event; empty for none. A batch has that of its first message
	Unstored     bool   // the event has a topic, and no place in it yet
	Test         bool   // marked as one that is no delivery
}

// Answer is what came back: either Err, or a status with what followed.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // at most MaxAnswerBytes
	Cut    bool   // the body was longer

	Err     error // no complete answer came
	Connect bool  // Err: nothing was sent, since there was no connection, no leave to make one, or no token
	Timeout bool  // Err: the time of the attempt was out

	Took time.Duration

	hidden []string // as Target.Hidden
}

// Send posts the event of m and waits for the whole answer, Target.Timeout or the end of ctx. It is safe for concurrent
// use and keeps no reference to m.
func Send(ctx context.Context, t *Target, m *Message) Answer {
	if t.Content == tandem.ContentBatch {
		return SendBatch(ctx, t, []Message{*m})
	}
	return send(ctx, t, func(now time.Time) (http.Header, []byte) { return single(t, m, now) })
}

// SendBatch posts the events of all messages, at least one, in one request, in the JSON batch format of CloudEvents whatever
// Target.Content says. What became of each is in Answer.Results. Otherwise as Send.
func SendBatch(ctx context.Context, t *Target, all []Message) Answer {
	return send(ctx, t, func(now time.Time) (http.Header, []byte) { return batch(t, all, now) })
}

// errSlow ends an attempt that had all of Target.Timeout, and no other: who watches the transport tells by its code that the endpoint was slow.
var errSlow = tandem.Errorf(tandem.CodeTimeout, "no answer in time")

func send(ctx context.Context, t *Target, build func(now time.Time) (http.Header, []byte)) Answer {
	start := time.Now()
	limited, cancel := context.WithTimeoutCause(ctx, t.Timeout, errSlow)
	defer cancel()
	header, body := build(start)
	a := authorized(limited, t, http.MethodPost, header, body)
	a.Took = time.Since(start)
	a.classify(limited)
	return a
}

// classify says what kind of error there was: limited is the context with the time of the attempt.
func (a *Answer) classify(limited context.Context) {
	if a.Err == nil {
		return
	}
	var dial *net.OpError
	var dns *net.DNSError
	a.Connect = a.Connect || errors.As(a.Err, &dial) && dial.Op == "dial" || errors.As(a.Err, &dns)
	a.Timeout = !a.Connect && errors.Is(context.Cause(limited), errSlow)
}

// authorized makes an exchange with a token where the target wants one, and a second one with a new token if the first is refused.
func authorized(ctx context.Context, t *Target, method string, header http.Header, body []byte) Answer {
	if t.Tokens == nil {
		return exchange(ctx, t, method, header, body)
	}
	for again := false; ; again = true {
		token, err := t.Tokens.Token(ctx)
		if err != nil {
			return Answer{Err: err, Connect: true}
		}
		header = header.Clone() // the transport may still look at that of the first exchange
		header["Authorization"] = []string{"Bearer " + token}
		a := exchange(ctx, t, method, header, body)
		a.hidden = append([]string{token}, t.Hidden...)
		if a.Status != http.StatusUnauthorized || again || !t.Tokens.Refused(token) {
			return a
		}
	}
}

func exchange(ctx context.Context, t *Target, method string, header http.Header, body []byte) Answer {
	rt := t.Transport
	// RoundTrip, not http.Client: nothing may follow a redirect, keep a cookie or try again on its own.
	resp, err := rt.RoundTrip(newRequest(ctx, t, method, header, body))
	if err != nil {
		return Answer{Err: err, hidden: t.Hidden}
	}
	defer resp.Body.Close()
	a := Answer{Status: resp.StatusCode, Header: resp.Header, hidden: t.Hidden}
	if resp.ContentLength == 0 {
		return a
	}
	a.Body, err = io.ReadAll(io.LimitReader(resp.Body, MaxAnswerBytes+1))
	if len(a.Body) > MaxAnswerBytes {
		a.Body, a.Cut = a.Body[:MaxAnswerBytes], true
	}
	if err != nil {
		// A status whose body broke off says nothing about what the handler did or meant to reply.
		return Answer{Err: err, hidden: t.Hidden}
	}
	return a
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
