package config

import (
	"slices"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/auth"
	"github.com/tandem-hybrid/tandem/internal/delivery"
	"github.com/tandem-hybrid/tandem/server"
)

// check looks at what only the whole file shows: names that nothing declares, and what does not go together.
func (p *parser) check(o *server.Options) {
	for _, s := range o.Services {
		p.required(value{p.nearest(join("/services", s.Name)), join("/services", s.Name)}, "url", s.URL != "")
		p.checkDeclaredService(s)
	}
	for _, t := range o.Topics {
		if t.Kafka.Topic != "" && o.Engine.Kafka == nil {
			p.failPointer(join("/topics", t.Name)+"/kafka", "needs the engine kafka; the engine is %s", o.Engine.Name())
		}
	}
	p.checkTokens(o)
	p.failFields("/egress/allow", delivery.CheckEgress(o.Egress))
	p.checkRoutes(o)
	for _, s := range o.Sources {
		p.checkSource(o, s)
	}
	for _, s := range o.Subscriptions {
		p.checkSubscription(o, s)
	}
	p.warnRequestLinks(o)
}

func (p *parser) checkTokens(o *server.Options) {
	p.failFields("/api/tokens", auth.CheckTokens(o.Tokens))
	if wrongAddress(o.APIAddr) == "" {
		p.failFields("/api/listen", auth.CheckListen(o.APIAddr, o.Tokens))
	}
}

func (p *parser) checkSubscription(o *server.Options, s tandem.Subscription) {
	at := join("/subscriptions", s.Name)
	there := func(key string) bool { return p.places[at+"/"+key] != nil }
	if !there("topics") {
		p.failPointer(at, `"topics" is missing`)
	}
	switch {
	case there("service") && there("url"):
		p.failPointer(at+"/url", "stands beside service; name one of them")
	case there("path") && there("url"):
		p.failPointer(at+"/path", "belongs to service; with url, put the path into it")
	case !there("service") && !there("url") && !there("amqp") && !there("pull"):
		p.failPointer(at, `names neither "service", "url" nor "amqp" to deliver to, nor "pull"`)
	}
	if there("url") && s.URL == "" {
		p.faulty[at+"/service"] = true // the URL was refused, which says enough: the service is not what is missing
	}
	p.checkService(o, at+"/service", s.Service)
	if validName(s.Name) == "" {
		p.failFields(at, delivery.CheckDeclared(s, delivery.Options{Conditions: p.conditions.Compile, Services: func(name string) (tandem.Service, bool) {
			i := slices.IndexFunc(o.Services, func(s tandem.Service) bool { return s.Name == name })
			if i < 0 {
				return tandem.Service{}, false
			}
			return o.Services[i], true
		}}))
	}
	p.warnUnchecked(o, at, s)
	p.warnTopics(o, at+"/topics", s.Topics)
	p.warnTopic(o, at+"/replies", s.Replies)
}

// warnUnchecked warns of a request link whose service is not known to be there before somebody waits for it.
func (p *parser) warnUnchecked(o *server.Options, at string, s tandem.Subscription) {
	if s.Mode != tandem.DeliverRequest {
		return
	}
	for _, service := range o.Services {
		if service.Name == s.Service && service.Health == nil {
			p.warn(p.nearest(at+"/service"), at+"/service", "a request link calls %q, which has no health check; add \"health: {path: /healthz}\" to the service", s.Service)
		}
	}
}

// checkService reports a service that is not declared.
func (p *parser) checkService(o *server.Options, at, name string) {
	if name == "" || slices.ContainsFunc(o.Services, func(s tandem.Service) bool { return s.Name == name }) {
		return
	}
	if len(o.Services) == 0 {
		p.failPointer(at, "no service %q; the file declares no services", name)
		return
	}
	var names []string
	for _, s := range o.Services {
		names = append(names, s.Name)
	}
	p.failPointer(at, "no service %q; %s", name, didYouMean(name, names))
}

// warnTopics warns of topics that the file does not declare. They may be made through the API, so that is no error.
func (p *parser) warnTopics(o *server.Options, at string, patterns []string) {
	for i, t := range patterns {
		p.warnTopic(o, item(at, i), t)
	}
}

func (p *parser) warnTopic(o *server.Options, at, name string) {
	if name == "" {
		return
	}
	var names []string
	for _, t := range o.Topics {
		if tandem.MatchTopic(name, t.Name) {
			return
		}
		names = append(names, t.Name)
	}
	if strings.Contains(name, "*") {
		p.warn(p.nearest(at), at, "%q matches no topic of this file", name)
		return
	}
	hint := "declare it under topics, or create it through the API before it is used"
	if h := didYouMean(name, names); strings.HasPrefix(h, "did") {
		hint = h
	}
	p.warn(p.nearest(at), at, "topic %q is not declared in this file; %s", name, hint)
}
