package gateway

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/httpx"
	"github.com/tandem-hybrid/tandem/internal/tracecontext"
)

// reserved reports whether a header field is one of Tandem's own. An underscore counts as a dash, since CGI and WSGI
// services cannot tell them apart.
func reserved(name string) bool {
	const prefix = tandem.HeaderPrefix
	if len(name) < len(prefix) || !strings.EqualFold(name[:len(prefix)-1], prefix[:len(prefix)-1]) {
		return false
	}
	c := name[len(prefix)-1]
	return c == '-' || c == '_'
}

// withoutReserved returns the request without the Tandem-… fields that its client sent, and without the session of the console, which a
// browser sends to every port of a host. The request is copied only if it has one.
func withoutReserved(r *http.Request) *http.Request {
	if !hasReserved(r.Header) && !hasReserved(r.Trailer) && !hasSession(r.Header) {
		return r
	}
	c := *r
	c.Header, c.Trailer = r.Header.Clone(), r.Trailer.Clone()
	dropReserved(c.Header)
	dropReserved(c.Trailer)
	dropSession(c.Header)
	return &c
}

func hasReserved(h http.Header) bool {
	for name := range h {
		if reserved(name) {
			return true
		}
	}
	return false
}

func dropReserved(h http.Header) {
	for name := range h {
		if reserved(name) {
			delete(h, name)
		}
	}
}

func hasSession(h http.Header) bool {
	return slices.ContainsFunc(h["Cookie"], func(line string) bool { return strings.Contains(line, httpx.SessionCookie) })
}

func dropSession(h http.Header) {
	var kept []string
	for _, line := range h["Cookie"] {
		pairs := slices.DeleteFunc(strings.Split(line, ";"), func(pair string) bool {
			name, _, _ := strings.Cut(pair, "=")
			return strings.TrimSpace(name) == httpx.SessionCookie
		})
		if line = strings.TrimSpace(strings.Join(pairs, ";")); line != "" {
			kept = append(kept, line)
		}
	}
	if h["Cookie"] = kept; kept == nil {
		delete(h, "Cookie")
	}
}

// hopByHop are the fields that are for one connection only (RFC 9110, section 7.6.1), beside those that Connection names.
var hopByHop = [...]string{"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade"}

func dropHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopByHop {
		h.Del(name)
	}
}

// setForwarded says who the client is, in the forms that services know. What the client said itself is not believed.
func setForwarded(h http.Header, r *http.Request) {
	proto := "http"
	if r.TLS != nil {
		proto = "https"
	}
	client := "unknown"
	if ip, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		client = ip
		h.Set("X-Forwarded-For", ip)
	} else {
		h.Del("X-Forwarded-For")
	}
	h.Set("X-Forwarded-Host", r.Host)
	h.Set("X-Forwarded-Proto", proto)
	if strings.Contains(client, ":") {
		client = `"[` + client + `]"`
	}
	// RFC 7239: a host with a port must be quoted.
	h.Set("Forwarded", "for="+client+`;host="`+quoted.Replace(r.Host)+`";proto=`+proto)
}

var quoted = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// stamp puts on a request to a service what Tandem knows of it.
func (x *exchange) stamp(h http.Header) {
	h.Set(tandem.HeaderFlow, x.flow)
	tracecontext.Set(h, x.traceParent, x.traceState)
	if x.principal != "" {
		h.Set(tandem.HeaderPrincipal, x.principal)
	}
}
