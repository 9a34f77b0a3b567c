package config

import (
	"strconv"

	"github.com/tandem-hybrid/tandem/server"
)

func item(pointer string, i int) string { return pointer + "/" + strconv.Itoa(i) }

func (p *parser) checkRoutes(o *server.Options) {
	for i := range o.Routes {
		r, at := &o.Routes[i], item("/routes", i)
		p.checkService(o, at+"/service", r.Service)
		for j, a := range r.Authorize {
			p.checkService(o, p.authorizer(at, j), a.Service)
		}
		p.warnTopic(o, at+"/topic", r.Topic)
		if r.Stream != nil {
			p.warnTopics(o, at+"/stream/topics", r.Stream.Topics)
		}
		if r.Respond != nil {
			p.warnTopics(o, at+"/respond/topics", r.Respond.Topics)
		}
		if r.Operation != nil {
			p.warnTopics(o, at+"/operation/topics", r.Operation.Spec.Topics)
		}
	}
}

// authorizer returns where the name of a route's authorizing service is: authorize may be a name, a mapping or a list.
func (p *parser) authorizer(route string, i int) string {
	at := route + "/authorize"
	if p.places[item(at, i)] != nil {
		at = item(at, i)
	}
	if p.places[at+"/service"] != nil {
		return at + "/service"
	}
	return at
}
