package delivery

import (
	"context"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/delivery/webhook"
)

const (
	// targetTTL is how long a resolved target is used: a secret that was rotated is noticed after it.
	targetTTL = 30 * time.Second
	// targetAgain is how long a target that could not be resolved is left alone, so that those who wait do not ask one by one.
	targetAgain = time.Second
)

// targetCache keeps the resolved target of a subscription until the declaration or its service changes, or targetTTL is over. One
// worker at a time resolves it, and the others wait for what it finds.
type targetCache struct {
	resolving chan struct{} // holds one element while somebody resolves

	mu      sync.Mutex // guards what follows
	decl    *tandem.Subscription
	service tandem.Service
	at      time.Time
	target  *webhook.Target
	err     error // in place of target

	kept targetParts // by who resolves
}

// targetParts are what a target keeps when it is resolved again: they cost an exchange with somebody.
type targetParts struct {
	tokens        *webhook.Tokens
	tokensGuarded bool            // tokens are asked for through the guard
	transport     *http.Transport // of its own, since the target has its own certificates
	certs         tlsTexts        // that transport was made with
	guarded       bool            // transport has the guard
	shaken        string          // the URL whose handshake is done
	rate          float64         // that it allowed
}

func newTargetCache() targetCache { return targetCache{resolving: make(chan struct{}, 1)} }

// get returns where deliveries of s by a declaration go. The error is for people: nothing can be sent.
func (c *targetCache) get(ctx context.Context, s *subscription, decl *tandem.Subscription) (*webhook.Target, error) {
	var svc tandem.Service
	if decl.Service != "" {
		var ok bool
		if svc, ok = s.m.opts.Services(decl.Service); !ok {
			return nil, tandem.Errorf(tandem.CodeNotFound, "no service %q is configured", decl.Service)
		}
	}
	if t, err := c.known(decl, svc); t != nil || err != nil {
		return t, err
	}
	select {
	case c.resolving <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-c.resolving }()
	if t, err := c.known(decl, svc); t != nil || err != nil {
		return t, err
	}
	t, err := c.resolve(ctx, s, decl, svc)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.decl, c.service, c.at, c.target, c.err = decl, svc, time.Now(), t, err
	return t, err
}

// known returns what was found for a declaration not long ago, if anything was.
func (c *targetCache) known(decl *tandem.Subscription, svc tandem.Service) (*webhook.Target, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ttl := targetTTL
	if c.err != nil {
		ttl = targetAgain
	}
	if c.decl != decl || !reflect.DeepEqual(c.service, svc) || time.Since(c.at) >= ttl {
		return nil, nil
	}
	return c.target, c.err
}

// close ends idle connections of its own. Nothing is under way any more.
func (c *targetCache) close() {
	if t := c.kept.transport; t != nil {
		t.CloseIdleConnections()
	}
}

func (c *targetCache) resolve(ctx context.Context, s *subscription, decl *tandem.Subscription, svc tandem.Service) (*webhook.Target, error) {
	m := s.m
	u, err := targetURL(decl, svc)
	if err != nil {
		return nil, err
	}
	t := &webhook.Target{URL: u, Content: decl.Content, UserAgent: m.opts.UserAgent, Timeout: tandem.DefaultTimeout}
	if svc.Timeout > 0 {
		t.Timeout = time.Duration(svc.Timeout)
	}
	if decl.Timeout > 0 {
		t.Timeout = time.Duration(decl.Timeout)
	}
	guarded := s.guarded()
	t.Transport = m.transport(decl.Service, u, guarded && decl.Service == "")
	if t.Keys, err = m.keys(decl); err != nil {
		return nil, err
	}
	if t.Headers, t.Hidden, err = m.headers(decl); err != nil {
		return nil, err
	}
	if err := c.authorize(m, t, decl, guarded); err != nil {
		return nil, err
	}
	if decl.Service != "" {
		t.Transport = m.opts.Through(svc, t.Transport)
	}
	if !decl.Handshake {
		c.kept.shaken = ""
		return t, nil
	}
	if url := u.String(); c.kept.shaken != url {
		if c.kept.rate, err = webhook.Handshake(ctx, t, m.opts.Origin, decl.Rate); err != nil {
			return nil, err
		}
		c.kept.shaken = url
	}
	t.AllowedRate = c.kept.rate
	return t, nil
}

// targetURL returns the URL of a declaration's target.
func targetURL(decl *tandem.Subscription, svc tandem.Service) (*url.URL, error) {
	base := decl.URL
	if decl.Service != "" {
		base = svc.URL
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return nil, tandem.Errorf(tandem.CodeInvalid, "the URL of the target is invalid")
	}
	if decl.Path != "" {
		ref, err := url.Parse(decl.Path)
		if err != nil {
			return nil, tandem.Errorf(tandem.CodeInvalid, "the path of the target is invalid")
		}
		u.Path, u.RawPath, u.RawQuery = strings.TrimSuffix(u.Path, "/")+ref.Path, "", ref.RawQuery
	}
	if u.User != nil { // of a service: the transport would leave it out without a word
		return nil, tandem.Errorf(tandem.CodeInvalid, "a target with a user in its URL is not supported")
	}
	return u, nil
}

// keys returns what signs the deliveries of a declaration: the key, and those that it replaces.
func (m *Manager) keys(decl *tandem.Subscription) ([]webhook.Key, error) {
	if decl.Secret == "" {
		return nil, nil
	}
	k, err := m.key(decl.Secret)
	if err != nil {
		return nil, err
	}
	keys := []webhook.Key{{Key: k}}
	for _, old := range decl.OldSecrets {
		until, ok := tandem.ParseTime(old.Until)
		if !ok || !time.Now().Before(until) {
			continue // its reference may lead nowhere by now
		}
		if k, err = m.key(old.Secret); err != nil {
			return nil, err
		}
		keys = append(keys, webhook.Key{Key: k, Until: until})
	}
	return keys, nil
}
