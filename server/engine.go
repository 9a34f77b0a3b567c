package server

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Engine says where events are stored. The zero value is the embedded log in Options.Data. Of Kafka and NATS, one is set.
//
// Values called a reference are resolved by Options.Secrets when the engine is opened.
type Engine struct {
	Kafka *Kafka
	NATS  *NATS
}

// Kafka is a cluster of Kafka.
type Kafka struct {
	Brokers     []string // host:port; those that answer name the others
	Prefix      string   // of the names of topics in Kafka, so that several logs share a cluster
	Replication int      // of topics that Tandem creates; zero means 3, or as many as there are brokers
	MinInSync   int      // replicas that must have an event before it is confirmed; zero means one less than Replication, at least 1
	TLS         *EngineTLS
	SASL        *SASL
}

// NATS is a server, or cluster, of NATS with JetStream.
type NATS struct {
	URL         string        // nats://host:port, several separated by commas
	Prefix      string        // of the names of streams and subjects, so that several logs share a server
	Replicas    int           // of streams; zero means 1
	SyncAlways  bool          // the servers sync each message before they confirm it, which they cannot be asked
	Repeats     time.Duration // how long the servers recognise a repeated id; zero means 2m
	Credentials string        // reference to a credentials file, file:PATH
	NKey        string        // reference to the file of a seed, file:PATH
	User        string
	Password    string // reference
	Token       string // reference
	TLS         *EngineTLS
}

// EngineTLS is how a connection to an engine is encrypted. The zero value trusts the system's authorities.
type EngineTLS struct {
	CA, Cert, Key string // references to PEM: authorities to trust instead; our certificate and its key
	ServerName    string // the name to verify instead of the host's
}

// SASL is who Tandem is to Kafka.
type SASL struct {
	Mechanism string // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER
	User      string
	Password  string // reference
	Token     string // reference, for OAUTHBEARER
}

// Name is embedded, kafka or nats.
func (e *Engine) Name() string {
	switch {
	case e.Kafka != nil:
		return "kafka"
	case e.NATS != nil:
		return "nats"
	}
	return "embedded"
}

// Prefix is what names in the engine begin with.
func (e *Engine) Prefix() string {
	if e.Kafka != nil && e.Kafka.Prefix != "" {
		return e.Kafka.Prefix + "."
	}
	return ""
}

// Where says where the engine is, without anything secret; empty for the embedded one.
func (e *Engine) Where() string {
	switch {
	case e.Kafka != nil:
		return strings.Join(e.Kafka.Brokers, ",")
	case e.NATS != nil:
		urls := strings.Split(e.NATS.URL, ",")
		for i := range urls {
			if u, err := url.Parse(strings.TrimSpace(urls[i])); err == nil {
				urls[i] = u.Host
			}
		}
		return strings.Join(urls, ",")
	}
	return ""
}

// ParseEngine reads the short form of an engine, for a flag or a variable: embedded, kafka://HOST:PORT[,HOST:PORT…][/PREFIX] or
// nats://HOST:PORT[,HOST:PORT…][/PREFIX]. Users and passwords belong into a file. Code: Invalid.
func ParseEngine(s string) (Engine, error) {
	bad := func(why string) (Engine, error) {
		return Engine{}, tandem.Errorf(tandem.CodeInvalid, "the engine %s", why).
			WithHint("write embedded, kafka://HOST:PORT[,HOST:PORT][/PREFIX] or nats://HOST:PORT[,HOST:PORT][/PREFIX]")
	}
	if s == "embedded" {
		return Engine{}, nil
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || scheme != "kafka" && scheme != "nats" {
		return bad("is none of embedded, kafka://… and nats://…")
	}
	if strings.Contains(rest, "@") {
		return bad("must not hold a user or a password here; put them into a file")
	}
	hosts, prefix, _ := strings.Cut(rest, "/")
	list := strings.Split(hosts, ",")
	if slices.Contains(list, "") {
		return bad("names no host, or an empty one")
	}
	if scheme == "kafka" {
		return Engine{Kafka: &Kafka{Brokers: list, Prefix: prefix}}, nil
	}
	for i := range list {
		list[i] = "nats://" + list[i]
	}
	return Engine{NATS: &NATS{URL: strings.Join(list, ","), Prefix: prefix}}, nil
}

// secrets resolves references and keeps the first error.
type secrets struct {
	get func(ref string) (string, error)
	err error
}

func (s *secrets) value(ref, what string) string {
	if ref == "" || s.err != nil {
		return ""
	}
	if s.get == nil {
		s.err = tandem.Errorf(tandem.CodeInvalid, "%s is a reference, and nothing resolves references", what)
		return ""
	}
	v, err := s.get(ref)
	if err != nil {
		s.err = tandem.Wrap(what, err)
	}
	return v
}

// tlsOf builds the configuration of a connection; nil for nil.
func (s *secrets) tlsOf(t *EngineTLS) *tls.Config {
	if t == nil {
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if ca := s.value(t.CA, "tls.ca"); ca != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			s.err = cmp.Or(s.err, error(tandem.Errorf(tandem.CodeInvalid, "tls.ca holds no certificate in PEM")))
		}
	}
	if t.Cert != "" || t.Key != "" {
		pair, err := tls.X509KeyPair([]byte(s.value(t.Cert, "tls.cert")), []byte(s.value(t.Key, "tls.key")))
		if err != nil && s.err == nil {
			s.err = tandem.Errorf(tandem.CodeInvalid, "tls.cert and tls.key: %w", errors.New("they are no certificate and its key in PEM"))
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}
