package config

import (
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/server"
)

// engine reads the word embedded, or a mapping with one of the other engines.
func (p *parser) engine(v value, into *server.Engine) {
	if len(v.node.Content) == 0 {
		var s string
		if !p.text(v, &s) || s == "embedded" {
			return
		}
		if s == "kafka" || s == "nats" {
			p.bad(v, "%q needs to know where: engine: {%s: {…}}", s, s)
			return
		}
		p.bad(v, "unknown engine %q; allowed: embedded, or a mapping with kafka or nats", s)
		return
	}
	object(p, v, engineFields, into)
	if into.Kafka != nil && into.NATS != nil {
		p.bad(v, "kafka and nats exclude each other")
	}
}

var engineFields = []field[server.Engine]{
	{name: "kafka", read: func(p *parser, v value, e *server.Engine) {
		e.Kafka = &server.Kafka{}
		object(p, v, kafkaFields, e.Kafka)
		p.required(v, "brokers", len(e.Kafka.Brokers) > 0)
		if k := e.Kafka; k.Replication > 0 && k.MinInSync > k.Replication {
			p.failPointer(v.pointer+"/minInSync", "%d replicas cannot be in sync of %d", k.MinInSync, k.Replication)
		}
	}},
	{name: "nats", read: func(p *parser, v value, e *server.Engine) {
		e.NATS = &server.NATS{}
		object(p, v, natsFields, e.NATS)
		p.required(v, "url", e.NATS.URL != "")
		p.checkNATSUser(v, e.NATS)
	}},
}

// maxReplicas bounds replicas; more would be a slip of the pen.
const maxReplicas = 15

var kafkaFields = []field[server.Kafka]{
	{name: "brokers", read: func(p *parser, v value, k *server.Kafka) {
		p.texts(v, "addresses, host:port", &k.Brokers, wrongAddress)
	}},
	{name: "prefix", read: func(p *parser, v value, k *server.Kafka) { p.enginePrefix(v, &k.Prefix) }},
	{name: "replication", read: func(p *parser, v value, k *server.Kafka) { p.integer(v, &k.Replication, 1, maxReplicas) }},
	{name: "minInSync", read: func(p *parser, v value, k *server.Kafka) { p.integer(v, &k.MinInSync, 1, maxReplicas) }},
	{name: "tls", read: func(p *parser, v value, k *server.Kafka) { k.TLS = p.engineTLS(v) }},
	{name: "sasl", read: func(p *parser, v value, k *server.Kafka) {
		k.SASL = &server.SASL{}
		object(p, v, saslFields, k.SASL)
		p.required(v, "mechanism", k.SASL.Mechanism != "")
		if k.SASL.Mechanism == "OAUTHBEARER" {
			p.required(v, "token", k.SASL.Token != "")
			return
		}
		p.required(v, "user", k.SASL.User != "")
		p.required(v, "password", k.SASL.Password != "")
	}},
}

var saslFields = []field[server.SASL]{
	{name: "mechanism", read: func(p *parser, v value, s *server.SASL) {
		p.word(v, &s.Mechanism, "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
	}},
	{name: "user", read: func(p *parser, v value, s *server.SASL) { p.filled(v, &s.User) }},
	{name: "password", read: func(p *parser, v value, s *server.SASL) { p.secret(v, &s.Password) }},
	{name: "token", read: func(p *parser, v value, s *server.SASL) { p.secret(v, &s.Token) }},
}

var natsFields = []field[server.NATS]{
	{name: "url", read: func(p *parser, v value, n *server.NATS) { p.natsURL(v, &n.URL) }},
	{name: "prefix", read: func(p *parser, v value, n *server.NATS) { p.enginePrefix(v, &n.Prefix) }},
	{name: "replicas", read: func(p *parser, v value, n *server.NATS) { p.integer(v, &n.Replicas, 1, 5) }},
	{name: "syncAlways", read: func(p *parser, v value, n *server.NATS) { p.boolean(v, &n.SyncAlways) }},
	{name: "repeats", read: func(p *parser, v value, n *server.NATS) {
		var d tandem.Duration
		if p.duration(v, &d) && (d < tandem.Duration(time.Second) || d > tandem.Duration(24*time.Hour)) {
			p.bad(v, "%s is outside 1s to 24h", v.node.Value)
		}
		n.Repeats = time.Duration(d)
	}},
	{name: "credentials", read: func(p *parser, v value, n *server.NATS) { p.secretFile(v, &n.Credentials) }},
	{name: "nkey", read: func(p *parser, v value, n *server.NATS) { p.secretFile(v, &n.NKey) }},
	{name: "user", read: func(p *parser, v value, n *server.NATS) { p.filled(v, &n.User) }},
	{name: "password", read: func(p *parser, v value, n *server.NATS) { p.secret(v, &n.Password) }},
	{name: "token", read: func(p *parser, v value, n *server.NATS) { p.secret(v, &n.Token) }},
	{name: "tls", read: func(p *parser, v value, n *server.NATS) { n.TLS = p.engineTLS(v) }},
}

// checkNATSUser allows one way to say who Tandem is.
func (p *parser) checkNATSUser(v value, n *server.NATS) {
	ways := 0
	for _, set := range []bool{n.Credentials != "", n.NKey != "", n.User != "" || n.Password != "", n.Token != ""} {
		if set {
			ways++
		}
	}
	if ways > 1 {
		p.bad(v, "credentials, nkey, user with password, and token exclude each other")
	}
	if (n.User == "") != (n.Password == "") && !p.badBelow(v.pointer) {
		p.bad(v, "user and password belong together")
	}
}

// natsURL reads addresses of servers. What may hold a password is not shown.
func (p *parser) natsURL(v value, into *string) {
	var s string
	if !p.filled(v, &s) {
		return
	}
	for _, one := range strings.Split(s, ",") {
		scheme, host, ok := strings.Cut(strings.TrimSpace(one), "://")
		switch {
		case strings.Contains(host, "@"):
			p.bad(v, "must not hold a user or a password; use user and password")
			return
		case !ok || host == "" || scheme != "nats" && scheme != "tls":
			p.bad(v, `must be nats://host:port or tls://host:port, several separated by ","`)
			return
		}
	}
	*into = s
}

// secretFile reads a reference to a file that the client of the engine reads itself.
func (p *parser) secretFile(v value, into *string) {
	if p.secret(v, into); *into != "" && !strings.HasPrefix(*into, "file:") {
		p.bad(v, "must be a reference to a file, file:PATH")
	}
}

// enginePrefix reads what names begin with where several logs share a server.
func (p *parser) enginePrefix(v value, into *string) {
	if p.filled(v, into) && (!tandem.ValidTopicName(*into) || strings.Contains(*into, ".") || len(*into) > 32) {
		p.bad(v, "%q must be small letters, digits, '-' and '_', at most 32", *into)
	}
}

func (p *parser) engineTLS(v value) *server.EngineTLS {
	t := &server.EngineTLS{}
	object(p, v, engineTLSFields, t)
	if (t.Cert == "") != (t.Key == "") && !p.badBelow(v.pointer) {
		p.bad(v, "cert and key belong together")
	}
	return t
}

var engineTLSFields = []field[server.EngineTLS]{
	{name: "ca", read: func(p *parser, v value, t *server.EngineTLS) { p.secret(v, &t.CA) }},
	{name: "cert", read: func(p *parser, v value, t *server.EngineTLS) { p.secret(v, &t.Cert) }},
	{name: "key", read: func(p *parser, v value, t *server.EngineTLS) { p.secret(v, &t.Key) }},
	{name: "serverName", read: func(p *parser, v value, t *server.EngineTLS) { p.filled(v, &t.ServerName) }},
}

var kafkaTopicFields = []field[tandem.KafkaTopic]{
	{name: "topic", read: func(p *parser, v value, t *tandem.KafkaTopic) {
		if p.filled(v, &t.Topic) && !validKafkaTopic(t.Topic) {
			p.bad(v, "%q is not a name of a topic in Kafka: letters, digits, '.', '_' and '-', at most 249", t.Topic)
		}
	}},
	{name: "source", read: func(p *parser, v value, t *tandem.KafkaTopic) { p.filled(v, &t.Source) }},
	{name: "id", read: func(p *parser, v value, t *tandem.KafkaTopic) { p.word(v, &t.ID, "position", "key") }},
	{name: "type", read: func(p *parser, v value, t *tandem.KafkaTopic) { p.filled(v, &t.Type) }},
}

func validKafkaTopic(name string) bool {
	return name != "." && name != ".." && len(name) <= 249 && strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	}) < 0
}
