package amqp

import (
	"strings"

	"github.com/tandem-hybrid/tandem"
)

// RoutingKey makes the routing key of each event from a template: text, and in braces the name of an attribute, data.PATH, topic or key. What an
// event does not have is empty.
type RoutingKey struct{ parts []part }

// part is a text, or the name of what stands in its place.
type part struct{ text, name string }

// DefaultRoutingKey is the template of those who give none.
const DefaultRoutingKey = "{type}"

// ParseRoutingKey reads a template. Code: Invalid.
func ParseRoutingKey(template string) (RoutingKey, error) {
	var k RoutingKey
	for rest := template; rest != ""; {
		text, after, found := strings.Cut(rest, "{")
		if strings.Contains(text, "}") {
			return RoutingKey{}, tandem.Errorf(tandem.CodeInvalid, "a } stands without its {")
		}
		if text != "" {
			k.parts = append(k.parts, part{text: text})
		}
		if !found {
			break
		}
		name, after, found := strings.Cut(after, "}")
		if !found {
			return RoutingKey{}, tandem.Errorf(tandem.CodeInvalid, "a { stands without its }")
		}
		if path, ok := strings.CutPrefix(name, "data."); ok && path == "" || !ok && !tandem.ValidAttributeName(name) {
			return RoutingKey{}, tandem.Errorf(tandem.CodeInvalid, "{%s} names neither an attribute of the event, nor data.PATH, topic or key", name)
		}
		k.parts = append(k.parts, part{name: name})
		rest = after
	}
	return k, nil
}

// For returns the routing key of an event. Code: Invalid, when it is longer than the 255 bytes of AMQP.
func (k RoutingKey) For(rec *tandem.Record) (string, error) {
	var b strings.Builder
	for _, p := range k.parts {
		switch p.name {
		case "":
			b.WriteString(p.text)
		case "topic":
			b.WriteString(rec.Position.Topic)
		case "key":
			b.WriteString(rec.Ordering())
		default:
			v, _ := rec.Attribute(p.name)
			b.WriteString(v)
		}
	}
	if b.Len() > maxShort {
		return "", tandem.Errorf(tandem.CodeInvalid, "the routing key has %d bytes, AMQP takes %d", b.Len(), maxShort)
	}
	return b.String(), nil
}
