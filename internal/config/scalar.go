package config

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-hybrid/tandem"
)

// text reads a scalar that YAML takes for text. Numbers and booleans are refused rather than converted, since
// "type: 1.10" would lose its zero.
func (p *parser) text(v value, into *string) bool {
	switch {
	case isNull(v.node):
		p.bad(v, "has no value")
	case v.node.Kind != yaml.ScalarNode:
		p.bad(v, "must be text, not %s", kind(v.node))
	case v.node.ShortTag() != "!!str":
		p.bad(v, "must be text, not %s; put it in quotes: %q", kind(v.node), v.node.Value)
	default:
		*into = v.node.Value
		return true
	}
	return false
}

// word reads one of a few words.
func (p *parser) word(v value, into *string, allowed ...string) bool {
	var s string
	if !p.text(v, &s) {
		return false
	}
	for _, a := range allowed {
		if s == a {
			*into = s
			return true
		}
	}
	p.bad(v, "%q is not allowed; %s", s, didYouMean(s, allowed))
	return false
}

func (p *parser) integer(v value, into *int, low, high int) bool {
	n, err := strconv.Atoi(v.node.Value)
	if v.node.Kind != yaml.ScalarNode || v.node.ShortTag() != "!!int" || err != nil {
		p.bad(v, "must be a whole number from %d to %d, not %s", low, high, kind(v.node))
		return false
	}
	if n < low || n > high {
		p.bad(v, "%d is outside %d to %d", n, low, high)
		return false
	}
	*into = n
	return true
}

// share reads a number from 0 to 1. It makes 0 negative, since to options it is what is not there.
func (p *parser) share(v value, into *float64) {
	n, err := strconv.ParseFloat(v.node.Value, 64)
	tag := v.node.ShortTag()
	if v.node.Kind != yaml.ScalarNode || tag != "!!int" && tag != "!!float" || err != nil || !(n >= 0 && n <= 1) {
		p.bad(v, "must be a number from 0 to 1, such as 0.1, not %s", kind(v.node))
		return
	}
	if *into = n; n == 0 {
		*into = -1
	}
}

func (p *parser) boolean(v value, into *bool) bool {
	if v.node.Kind != yaml.ScalarNode || v.node.ShortTag() != "!!bool" || v.node.Decode(into) != nil {
		p.bad(v, "must be true or false, not %s", kind(v.node))
		return false
	}
	return true
}

// duration reads Go's text form of a duration above zero.
func (p *parser) duration(v value, into *tandem.Duration) bool {
	if v.node.Kind != yaml.ScalarNode || isNull(v.node) {
		p.bad(v, "must be a duration such as 500ms, 30s or 168h, not %s", kind(v.node))
		return false
	}
	var d tandem.Duration
	if err := d.UnmarshalText([]byte(v.node.Value)); err != nil {
		hint := ""
		if n, ok := strings.CutSuffix(v.node.Value, "d"); ok {
			if days, err := strconv.Atoi(n); err == nil && days > 0 && days < 100_000 {
				hint = "; days are not a unit, write " + strconv.Itoa(24*days) + "h"
			}
		}
		p.bad(v, "%v%s", err, hint)
		return false
	}
	if d <= 0 {
		p.bad(v, "must be above zero, not %s", v.node.Value)
		return false
	}
	*into = d
	return true
}

// durationOrForever is duration, and reads "forever" as -1.
func (p *parser) durationOrForever(v value, into *tandem.Duration) bool {
	if v.node.Kind == yaml.ScalarNode && v.node.Value == "forever" {
		*into = -1
		return true
	}
	return p.duration(v, into)
}

// size reads a number of bytes, plain or with a unit: 1048576, 512MiB, 10GB.
func (p *parser) size(v value, into *int64) bool {
	n, ok := int64(0), false
	if v.node.Kind == yaml.ScalarNode {
		n, ok = parseSize(v.node.Value)
	}
	if !ok {
		p.bad(v, "must be a size such as 1048576, 512MiB or 10GB, not %s", kind(v.node))
		return false
	}
	*into = n
	return true
}

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

func parseSize(s string) (int64, bool) {
	unit := int64(1)
	for _, u := range sizeUnits {
		if number, ok := strings.CutSuffix(s, u.suffix); ok {
			s, unit = strings.TrimRight(number, " "), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || s[0] == '+' || n*unit/unit != n {
		return 0, false
	}
	return n * unit, true
}

// texts reads a list of at least one text. Valid returns what is wrong with one.
func (p *parser) texts(v value, what string, into *[]string, valid func(string) string) {
	if v.node.Kind == yaml.ScalarNode && !isNull(v.node) {
		p.bad(v, "must be a list of %s, not %s; write [%s]", what, kind(v.node), v.node.Value)
		return
	}
	items := p.items(v, what)
	if len(items) == 0 && v.node.Kind == yaml.SequenceNode {
		p.bad(v, "is empty; name at least one of the %s", what)
	}
	for _, item := range items {
		var s string
		if !p.filled(item, &s) {
			continue
		}
		if why := valid(s); why != "" {
			p.bad(item, "%q %s", s, why)
		}
		*into = append(*into, s)
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// kind says what a node is, for messages. It does not show long values.
func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	shown := n.Value
	if len(shown) > 40 {
		shown = shown[:40] + "…"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!str":
		return strconv.Quote(shown)
	case "!!bool":
		return "the boolean " + shown
	case "!!int", "!!float":
		return "the number " + shown
	}
	return shown
}
