package auth

import (
	"net/http/httptest"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

// TestPass: a pass is worth its token, as long as there is that token, and only within the process.
func TestPass(t *testing.T) {
	a := New([]Token{token("reader", "r", RoleRead), token("writer", "w", RolePublish)})
	if _, _, err := a.Login("x"); tandem.CodeOf(err) != tandem.CodeUnauthorized {
		t.Errorf("a token that is none: %v", err)
	}
	pass, who, err := a.Login(" r\n")
	if err != nil || who.Name != "reader" {
		t.Fatalf("%v, %v", who, err)
	}
	r := httptest.NewRequest("GET", "http://localhost/v1/topics", nil)
	r = r.WithContext(WithPass(r.Context(), pass))
	if id, err := a.Identify(r); err != nil || id.Name != "reader" {
		t.Errorf("%v, %v", id, err)
	}
	r.Header.Set("Authorization", "Bearer w")
	if id, err := a.Identify(r); err != nil || id.Name != "writer" {
		t.Errorf("with another token: %v, %v", id, err)
	}
	r.Header.Set("Authorization", "Bearer x")
	if _, err := a.Identify(r); tandem.CodeOf(err) != tandem.CodeUnauthorized {
		t.Errorf("with a token that is none: %v", err)
	}
	r.Header.Del("Authorization")
	r.Header.Set("Origin", "http://evil.example")
	if _, err := a.Identify(r); tandem.CodeOf(err) != tandem.CodeForbidden {
		t.Errorf("from another origin: %v", err)
	}
	r.Header.Del("Origin")
	a.Apply([]Token{token("reader", "new", RoleRead)})
	if _, err := a.Identify(r); tandem.CodeOf(err) != tandem.CodeUnauthorized {
		t.Errorf("after its token has gone: %v", err)
	}
	a.Apply(nil)
	if id, err := a.Identify(r); err != nil || id.Name != LocalName {
		t.Errorf("without tokens: %v, %v", id, err)
	}
}
