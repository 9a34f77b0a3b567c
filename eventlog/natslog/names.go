package natslog

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// names builds the names of streams and subjects from Options.Prefix:
//
//	stream  PREFIX_state                    subject  PREFIX.state.KIND.KEY
//	stream  PREFIX_TOPIC_ID_PARTITION       subject  PREFIX.events.TOPIC.PARTITION
//
// The subject of a partition is what others publish to and follow; dots of the topic's name are dots of the subject. A stream's name holds
// the topic's incarnation, and + for dots, which it cannot have.
type names string

func (n names) stateStream() string { return string(n) + "_state" }

func (n names) stateSubjects() string { return string(n) + ".state.>" }

func (n names) eventSubjects() string { return string(n) + ".events.>" }

func (n names) subject(topic string, partition int) string {
	return string(n) + ".events." + topic + "." + strconv.Itoa(partition)
}

func (n names) stream(topic string, id driver.ID, partition int) string {
	return fmt.Sprintf("%s_%s_%016x_%d", n, strings.ReplaceAll(topic, ".", "+"), uint64(id), partition)
}

// parseStream undoes stream, but for the topic.
func (n names) parseStream(name string) (id driver.ID, partition int, ok bool) {
	rest, ok := strings.CutPrefix(name, string(n)+"_")
	if !ok {
		return 0, 0, false
	}
	i := strings.LastIndexByte(rest, '_')
	if i < 0 {
		return 0, 0, false
	}
	partition, err := strconv.Atoi(rest[i+1:])
	j := strings.LastIndexByte(rest[:i], '_')
	if err != nil || j < 1 || i-j != 17 {
		return 0, 0, false
	}
	v, err := strconv.ParseUint(rest[j+1:i], 16, 64)
	return driver.ID(v), partition, err == nil
}

// The kinds of state records. The local index has the kind before each key.
const (
	kindRecord = 'r' // of whoever holds the log
	kindPart   = 'p' // a piece of a record that is larger than a message
	kindTopic  = 't'
	kindOwner  = 'o' // epoch of a name
	kindOurs   = 'x' // of the engine itself
)

// stateSubject is the subject of an index key. Bytes that a subject cannot hold are =XX.
func (n names) stateSubject(key string) string {
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(n)+len(".state.")+2*len(key))
	b = append(b, n...)
	b = append(b, ".state."...)
	b = append(b, key[0], '.')
	for i := 1; i < len(key); i++ {
		c := key[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '/' || c == '-' || c == '_' {
			b = append(b, c)
		} else {
			b = append(b, '=', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

// parseStateSubject undoes stateSubject.
func (n names) parseStateSubject(subject string) (key string, ok bool) {
	rest, ok := strings.CutPrefix(subject, string(n)+".state.")
	if !ok || len(rest) < 3 || rest[1] != '.' {
		return "", false
	}
	b := append(make([]byte, 0, len(rest)), rest[0])
	for i := 2; i < len(rest); i++ {
		c := rest[i]
		if c != '=' {
			b = append(b, c)
			continue
		}
		if i+2 >= len(rest) {
			return "", false
		}
		v, err := strconv.ParseUint(rest[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b = append(b, byte(v))
		i += 2
	}
	return string(b), true
}

// maxSubject bounds a subject: the server reads lines of at most 4 KiB.
const maxSubject = 3500
