package delivery

import (
	"errors"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/delivery/webhook"
)

// Limits of what is sent with each request.
const (
	maxHeaders     = 32
	maxHeaderBytes = 8 << 10 // of names and values together, as declared
	maxOldSecrets  = 3
)

// referenceCheck checks what a declaration says of secrets. Whom the API serves it tells nothing but that a secret cannot be used:
// why not would tell what is on this machine.
type referenceCheck struct {
	m       *Manager
	bad     *tandem.Error
	trusted bool
	unread  bool // what references name is not looked at
}

// reference checks that use takes what ref names. What is sent may, through the API, only come from variables that are there to be sent.
func (c *referenceCheck) reference(at, ref, what string, sent bool, use func(text string) error) {
	prefix := "env:"
	if sent {
		prefix += tandem.SecretPrefix
	}
	switch {
	case ref == "":
		c.bad.WithField(at, "is required: env:NAME, or file:PATH in the configuration file")
		return
	case !isReference(ref):
		c.bad.WithField(at, "must be env:NAME, or file:PATH in the configuration file")
		return
	case !c.trusted && !strings.HasPrefix(ref, prefix):
		c.bad.WithField(at, "must be %sNAME; anything else is for the configuration file", prefix)
		return
	}
	if c.unread {
		return
	}
	text, err := c.m.secret(ref)
	if err == nil {
		err = use(text)
	}
	switch {
	case err == nil:
	case c.trusted:
		c.bad.WithField(at, "%s", tandem.ProblemOf(err).Detail)
	default:
		c.bad.WithField(at, "does not name %s", what)
	}
}

func (c *referenceCheck) keys(sub *tandem.Subscription) {
	signs := func(text string) error {
		k, err := tandem.ParseWebhookKey(text)
		if err == nil && !k.Signs() {
			err = tandem.Errorf(tandem.CodeInvalid, "a public webhook key cannot sign")
		}
		return err
	}
	const what = "a secret of webhooks: whsec_ and 24 to 64 bytes in base64, or whsk_ and an ed25519 key"
	if sub.Secret != "" {
		c.reference("/secret", sub.Secret, what, false, signs)
	} else if len(sub.OldSecrets) > 0 {
		c.bad.WithField("/oldSecrets", "goes with secret")
	}
	if len(sub.OldSecrets) > maxOldSecrets {
		c.bad.WithField("/oldSecrets", "must be %d at most", maxOldSecrets)
		return
	}
	for i, old := range sub.OldSecrets {
		at := "/oldSecrets/" + strconv.Itoa(i)
		until, ok := tandem.ParseTime(old.Until)
		if !ok {
			c.bad.WithField(at+"/until", "%q is not an RFC 3339 time", old.Until)
		} else if time.Now().Before(until) { // afterwards its reference may lead nowhere
			c.reference(at+"/secret", old.Secret, what, false, signs)
		}
	}
}

func (c *referenceCheck) headers(sub *tandem.Subscription) {
	size := 0
	seen := map[string]bool{}
	for name, value := range sub.Headers {
		at := "/headers/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		size += len(name) + len(value)
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		switch {
		case !isToken(name):
			c.bad.WithField(at, "is not the name of a header")
		case seen[canonical]:
			c.bad.WithField(at, "is there twice")
		case isReserved(canonical):
			c.bad.WithField(at, "is a header that Tandem sets")
		case canonical == "Authorization" && sub.Auth != nil && (sub.Auth.Basic != nil || sub.Auth.OAuth2 != nil):
			c.bad.WithField(at, "cannot stand beside auth")
		case isReference(value):
			c.reference(at, value, "a text that can be sent in a header", true, sendable)
		case !webhook.ValidHeaderValue(value):
			c.bad.WithField(at, "must be text without control characters, and without space around it")
		}
		seen[canonical] = true
	}
	if len(sub.Headers) > maxHeaders || size > maxHeaderBytes {
		c.bad.WithField("/headers", "must be %d at most, of %d bytes together", maxHeaders, maxHeaderBytes)
	}
}

func sendable(text string) error {
	if text == "" || !webhook.ValidHeaderValue(text) {
		return tandem.Errorf(tandem.CodeInvalid, "cannot be sent in a header")
	}
	return nil
}

func present(text string) error {
	if text == "" {
		return errors.New("is empty")
	}
	return nil
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// isReserved reports whether a header says what only Tandem, or its connection, can say.
func isReserved(canonical string) bool {
	switch canonical {
	case "Host", "Content-Type", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Trailer", "Te", "Connection", "Keep-Alive", "Upgrade",
		"Expect", "Proxy-Connection", "Proxy-Authorization", "Traceparent", "Tracestate":
		return true
	}
	for _, prefix := range [...]string{tandem.HeaderPrefix, "Webhook-", "Ce-"} {
		if strings.HasPrefix(canonical, prefix) {
			return true
		}
	}
	return false
}

func (c *referenceCheck) auth(sub *tandem.Subscription) {
	a := sub.Auth
	if a == nil {
		return
	}
	if a.Basic != nil && a.OAuth2 != nil {
		c.bad.WithField("/auth/basic", "cannot stand beside oauth2")
	}
	if b := a.Basic; b != nil {
		if b.User == "" || strings.Contains(b.User, ":") {
			c.bad.WithField("/auth/basic/user", "is required, and must not hold a colon")
		}
		c.reference("/auth/basic/password", b.Password, "a variable that is set", true, present)
	}
	if o := a.OAuth2; o != nil {
		checkURL(c.bad, "/auth/oauth2/tokenUrl", o.TokenURL)
		if o.ClientID == "" {
			c.bad.WithField("/auth/oauth2/clientId", "is required")
		}
		c.reference("/auth/oauth2/clientSecret", o.ClientSecret, "a variable that is set", true, present)
	}
	if a.TLS != nil {
		c.tls(sub, a.TLS)
	}
}

func (c *referenceCheck) tls(sub *tandem.Subscription, t *tandem.TLSAuth) {
	base := sub.URL
	if svc, ok := c.m.opts.Services(sub.Service); ok && sub.Service != "" {
		base = svc.URL
	}
	if base != "" && !strings.HasPrefix(strings.ToLower(base), "https:") {
		c.bad.WithField("/auth/tls", "needs a target with an https URL")
	}
	var texts [3]string
	before := len(c.bad.Fields)
	for i, f := range [...]struct{ at, ref string }{{"cert", t.Cert}, {"key", t.Key}, {"ca", t.CA}} {
		if f.ref == "" && (f.at == "ca" || t.Cert == t.Key) { // neither is there
			continue
		}
		c.reference("/auth/tls/"+f.at, f.ref, "a variable that is set", true, func(text string) error {
			texts[i] = text
			return present(text)
		})
	}
	if c.unread || len(c.bad.Fields) > before {
		return
	}
	if _, err := webhook.TLSConfig(texts[0], texts[1], texts[2]); err != nil {
		c.bad.WithField("/auth/tls", "%s", tandem.ProblemOf(err).Detail)
	}
}
