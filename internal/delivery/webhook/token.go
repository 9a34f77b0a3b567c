package webhook

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Limits of what a token endpoint answers, and of how often it is asked.
const (
	maxTokenAnswer = 64 << 10
	maxTokenBytes  = 16 << 10
	tokenTimeout   = 10 * time.Second
	// maxTokenLife is how long a token is used at most, and tokenLife one of which the endpoint does not say it.
	maxTokenLife = 24 * time.Hour
	tokenLife    = 5 * time.Minute
	// tokenAgain is how long an endpoint is left alone after it failed, and how old a token must be to be replaced because it
	// was refused: a target that refuses every token must not make a storm at the endpoint.
	tokenAgain = 2 * time.Second
)

// OAuth2 says how to get tokens (RFC 6749, section 4.4). The client authenticates by HTTP Basic (section 2.3.1).
type OAuth2 struct {
	TokenURL     string
	ClientID     string
	ClientSecret string
	Scope        string // separated by spaces
	Audience     string
}

// Tokens gets tokens and keeps the newest until shortly before it expires. It is safe for concurrent use: of those who need a token
// one asks, and the others wait for what it gets.
type Tokens struct {
	conf      OAuth2
	transport http.RoundTripper
	asking    chan struct{} // holds one element while somebody asks

	mu     sync.Mutex // guards what follows
	token  string
	from   time.Time // when it came
	until  time.Time
	err    error // the last request failed
	failed time.Time
}

// NewTokens returns a source of tokens that asks through transport. It asks when it must, and starts no goroutine.
func NewTokens(conf OAuth2, transport http.RoundTripper) *Tokens {
	return &Tokens{conf: conf, transport: transport, asking: make(chan struct{}, 1)}
}

// Is reports whether the tokens are those of conf.
func (s *Tokens) Is(conf OAuth2) bool { return s.conf == conf }

// Token returns a token that is valid, asking for one if need be. Codes: Upstream; or the error of ctx.
func (s *Tokens) Token(ctx context.Context) (string, error) {
	if token, err := s.known(); token != "" || err != nil {
		return token, err
	}
	select {
	case s.asking <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { <-s.asking }()
	if token, err := s.known(); token != "" || err != nil {
		return token, err
	}
	token, life, err := s.ask(ctx)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.token, s.from, s.until, s.err = token, now, now.Add(life-min(life/10, 30*time.Second)), nil
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errSlow): // says nothing about the endpoint
		return "", ctx.Err()
	default:
		s.err, s.failed = err, now
	}
	return token, err
}

// known returns the token that is valid, or the error that it is too early to ask after.
func (s *Tokens) known() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case s.token != "" && now.Before(s.until):
		return s.token, nil
	case s.err != nil && now.Sub(s.failed) < tokenAgain:
		return "", s.err
	}
	return "", nil
}

// Refused notes that a target did not take a token and reports whether Token may return another one now.
func (s *Tokens) Refused(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == token {
		if time.Since(s.from) < tokenAgain {
			return false
		}
		s.token = ""
	}
	return true
}

// ask gets a token. Its error shows nothing of what was sent, and of the answer only the code of RFC 6749, section 5.2.
func (s *Tokens) ask(ctx context.Context) (token string, life time.Duration, err error) {
	fail := func(format string, args ...any) (string, time.Duration, error) {
		return "", 0, &tandem.Error{Code: tandem.CodeUpstream, Op: "get a token", Err: tandem.Errorf(tandem.CodeUpstream, format, args...)}
	}
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	form := url.Values{"grant_type": {"client_credentials"}}
	if s.conf.Scope != "" {
		form.Set("scope", s.conf.Scope)
	}
	if s.conf.Audience != "" {
		form.Set("audience", s.conf.Audience)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.conf.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return fail("the token URL is invalid")
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Authorization", BasicAuth(url.QueryEscape(s.conf.ClientID), url.QueryEscape(s.conf.ClientSecret)))
	resp, err := s.transport.RoundTrip(r) // no redirects: they would take the secret elsewhere
	if err != nil {
		return fail("%s", why(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxTokenAnswer+1))
	var answer struct {
		AccessToken string          `json:"access_token"`
		TokenType   string          `json:"token_type"`
		ExpiresIn   json.RawMessage `json:"expires_in"`
		Error       string          `json:"error"`
	}
	switch {
	case err != nil:
		return fail("the answer broke off")
	case len(body) > maxTokenAnswer:
		return fail("the answer is over %d bytes", maxTokenAnswer)
	}
	malformed := json.Unmarshal(body, &answer) != nil
	switch {
	case resp.StatusCode != http.StatusOK && !malformed && answer.Error != "":
		return fail("the token URL answered %d, %s", resp.StatusCode, redact(answer.Error, 64))
	case resp.StatusCode != http.StatusOK:
		return fail("the token URL answered %d", resp.StatusCode)
	case malformed || answer.AccessToken == "":
		return fail("the answer holds no token")
	case answer.TokenType != "" && !strings.EqualFold(answer.TokenType, "bearer"):
		return fail("the token is not of type bearer")
	case !ValidHeaderValue(answer.AccessToken) || len(answer.AccessToken) > maxTokenBytes:
		return fail("the token cannot be sent in a header")
	}
	return answer.AccessToken, lifeOf(answer.ExpiresIn), nil
}

// lifeOf reads expires_in: seconds, as a number or, from some, as text.
func lifeOf(raw json.RawMessage) time.Duration {
	sec, err := strconv.ParseFloat(strings.Trim(string(raw), `"`), 64)
	if err != nil || !(sec > 0) {
		return tokenLife
	}
	return time.Duration(min(sec, maxTokenLife.Seconds()) * float64(time.Second))
}

// BasicAuth returns the value of the header Authorization by RFC 7617.
func BasicAuth(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// ValidHeaderValue reports whether s can be the value of a header: no control characters, no space around it.
func ValidHeaderValue(s string) bool {
	if strings.TrimSpace(s) != s {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
}
