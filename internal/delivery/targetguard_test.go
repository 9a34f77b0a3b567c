package delivery

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

// What a target keeps must not carry leave to go anywhere over to a URL of the API: neither from a service, nor from a file that had
// declared the subscription before.
func TestKeptPartsHoldTheGuard(t *testing.T) {
	cert, key := clientCertificate(t)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"access_token":"t"}`)
	}))
	defer server.Close()
	plain := httptest.NewServer(server.Config.Handler)
	defer plain.Close()
	texts := map[string]string{"env:C": cert, "env:K": key, "env:CA": serverCA(server), "env:S": "a"}
	m := New(nil, Options{Secrets: secrets(texts), Services: func(string) (tandem.Service, bool) { return tandem.Service{URL: server.URL}, true }})
	byFile := toURL("s", server.URL)
	byFile.Auth = &tandem.TargetAuth{TLS: &tandem.TLSAuth{Cert: "env:C", Key: "env:K", CA: "env:CA"},
		OAuth2: &tandem.OAuth2Auth{TokenURL: plain.URL, ClientID: "x", ClientSecret: "env:S"}}
	toService := byFile
	toService.URL, toService.Service = "", "internal"
	for name, before := range map[string]struct {
		owner string
		decl  tandem.Subscription
	}{"a file": {OwnerFile, byFile}, "a service": {OwnerAPI, toService}} {
		s := newSubscription(m, "s", config{Owner: before.owner})
		target, err := s.target.resolve(t.Context(), s, &before.decl, tandem.Service{URL: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if answer, err := target.Transport.RoundTrip(r); err != nil {
			t.Fatalf("%s: %v", name, err)
		} else {
			_ = answer.Body.Close()
		}
		if before.owner == OwnerFile {
			if _, err := target.Tokens.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		s.config.Owner = OwnerAPI
		byAPI := byFile
		if target, err = s.target.resolve(t.Context(), s, &byAPI, tandem.Service{}); err != nil {
			t.Fatal(err)
		}
		answer, err := target.Transport.RoundTrip(r.Clone(t.Context()))
		if err == nil {
			_ = answer.Body.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "is refused") {
			t.Errorf("after %s the target is reached: %v", name, err)
		}
		if _, err := target.Tokens.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "is refused") {
			t.Errorf("after %s a token was got: %v", name, err)
		}
		s.target.close()
	}
	m.trusted.CloseIdleConnections()
}
