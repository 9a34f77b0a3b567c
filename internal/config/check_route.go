package config

import (
	"strconv"

	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/server"
)

func item(pointer string, i int) string { return pointer + "/" + strconv.Itoa(i) }

func (p *parser) checkRoutes(o *server.Options) {
	for i := range o.Routes {
		r, at := &o.Routes[i], item("/routes", i)
		p.checkService(o, at+"/service", r.Service)
		for j, a := range r.Authorize {
			p.checkService(o, item(at+"/authorize", j), a.Service)
		}
		p.warnTopic(o, at+"/topic", r.Topic)
		if r.Stream != nil {
			p.warnTopics(o, at+"/stream/topics", r.Stream.Topics)
			if r.Stream.Publish != nil {
				p.warnTopic(o, at+"/stream/publish/topic", r.Stream.Publish.Topic)
			}
		}
		if r.Respond != nil {
			p.warnTopics(o, at+"/respond/topics", r.Respond.Topics)
		}
		if r.Operation != nil {
			p.warnTopics(o, at+"/operation/topics", r.Operation.Spec.Topics)
		}
	}
	p.failFields("", gateway.Check(o.Routes, o.Services))
}
