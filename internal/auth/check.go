package auth

import (
	"encoding/hex"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-hybrid/tandem"
)

// CheckListen says whether the API may listen on an address (host:port) with these tokens: beyond loopback only with at
// least one. Code: Invalid.
func CheckListen(addr string, tokens []Token) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return tandem.Errorf(tandem.CodeInvalid, "the API cannot listen on %q: it is not host:port", addr)
	}
	if len(tokens) == 0 && !isLoopback(host) {
		return tandem.Errorf(tandem.CodeInvalid, "the API does not listen on %s without tokens: everybody who can reach it could do everything", addr).
			WithHint("listen on 127.0.0.1, or configure api.tokens")
	}
	return nil
}

// CheckTokens says what is wrong with tokens, with pointers that begin with the index of a token. Code: Invalid.
func CheckTokens(tokens []Token) error {
	e := tandem.Errorf(tandem.CodeInvalid, "the tokens are not declared right")
	names, sums := map[string]bool{}, map[string]bool{}
	for i, t := range tokens {
		at := "/" + strconv.Itoa(i)
		switch {
		case t.Name == "" || len(t.Name) > 200 || strings.ContainsFunc(t.Name, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
			e.WithField(at+"/name", "must be 1 to 200 printable ASCII characters without spaces")
		case names[t.Name]:
			e.WithField(at+"/name", "%s is there twice", t.Name)
		}
		names[t.Name] = true
		sum := strings.ToLower(t.SHA256)
		if b, err := hex.DecodeString(sum); err != nil || len(b) != 32 {
			e.WithField(at+"/sha256", "must be the SHA-256 of the token, 64 hexadecimal digits")
		} else if sums[sum] {
			e.WithField(at+"/sha256", "is that of another token")
		}
		sums[sum] = true
		if len(t.Roles) == 0 {
			e.WithField(at+"/roles", "must name at least one of read, publish, operate and pull")
		}
		for j, role := range t.Roles {
			if !slices.Contains(local.Roles, role) {
				e.WithField(at+"/roles/"+strconv.Itoa(j), "%q is not read, publish, operate or pull", role)
			}
		}
	}
	if len(e.Fields) > 0 {
		return e
	}
	return nil
}
