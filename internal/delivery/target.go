package delivery

import (
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/delivery/webhook"
)

// targetCache keeps the resolved target of a subscription until the declaration or its service changes, or targetTTL is over.
type targetCache struct {
	mu      sync.Mutex
	decl    *tandem.Subscription
	service tandem.Service
	at      time.Time
	target  *webhook.Target
}

func (c *targetCache) get(m *Manager, decl *tandem.Subscription) (*webhook.Target, error) {
	var svc tandem.Service
	if decl.Service != "" {
		var ok bool
		if svc, ok = m.opts.Services(decl.Service); !ok {
			return nil, tandem.Errorf(tandem.CodeNotFound, "no service %q is configured", decl.Service)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.target != nil && c.decl == decl && c.service == svc && now.Sub(c.at) < targetTTL {
		return c.target, nil
	}
	t, err := m.resolveTarget(decl, svc)
	if err != nil {
		return nil, err
	}
	c.decl, c.service, c.at, c.target = decl, svc, now, t
	return t, nil
}

// targetTTL is how long a resolved target is used: a secret that was rotated is noticed after it.
const targetTTL = 30 * time.Second

// resolveTarget returns where deliveries of a declaration go.
func (m *Manager) resolveTarget(decl *tandem.Subscription, svc tandem.Service) (*webhook.Target, error) {
	t := &webhook.Target{UserAgent: m.opts.UserAgent, Timeout: defaultTimeout}
	base, host := decl.URL, ""
	if decl.Service != "" {
		base, host = svc.URL, decl.Service
		if svc.Timeout > 0 {
			t.Timeout = time.Duration(svc.Timeout)
		}
	}
	if decl.Timeout > 0 {
		t.Timeout = time.Duration(decl.Timeout)
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
	if host == "" {
		host = "url:" + u.Scheme + "://" + u.Host
	}
	t.URL, t.Transport = u, m.transport(host)
	if decl.Secret != "" {
		if t.Secret, err = m.secret(decl.Secret); err != nil {
			return nil, err
		}
	}
	return t, nil
}
