package delivery

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/delivery/webhook"
)

func TestCheckOfTargets(t *testing.T) {
	m := New(nil, Options{
		Services: func(name string) (tandem.Service, bool) { return tandem.Service{URL: "http://svc"}, name == "svc" },
		Secrets: secrets(map[string]string{"env:TANDEM_SECRET_A": "good", "env:OTHER": "good", "env:TANDEM_SECRET_BAD": "a\nb", "env:TANDEM_SECRET_EMPTY": "",
			"env:KEY": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", "env:PUBLIC": "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="}),
	})
	auth := func(a tandem.TargetAuth) func(*tandem.Subscription) {
		return func(s *tandem.Subscription) { s.Auth = &a }
	}
	headers := func(kv ...string) func(*tandem.Subscription) {
		return func(s *tandem.Subscription) {
			s.Headers = map[string]string{}
			for i := 0; i < len(kv); i += 2 {
				s.Headers[kv[i]] = kv[i+1]
			}
		}
	}
	old := func(secret, until string) func(*tandem.Subscription) {
		return func(s *tandem.Subscription) {
			s.Secret, s.OldSecrets = "env:KEY", []tandem.OldSecret{{Secret: secret, Until: until}}
		}
	}
	soon, past := time.Now().Add(time.Hour).Format(time.RFC3339), "2020-01-01T00:00:00Z"
	for name, c := range map[string]struct {
		change func(*tandem.Subscription)
		field  string // "" is valid
		file   bool
	}{
		"no host":               {func(s *tandem.Subscription) { s.URL = "http://:80/" }, "/url", false},
		"a user":                {func(s *tandem.Subscription) { s.URL = "http://me@x/" }, "/url", false},
		"a fragment":            {func(s *tandem.Subscription) { s.URL = "http://x/#y" }, "/url", false},
		"another scheme":        {func(s *tandem.Subscription) { s.URL = "file:///etc/passwd" }, "/url", false},
		"content":               {func(s *tandem.Subscription) { s.Content = "xml" }, "/content", false},
		"batch":                 {func(s *tandem.Subscription) { s.Content = "batch" }, "", false},
		"old without new":       {func(s *tandem.Subscription) { s.OldSecrets = []tandem.OldSecret{{Secret: "env:KEY", Until: soon}} }, "/oldSecrets", false},
		"old":                   {old("env:KEY", soon), "", false},
		"old without day":       {old("env:KEY", "soon"), "/oldSecrets/0/until", false},
		"old that is none":      {old("env:OTHER", soon), "/oldSecrets/0/secret", false},
		"old that is over":      {old("env:GONE", past), "", false},
		"a key that only reads": {func(s *tandem.Subscription) { s.Secret = "env:PUBLIC" }, "/secret", true},
		"too many old": {func(s *tandem.Subscription) {
			s.Secret, s.OldSecrets = "env:KEY", make([]tandem.OldSecret, 4)
		}, "/oldSecrets", false},
		"header":                   {headers("X-A", "b", "Authorization", "Bearer x"), "", false},
		"header that is no name":   {headers("X A", "b"), "/headers/X A", false},
		"header with a slash":      {headers("X/A", "b"), "/headers/X~1A", false},
		"header with a line":       {headers("X-A", "b\r\nX-B: c"), "/headers/X-A", false},
		"header of Tandem":         {headers("tandem-attempt", "1"), "/headers/tandem-attempt", false},
		"header of webhooks":       {headers("WEBHOOK-ID", "1"), "/headers/WEBHOOK-ID", false},
		"header of the connection": {headers("host", "x"), "/headers/host", false},
		"headers that are large":   {headers("X-A", strings.Repeat("a", 9000)), "/headers", false},
		"header by reference":      {headers("X-A", "env:TANDEM_SECRET_A"), "", false},
		"header, other variable":   {headers("X-A", "env:OTHER"), "/headers/X-A", false},
		"the same in the file":     {headers("X-A", "env:OTHER"), "", true},
		"header, file":             {headers("X-A", "file:/etc/passwd"), "/headers/X-A", false},
		"header, absent":           {headers("X-A", "env:TANDEM_SECRET_NONE"), "/headers/X-A", false},
		"header, not sendable":     {headers("X-A", "env:TANDEM_SECRET_BAD"), "/headers/X-A", false},
		"header, empty":            {headers("X-A", "env:TANDEM_SECRET_EMPTY"), "/headers/X-A", false},
		"basic":                    {auth(tandem.TargetAuth{Basic: &tandem.BasicAuth{User: "u", Password: "env:TANDEM_SECRET_A"}}), "", false},
		"basic without password":   {auth(tandem.TargetAuth{Basic: &tandem.BasicAuth{User: "u"}}), "/auth/basic/password", false},
		"basic in clear":           {auth(tandem.TargetAuth{Basic: &tandem.BasicAuth{User: "u", Password: "hunter2"}}), "/auth/basic/password", false},
		"basic with a colon":       {auth(tandem.TargetAuth{Basic: &tandem.BasicAuth{User: "u:v", Password: "env:TANDEM_SECRET_A"}}), "/auth/basic/user", false},
		"both": {auth(tandem.TargetAuth{Basic: &tandem.BasicAuth{User: "u", Password: "env:TANDEM_SECRET_A"},
			OAuth2: &tandem.OAuth2Auth{TokenURL: "https://x/", ClientID: "c", ClientSecret: "env:TANDEM_SECRET_A"}}), "/auth/basic", false},
		"tokens from nowhere":   {auth(tandem.TargetAuth{OAuth2: &tandem.OAuth2Auth{ClientID: "c", ClientSecret: "env:TANDEM_SECRET_A"}}), "/auth/oauth2/tokenUrl", false},
		"tokens for nobody":     {auth(tandem.TargetAuth{OAuth2: &tandem.OAuth2Auth{TokenURL: "https://x/", ClientSecret: "env:TANDEM_SECRET_A"}}), "/auth/oauth2/clientId", false},
		"tokens without secret": {auth(tandem.TargetAuth{OAuth2: &tandem.OAuth2Auth{TokenURL: "https://x/", ClientID: "c"}}), "/auth/oauth2/clientSecret", false},
		"certificates, plain":   {auth(tandem.TargetAuth{TLS: &tandem.TLSAuth{}}), "/auth/tls", false},
		"half a pair": {func(s *tandem.Subscription) {
			s.URL, s.Auth = "https://x/", &tandem.TargetAuth{TLS: &tandem.TLSAuth{Cert: "env:TANDEM_SECRET_A"}}
		}, "/auth/tls/key", false},
		"no pair": {func(s *tandem.Subscription) {
			s.URL, s.Auth = "https://x/", &tandem.TargetAuth{TLS: &tandem.TLSAuth{Cert: "env:TANDEM_SECRET_A", Key: "env:TANDEM_SECRET_A"}}
		}, "/auth/tls", false},
		"no authority": {func(s *tandem.Subscription) {
			s.URL, s.Auth = "https://x/", &tandem.TargetAuth{TLS: &tandem.TLSAuth{CA: "env:TANDEM_SECRET_A"}}
		}, "/auth/tls", false},
	} {
		s := toURL("s", "http://x/")
		c.change(&s)
		err := m.check(&s, c.file)
		p := tandem.ProblemOf(err)
		switch {
		case c.field == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.field != "" && (err == nil || len(p.Errors) != 1 || p.Errors[0].Pointer != c.field):
			t.Errorf("%s: %v", name, err)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%s shows the secret: %v", name, err)
		}
	}
}

// Connections to a target with certificates of its own end with the subscription; a secret that stays keeps them.
func TestTargetPartsAreKept(t *testing.T) {
	cert, key := clientCertificate(t)
	texts := map[string]string{"file:c": cert, "file:k": key, "env:A": "a"}
	m := New(nil, Options{Secrets: secrets(texts)})
	s := newSubscription(m, "s", config{Owner: OwnerFile})
	decl := toURL("s", "https://127.0.0.1:1/")
	decl.Auth = &tandem.TargetAuth{TLS: &tandem.TLSAuth{Cert: "file:c", Key: "file:k"}, OAuth2: &tandem.OAuth2Auth{TokenURL: "http://127.0.0.1:1/", ClientID: "x", ClientSecret: "env:A"}}
	resolve := func() *webhook.Target {
		t.Helper()
		target, err := s.target.resolve(t.Context(), s, &decl, tandem.Service{})
		if err != nil {
			t.Fatal(err)
		}
		return target
	}
	first, second := resolve(), resolve()
	if first.Transport != second.Transport || first.Tokens != second.Tokens || first.Transport == http.RoundTripper(m.trusted) {
		t.Error("a target that did not change has other parts")
	}
	texts["env:A"] = "b"
	if third := resolve(); third.Tokens == first.Tokens || third.Transport != first.Transport {
		t.Error("a changed secret")
	}
	decl.Auth = nil
	if fourth := resolve(); fourth.Tokens != nil || fourth.Transport != http.RoundTripper(m.trusted) {
		t.Error("without credentials")
	}

	hooks := newSink(t, httptest.NewServer, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("WebHook-Allowed-Origin", "*") })
	decl.URL, decl.Handshake = hooks.URL+"/a", true
	for i, path := range []string{"/a", "/a", "/b", "/b", "/a"} {
		decl.URL = hooks.URL + path
		resolve()
		if n := hooks.count(); n != []int{1, 1, 2, 2, 3}[i] {
			t.Fatalf("%d handshakes after %d targets", n, i+1)
		}
	}
	m.trusted.CloseIdleConnections()
}
