package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/examples/shop/invoices"
)

// crowd is the customers: they know nothing but the public listener.
type crowd struct {
	base     string
	http     *http.Client
	tokens   map[string]string // by account; not changed after logIn
	progress *progress
}

func newCrowd(base string, size int, p *progress) *crowd {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy, t.MaxIdleConnsPerHost = nil, size
	return &crowd{base: base, http: &http.Client{Transport: t, Timeout: 30 * time.Second}, tokens: map[string]string{}, progress: p}
}

func (c *crowd) close() { c.http.CloseIdleConnections() }

// passwordOf is no secret: these customers live on loopback as long as the demo.
func passwordOf(account string) string { return "the password of " + account }

// logIn registers the customers of the invoices, or logs in those that were here before.
func (c *crowd) logIn(ctx context.Context, list []*invoices.Invoice) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	type session struct{ name, token string }
	sessions := make(chan session, len(list)+1)
	known := map[string]bool{}
	for _, v := range append([]*invoices.Invoice{{Customer: invoices.Guest}}, list...) {
		if known[v.Customer] {
			continue
		}
		known[v.Customer] = true
		g.Go(func() error {
			body, _ := json.Marshal(map[string]string{"name": v.Customer, "password": passwordOf(v.Customer)})
			a, err := c.insist(ctx, "POST", "/accounts", body, nil, http.StatusCreated, http.StatusConflict)
			if err == nil && a.status == http.StatusConflict {
				a, err = c.insist(ctx, "POST", "/session", body, nil, http.StatusOK)
			}
			if err != nil {
				return fmt.Errorf("log %s in: %w", v.Customer, err)
			}
			var s struct {
				Token string `json:"token"`
			}
			if err := json.Unmarshal(a.body, &s); err != nil {
				return err
			}
			sessions <- session{v.Customer, s.Token}
			return nil
		})
	}
	err := g.Wait()
	close(sessions)
	for s := range sessions {
		c.tokens[s.name] = s.token
	}
	return err
}

// orderView is an order as the shop shows it.
type orderView struct {
	ID         string `json:"id"`
	Status     string `json:"status"`
	Reason     string `json:"reason"`
	TotalPence int64  `json:"totalPence"`
}

// order places an invoice and returns the order. key makes sure that however often it is sent it is one order.
func (c *crowd) order(ctx context.Context, v *invoices.Invoice, reference, key string) (*orderView, error) {
	kind := "sale"
	if v.Return {
		kind = "return"
	}
	body, err := json.Marshal(map[string]any{"reference": reference, "kind": kind, "lines": v.Lines})
	if err != nil {
		return nil, err
	}
	header := http.Header{"Authorization": {"Bearer " + c.tokens[v.Customer]}, "Idempotency-Key": {key}}
	a, err := c.insist(ctx, "POST", "/orders", body, header, http.StatusCreated, http.StatusOK, http.StatusAccepted)
	if err != nil {
		return nil, fmt.Errorf("order %s: %w", reference, err)
	}
	var o orderView
	if err := json.Unmarshal(a.body, &o); err != nil || o.ID == "" {
		return nil, tandem.Errorf(tandem.CodeInternal, "order %s: answered %d %.200s", reference, a.status, a.body)
	}
	c.progress.ordered(o.ID, a.sent, a.took)
	if o.Status == "failed" {
		c.progress.failed(o.ID)
	}
	return &o, nil
}

// look reads an order.
func (c *crowd) look(ctx context.Context, customer, id string) (*orderView, error) {
	header := http.Header{"Authorization": {"Bearer " + c.tokens[customer]}}
	a, err := c.insist(ctx, "GET", "/orders/"+id, nil, header, http.StatusOK)
	if err != nil {
		return nil, err
	}
	var o orderView
	return &o, json.Unmarshal(a.body, &o)
}

// answer is what a request got in the end.
type answer struct {
	status int
	body   []byte
	sent   time.Time     // first
	took   time.Duration // of the attempt that was answered
}

const maxAnswer = 1 << 20

// insist sends a request until it is answered with one of the statuses, as a customer does who presses the button
// again: after broken connections, 429 and 5xx. Any other answer is an error.
func (c *crowd) insist(ctx context.Context, method, path string, body []byte, header http.Header, want ...int) (answer, error) {
	first := time.Now()
	for attempt := 0; ; attempt++ {
		began := time.Now()
		a, retryAfter, err := c.try(ctx, method, path, body, header)
		a.sent, a.took = first, time.Since(began)
		if err == nil {
			for _, status := range want {
				if a.status == status {
					return a, nil
				}
			}
			if a.status != http.StatusTooManyRequests && a.status < 500 {
				return a, tandem.Errorf(tandem.CodeInternal, "%s %s: answered %d %.300s", method, path, a.status, a.body)
			}
		}
		if ctx.Err() != nil {
			return a, context.Cause(ctx)
		}
		if method == "POST" {
			c.progress.again()
		}
		wait := rand.N(50*time.Millisecond<<min(attempt, 5)) + retryAfter
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return a, errors.Join(context.Cause(ctx), err)
		}
	}
}

func (c *crowd) try(ctx context.Context, method, path string, body []byte, header http.Header) (a answer, retryAfter time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return a, 0, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return a, 0, err
	}
	defer res.Body.Close()
	a.status = res.StatusCode
	a.body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if seconds, aerr := strconv.Atoi(strings.TrimSpace(res.Header.Get("Retry-After"))); aerr == nil && seconds > 0 && res.StatusCode >= 400 {
		retryAfter = min(time.Duration(seconds)*time.Second, 2*time.Second)
	}
	return a, retryAfter, err
}
