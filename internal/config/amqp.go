package config

import (
	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/amqp"
	"github.com/tandem-hybrid/tandem/internal/source"
	"github.com/tandem-hybrid/tandem/server"
)

var amqpFields = []field[tandem.AMQP]{
	{name: "url", read: func(p *parser, v value, a *tandem.AMQP) { p.brokerURL(v, &a.URL) }},
	{name: "exchange", read: func(p *parser, v value, a *tandem.AMQP) { p.filled(v, &a.Exchange) }},
	{name: "routingKey", read: func(p *parser, v value, a *tandem.AMQP) { p.filled(v, &a.RoutingKey) }},
	{name: "queue", read: func(p *parser, v value, a *tandem.AMQP) { p.filled(v, &a.Queue) }},
	{name: "tls", read: func(p *parser, v value, a *tandem.AMQP) {
		a.TLS = &tandem.TLSAuth{}
		object(p, v, tlsFields, a.TLS)
	}},
}

var sourceFields = []field[source.Source]{
	{name: "amqp", read: func(p *parser, v value, s *source.Source) { object(p, v, sourceAMQPFields, &s.AMQP) }},
	{name: "topic", read: func(p *parser, v value, s *source.Source) { p.topic(v, &s.Topic) }},
	{name: "type", read: func(p *parser, v value, s *source.Source) { p.filled(v, &s.Type) }},
	{name: "source", read: func(p *parser, v value, s *source.Source) { p.filled(v, &s.Source) }},
}

var sourceAMQPFields = []field[source.AMQP]{
	{name: "url", read: func(p *parser, v value, a *source.AMQP) { p.brokerURL(v, &a.URL) }},
	{name: "queue", read: func(p *parser, v value, a *source.AMQP) { p.filled(v, &a.Queue) }},
	{name: "prefetch", read: func(p *parser, v value, a *source.AMQP) { p.integer(v, &a.Prefetch, 1, source.MaxPrefetch) }},
	{name: "tls", read: func(p *parser, v value, a *source.AMQP) {
		a.TLS = &tandem.TLSAuth{}
		object(p, v, tlsFields, a.TLS)
	}},
}

// brokerURL reads the URL of a broker, or the reference of one. It is not shown: it may hold a password.
func (p *parser) brokerURL(v value, into *string) {
	if amqp.IsReference(v.node.Value) {
		p.secret(v, into)
		return
	}
	if why := amqp.CheckURL(v.node.Value); why != "" {
		p.bad(v, "%s", why)
		return
	}
	*into = v.node.Value
}

// checkSource looks at what only the whole declaration shows.
func (p *parser) checkSource(o *server.Options, s source.Source) {
	at := join("/sources", s.Name)
	for _, key := range [...]string{"amqp", "topic"} {
		p.required(value{p.nearest(at), at}, key, false)
	}
	if in := at + "/amqp"; p.places[in] != nil {
		for _, key := range [...]string{"url", "queue"} {
			p.required(value{p.nearest(in), in}, key, false)
		}
	}
	if validName(s.Name) == "" && !p.badBelow(at) {
		p.failFields(at, source.CheckDeclared(s))
	}
	p.warnTopic(o, at+"/topic", s.Topic)
}
