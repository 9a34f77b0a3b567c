package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Options configure a Client. The zero value works with a server on loopback.
type Options struct {
	// Token is sent as a bearer token; empty sends none.
	Token string
	// HTTP makes the requests; nil means a client of its own with timeouts for connecting and without redirects. Its
	// Timeout must be zero, or streams end by it.
	HTTP *http.Client
	// Timeout bounds one attempt of one request, without streams and NDJSON; a long poll adds what it waits. Zero means 30s.
	Timeout time.Duration
	// Retries is how often a request that is safe to repeat is repeated. Zero means 4; negative disables.
	Retries int
	// UserAgent names the caller; empty means "tandem-client".
	UserAgent string
}

// Client is a server's API.
type Client struct {
	base    string // without a slash at its end
	shown   string // base without a password, for messages
	token   string
	http    *http.Client
	timeout time.Duration
	retries int
	agent   string
	sleep   func(ctx context.Context, d time.Duration) error
}

// New returns a client of the server whose API listener is at baseURL, such as http://127.0.0.1:8090. It makes no
// request. Code: Invalid.
func New(baseURL string, opts Options) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		shown := strconv.Quote(baseURL)
		switch {
		case err == nil:
			shown = strconv.Quote(u.Redacted())
		case strings.Contains(baseURL, "@"): // before it may be a password
			shown = "the address"
		}
		return nil, tandem.Errorf(tandem.CodeInvalid, "%s is not the URL of a server", shown).
			WithHint("write a URL such as http://127.0.0.1:8090")
	}
	c := &Client{base: strings.TrimRight(baseURL, "/"), shown: strings.TrimRight(u.Redacted(), "/"), token: opts.Token, http: opts.HTTP, timeout: opts.Timeout,
		retries: opts.Retries, agent: opts.UserAgent, sleep: sleep}
	if c.http == nil {
		c.http = defaultHTTP()
	}
	if c.timeout == 0 {
		c.timeout = 30 * time.Second
	}
	if c.retries == 0 {
		c.retries = 4
	}
	if c.agent == "" {
		c.agent = "tandem-client"
	}
	return c, nil
}

func defaultHTTP() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 64
	return &http.Client{
		Transport: t,
		// A redirect would send the token, or an event, somewhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
