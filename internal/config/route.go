package config

import (
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/server"
)

// routes reads a list, since the order of routes is how people read them.
func (p *parser) routes(v value, o *server.Options) {
	for _, item := range p.items(v, "routes") {
		var r gateway.Route
		object(p, item, routeFields, &r)
		p.required(item, "match", r.Match != "")
		o.Routes = append(o.Routes, r)
	}
}

var routeFields = []field[gateway.Route]{
	{name: "match", read: func(p *parser, v value, r *gateway.Route) { p.filled(v, &r.Match) }},
	{name: "service", read: func(p *parser, v value, r *gateway.Route) { p.filled(v, &r.Service) }},
	{name: "topic", read: func(p *parser, v value, r *gateway.Route) { p.topic(v, &r.Topic) }},
	{name: "type", read: func(p *parser, v value, r *gateway.Route) { p.filled(v, &r.Type) }},
	{name: "key", read: func(p *parser, v value, r *gateway.Route) { p.filled(v, &r.Key) }},
	{name: "subject", read: func(p *parser, v value, r *gateway.Route) { p.filled(v, &r.Subject) }},
	{name: "respond", read: func(p *parser, v value, r *gateway.Route) {
		r.Respond = &gateway.Respond{}
		object(p, v, respondFields, r.Respond)
		p.required(v, "type", r.Respond.Type != "")
	}},
	{name: "operation", read: func(p *parser, v value, r *gateway.Route) { p.operation(v, r) }},
	{name: "stream", read: func(p *parser, v value, r *gateway.Route) {
		r.Stream = &gateway.Stream{}
		object(p, v, streamFields, r.Stream)
		p.required(v, "topics", r.Stream.Topics != nil)
	}},
	{name: "authorize", read: func(p *parser, v value, r *gateway.Route) { p.authorize(v, &r.Authorize) }},
	{name: "maxBodyBytes", read: func(p *parser, v value, r *gateway.Route) {
		if p.size(v, &r.MaxBodyBytes) && r.MaxBodyBytes <= 0 {
			p.bad(v, "must be above zero; leave it out for the default")
		}
	}},
	{name: "client", read: func(p *parser, v value, r *gateway.Route) {
		if p.boolean(v, &r.Client) && !r.Client {
			p.bad(v, "must be true; leave it out instead of false")
		}
	}},
}

var respondFields = []field[gateway.Respond]{
	{name: "type", read: func(p *parser, v value, r *gateway.Respond) { p.filled(v, &r.Type) }},
	{name: "timeout", read: func(p *parser, v value, r *gateway.Respond) { p.duration(v, &r.Timeout) }},
	{name: "topics", read: func(p *parser, v value, r *gateway.Respond) { p.topicPatterns(v, &r.Topics) }},
}

var operationFields = []field[tandem.OperationSpec]{
	{name: "topics", read: func(p *parser, v value, s *tandem.OperationSpec) { p.topicPatterns(v, &s.Topics) }},
	{name: "succeed", read: func(p *parser, v value, s *tandem.OperationSpec) { p.texts(v, "event types", &s.Succeed, anyText) }},
	{name: "fail", read: func(p *parser, v value, s *tandem.OperationSpec) { p.texts(v, "event types", &s.Fail, anyText) }},
	{name: "timeout", read: func(p *parser, v value, s *tandem.OperationSpec) {
		if p.duration(v, &s.Timeout) && time.Duration(s.Timeout) > tandem.MaxOperationTimeout {
			p.bad(v, "%s is above %s", s.Timeout, tandem.MaxOperationTimeout)
		}
	}},
}

func anyText(string) string { return "" }

// operation reads true (the public face of operations) or what ends the operation that a request begins.
func (p *parser) operation(v value, r *gateway.Route) {
	r.Operation = &gateway.Operation{}
	if v.node.Kind == yaml.MappingNode {
		object(p, v, operationFields, &r.Operation.Spec)
		p.required(v, "topics", r.Operation.Spec.Topics != nil)
		p.required(v, "succeed", r.Operation.Spec.Succeed != nil)
		return
	}
	if v.node.Kind != yaml.ScalarNode || v.node.ShortTag() != "!!bool" {
		p.bad(v, "must be true or a mapping with the keys topics, succeed, fail, timeout, not %s", kind(v.node))
		return
	}
	if p.boolean(v, &r.Operation.Public) && !r.Operation.Public {
		p.bad(v, "must be true or a mapping; leave it out instead of false")
	}
}

var authorizeFields = []field[gateway.Authorizer]{
	{name: "service", read: func(p *parser, v value, a *gateway.Authorizer) { p.filled(v, &a.Service) }},
	{name: "path", read: func(p *parser, v value, a *gateway.Authorizer) { p.path(v, &a.Path) }},
}

// authorize reads the name of a service, a mapping, or a list of both.
func (p *parser) authorize(v value, into *gateway.Authorizers) {
	items := []value{v}
	if v.node.Kind == yaml.SequenceNode {
		if items = p.items(v, "services"); len(items) == 0 {
			p.bad(v, "is empty; leave it out instead, or name a service")
		}
	}
	for _, item := range items {
		var a gateway.Authorizer
		if item.node.Kind == yaml.MappingNode {
			object(p, item, authorizeFields, &a)
			p.required(item, "service", a.Service != "")
		} else {
			p.filled(item, &a.Service)
		}
		*into = append(*into, a)
	}
}
