package gateway

import (
	"crypto/rand"
	"encoding/hex"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/httpx"
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

// trace returns the W3C trace context of a request. One that is absent or invalid is begun: the trace id is that of the
// flow, so that each leads to the other, and it is marked sampled, as a service that began it itself would by default.
func trace(h http.Header, flow string) (parent, state string) {
	if v := h["Traceparent"]; len(v) == 1 && validTraceParent(v[0]) {
		if state = strings.Join(h["Tracestate"], ","); !validTraceState(state) {
			state = ""
		}
		return v[0], state
	}
	var span [8]byte
	rand.Read(span[:])
	span[0] |= 1 // a span id of zeros is invalid
	return "00-" + strings.ReplaceAll(flow, "-", "") + "-" + hex.EncodeToString(span[:]) + "-01", ""
}

// validTraceState keeps out what an event could not carry: a request does not fail for its trace (W3C Trace Context,
// section 3.3.1: a tracestate that cannot be read is dropped).
func validTraceState(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return len(s) <= tandem.MaxAttributeBytes
}

// maxTraceParent leaves later versions as much again as there is now.
const maxTraceParent = 110

// validTraceParent follows W3C Trace Context, section 3.2.2. Later versions may have more behind the flags.
func validTraceParent(s string) bool {
	if !validTraceState(s) || len(s) > maxTraceParent || len(s) < 55 || len(s) > 55 && (s[:2] == "00" || s[55] != '-') || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	for _, part := range [...]string{s[:2], s[3:35], s[36:52], s[53:55]} {
		if strings.Trim(part, "0123456789abcdef") != "" {
			return false
		}
	}
	return s[:2] != "ff" && strings.Trim(s[3:35], "0") != "" && strings.Trim(s[36:52], "0") != ""
}

// stamp puts on a request to a service what Tandem knows of it.
func (x *exchange) stamp(h http.Header) {
	h.Set(tandem.HeaderFlow, x.flow)
	h.Set("Traceparent", x.traceParent)
	if x.traceState != "" {
		h.Set("Tracestate", x.traceState)
	} else {
		h.Del("Tracestate")
	}
	if x.principal != "" {
		h.Set(tandem.HeaderPrincipal, x.principal)
	}
}
