package config

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-hybrid/tandem"
)

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

// time reads an RFC 3339 time. YAML takes an unquoted one for a timestamp; here it is the text that counts.
func (p *parser) time(v value, into *string) {
	if v.node.ShortTag() == "!!timestamp" {
		*into = v.node.Value
	} else if !p.filled(v, into) {
		return
	}
	if _, ok := tandem.ParseTime(*into); !ok {
		p.bad(v, "%q is not a time such as 2026-01-31T08:00:00Z", *into)
	}
}

// rate reads a number of events a second. How many there may be is checked with the rest of the policy.
func (p *parser) rate(v value, into *float64) {
	n, err := strconv.ParseFloat(v.node.Value, 64)
	tag := v.node.ShortTag()
	if v.node.Kind != yaml.ScalarNode || tag != "!!int" && tag != "!!float" || err != nil || !(n > 0) {
		p.bad(v, "must be a number of events a second above zero, such as 50 or 0.5, not %s", kind(v.node))
		return
	}
	*into = n
}

// headers reads a mapping from names to texts and references. Values are not shown: any may be a secret.
func (p *parser) headers(v value, into *map[string]string) {
	headers := map[string]string{}
	for _, e := range p.entries(v, "a mapping of headers") {
		if !isToken(e.key.Value) {
			p.fail(e.key, v.pointer, "%q is not the name of a header", e.key.Value)
			continue
		}
		switch form, name, _ := strings.Cut(e.node.Value, ":"); {
		case e.node.Kind != yaml.ScalarNode || e.node.ShortTag() != "!!str" || e.node.Value == "":
			p.bad(e.value, "must be text in quotes, or a reference, env:NAME or file:PATH")
		case strings.ContainsFunc(e.node.Value, func(r rune) bool { return r < ' ' || r == 0x7f }):
			p.bad(e.value, "must not have control characters")
		case form == "file" && name != "":
			headers[e.key.Value] = form + ":" + p.relative(name)
		default:
			headers[e.key.Value] = e.node.Value
		}
	}
	*into = headers
}

// isToken reports whether s may be the name of a header (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// answers reads a mapping from statuses to what they mean. YAML takes a status for a number, which is no fault in a key.
func (p *parser) answers(v value, into *map[string]string) {
	answers := map[string]string{}
	for _, e := range p.entries(v, "a mapping from statuses to delivered, retry, dead or disable") {
		if !isStatus(e.key.Value) {
			p.fail(e.key, v.pointer, `%q is neither a status such as 404 nor a class such as 4xx`, e.key.Value)
			continue
		}
		var answer string
		if p.word(e.value, &answer, tandem.AnswerDelivered, tandem.AnswerRetry, tandem.AnswerDead, tandem.AnswerDisable) {
			answers[e.key.Value] = answer
		}
	}
	*into = answers
}

// isStatus reports whether s is an HTTP status that ends a request, or a class of them.
func isStatus(s string) bool {
	if len(s) != 3 || s[0] < '2' || s[0] > '5' {
		return false
	}
	return s[1:] == "xx" || strings.Trim(s[1:], "0123456789") == ""
}
