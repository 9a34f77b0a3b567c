package config

import (
	"errors"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-hybrid/tandem"
)

var serviceFields = []field[tandem.Service]{
	{name: "url", read: (*parser).baseURLs},
	{name: "timeout", read: func(p *parser, v value, s *tandem.Service) { p.duration(v, &s.Timeout) }},
	{name: "health", read: func(p *parser, v value, s *tandem.Service) {
		s.Health = new(tandem.Health)
		object(p, v, healthFields, s.Health)
		p.required(v, "path", s.Health.Path != "")
	}},
	{name: "breaker", later: notYet},
}

var healthFields = []field[tandem.Health]{
	{name: "path", read: func(p *parser, v value, h *tandem.Health) { p.filled(v, &h.Path) }},
	{name: "interval", read: func(p *parser, v value, h *tandem.Health) { p.duration(v, &h.Interval) }},
	{name: "timeout", read: func(p *parser, v value, h *tandem.Health) { p.duration(v, &h.Timeout) }},
	{name: "healthy", read: func(p *parser, v value, h *tandem.Health) { p.integer(v, &h.Healthy, 1, tandem.MaxHealthCount) }},
	{name: "unhealthy", read: func(p *parser, v value, h *tandem.Health) { p.integer(v, &h.Unhealthy, 1, tandem.MaxHealthCount) }},
}

// baseURLs reads the URL of a service, or a list of them.
func (p *parser) baseURLs(v value, s *tandem.Service) {
	if v.node.Kind != yaml.SequenceNode {
		p.url(v, &s.URL)
		return
	}
	all := p.items(v, "URLs")
	if len(all) == 0 {
		p.bad(v, "is empty; name a URL")
	}
	for i, item := range all {
		if i == 0 {
			p.url(item, &s.URL)
			continue
		}
		s.Others = append(s.Others, "")
		p.url(item, &s.Others[i-1])
	}
}

// checkDeclaredService reports what is wrong with a service; its further URLs are items of url in the file.
func (p *parser) checkDeclaredService(s tandem.Service) {
	at := join("/services", s.Name)
	var e *tandem.Error
	if !errors.As(s.Check(), &e) {
		return
	}
	for _, f := range e.Fields {
		if i, ok := strings.CutPrefix(f.Pointer, "/others/"); ok {
			n, _ := strconv.Atoi(i)
			f.Pointer = item("/url", n+1)
		}
		p.failPointer(at+f.Pointer, "%s", f.Detail)
	}
}
