package config

import (
	"strings"

	"github.com/tandem-hybrid/tandem"
)

var subscriptionFields = []field[tandem.Subscription]{
	{name: "topics", read: func(p *parser, v value, s *tandem.Subscription) { p.topicPatterns(v, &s.Topics) }},
	{name: "filter", read: func(p *parser, v value, s *tandem.Subscription) { p.filter(v, &s.Filter) }},
	{name: "service", read: func(p *parser, v value, s *tandem.Subscription) { p.filled(v, &s.Service) }},
	{name: "path", read: func(p *parser, v value, s *tandem.Subscription) { p.path(v, &s.Path) }},
	{name: "url", read: func(p *parser, v value, s *tandem.Subscription) { p.url(v, &s.URL) }},
	{name: "secret", read: func(p *parser, v value, s *tandem.Subscription) { p.secret(v, &s.Secret) }},
	{name: "mode", read: func(p *parser, v value, s *tandem.Subscription) {
		if v.node.Value == "request" {
			p.bad(v, `"request" is not supported yet; the mode is "event"`)
			return
		}
		p.word(v, &s.Mode, "event")
	}},
	{name: "from", read: func(p *parser, v value, s *tandem.Subscription) { p.from(v, &s.From) }},
	{name: "replies", read: func(p *parser, v value, s *tandem.Subscription) { p.topic(v, &s.Replies) }},
	{name: "attempts", read: func(p *parser, v value, s *tandem.Subscription) { p.integer(v, &s.Attempts, 1, 1000) }},
	{name: "timeout", read: func(p *parser, v value, s *tandem.Subscription) { p.duration(v, &s.Timeout) }},
	{name: "backoff", read: func(p *parser, v value, s *tandem.Subscription) {
		object(p, v, backoffFields, &s.Backoff)
		if s.Backoff.Base > 0 && s.Backoff.Max > 0 && s.Backoff.Base > s.Backoff.Max {
			p.bad(v, "base %s is above max %s", s.Backoff.Base, s.Backoff.Max)
		}
	}},
	{name: "concurrency", read: func(p *parser, v value, s *tandem.Subscription) { p.integer(v, &s.Concurrency, 1, 1024) }},
	{name: "ordering", later: notYet + "; events of one key are delivered in order"},
	{name: "pull", later: notYet + "; events are delivered to a service or url"},
}

var backoffFields = []field[tandem.Backoff]{
	{name: "base", read: func(p *parser, v value, b *tandem.Backoff) { p.duration(v, &b.Base) }},
	{name: "max", read: func(p *parser, v value, b *tandem.Backoff) { p.duration(v, &b.Max) }},
}

// topicPatterns reads a list of topic names and patterns.
func (p *parser) topicPatterns(v value, into *[]string) {
	p.texts(v, "topics", into, func(t string) string {
		if !tandem.ValidTopicPattern(t) {
			return `is neither a topic name nor a pattern: "*" stands for one part between dots, a last "**" for the rest`
		}
		return ""
	})
}

// topic reads the name of one topic.
func (p *parser) topic(v value, into *string) {
	if !p.filled(v, into) {
		return
	}
	if why := validTopic(*into); why != "" {
		p.bad(v, "%q %s", *into, why)
	}
}

func (p *parser) path(v value, into *string) {
	if !p.filled(v, into) {
		return
	}
	if !strings.HasPrefix(*into, "/") || strings.ContainsAny(*into, "#\r\n\t ") {
		p.bad(v, `%q is not a path such as "/events"`, *into)
	}
}

func (p *parser) from(v value, into *string) {
	// YAML takes an unquoted time for a timestamp; here it is the text that counts.
	if v.node.ShortTag() == "!!timestamp" {
		*into = v.node.Value
	} else if !p.filled(v, into) {
		return
	}
	if _, err := tandem.ParseStart(*into); err != nil {
		p.bad(v, `%q is not "earliest", "latest" or a time such as 2026-01-31T08:00:00Z`, *into)
	}
}
