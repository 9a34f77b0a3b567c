package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
)

func record() *tandem.Record {
	return &tandem.Record{
		Event: tandem.Event{ID: "1", Source: "/s", Type: "t", Subject: "k", Data: []byte(`{"a": 1}`), Encoding: tandem.DataJSON,
			Meta: tandem.Meta{Flow: "f", Operation: "o", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", TraceState: "x=y"}},
		Position: tandem.Position{Topic: "orders", Partition: 3, Offset: 42},
	}
}

func serve(t *testing.T, handle http.HandlerFunc) *Target {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL + "/events?x=1")
	if err != nil {
		t.Fatal(err)
	}
	tr := NewTransport(nil, nil)
	t.Cleanup(tr.CloseIdleConnections)
	return &Target{URL: u, Timeout: 5 * time.Second, UserAgent: "Tandem/1", Transport: tr}
}

func message() *Message {
	return &Message{Record: record(), ID: "msg_1", Subscription: "s", Attempt: 2, MaxAttempts: 5}
}

func TestRequest(t *testing.T) {
	secret, err := tandem.ParseWebhookKey("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz")
	if err != nil {
		t.Fatal(err)
	}
	var got *http.Request
	var body []byte
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusNoContent)
	})
	target.Keys = []Key{{Key: secret}}
	a := Send(context.Background(), target, message())
	if a.Err != nil || a.Status != 204 || a.Took <= 0 {
		t.Fatalf("%+v", a)
	}
	want := map[string]string{
		"Content-Type": "application/cloudevents+json", "User-Agent": "Tandem/1", "Tandem-Flow": "f", "Tandem-Operation": "o",
		"Tandem-Cause": tandem.Ref("orders", "/s", "1"), "Tandem-Attempt": "2", "Tandem-Max-Attempts": "5",
		"Tandem-Position": "orders/3/42", "Tandem-Subscription": "s", "Webhook-Id": "msg_1",
		"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Tracestate": "x=y",
	}
	for name, v := range want {
		if got.Header.Get(name) != v {
			t.Errorf("%s: %q, want %q", name, got.Header.Get(name), v)
		}
	}
	if got.Method != "POST" || got.URL.String() != "/events?x=1" || got.ContentLength != int64(len(body)) {
		t.Errorf("%s %s, %d bytes", got.Method, got.URL, got.ContentLength)
	}
	if e, err := tandem.ParseEventJSON(body); err != nil || string(e.Data) != `{"a": 1}` || e.Meta.Flow != "f" {
		t.Errorf("%s: %v", body, err)
	}
	if err := tandem.VerifyWebhook(got.Header, body, time.Now(), secret); err != nil {
		t.Error(err)
	}
	target.Keys = nil
	Send(context.Background(), target, message())
	if got.Header.Get(tandem.HeaderWebhookSignature) != "" || got.Header.Get(tandem.HeaderWebhookID) == "" || got.Header.Get(tandem.HeaderWebhookTimestamp) == "" {
		t.Errorf("unsigned: %v", got.Header)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	n := 0
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n++
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	if a := Send(context.Background(), target, message()); a.Status != 307 || n != 1 {
		t.Fatalf("%+v after %d requests", a, n)
	}
}

func TestTimeout(t *testing.T) {
	block := make(chan struct{})
	target := serve(t, func(w http.ResponseWriter, r *http.Request) { <-block })
	defer close(block)
	target.Timeout = 20 * time.Millisecond
	a := Send(context.Background(), target, message())
	if a.Err == nil || !a.Timeout || a.Connect || a.Excerpt() != "no answer in time" {
		t.Fatalf("%+v", a)
	}
}

// TestTimeoutCause: who watches the transport can tell the time of the attempt from that of the caller.
func TestTimeoutCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause error
		target := &Target{URL: oneURL(t, "http://x/"), Timeout: time.Second, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			cause = context.Cause(r.Context())
			return nil, cause
		})}
		if a := Send(t.Context(), target, message()); !a.Timeout || tandem.CodeOf(cause) != tandem.CodeTimeout {
			t.Errorf("the attempt's: %+v, %v", a, cause)
		}
		if _, err := Handshake(t.Context(), target, "here", 0); err == nil || tandem.CodeOf(cause) != tandem.CodeTimeout {
			t.Errorf("of a handshake: %v, %v", err, cause)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if a := Send(ctx, target, message()); a.Err == nil || a.Timeout || cause != context.DeadlineExceeded {
			t.Errorf("the caller's: %+v, %v", a, cause)
		}
		// Nor is the endpoint of tokens left alone for it.
		target.Tokens = NewTokens(OAuth2{TokenURL: "http://t/"}, target.Transport)
		soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if a := Send(soon, target, message()); a.Err == nil {
			t.Errorf("without a token: %+v", a)
		}
		if _, err := target.Tokens.known(); err != nil {
			t.Errorf("the endpoint of tokens failed: %v", err)
		}
	})
}

func TestTimeoutOfTheBody(t *testing.T) {
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	target.Timeout = 50 * time.Millisecond
	if a := Send(context.Background(), target, message()); a.Err == nil || !a.Timeout || a.Status != 0 {
		t.Fatalf("%+v", a)
	}
}

func TestNoConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	u := &url.URL{Scheme: "http", Host: addr}
	a := Send(context.Background(), &Target{URL: u, Timeout: time.Second, Transport: NewTransport(nil, nil)}, message())
	if a.Err == nil || !a.Connect || a.Timeout || !strings.HasPrefix(a.Excerpt(), "cannot connect: ") {
		t.Fatalf("%+v", a)
	}
}

func TestBrokenExchange(t *testing.T) {
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		c.Close()
	})
	if a := Send(context.Background(), target, message()); a.Err == nil || a.Connect || a.Timeout {
		t.Fatalf("%+v", a)
	}
}

func TestLongAnswerIsCut(t *testing.T) {
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 64<<10)
		for range 64 {
			if _, err := w.Write(buf); err != nil {
				return
			}
		}
	})
	if a := Send(context.Background(), target, message()); !a.Cut || len(a.Body) != MaxAnswerBytes || a.Status != 200 {
		t.Fatalf("status %d, %d bytes, %v", a.Status, len(a.Body), a.Err)
	}
}

func TestConnectionsAreKept(t *testing.T) {
	addrs := map[string]bool{}
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		addrs[r.RemoteAddr] = true
		fmt.Fprint(w, strings.Repeat("x", 5000))
	})
	for range 10 {
		Send(context.Background(), target, message())
	}
	if len(addrs) != 1 {
		t.Fatalf("%d connections", len(addrs))
	}
}

func TestExcerpt(t *testing.T) {
	for body, want := range map[string]string{
		"":                  "status 500",
		"no stock\n\tof it": "status 500: no stock of it",
		"key sk_live_1234567890abcdefghij, sorry":             "status 500: key [masked], sorry",
		"event 018f3c5a-7b1c-7def-8a90-0123456789ab is known": "status 500: event 018f3c5a-7b1c-7def-8a90-0123456789ab is known",
		"a\x00b\x1b[31m": "status 500: a b [31m",
	} {
		a := Answer{Status: 500, Body: []byte(body)}
		if got := a.Excerpt(); got != want {
			t.Errorf("%q: %q, want %q", body, got, want)
		}
	}
	long := Answer{Status: 500, Body: []byte(strings.Repeat("wörd ", 1000))}
	if n := len(long.Excerpt()); n > 300 {
		t.Errorf("%d bytes", n)
	}
}

func TestExcerptOfNetworkErrors(t *testing.T) {
	own, other := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 5), Port: 4000}, &net.TCPAddr{IP: net.IPv4(1, 1, 1, 1), Port: 80}
	reset := errors.New("connection reset by peer")
	for want, a := range map[string]Answer{
		"the exchange broke off: read tcp 1.1.1.1:80: connection reset by peer": {Err: &net.OpError{Op: "read", Net: "tcp", Source: own, Addr: other, Err: reset}},
		"cannot connect: lookup x.test: no such host": {Connect: true, Err: &net.OpError{Op: "dial", Net: "tcp",
			Err: &net.DNSError{Err: "no such host", Name: "x.test", Server: "10.0.0.53:53"}}},
	} {
		if got := a.Excerpt(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func FuzzExcerpt(f *testing.F) {
	f.Add([]byte("hello"))
	f.Add([]byte{0xff, 0, 'a'})
	f.Fuzz(func(t *testing.T, body []byte) {
		a := Answer{Status: 500, Body: body}
		if s := a.Excerpt(); len(s) > 300 || strings.ContainsAny(s, "\n\r\x00") {
			t.Fatalf("%q", s)
		}
	})
}
