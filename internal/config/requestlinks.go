package config

import (
	"slices"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/server"
)

// longChain is how many request links a publish may call without a warning.
const longChain = 3

// warnRequestLinks warns of what makes requests slow or fragile: chains that are long.
func (p *parser) warnRequestLinks(o *server.Options) {
	for _, t := range o.Topics {
		if names := chainOf(o, t.Name); len(names) > longChain {
			at := join("/topics", t.Name)
			p.warn(p.nearest(at), at, "a publish may call %d request links, one after another (%s), and waits and fails with each; consider mode: event for some",
				len(names), strings.Join(names, ", "))
		}
	}
}

// chainOf returns the request links that a publish to a topic may reach, over their replies. What their filters select is not
// looked at, since nothing says of which types replies are.
func chainOf(o *server.Options, topic string) (names []string) {
	seen := map[string]bool{topic: true}
	for next := []string{topic}; len(next) > 0; next = next[1:] {
		for i := range o.Subscriptions {
			s := &o.Subscriptions[i]
			reads := slices.ContainsFunc(s.Topics, func(pattern string) bool { return tandem.MatchTopic(pattern, next[0]) })
			if s.Mode != tandem.DeliverRequest || !reads {
				continue
			}
			if !slices.Contains(names, s.Name) {
				names = append(names, s.Name)
			}
			if s.Replies != "" && !seen[s.Replies] {
				seen[s.Replies] = true
				next = append(next, s.Replies)
			}
		}
	}
	return names
}
