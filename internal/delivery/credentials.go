package delivery

import (
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/delivery/webhook"
)

// isReference reports whether a text names a secret.
func isReference(text string) bool {
	return strings.HasPrefix(text, "env:") || strings.HasPrefix(text, "file:")
}

// secret returns what a reference names, without the space around it: files end in a newline.
func (m *Manager) secret(ref string) (string, error) {
	if m.opts.Secrets == nil {
		return "", tandem.Errorf(tandem.CodeInvalid, "secrets are not available here")
	}
	text, err := m.opts.Secrets(ref)
	return strings.TrimSpace(text), err
}

// key returns a key that signs.
func (m *Manager) key(ref string) (tandem.WebhookKey, error) {
	text, err := m.secret(ref)
	if err != nil {
		return tandem.WebhookKey{}, err
	}
	k, err := tandem.ParseWebhookKey(text)
	if err == nil && !k.Signs() {
		return tandem.WebhookKey{}, tandem.Errorf(tandem.CodeInvalid, "a public webhook key cannot sign")
	}
	return k, err
}

// headers returns the headers of a declaration, and the secrets among them.
func (m *Manager) headers(decl *tandem.Subscription) (h http.Header, hidden []string, err error) {
	h = make(http.Header, len(decl.Headers)+1)
	for name, value := range decl.Headers {
		if isReference(value) {
			if value, err = m.secret(value); err != nil {
				return nil, nil, err
			}
			if !webhook.ValidHeaderValue(value) {
				return nil, nil, tandem.Errorf(tandem.CodeInvalid, "the secret of the header %s cannot be sent in a header", name)
			}
			hidden = append(hidden, value)
		}
		h[textproto.CanonicalMIMEHeaderKey(name)] = []string{value}
	}
	return h, hidden, nil
}

// authorize adds to a target how it authenticates.
func (c *targetCache) authorize(m *Manager, t *webhook.Target, decl *tandem.Subscription, guarded bool) error {
	auth := decl.Auth
	if auth == nil {
		auth = &tandem.TargetAuth{}
	}
	if b := auth.Basic; b != nil {
		password, err := m.secret(b.Password)
		if err != nil {
			return err
		}
		value := webhook.BasicAuth(b.User, password)
		t.Headers.Set("Authorization", value)
		t.Hidden = append(t.Hidden, strings.TrimPrefix(value, "Basic "), password)
	}
	if err := c.oauth2(m, t, auth.OAuth2, guarded); err != nil {
		return err
	}
	return c.tls(m, t, auth.TLS, guarded && decl.Service == "")
}

// oauth2 lets a target get tokens. The URL of the tokens is the declaration's own, also where the target is a service.
func (c *targetCache) oauth2(m *Manager, t *webhook.Target, o *tandem.OAuth2Auth, guarded bool) error {
	if o == nil {
		c.kept.tokens = nil
		return nil
	}
	secret, err := m.secret(o.ClientSecret)
	if err != nil {
		return err
	}
	t.Hidden = append(t.Hidden, secret)
	u, err := url.Parse(o.TokenURL)
	if err != nil {
		return tandem.Errorf(tandem.CodeInvalid, "the token URL is invalid")
	}
	conf := webhook.OAuth2{TokenURL: o.TokenURL, ClientID: o.ClientID, ClientSecret: secret, Scope: strings.Join(o.Scopes, " "), Audience: o.Audience}
	if c.kept.tokens == nil || !c.kept.tokens.Is(conf) || c.kept.tokensGuarded != guarded {
		c.kept.tokens, c.kept.tokensGuarded = webhook.NewTokens(conf, m.transport("", u, guarded)), guarded
	}
	t.Tokens = c.kept.tokens
	return nil
}

// tlsTexts are certificates and a key, in PEM.
type tlsTexts struct{ cert, key, ca string }

// tls gives a target a transport with certificates of its own.
func (c *targetCache) tls(m *Manager, t *webhook.Target, a *tandem.TLSAuth, guarded bool) error {
	var texts tlsTexts
	if a != nil {
		var err error
		for _, p := range []struct {
			ref  string
			text *string
		}{{a.Cert, &texts.cert}, {a.Key, &texts.key}, {a.CA, &texts.ca}} {
			if p.ref == "" {
				continue
			}
			if *p.text, err = m.secret(p.ref); err != nil {
				return err
			}
		}
		if t.URL.Scheme != "https" {
			return tandem.Errorf(tandem.CodeInvalid, "auth.tls needs a target with an https URL")
		}
	}
	if texts != c.kept.certs || guarded != c.kept.guarded { // the guard of the connections is that of the owner, or service, of then
		c.close()
		c.kept.transport, c.kept.certs = nil, tlsTexts{}
	}
	switch {
	case texts == tlsTexts{}:
		return nil
	case c.kept.transport == nil:
		config, err := webhook.TLSConfig(texts.cert, texts.key, texts.ca)
		if err != nil {
			return err
		}
		guard := m.guard
		if !guarded {
			guard = nil
		}
		c.kept.transport, c.kept.certs, c.kept.guarded = webhook.NewTransport(guard, config), texts, guarded
	}
	t.Transport = c.kept.transport
	return nil
}
