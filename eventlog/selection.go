package eventlog

import (
	"errors"
	"slices"
	"strings"

	"github.com/tandem-hybrid/tandem"
)

var (
	errInvalidTopic = errors.New("the topic is invalid")
	errNoSelection  = errors.New("no topic is selected")
)

// Selection is a checked set of topic names and patterns. The zero Selection matches nothing.
type Selection struct {
	patterns []string // sorted, each once
	wild     bool     // one of them has a wildcard
}

// Select checks names and patterns ("*" is one segment, a last "**" a tail). A plain name of a topic that does not exist
// is found out only when a Reader is opened. Code: Invalid.
func Select(patterns ...string) (Selection, error) {
	if len(patterns) == 0 {
		return Selection{}, &tandem.Error{Code: tandem.CodeInvalid, Err: errNoSelection}
	}
	s := Selection{patterns: slices.Compact(slices.Sorted(slices.Values(patterns)))}
	for _, p := range s.patterns {
		if strings.Contains(p, "*") {
			s.wild = true
			if tandem.ValidTopicPattern(p) {
				continue
			}
		} else if tandem.ValidTopicName(strings.TrimPrefix(p, "_")) {
			continue
		}
		return Selection{}, tandem.Errorf(tandem.CodeInvalid, "%q is not the name of a topic or a pattern", p).
			WithField("topic", "%q must be segments of a-z, 0-9, _ and - separated by dots; * for one segment, a last ** for a tail", p)
	}
	return s, nil
}

// Match reports whether a topic belongs to the selection.
func (s Selection) Match(topic string) bool {
	if !s.wild {
		_, ok := slices.BinarySearch(s.patterns, topic)
		return ok
	}
	for _, p := range s.patterns {
		if tandem.MatchTopic(p, topic) {
			return true
		}
	}
	return false
}

// String returns the patterns, separated by commas.
func (s Selection) String() string { return strings.Join(s.patterns, ",") }
