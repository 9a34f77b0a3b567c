package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

// The roles of a token. None contains another.
const (
	RoleRead    = "read"    // read events, declarations, status, metrics
	RolePublish = "publish" // publish events
	RoleOperate = "operate" // change topics and subscriptions, redrive, seek, reload
	RolePull    = "pull"    // lease events of subscriptions that are pulled, acknowledge and return them
)

// Token is one caller that is known.
type Token struct {
	Name   string   `json:"name"`   // who it is, shown as the producer of events
	SHA256 string   `json:"sha256"` // of the token, 64 hexadecimal digits
	Roles  []string `json:"roles"`
}

// Identity is who called.
type Identity struct {
	Name  string
	Roles []string
}

// LocalName is the name of all callers where there are no tokens.
const LocalName = "local"

// Can reports whether the caller has a role.
func (id *Identity) Can(role string) bool { return slices.Contains(id.Roles, role) }

// Auth tells callers apart. It is safe for concurrent use.
type Auth struct{ known atomic.Pointer[[]known] }

type known struct {
	sum [sha256.Size]byte
	id  *Identity
}

// New returns an Auth for tokens that passed CheckTokens. None means that everybody may do everything.
func New(tokens []Token) *Auth {
	a := new(Auth)
	a.Apply(tokens)
	return a
}

// Apply replaces the tokens; requests under way keep what they were given. A token whose SHA256 is not one is left out:
// CheckTokens says so before.
func (a *Auth) Apply(tokens []Token) {
	if len(tokens) == 0 {
		a.known.Store(nil)
		return
	}
	all := make([]known, 0, len(tokens))
	for _, t := range tokens {
		if sum, err := hex.DecodeString(t.SHA256); err == nil && len(sum) == sha256.Size {
			all = append(all, known{[sha256.Size]byte(sum), &Identity{t.Name, slices.Clone(t.Roles)}})
		}
	}
	a.known.Store(&all)
}

// Identify checks Host, origin and token of a request and returns who sent it. The Identity is shared: do not change it.
// Codes: Unauthorized, Forbidden.
func (a *Auth) Identify(r *http.Request) (*Identity, error) {
	tokens := a.known.Load()
	if tokens == nil && !loopbackHost(r.Host) {
		return nil, tandem.Errorf(tandem.CodeForbidden, "Host names another server").
			WithField("Host", "must be localhost or a loopback address").
			WithHint("use http://127.0.0.1 or http://localhost, or configure api.tokens")
	}
	if err := checkOrigin(r); err != nil {
		return nil, err
	}
	if tokens == nil {
		return local, nil
	}
	if p, ok := r.Context().Value(passKey{}).(Pass); ok && r.Header.Get("Authorization") == "" {
		return holder(*tokens, p.sum)
	}
	return identify(*tokens, r.Header)
}

var local = &Identity{LocalName, []string{RoleRead, RolePublish, RoleOperate, RolePull}}

func identify(tokens []known, h http.Header) (*Identity, error) {
	value := h.Get("Authorization")
	scheme, token, ok := strings.Cut(value, " ")
	if token = strings.TrimSpace(token); !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return nil, tandem.Errorf(tandem.CodeUnauthorized, "no bearer token was sent").
			WithHint("send Authorization: Bearer and one of the tokens of api.tokens")
	}
	return holder(tokens, sha256.Sum256([]byte(token)))
}

// holder returns who has the token of a sum.
func holder(tokens []known, sum [sha256.Size]byte) (*Identity, error) {
	var hit *Identity
	for i := range tokens { // all of them, so that the time tells nothing
		if subtle.ConstantTimeCompare(sum[:], tokens[i].sum[:]) == 1 {
			hit = tokens[i].id
		}
	}
	if hit == nil {
		return nil, tandem.Errorf(tandem.CodeUnauthorized, "the bearer token is not known here")
	}
	return hit, nil
}

// Require returns an error unless the caller has a role. Code: Forbidden.
func (id *Identity) Require(role string) error {
	if id.Can(role) {
		return nil
	}
	return tandem.Errorf(tandem.CodeForbidden, "%s has not the role %q", id.Name, role).
		WithHint("add the role to the token %s in api.tokens", id.Name)
}

// WriteProblem answers a request that Identify or Require refused, with WWW-Authenticate (RFC 6750, section 3).
func WriteProblem(w http.ResponseWriter, r *http.Request, err error) {
	if tandem.CodeOf(err) == tandem.CodeUnauthorized {
		challenge := `Bearer realm="tandem"`
		if r.Header.Get("Authorization") != "" {
			challenge += `, error="invalid_token"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
	}
	httpx.WriteProblem(w, err)
}

type contextKey struct{}

// Middleware answers requests that Identify refuses, and hands on the others with their Identity (see From).
func (a *Auth) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := a.Identify(r)
		if err != nil {
			WriteProblem(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(With(r.Context(), id)))
	})
}

// With returns a context that says who sent its request (see From).
func With(ctx context.Context, id *Identity) context.Context {
	return context.WithValue(ctx, contextKey{}, id)
}

// From returns who sent the request of this context, the zero Identity if neither Middleware nor With has said so.
func From(ctx context.Context) Identity {
	if id, ok := ctx.Value(contextKey{}).(*Identity); ok {
		return *id
	}
	return Identity{}
}
