package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"time"

	"github.com/tandem-hybrid/tandem"
)

const (
	// maxIdlePerHost covers the concurrency of several subscriptions of one service. Only connections that were in use at
	// the same time can be idle at the same time, so it costs nothing where the concurrency is lower.
	maxIdlePerHost = 256
	// maxIdle bounds what endpoints that nothing is sent to any more leave behind until idleTimeout.
	maxIdle        = 4096
	idleTimeout    = 90 * time.Second
	dialTimeout    = 5 * time.Second
	maxHeaderBytes = 64 << 10
)

// NewTransport returns a transport for any number of endpoints: kept connections, no proxy, HTTP/1.1, or HTTP/2 where TLS agrees on
// it. Connections go where guard lets them, nil anywhere; config holds for TLS, nil means the defaults. Whoever made it ends its
// idle connections.
func NewTransport(guard *Guard, config *tls.Config) *http.Transport {
	dialer := net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	dial := dialer.DialContext
	if guard != nil {
		dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			return guard.dial(ctx, dialer, network, address)
		}
	}
	return &http.Transport{
		DialContext:            dial,
		TLSClientConfig:        config,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        idleTimeout,
		TLSHandshakeTimeout:    dialTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true, // the limit of an answer counts what arrives
		ForceAttemptHTTP2:      true,
	}
}

// TLSConfig returns how a client shows its certificate and whom it trusts. All are PEM; cert and key are empty or not together,
// an empty ca means the system's. The error shows nothing of them. Code: Invalid.
func TLSConfig(cert, key, ca string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if cert != "" || key != "" {
		pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
		if err != nil {
			return nil, tandem.Errorf(tandem.CodeInvalid, "the certificate and the key of the client are not a pair in PEM")
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if ca != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return nil, tandem.Errorf(tandem.CodeInvalid, "there is no certificate in PEM among those to trust")
		}
	}
	return c, nil
}
