package webhook

import (
	"net"
	"net/http"
	"time"
)

const (
	// maxIdlePerHost covers the concurrency of several subscriptions of one service. Only connections that were in use at
	// the same time can be idle at the same time, so it costs nothing where the concurrency is lower.
	maxIdlePerHost = 256
	dialTimeout    = 5 * time.Second
	maxHeaderBytes = 64 << 10
)

// NewTransport returns a transport for the endpoints of one service: kept connections, no proxy, HTTP/1.1, or HTTP/2 where TLS
// agrees on it. Whoever made it ends its idle connections.
func NewTransport() *http.Transport {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    dialTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true, // the limit of an answer counts what arrives
		ForceAttemptHTTP2:      true,
	}
}
