package tandem

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Limits and defaults of a topic.
const (
	MaxTopicNameBytes = 200
	MaxPartitions     = 1024
	DefaultPartitions = 8
	DefaultRetention  = 7 * 24 * time.Hour
)

// Topic is the declaration of a topic. Partitions are fixed when it is created; the rest may change.
type Topic struct {
	Name           string   `json:"name,omitempty"`
	Partitions     int      `json:"partitions,omitempty"`     // zero means DefaultPartitions
	Retention      Duration `json:"retention,omitempty"`      // by age of acceptance; zero means DefaultRetention, negative ("forever") keeps for ever
	RetentionBytes int64    `json:"retentionBytes,omitempty"` // by stored size of the whole topic; zero means no limit
	Key            string   `json:"key,omitempty"`            // what orders events without an explicit key: "subject" (default), "data.PATH" or an attribute
	Source         string   `json:"source,omitempty"`         // default source of plain JSON
	Type           string   `json:"type,omitempty"`           // default type of plain JSON

	// Kafka adopts a topic that exists in Kafka; the zero value is a topic of Tandem's own. It is fixed when the topic is created.
	Kafka KafkaTopic `json:"kafka,omitzero"`
}

// KafkaTopic is a topic of Kafka under a name of Tandem's, with what its records may lack to be events. Its partitions, retention and
// other settings stay as they are.
type KafkaTopic struct {
	Topic  string `json:"topic,omitempty"`  // its name in Kafka
	Source string `json:"source,omitempty"` // of records without one; empty means "kafka:" and the topic
	ID     string `json:"id,omitempty"`     // "position" (default: partition and offset) or "key"
	Type   string `json:"type,omitempty"`   // of records without one; empty means "kafka.record"
}

// ValidTopicName reports whether name follows [a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)* in at most 200 bytes. A leading
// underscore names a topic of Tandem's own, which users cannot create.
func ValidTopicName(name string) bool {
	if name == "" || len(name) > MaxTopicNameBytes {
		return false
	}
	segStart := true
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			segStart = false
		case c == '_' || c == '-':
			if i == 0 {
				return false
			}
			segStart = false
		case c == '.':
			if segStart {
				return false
			}
			segStart = true
		default:
			return false
		}
	}
	return !segStart
}

// ValidTopicPattern reports whether p is a topic name in which a whole segment may be "*" and the last "**".
func ValidTopicPattern(p string) bool {
	if p == "**" || p == "*" {
		return true
	}
	if p == "" || len(p) > MaxTopicNameBytes {
		return false
	}
	segs := strings.Split(p, ".")
	for i, s := range segs {
		switch s {
		case "*":
			segs[i] = "x"
		case "**":
			if i != len(segs)-1 {
				return false
			}
			segs[i] = "x"
		}
	}
	return ValidTopicName(strings.Join(segs, "."))
}

// MatchTopic reports whether a topic name matches a pattern: "*" stands for one segment, a last "**" for one or more.
// Topics with a leading underscore match no pattern with wildcards.
func MatchTopic(pattern, name string) bool {
	if pattern == name {
		return true
	}
	if !strings.Contains(pattern, "*") || strings.HasPrefix(name, "_") {
		return false
	}
	for {
		p, pr, pMore := strings.Cut(pattern, ".")
		if p == "**" && !pMore {
			return true
		}
		n, nr, nMore := strings.Cut(name, ".")
		if p != "*" && p != n || pMore != nMore {
			return false
		}
		if !pMore {
			return true
		}
		pattern, name = pr, nr
	}
}

// Duration is a time.Duration that reads and writes Go's text form ("90s", "168h") in JSON and YAML. A negative one, which
// only a retention may be, is "forever".
type Duration time.Duration

const forever = "forever"

// String returns Go's text form.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) {
	if d < 0 {
		return []byte(forever), nil
	}
	return []byte(d.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	if string(b) == forever {
		*d = -1
		return nil
	}
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 500ms, 30s or 168h", b)
	}
	*d = Duration(v)
	return nil
}

// UnmarshalJSON accepts the text form only.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("a duration is a string such as \"30s\"")
	}
	return d.UnmarshalText([]byte(s))
}
