package auth

import (
	"context"
	"crypto/sha256"
	"strings"
)

// Pass stands for a token that somebody has shown, without being the token: what holds a session keeps one. It cannot be sent, only
// handed on in the context of a request within the process.
type Pass struct{ sum [sha256.Size]byte }

type passKey struct{}

// Login returns the pass of a token, and who has that token. Code: Unauthorized.
func (a *Auth) Login(token string) (Pass, *Identity, error) {
	p := Pass{sha256.Sum256([]byte(strings.TrimSpace(token)))}
	tokens := a.known.Load()
	if tokens == nil {
		return p, local, nil
	}
	id, err := holder(*tokens, p.sum)
	return p, id, err
}

// WithPass returns a context whose requests Identify takes for those of the token that the pass stands for, as long as there is that
// token and the request names no other one.
func WithPass(ctx context.Context, p Pass) context.Context {
	return context.WithValue(ctx, passKey{}, p)
}
