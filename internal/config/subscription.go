package config

import "github.com/tandem-hybrid/tandem"

var subscriptionFields = []field[tandem.Subscription]{
	{name: "topics", read: func(p *parser, v value, s *tandem.Subscription) { p.topicPatterns(v, &s.Topics) }},
	{name: "filter", read: func(p *parser, v value, s *tandem.Subscription) { p.filter(v, &s.Filter) }},
	{name: "service", read: func(p *parser, v value, s *tandem.Subscription) { p.filled(v, &s.Service) }},
	{name: "path", read: func(p *parser, v value, s *tandem.Subscription) { p.path(v, &s.Path) }},
	{name: "url", read: func(p *parser, v value, s *tandem.Subscription) { p.url(v, &s.URL) }},
	{name: "amqp", read: func(p *parser, v value, s *tandem.Subscription) {
		s.AMQP = &tandem.AMQP{}
		object(p, v, amqpFields, s.AMQP)
		p.required(v, "url", s.AMQP.URL != "")
	}},
	{name: "pull", read: func(p *parser, v value, s *tandem.Subscription) {
		s.Pull = &tandem.Pull{}
		object(p, v, pullFields, s.Pull)
	}},
	{name: "secret", read: func(p *parser, v value, s *tandem.Subscription) { p.secret(v, &s.Secret) }},
	{name: "oldSecrets", read: func(p *parser, v value, s *tandem.Subscription) {
		for _, item := range p.items(v, "mappings with secret and until") {
			var old tandem.OldSecret
			object(p, item, oldSecretFields, &old)
			p.required(item, "secret", old.Secret != "")
			p.required(item, "until", old.Until != "")
			s.OldSecrets = append(s.OldSecrets, old)
		}
	}},
	{name: "headers", read: func(p *parser, v value, s *tandem.Subscription) { p.headers(v, &s.Headers) }},
	{name: "auth", read: func(p *parser, v value, s *tandem.Subscription) {
		s.Auth = &tandem.TargetAuth{}
		object(p, v, authFields, s.Auth)
	}},
	{name: "handshake", read: func(p *parser, v value, s *tandem.Subscription) { p.boolean(v, &s.Handshake) }},
	{name: "content", read: func(p *parser, v value, s *tandem.Subscription) {
		p.word(v, &s.Content, tandem.ContentStructured, tandem.ContentBinary, tandem.ContentBatch)
	}},
	{name: "batchSize", read: func(p *parser, v value, s *tandem.Subscription) { p.integer(v, &s.BatchSize, 1, tandem.MaxBatchSize) }},
	{name: "mode", read: func(p *parser, v value, s *tandem.Subscription) {
		p.word(v, &s.Mode, tandem.DeliverEvent, tandem.DeliverRequest)
	}},
	{name: "parallel", read: func(p *parser, v value, s *tandem.Subscription) { p.boolean(v, &s.Parallel) }},
	{name: "from", read: func(p *parser, v value, s *tandem.Subscription) { p.from(v, &s.From) }},
	{name: "replies", read: func(p *parser, v value, s *tandem.Subscription) { p.topic(v, &s.Replies) }},
	{name: "ordering", read: func(p *parser, v value, s *tandem.Subscription) {
		p.word(v, &s.Ordering, tandem.OrderingKey, tandem.OrderingNone)
	}},
	{name: "concurrency", read: func(p *parser, v value, s *tandem.Subscription) { p.integer(v, &s.Concurrency, 1, 1024) }},
	{name: "rate", read: func(p *parser, v value, s *tandem.Subscription) { p.rate(v, &s.Rate) }},
	{name: "timeout", read: func(p *parser, v value, s *tandem.Subscription) { p.duration(v, &s.Timeout) }},
	{name: "attempts", read: func(p *parser, v value, s *tandem.Subscription) { p.integer(v, &s.Attempts, 1, 1000) }},
	{name: "backoff", read: func(p *parser, v value, s *tandem.Subscription) {
		object(p, v, backoffFields, &s.Backoff)
		if s.Backoff.Base > 0 && s.Backoff.Max > 0 && s.Backoff.Base > s.Backoff.Max {
			p.bad(v, "base %s is above max %s", s.Backoff.Base, s.Backoff.Max)
		}
	}},
	{name: "retryAfter", read: func(p *parser, v value, s *tandem.Subscription) { p.duration(v, &s.RetryAfter) }},
	{name: "answers", read: func(p *parser, v value, s *tandem.Subscription) { p.answers(v, &s.Answers) }},
	{name: "breaker", read: func(p *parser, v value, s *tandem.Subscription) { object(p, v, breakerFields, &s.Breaker) }},
	{name: "exhausted", read: func(p *parser, v value, s *tandem.Subscription) {
		p.word(v, &s.Exhausted, tandem.ExhaustedDead, tandem.ExhaustedPause)
	}},
	{name: "pauseAfter", read: func(p *parser, v value, s *tandem.Subscription) { p.duration(v, &s.PauseAfter) }},
}

var pullFields = []field[tandem.Pull]{
	{name: "visibility", read: func(p *parser, v value, s *tandem.Pull) { p.duration(v, &s.Visibility) }},
}

var oldSecretFields = []field[tandem.OldSecret]{
	{name: "secret", read: func(p *parser, v value, s *tandem.OldSecret) { p.secret(v, &s.Secret) }},
	{name: "until", read: func(p *parser, v value, s *tandem.OldSecret) { p.time(v, &s.Until) }},
}

var authFields = []field[tandem.TargetAuth]{
	{name: "basic", read: func(p *parser, v value, a *tandem.TargetAuth) {
		a.Basic = &tandem.BasicAuth{}
		object(p, v, basicFields, a.Basic)
		p.required(v, "user", a.Basic.User != "")
		p.required(v, "password", a.Basic.Password != "")
	}},
	{name: "oauth2", read: func(p *parser, v value, a *tandem.TargetAuth) {
		a.OAuth2 = &tandem.OAuth2Auth{}
		object(p, v, oauth2Fields, a.OAuth2)
		p.required(v, "tokenUrl", a.OAuth2.TokenURL != "")
		p.required(v, "clientId", a.OAuth2.ClientID != "")
		p.required(v, "clientSecret", a.OAuth2.ClientSecret != "")
	}},
	{name: "tls", read: func(p *parser, v value, a *tandem.TargetAuth) {
		a.TLS = &tandem.TLSAuth{}
		object(p, v, tlsFields, a.TLS)
	}},
}

var basicFields = []field[tandem.BasicAuth]{
	{name: "user", read: func(p *parser, v value, b *tandem.BasicAuth) { p.filled(v, &b.User) }},
	{name: "password", read: func(p *parser, v value, b *tandem.BasicAuth) { p.secret(v, &b.Password) }},
}

var oauth2Fields = []field[tandem.OAuth2Auth]{
	{name: "tokenUrl", read: func(p *parser, v value, o *tandem.OAuth2Auth) { p.url(v, &o.TokenURL) }},
	{name: "clientId", read: func(p *parser, v value, o *tandem.OAuth2Auth) { p.filled(v, &o.ClientID) }},
	{name: "clientSecret", read: func(p *parser, v value, o *tandem.OAuth2Auth) { p.secret(v, &o.ClientSecret) }},
	{name: "scopes", read: func(p *parser, v value, o *tandem.OAuth2Auth) { p.texts(v, "scopes", &o.Scopes, anyText) }},
	{name: "audience", read: func(p *parser, v value, o *tandem.OAuth2Auth) { p.filled(v, &o.Audience) }},
}

var tlsFields = []field[tandem.TLSAuth]{
	{name: "cert", read: func(p *parser, v value, t *tandem.TLSAuth) { p.secret(v, &t.Cert) }},
	{name: "key", read: func(p *parser, v value, t *tandem.TLSAuth) { p.secret(v, &t.Key) }},
	{name: "ca", read: func(p *parser, v value, t *tandem.TLSAuth) { p.secret(v, &t.CA) }},
}

var breakerFields = []field[tandem.Breaker]{
	{name: "failures", read: func(p *parser, v value, b *tandem.Breaker) { p.integer(v, &b.Failures, 1, 1_000_000) }},
	{name: "wait", read: func(p *parser, v value, b *tandem.Breaker) { p.duration(v, &b.Wait) }},
}

var backoffFields = []field[tandem.Backoff]{
	{name: "base", read: func(p *parser, v value, b *tandem.Backoff) { p.duration(v, &b.Base) }},
	{name: "max", read: func(p *parser, v value, b *tandem.Backoff) { p.duration(v, &b.Max) }},
	{name: "list", read: func(p *parser, v value, b *tandem.Backoff) {
		b.List = []tandem.Duration{} // an empty list is refused, not taken for none
		for _, item := range p.items(v, "durations") {
			var d tandem.Duration
			p.duration(item, &d)
			b.List = append(b.List, d)
		}
	}},
}
