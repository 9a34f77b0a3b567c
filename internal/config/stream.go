package config

import (
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/internal/stream"
)

// streamsFields bound all streams; those of one are in streamFields.
var streamsFields = []field[stream.Options]{
	{name: "max", read: func(p *parser, v value, o *stream.Options) { p.integer(v, &o.MaxStreams, 1, maxStreams) }},
	{name: "maxPerPrincipal", read: func(p *parser, v value, o *stream.Options) { p.integer(v, &o.MaxPerPrincipal, 1, maxStreams) }},
	{name: "maxPerAddress", read: func(p *parser, v value, o *stream.Options) { p.integer(v, &o.MaxPerAddress, 1, maxStreams) }},
	{name: "maxAge", read: func(p *parser, v value, o *stream.Options) {
		var d tandem.Duration
		if p.durationOrForever(v, &d) && d > 0 && time.Duration(d) < time.Second {
			p.bad(v, "%s is below 1s", v.node.Value)
		}
		o.MaxAge = time.Duration(d)
	}},
	{name: "reconnectRate", read: func(p *parser, v value, o *stream.Options) { p.integer(v, &o.ReconnectRate, 1, maxStreams) }},
	{name: "waitingBytes", read: func(p *parser, v value, o *stream.Options) {
		if p.size(v, &o.WaitingBytes) && (o.WaitingBytes < 1<<20 || o.WaitingBytes > 64<<30) {
			p.bad(v, "%s is outside 1MiB to 64GiB", v.node.Value)
		}
	}},
}

// maxStreams bounds numbers of streams.
const maxStreams = 1_000_000

var streamFields = []field[gateway.Stream]{
	{name: "topics", read: func(p *parser, v value, s *gateway.Stream) { p.topicPatterns(v, &s.Topics) }},
	{name: "filter", read: func(p *parser, v value, s *gateway.Stream) { p.filter(v, &s.Filter) }},
	{name: "slow", read: func(p *parser, v value, s *gateway.Stream) {
		p.word(v, (*string)(&s.Slow), string(tandem.SlowCatchUp), string(tandem.SlowConflate), string(tandem.SlowDisconnect))
	}},
	{name: "publish", read: func(p *parser, v value, s *gateway.Stream) {
		s.Publish = &gateway.StreamPublish{}
		object(p, v, streamPublishFields, s.Publish)
		p.required(v, "topic", s.Publish.Topic != "")
		p.required(v, "type", s.Publish.Type != "")
	}},
}

var streamPublishFields = []field[gateway.StreamPublish]{
	{name: "topic", read: func(p *parser, v value, s *gateway.StreamPublish) { p.topic(v, &s.Topic) }},
	{name: "type", read: func(p *parser, v value, s *gateway.StreamPublish) { p.filled(v, &s.Type) }},
	{name: "key", read: func(p *parser, v value, s *gateway.StreamPublish) { p.filled(v, &s.Key) }},
	{name: "subject", read: func(p *parser, v value, s *gateway.StreamPublish) { p.filled(v, &s.Subject) }},
}
