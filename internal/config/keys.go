package config

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/auth"
	"github.com/tandem-hybrid/tandem/internal/source"
	"github.com/tandem-hybrid/tandem/server"
)

// The tables below are all keys of tandem.yaml, in the order of docs/configuration.md. tandem.schema.json holds the same
// ones; a test compares them.

const notYet = "not supported yet"

var rootFields = []field[server.Options]{
	{name: "data", read: func(p *parser, v value, o *server.Options) { p.filled(v, &o.Data) }},
	{name: "public", read: func(p *parser, v value, o *server.Options) { object(p, v, publicFields, o) }},
	{name: "api", read: func(p *parser, v value, o *server.Options) { object(p, v, apiFields, o) }},
	{name: "engine", read: func(p *parser, v value, o *server.Options) { p.engine(v, &o.Engine) }},
	{name: "limits", read: func(p *parser, v value, o *server.Options) { object(p, v, limitFields, o) }},
	{name: "egress", read: func(p *parser, v value, o *server.Options) { object(p, v, egressFields, o) }},
	{name: "ledger", read: func(p *parser, v value, o *server.Options) { object(p, v, ledgerFields, o) }},
	{name: "flows", read: func(p *parser, v value, o *server.Options) { object(p, v, flowFields, o) }},
	{name: "traces", read: func(p *parser, v value, o *server.Options) { object(p, v, traceFields, o) }},
	{name: "log", read: func(p *parser, v value, o *server.Options) { object(p, v, logFields, o) }},
	{name: "request", read: func(p *parser, v value, o *server.Options) { object(p, v, requestFields, o) }},
	{name: "streams", read: func(p *parser, v value, o *server.Options) { object(p, v, streamsFields, &o.Streams) }},
	{name: "services", read: func(p *parser, v value, o *server.Options) {
		named(p, v, "services", validName, serviceFields, func(name string, s tandem.Service) {
			s.Name = name
			o.Services = append(o.Services, s)
		})
	}},
	{name: "topics", read: func(p *parser, v value, o *server.Options) {
		named(p, v, "topics", validTopic, topicFields, func(name string, t tandem.Topic) {
			t.Name = name
			o.Topics = append(o.Topics, t)
		})
	}},
	{name: "routes", read: func(p *parser, v value, o *server.Options) { p.routes(v, o) }},
	{name: "sources", read: func(p *parser, v value, o *server.Options) {
		named(p, v, "sources", validName, sourceFields, func(name string, s source.Source) {
			s.Name = name
			o.Sources = append(o.Sources, s)
		})
	}},
	{name: "subscriptions", read: func(p *parser, v value, o *server.Options) {
		named(p, v, "subscriptions", validName, subscriptionFields, func(name string, s tandem.Subscription) {
			s.Name = name
			o.Subscriptions = append(o.Subscriptions, s)
		})
	}},
}

var publicFields = []field[server.Options]{
	{name: "listen", read: func(p *parser, v value, o *server.Options) { p.address(v, &o.PublicAddr) }},
}

var apiFields = []field[server.Options]{
	{name: "listen", read: func(p *parser, v value, o *server.Options) { p.address(v, &o.APIAddr) }},
	{name: "tokens", read: func(p *parser, v value, o *server.Options) {
		for _, item := range p.items(v, "mappings with name, sha256 and roles") {
			var t auth.Token
			object(p, item, tokenFields, &t)
			o.Tokens = append(o.Tokens, t)
		}
	}},
}

var tokenFields = []field[auth.Token]{
	{name: "name", read: func(p *parser, v value, t *auth.Token) { p.filled(v, &t.Name) }},
	{name: "sha256", read: func(p *parser, v value, t *auth.Token) {
		// Taken whatever YAML makes of it, since it may be all digits, and never shown: it may be the token itself.
		t.SHA256 = strings.ToLower(v.node.Value)
	}},
	{name: "roles", read: func(p *parser, v value, t *auth.Token) { p.texts(v, "roles", &t.Roles, anyText) }},
}

var limitFields = []field[server.Options]{
	{name: "freeBytes", read: func(p *parser, v value, o *server.Options) { p.size(v, &o.FreeBytes) }},
	{name: "maxEventBytes", read: func(p *parser, v value, o *server.Options) {
		var n int64
		if !p.size(v, &n) {
			return
		}
		if n < 1<<10 || n > 64<<20 {
			p.bad(v, "%s is outside 1KiB to 64MiB", v.node.Value)
			return
		}
		o.MaxEventBytes = int(n)
	}},
}

var egressFields = []field[server.Options]{
	{name: "allow", read: func(p *parser, v value, o *server.Options) {
		p.texts(v, "prefixes, addresses and hosts", &o.Egress, anyText)
	}},
}

var ledgerFields = keptFields("ledger", func(o *server.Options) (*time.Duration, *int64) { return &o.LedgerAge, &o.LedgerBytes })

var flowFields = keptFields("index of flows", func(o *server.Options) (*time.Duration, *int64) { return &o.FlowAge, &o.FlowBytes })

// keptFields are those of what is kept for an age and up to a size, of which 0 keeps none.
func keptFields(what string, of func(*server.Options) (age *time.Duration, bytes *int64)) []field[server.Options] {
	return []field[server.Options]{
		{name: "age", read: func(p *parser, v value, o *server.Options) {
			var d tandem.Duration
			p.duration(v, &d)
			age, _ := of(o)
			*age = time.Duration(d)
		}},
		{name: "size", read: func(p *parser, v value, o *server.Options) {
			_, bytes := of(o)
			if !p.size(v, bytes) {
				return
			}
			switch {
			case *bytes < 0:
				p.bad(v, "must not be negative; 0 keeps no %s", what)
			case *bytes == 0:
				*bytes = -1
			}
		}},
	}
}

var traceFields = []field[server.Options]{
	{name: "otlp", read: func(p *parser, v value, o *server.Options) { p.url(v, &o.Traces) }},
	{name: "sample", read: func(p *parser, v value, o *server.Options) { p.share(v, &o.TracesSample) }},
}

var logFields = []field[server.Options]{
	{name: "access", read: func(p *parser, v value, o *server.Options) { p.boolean(v, &o.AccessLog) }},
	{name: "sample", read: func(p *parser, v value, o *server.Options) { p.share(v, &o.AccessSample) }},
}

var requestFields = []field[server.Options]{
	{name: "timeout", read: func(p *parser, v value, o *server.Options) {
		var d tandem.Duration
		if p.duration(v, &d); d > tandem.Duration(time.Hour) {
			p.bad(v, "%s is above 1h", v.node.Value)
			return
		}
		o.RequestTimeout = time.Duration(d)
	}},
}

var topicFields = []field[tandem.Topic]{
	{name: "partitions", read: func(p *parser, v value, t *tandem.Topic) { p.integer(v, &t.Partitions, 1, tandem.MaxPartitions) }},
	{name: "retention", read: func(p *parser, v value, t *tandem.Topic) { p.durationOrForever(v, &t.Retention) }},
	{name: "retentionBytes", read: func(p *parser, v value, t *tandem.Topic) {
		if p.size(v, &t.RetentionBytes) && t.RetentionBytes <= 0 {
			p.bad(v, "must be above zero; leave it out for no limit")
		}
	}},
	{name: "key", read: func(p *parser, v value, t *tandem.Topic) { p.eventKey(v, &t.Key) }},
	{name: "source", read: func(p *parser, v value, t *tandem.Topic) { p.filled(v, &t.Source) }},
	{name: "type", read: func(p *parser, v value, t *tandem.Topic) { p.filled(v, &t.Type) }},
	{name: "kafka", read: func(p *parser, v value, t *tandem.Topic) {
		object(p, v, kafkaTopicFields, &t.Kafka)
		p.required(v, "topic", t.Kafka.Topic != "")
	}},
	{name: "schema", later: notYet + "; events are not checked against a schema"},
}

// named reads a mapping from names to mappings with fixed keys.
func named[T any](p *parser, v value, what string, valid func(string) string, fields []field[T], add func(string, T)) {
	for _, e := range p.entries(v, "a mapping of "+what+" by name") {
		if why := valid(e.key.Value); why != "" {
			p.fail(e.key, v.pointer, "%q %s", e.key.Value, why)
		}
		var t T
		object(p, e.value, fields, &t)
		add(e.key.Value, t)
	}
}

// validName checks the name of a service or subscription, which follows the rule of topics, and returns what is wrong.
func validName(name string) string {
	if !tandem.ValidTopicName(name) {
		return "is not a name: small letters, digits, '-' and '_' in parts separated by '.', at most 200 bytes"
	}
	return ""
}

func validTopic(name string) string {
	switch {
	case strings.HasPrefix(name, "_"):
		return "is not a topic of yours: names with a leading '_' belong to Tandem"
	case !tandem.ValidTopicName(name):
		return "is not a topic name: small letters, digits, '-' and '_' in parts separated by '.', at most 200 bytes"
	}
	return ""
}

func (p *parser) required(v value, key string, there bool) {
	if at := join(v.pointer, key); !there && p.places[at] == nil {
		p.faulty[at] = true
		p.fail(v.node, v.pointer, "%q is missing", key)
	}
}

// filled reads a text that is not empty.
func (p *parser) filled(v value, into *string) bool {
	if !p.text(v, into) {
		return false
	}
	if *into == "" {
		p.bad(v, "is empty; leave the key out instead")
		return false
	}
	return true
}

func (p *parser) address(v value, into *string) {
	if !p.filled(v, into) {
		return
	}
	if why := wrongAddress(*into); why != "" {
		p.bad(v, "%q %s", *into, why)
	}
}

// wrongAddress says what keeps s from being an address to listen on.
func wrongAddress(s string) string {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return `is not an address such as ":8080" or "127.0.0.1:8080"`
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "has no port from 0 to 65535"
	}
	return ""
}

// url reads the base URL of a service or the URL of a subscription.
func (p *parser) url(v value, into *string) {
	var s string
	if !p.filled(v, &s) {
		return
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		p.bad(v, "must be a URL such as http://127.0.0.1:9000")
	case u.User != nil:
		p.bad(v, "must not hold a user or password: they would be shown in clear")
	case u.Fragment != "":
		p.bad(v, "must not have a fragment (#)")
	default:
		*into = s
	}
}

// eventKey reads what orders events: the name of an attribute, or a path into the data.
func (p *parser) eventKey(v value, into *string) {
	if !p.filled(v, into) {
		return
	}
	if path, ok := strings.CutPrefix(*into, "data."); ok {
		for _, seg := range strings.Split(path, ".") {
			if seg == "" {
				p.bad(v, "%q has an empty part; write data.customer.id", *into)
				return
			}
		}
		return
	}
	if strings.Trim(*into, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		p.bad(v, `%q is neither "subject", another attribute of the event, nor "data.PATH"`, *into)
	}
}
