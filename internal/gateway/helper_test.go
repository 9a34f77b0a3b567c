package gateway

import (
	"encoding/json"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

// idle lets real time pass where a test is about a clock that must not run: nothing signals what does not happen.
func idle(ms int) { <-time.After(time.Duration(ms) * time.Millisecond) }

func bareProxy(target *url.URL) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite:    func(pr *httputil.ProxyRequest) { pr.SetURL(target); pr.SetXForwarded() },
		Transport:  &http.Transport{MaxIdleConnsPerHost: maxIdleConns, DisableCompression: true},
		BufferPool: &buffers{},
	}
}

func decodeRoute(s string, r *Route) error { return json.Unmarshal([]byte(s), r) }
