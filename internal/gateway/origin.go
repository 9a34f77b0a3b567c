package gateway

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/tandem-hybrid/tandem"
)

// checkOrigin refuses what a page of another origin may have sent in its visitor's name: unsafe verbs with a cookie, and
// WebSocket upgrades, which browsers allow across origins. Sec-Fetch-Site decides where it is sent, since no page can
// forge it; otherwise Origin must be there and name this host. The scheme is not compared if TLS ended before Tandem.
func checkOrigin(r *http.Request) error {
	if !isWebSocket(r) && (safe(r.Method) || len(r.Header["Cookie"]) == 0) {
		return nil
	}
	if site := r.Header["Sec-Fetch-Site"]; len(site) > 0 {
		if len(site) == 1 && site[0] == "same-origin" {
			return nil
		}
	} else if origin := r.Header["Origin"]; len(origin) == 1 && sameOrigin(origin[0], r) {
		return nil
	}
	return tandem.Errorf(tandem.CodeForbidden, "the request does not come from a page of this origin").
		WithHint("requests with a cookie that change something, and WebSockets, need an Origin equal to the host, or Sec-Fetch-Site: same-origin; programs send no cookie")
}

func safe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

func sameOrigin(origin string, r *http.Request) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || r.TLS != nil) {
		return false
	}
	port := ":80"
	if u.Scheme == "https" {
		port = ":443"
	}
	return strings.EqualFold(strings.TrimSuffix(u.Host, port), strings.TrimSuffix(r.Host, port))
}

func isWebSocket(r *http.Request) bool {
	for _, v := range r.Header["Upgrade"] {
		for token := range strings.SplitSeq(v, ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(token), "/")
			if strings.EqualFold(name, "websocket") {
				return true
			}
		}
	}
	return r.Method == http.MethodConnect // RFC 8441
}
