package amqp

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/rabbitmq/amqp091-go"

	"github.com/tandem-hybrid/tandem"
)

// Address is where a broker is and how to log in there. Two that are equal are one broker.
type Address struct {
	url   string
	certs Certificates
	shown string
}

// Certificates are the client's certificate and key, and who may have signed the broker's, in PEM. Empty CA means the system's.
type Certificates struct{ Cert, Key, CA string }

// ParseAddress reads an URL of the form amqp://user:password@host:5672/vhost, or amqps://. Certificates go with the latter. Code: Invalid; the
// text of the error shows nothing of the URL.
func ParseAddress(text string, certs Certificates) (Address, error) {
	u, err := amqp091.ParseURI(text)
	if err != nil { // whose text may show the password
		return Address{}, tandem.Errorf(tandem.CodeInvalid, "the URL of the broker is invalid").
			WithHint("write amqp://user:password@host:5672/vhost, or amqps://; other characters in user and password must be percent-encoded")
	}
	if certs != (Certificates{}) {
		if u.Scheme != "amqps" {
			return Address{}, tandem.Errorf(tandem.CodeInvalid, "certificates need a URL with amqps")
		}
		if _, err := certs.config(); err != nil {
			return Address{}, err
		}
	}
	shown := u.Scheme + "://" + net.JoinHostPort(u.Host, strconv.Itoa(u.Port))
	if u.Vhost != "/" {
		shown += "/" + url.PathEscape(u.Vhost)
	}
	return Address{url: text, certs: certs, shown: shown}, nil
}

// String returns the address for people to read: scheme, host, port and virtual host, without user and password.
func (a Address) String() string { return a.shown }

// CheckURL says what is wrong with a URL that stands in a configuration in clear: "" for nothing. The texts show nothing of the URL.
func CheckURL(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "amqp" && u.Scheme != "amqps" || u.Host == "":
		return "must be a reference, env:NAME or file:PATH, or a URL such as amqp://127.0.0.1:5672/vhost"
	case u.User != nil:
		return "must not hold a user or password: they would be shown in clear; name the URL by a reference, env:NAME or file:PATH"
	}
	if _, err := amqp091.ParseURI(text); err != nil {
		return "must be a URL such as amqp://127.0.0.1:5672/vhost"
	}
	return ""
}

// config returns the TLS configuration, nil when there are no certificates. Code: Invalid.
func (c Certificates) config() (*tls.Config, error) {
	if c == (Certificates{}) {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(c.CA)) {
			return nil, tandem.Errorf(tandem.CodeInvalid, "tls.ca holds no certificate in PEM")
		}
	}
	if c.Cert == "" && c.Key == "" {
		return config, nil
	}
	pair, err := tls.X509KeyPair([]byte(c.Cert), []byte(c.Key))
	if err != nil {
		return nil, tandem.Errorf(tandem.CodeInvalid, "tls.cert and tls.key are no pair in PEM: %s", strings.TrimPrefix(err.Error(), "tls: "))
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// Resolve reads an address whose URL, and whose certificates, may be references to secrets. Codes: those of secret, Invalid.
func Resolve(url string, certs *tandem.TLSAuth, secret func(ref string) (string, error)) (Address, error) {
	text := url
	var pem Certificates
	refs := []struct {
		ref  string
		into *string
	}{{url, &text}}
	if certs != nil {
		refs = append(refs, []struct {
			ref  string
			into *string
		}{{certs.Cert, &pem.Cert}, {certs.Key, &pem.Key}, {certs.CA, &pem.CA}}...)
	}
	for _, r := range refs {
		if !IsReference(r.ref) {
			continue
		}
		var err error
		if *r.into, err = secret(r.ref); err != nil {
			return Address{}, err
		}
	}
	return ParseAddress(text, pem)
}

// IsReference reports whether a text names a secret.
func IsReference(text string) bool {
	return strings.HasPrefix(text, "env:") || strings.HasPrefix(text, "file:")
}
