package config

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("tandem.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("tandem.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// configurations returns the files that must be valid: those of this package and of the examples.
func configurations(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../examples/*/tandem.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return append(files, "testdata/every.yaml", "testdata/nats.yaml")
}

func TestSchemaAcceptsWhatParseAccepts(t *testing.T) {
	s := compiled(t)
	for _, file := range configurations(t) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := Parse(file, data); err != nil {
			t.Error(err)
		}
		if err := s.Validate(plain(t, string(data))); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// plain decodes YAML to what encoding/json would give, times as text.
func plain(t *testing.T, text string) any {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	var timesAsText func(*yaml.Node)
	timesAsText = func(n *yaml.Node) {
		if n.ShortTag() == "!!timestamp" {
			n.Tag = "!!str"
		}
		for i, c := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 0 && c.ShortTag() == "!!int" {
				c.Tag = "!!str" // a key of JSON
			}
			timesAsText(c)
		}
	}
	timesAsText(&n)
	var v any
	if err := n.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSchemaRefusesWhatParseRefuses(t *testing.T) {
	s := compiled(t)
	for _, text := range []string{
		"topics: {a: {retenton: 1h}}",
		"topics: {a: {schema: a.json}}",
		"topics: {A: {}}",
		"topics: {a: {retention: 7d}}",
		"topics: {a: {partitions: 0}}",
		"engine: kafka",
		"engine: {kafka: {}}",
		"engine: {kafka: {brokers: [a]}}",
		"engine: {kafka: {brokers: [\"a:1\"]}, nats: {url: \"nats://b\"}}",
		"engine: {nats: {url: \"nats://u:p@b\"}}",
		"engine: {nats: {url: \"nats://b\", user: u}}",
		"topics: {a: {kafka: {}}}",
		"services: {a: {}}",
		"services: {a: {url: ftp://x}}",
		"routes: [{match: GET /a, client: false}]",
		"routes: [{match: GET /a, stream: {topics: [a], slow: never}}]",
		"routes: [{match: GET /a, stream: {topics: [a], publish: {topic: a}}}]",
		"routes: [{match: GET /a, stream: {topics: [a], publish: {topic: \"a.*\", type: t}}}]",
		"routes: [{match: GET /a, operation: false}]",
		"routes: [{match: GET /a, stream: {}}]",
		"subscriptions: {s: {topics: [a]}}",
		"subscriptions: {s: {topics: a, url: http://c}}",
		"subscriptions: {s: {topics: [a], url: http://c, mode: ask}}",
		"subscriptions: {s: {topics: [a], pull: {}, mode: request}}",
		"subscriptions: {s: {topics: [a], url: http://c, parallel: true}}",
		"subscriptions: {s: {topics: [a], url: http://c, secret: whsec_x}}",
		"subscriptions: {s: {topics: [a*], url: http://c}}",
		"subscriptions: {s: {topics: [a], url: http://c, filter: {any: []}}}",
		"api: {tokens: [{name: a}]}",
		"subscriptions: {s: {topics: [a], url: http://c, amqp: {url: env:A, queue: q}}}",
		"subscriptions: {s: {topics: [a], amqp: {queue: q}}}",
		"subscriptions: {s: {topics: [a], amqp: {url: env:A}}}",
		"subscriptions: {s: {topics: [a], amqp: {url: env:A, queue: q, exchange: e}}}",
		"subscriptions: {s: {topics: [a], amqp: {url: \"amqp://u:p@h\", queue: q}}}",
		"sources: {s: {topic: a}}",
		"sources: {s: {amqp: {url: env:A, queue: q}}}",
		"sources: {s: {amqp: {url: env:A}, topic: a}}",
		"sources: {s: {amqp: {url: \"http://h\", queue: q}, topic: a}}",
		"sources: {s: {amqp: {url: env:A, queue: q, prefetch: 0}, topic: a}}",
		"subscriptions: {s: {topics: [a], url: http://c, pull: {}}}",
		"subscriptions: {s: {topics: [a], pull: {visibility: -1s}}}",
		"subscriptions: {s: {topics: [a], pull: true}}",
		"subscriptions: {s: {topics: [a], url: http://c, oldSecrets: [{secret: env:A}]}}",
		"subscriptions: {s: {topics: [a], url: http://c, oldSecrets: [{secret: env:A, until: soon}]}}",
		"subscriptions: {s: {topics: [a], url: http://c, headers: {A: 7}}}",
		"subscriptions: {s: {topics: [a], url: http://c, auth: {basic: {user: u}}}}",
		"subscriptions: {s: {topics: [a], url: http://c, auth: {oauth2: {tokenUrl: x, clientId: c, clientSecret: env:A}}}}",
		"subscriptions: {s: {topics: [a], url: http://c, content: batches}}",
		"subscriptions: {s: {topics: [a], url: http://c, rate: 0}}",
		"subscriptions: {s: {topics: [a], url: http://c, answers: {600: dead}}}",
		"subscriptions: {s: {topics: [a], url: http://c, answers: {404: drop}}}",
		"subscriptions: {s: {topics: [a], url: http://c, breaker: {failures: 0}}}",
		"subscriptions: {s: {topics: [a], url: http://c, exhausted: stop}}",
		"egress: {allow: 10.0.0.0/8}",
		"ledger: {age: 7d}",
		"streams: {maxAge: 7d}",
		"streams: {max: 0}",
		"streams: {reconnectRate: 1.5}",
		"streams: {waitingBytes: lots}",
		"streams: {heartbeat: 5s}",
	} {
		if faults(t, text) == nil {
			t.Errorf("Parse accepts %s", text)
		}
		if s.Validate(plain(t, text)) == nil {
			t.Errorf("the schema accepts %s", text)
		}
	}
}

// TestSchemaAndParserKnowTheSameKeys reads a file with every key. For each mapping that the parser reads, the keys that
// it allows there must be the properties of the schema there; and each mapping of the schema must have been read.
func TestSchemaAndParserKnowTheSameKeys(t *testing.T) {
	doc := map[string]any{}
	if err := yaml.Unmarshal([]byte(Schema()), &doc); err != nil { // JSON is YAML
		t.Fatal(err)
	}
	walk := schemaWalk{doc: doc, met: map[string]bool{}}
	for _, file := range []string{"every.yaml", "nats.yaml"} {
		data, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		p := newParser(file)
		p.known = func(pointer string, keys []string) {
			want, id := walk.keys(pointer)
			slices.Sort(keys)
			if !slices.Equal(keys, want) {
				t.Errorf("%s: the parser knows %v, the schema %v", pointer, keys, want)
			}
			walk.met[id] = true
		}
		p.parse(data)
	}
	for _, id := range walk.closed(doc, "#") {
		if !walk.met[id] {
			t.Errorf("the parser never read a mapping for %s of the schema", id)
		}
	}
}

type schemaWalk struct {
	doc map[string]any
	met map[string]bool
}

type located struct {
	schema map[string]any
	id     string
}

// keys returns the sorted properties that the schema allows in the mapping at a pointer, and where it says so.
func (w *schemaWalk) keys(pointer string) ([]string, string) {
	at := w.spread(located{w.doc, "#"})
	for _, seg := range strings.Split(pointer, "/")[1:] {
		var next []located
		for _, l := range at {
			if props, ok := l.schema["properties"].(map[string]any); ok && props[seg] != nil {
				next = append(next, w.spread(located{props[seg].(map[string]any), l.id + "/properties/" + seg})...)
			} else if more, ok := l.schema["additionalProperties"].(map[string]any); ok {
				next = append(next, w.spread(located{more, l.id + "/additionalProperties"})...)
			}
			if items, ok := l.schema["items"].(map[string]any); ok {
				if _, err := strconv.Atoi(seg); err == nil {
					next = append(next, w.spread(located{items, l.id + "/items"})...)
				}
			}
		}
		at = next
	}
	for _, l := range at {
		if props, ok := l.schema["properties"].(map[string]any); ok {
			return slices.Sorted(maps.Keys(props)), l.id
		}
	}
	return nil, ""
}

// spread follows $ref and gives the branches of anyOf beside the schema itself.
func (w *schemaWalk) spread(l located) []located {
	if ref, ok := l.schema["$ref"].(string); ok {
		name := strings.TrimPrefix(ref, "#/$defs/")
		return w.spread(located{w.doc["$defs"].(map[string]any)[name].(map[string]any), ref})
	}
	all := []located{l}
	branches, _ := l.schema["anyOf"].([]any)
	for i, b := range branches {
		all = append(all, w.spread(located{b.(map[string]any), l.id + "/anyOf/" + strconv.Itoa(i)})...)
	}
	return all
}

// closed returns where the schema describes mappings with fixed keys.
func (w *schemaWalk) closed(v any, id string) (ids []string) {
	switch v := v.(type) {
	case map[string]any:
		if v["additionalProperties"] == false {
			ids = append(ids, id)
		}
		for key, below := range v {
			ids = append(ids, w.closed(below, id+"/"+key)...)
		}
	case []any:
		for i, below := range v {
			ids = append(ids, w.closed(below, id+"/"+strconv.Itoa(i))...)
		}
	}
	return ids
}

// TestEveryKeyIsDocumented looks each key up in docs/configuration.md, in code, alone or behind the keys that hold it.
func TestEveryKeyIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	p := newParser("every.yaml")
	p.known = func(pointer string, keys []string) {
		for _, key := range keys {
			if !slices.ContainsFunc([]string{"`" + key + "`", "." + key + "`", "`" + key + "."}, func(s string) bool { return strings.Contains(string(page), s) }) {
				t.Errorf("%s: docs/configuration.md has no `%s`", pointer, key)
			}
		}
	}
	data, err := os.ReadFile("testdata/every.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p.parse(data)
}

// TestDocumentedConfigurations reads the examples of docs/configuration.md that are whole mappings of the file.
func TestDocumentedConfigurations(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	text := "services: {accounts: {url: \"http://a\"}, orders: {url: \"http://o\"}, payments: {url: \"http://p\"}}\ntopics: {orders: , positions: }\n"
	for _, block := range strings.Split(string(page), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		if strings.HasPrefix(block, "filter:") {
			for _, line := range strings.Split(strings.TrimSpace(block), "\n") {
				if got := faults(t, "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://u\", "+strings.Split(line, " #")[0]+"}}"); got != nil {
					t.Errorf("%s: %v", line, got)
				}
			}
			continue
		}
		text += block
	}
	if got := faults(t, text); got != nil {
		t.Errorf("%v in\n%s", got, text)
	}
}
