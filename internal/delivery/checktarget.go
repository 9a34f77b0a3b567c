package delivery

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/delivery/webhook"
)

func (m *Manager) checkTarget(bad *tandem.Error, sub *tandem.Subscription, trusted bool) {
	if sub.Pull != nil {
		checkPulled(bad, sub)
		return
	}
	if sub.AMQP != nil {
		m.checkAMQP(bad, sub, trusted)
		return
	}
	switch {
	case sub.Service != "" && sub.URL != "":
		bad.WithField("/url", "cannot stand beside service")
	case sub.Service != "":
		if _, ok := m.opts.Services(sub.Service); !ok {
			bad.WithField("/service", "no service %q is configured", sub.Service)
		}
		if ref, err := url.Parse(sub.Path); err != nil || ref.IsAbs() || ref.Host != "" || sub.Path != "" && !strings.HasPrefix(sub.Path, "/") {
			bad.WithField("/path", "must begin with /")
		}
	case sub.URL != "":
		if sub.Path != "" {
			bad.WithField("/path", "goes with service, not with url")
		}
		checkURL(bad, "/url", sub.URL)
	default:
		bad.WithField("/service", "is required, or url, amqp or pull")
	}
	switch sub.Content {
	case "", tandem.ContentStructured, tandem.ContentBinary, tandem.ContentBatch:
	default:
		bad.WithField("/content", "must be %s, %s or %s", tandem.ContentStructured, tandem.ContentBinary, tandem.ContentBatch)
	}
	c := referenceCheck{m, bad, trusted, m.unread}
	c.keys(sub)
	c.headers(sub)
	c.auth(sub)
}

// checkURL refuses what no request can be sent to. It is for URLs of the file and of the API.
func checkURL(bad *tandem.Error, at, text string) {
	switch u, err := url.Parse(text); {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		bad.WithField(at, "must be an absolute http or https URL")
	case u.User != nil:
		bad.WithField(at, "must not hold a user or password")
	case u.Fragment != "":
		bad.WithField(at, "must not have a fragment (#)")
	}
}

// CheckEgress reports what is wrong with Options.Egress. Code: Invalid; Fields name the index ("/0").
func CheckEgress(allow []string) error {
	_, err := webhook.NewGuard(allow)
	return err
}

// resolveTime is how long names may take to be resolved when a subscription is declared.
const resolveTime = 5 * time.Second

// checkEgress refuses URLs of the API whose hosts have addresses that nothing may be sent to. What a name leads to later is checked
// with each connection.
func (m *Manager) checkEgress(ctx context.Context, sub *tandem.Subscription) error {
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	bad := tandem.Errorf(tandem.CodeInvalid, "the subscription is invalid")
	check := func(at, text string) {
		if u, err := url.Parse(text); err == nil {
			if err := m.guard.CheckHost(ctx, u.Hostname()); err != nil {
				bad.WithField(at, "%s", tandem.ProblemOf(err).Detail)
				bad.Hint = tandem.ProblemOf(err).Hint
			}
		}
	}
	if sub.URL != "" {
		check("/url", sub.URL)
	}
	if sub.Auth != nil && sub.Auth.OAuth2 != nil {
		check("/auth/oauth2/tokenUrl", sub.Auth.OAuth2.TokenURL)
	}
	if len(bad.Fields) > 0 {
		return bad
	}
	return nil
}
