package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
)

const (
	maxBodyBytes    = 128 << 20 // of an answer held in memory
	maxProblemBytes = 1 << 20
	retryBase       = 100 * time.Millisecond
	retryMax        = 5 * time.Second
	retryAfterMax   = 30 * time.Second // a longer Retry-After is the caller's to wait for
)

// repeat says after what a request may be sent again.
type repeat int

const (
	repeatRefused repeat = iota // after 429 only: the server took nothing
	repeatAlways                // after 429, 503 and a broken connection
)

// call is one request.
type call struct {
	method, path string
	query        url.Values
	header       http.Header
	body         []byte
	repeat       repeat
	wait         time.Duration // that the server may take longer
}

func (r *call) op() string { return r.method + " " + r.path }

// do sends a request, again where that is safe, and decodes the JSON of the answer into out unless that is nil. It
// returns the header of the answer.
func (c *Client) do(ctx context.Context, r call, out any) (http.Header, error) {
	for attempt := 0; ; attempt++ {
		header, err := c.once(ctx, r, out)
		wait, again := c.again(attempt, r.repeat, err)
		if !again || ctx.Err() != nil {
			return header, err
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return header, err
		}
		if c.sleep(ctx, wait) != nil {
			return header, err
		}
	}
}

// again returns how long to wait before the next attempt, and whether there is one.
func (c *Client) again(attempt int, policy repeat, err error) (time.Duration, bool) {
	var e *tandem.Error
	if attempt >= c.retries || !errors.As(err, &e) {
		return 0, false
	}
	if e.Code != tandem.CodeOverloaded && (e.Code != tandem.CodeUnavailable || policy != repeatAlways) {
		return 0, false
	}
	if e.RetryAfter > retryAfterMax {
		return 0, false
	}
	return e.RetryAfter + backoff(attempt, retryBase, retryMax), true
}

// backoff is full jitter below base times two to the number of failures, capped.
func backoff(failures int, base, limit time.Duration) time.Duration {
	d := limit
	if failures < 16 {
		d = min(limit, base<<failures)
	}
	return rand.N(d + 1)
}

func (c *Client) once(ctx context.Context, r call, out any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout+r.wait)
	defer cancel()
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	res, err := c.send(ctx, r, body)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if out == nil {
		io.Copy(io.Discard, io.LimitReader(res.Body, maxProblemBytes)) // so that the connection is used again
		return res.Header, nil
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxBodyBytes+1))
	switch {
	case err != nil:
		return res.Header, c.broken(ctx, r, err)
	case len(b) > maxBodyBytes:
		return res.Header, &tandem.Error{Code: tandem.CodeTooLarge, Op: r.op(), Err: fmt.Errorf("the answer is larger than %d MiB", maxBodyBytes>>20)}
	}
	if err := json.Unmarshal(b, out); err != nil {
		return res.Header, &tandem.Error{Code: tandem.CodeInternal, Op: r.op(), Err: fmt.Errorf("read the answer: %w", err),
			Hint: "is this the API listener of a Tandem server?"}
	}
	return res.Header, nil
}

// send sends a request once. An answer beyond 2xx is returned as an error, its body closed.
func (c *Client) send(ctx context.Context, r call, body io.Reader) (*http.Response, error) {
	target := c.base + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, &tandem.Error{Code: tandem.CodeInvalid, Op: r.op(), Err: err}
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", c.agent)
	if r.body != nil && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.broken(ctx, r, err)
	}
	if res.StatusCode >= 300 {
		defer res.Body.Close()
		return nil, problem(r, res)
	}
	return res, nil
}

// broken is the error of a request that got no answer, or half of one.
func (c *Client) broken(ctx context.Context, r call, err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // without the address, which the hint has
	}
	e := &tandem.Error{Code: tandem.CodeUnavailable, Op: r.op(), Err: err}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		e.Code = tandem.CodeTimeout
	case ctx.Err() == nil:
		e.Hint = "is a server listening on " + c.shown + "?"
	}
	return e
}

// problem is the error that an answer beyond 2xx stands for.
func problem(r call, res *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(res.Body, maxProblemBytes))
	p := tandem.Problem{}
	if t, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); t != tandem.MediaProblem || json.Unmarshal(b, &p) != nil {
		p = tandem.Problem{Detail: "answered " + res.Status, Hint: "is this the API listener of a Tandem server?"}
	}
	p.Status = res.StatusCode
	e := p.Err()
	e.Op = r.op()
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s >= 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}

func jsonBody(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return nil // declarations always marshal
	}
	return b
}
