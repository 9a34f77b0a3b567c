package auth

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/tandem-hybrid/tandem"
)

// checkOrigin refuses what a browser says another origin sent. Requests without those headers come from programs, or from
// old browsers that send Origin at least where an answer could be read or something could be changed.
func checkOrigin(r *http.Request) error {
	site := r.Header["Sec-Fetch-Site"]
	origin := r.Header["Origin"]
	if len(site) == 0 && len(origin) == 0 {
		return nil
	}
	if len(site) > 0 && site[0] != "same-origin" && site[0] != "none" && !navigation(r) {
		return crossOrigin("Sec-Fetch-Site")
	}
	if len(origin) > 0 && !sameOrigin(origin[0], r.Host) {
		return crossOrigin("Origin")
	}
	return nil
}

// navigation reports whether a browser follows a link to a page of its own: it shows the answer, and who linked never
// sees it.
func navigation(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

func crossOrigin(header string) error {
	return tandem.Errorf(tandem.CodeForbidden, "cross-origin requests are refused").
		WithField(header, "names another origin").
		WithHint("browsers reach events through routes of the public listener")
}

// sameOrigin compares an Origin with Host. The scheme is not known behind a proxy that ends TLS, so default ports count
// as absent.
func sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return false // "null", extensions
	}
	port := ":80"
	if u.Scheme == "https" {
		port = ":443"
	}
	return strings.EqualFold(strings.TrimSuffix(u.Host, port), strings.TrimSuffix(host, port))
}

// loopbackHost reports whether the value of Host is a name of this machine that no DNS server can give out.
func loopbackHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return isLoopback(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
}

func isLoopback(host string) bool {
	host = strings.TrimSuffix(host, ".")
	if strings.EqualFold(host, "localhost") || len(host) > 10 && strings.EqualFold(host[len(host)-10:], ".localhost") {
		return true // RFC 6761, section 6.3
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
