package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/auth"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/internal/source"
	"github.com/tandem-hybrid/tandem/internal/stream"
	"github.com/tandem-hybrid/tandem/server"
)

func TestEveryKeyIsRead(t *testing.T) {
	data, err := os.ReadFile("testdata/every.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, warnings, err := Parse("testdata/every.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	filter := func(s string) tandem.Filter {
		f, err := tandem.ParseFilter([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	want := server.Options{
		Engine: server.Engine{Kafka: &server.Kafka{Brokers: []string{"k1:9092", "k2:9092"}, Prefix: "shop", Replication: 3, MinInSync: 2,
			TLS:  &server.EngineTLS{CA: "file:testdata/ca.pem", Cert: "env:K_CERT", Key: "env:K_KEY", ServerName: "k"},
			SASL: &server.SASL{Mechanism: "PLAIN", User: "tandem", Password: "env:K_PASSWORD", Token: "env:K_TOKEN"}}},
		Data: filepath.Join("testdata", "var"), PublicAddr: ":8080", APIAddr: "0.0.0.0:8090",
		Tokens:    []auth.Token{{Name: "ops", SHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", Roles: []string{"read", "publish", "operate", "pull"}}},
		FreeBytes: 512 << 20, MaxEventBytes: 65536,
		Egress: []string{"10.1.0.0/16", "hooks.internal"}, LedgerAge: 720 * time.Hour, LedgerBytes: 1 << 30, FlowAge: 72 * time.Hour, FlowBytes: 2 << 30, Traces: "http://collector.internal:4318", TracesSample: 0.05, AccessLog: true, AccessSample: 0.25, RequestTimeout: 10 * time.Second,
		Streams: stream.Options{MaxStreams: 50_000, MaxPerPrincipal: 20, MaxPerAddress: 200, MaxAge: -1, ReconnectRate: 500, WaitingBytes: 128 << 20},
		Services: []tandem.Service{
			{Name: "accounts", URL: "http://127.0.0.1:9000"},
			{Name: "orders", URL: "https://orders.internal/base", Others: []string{"http://10.0.0.2:9001/base"}, Timeout: tandem.Duration(2 * time.Second),
				Health: &tandem.Health{Path: "/healthz?deep=1", Interval: tandem.Duration(10 * time.Second), Timeout: tandem.Duration(500 * time.Millisecond), Healthy: 2, Unhealthy: 4}},
		},
		Topics: []tandem.Topic{
			{Name: "orders", Partitions: 16, Retention: tandem.Duration(720 * time.Hour), RetentionBytes: 10e9, Key: "data.customer.id", Source: "/shop", Type: "order.placed"},
			{Name: "audit", Retention: -1},
			{Name: "plain", Kafka: tandem.KafkaTopic{Topic: "Plain.V1", Source: "/plain", ID: "key", Type: "plain.said"}},
		},
		Routes: []gateway.Route{
			{Match: "POST /orders", Service: "orders", Authorize: gateway.Authorizers{{Service: "accounts"}},
				Operation: &gateway.Operation{Spec: tandem.OperationSpec{Topics: []string{"orders"}, Succeed: []string{"order.paid"}, Fail: []string{"order.cancelled"}, Timeout: tandem.Duration(10 * time.Minute)}}},
			{Match: "GET /orders/{id}/events", Stream: &gateway.Stream{Topics: []string{"orders"}, Filter: filter(`{"subject":"{id}"}`)},
				Authorize: gateway.Authorizers{{Service: "accounts"}, {Service: "orders", Path: "/may"}}},
			{Match: "GET /chat/{room}", Stream: &gateway.Stream{Topics: []string{"audit"}, Slow: tandem.SlowConflate,
				Publish: &gateway.StreamPublish{Topic: "audit", Type: "chat.said", Key: "{room}", Subject: "{principal}"}},
				Authorize: gateway.Authorizers{{Service: "accounts"}}, MaxBodyBytes: 4 << 10},
			{Match: "GET /tandem.js", Client: true},
			{Match: "POST /quotes", Topic: "orders", Type: "quote.asked", Key: "data.customer", Subject: "{principal}", Authorize: gateway.Authorizers{{Service: "accounts"}}, MaxBodyBytes: 64 << 10,
				Respond: &gateway.Respond{Type: "quote.given", Timeout: tandem.Duration(3 * time.Second), Topics: []string{"**"}}},
			{Match: "GET /operations/{id}", Operation: &gateway.Operation{Public: true}, Authorize: gateway.Authorizers{{Service: "accounts"}}},
		},
		Subscriptions: []tandem.Subscription{
			{Name: "fraud", Topics: []string{"orders"}, Service: "orders", Mode: "request", Parallel: true},
			{Name: "ship", Topics: []string{"orders", "orders.*"}, Service: "orders", Path: "/events", Secret: "env:SHIP_SECRET", Mode: "event",
				Filter: filter(`{"any":[{"type":"order.placed"},{"prefix":{"type":"order.paid"}},{"not":{"exact":{"priority":"3","gift":"true"}}}]}`),
				From:   "2026-01-31T08:00:00Z", Replies: "audit", Attempts: 5, Timeout: tandem.Duration(4 * time.Second),
				OldSecrets: []tandem.OldSecret{{Secret: "env:SHIP_OLD", Until: "2026-03-31T00:00:00Z"}}, Headers: map[string]string{"X-Team": "shipping", "X-Key": "env:SHIP_KEY"},
				Auth: &tandem.TargetAuth{Basic: &tandem.BasicAuth{User: "tandem", Password: "env:SHIP_PASSWORD"},
					TLS: &tandem.TLSAuth{Cert: "file:testdata/ship.pem", Key: "env:SHIP_TLS", CA: "file:/etc/ca.pem"}},
				Handshake: true, Content: "batch", BatchSize: 50, Ordering: "none", Concurrency: 8, Rate: 2.5,
				Backoff:    tandem.Backoff{Base: tandem.Duration(500 * time.Millisecond), Max: tandem.Duration(time.Minute)},
				RetryAfter: tandem.Duration(5 * time.Minute), Answers: map[string]string{"404": "delivered", "5xx": "retry", "418": "disable"},
				Breaker: tandem.Breaker{Failures: 5, Wait: tandem.Duration(10 * time.Second)}, Exhausted: "pause", PauseAfter: tandem.Duration(48 * time.Hour)},
			{Name: "copy", Topics: []string{"**"}, URL: "https://example.org/hook", From: "earliest", Secret: "file:testdata/copy.key",
				Auth:    &tandem.TargetAuth{OAuth2: &tandem.OAuth2Auth{TokenURL: "https://example.org/token", ClientID: "tandem", ClientSecret: "env:COPY_CLIENT", Scopes: []string{"events"}, Audience: "hooks"}},
				Backoff: tandem.Backoff{List: []tandem.Duration{tandem.Duration(time.Second), tandem.Duration(5 * time.Second), tandem.Duration(time.Minute)}}},
			{Name: "work", Topics: []string{"orders"}, Pull: &tandem.Pull{Visibility: tandem.Duration(time.Minute)}, Rate: 100},
			{Name: "rabbit", Topics: []string{"orders"}, Content: "structured", AMQP: &tandem.AMQP{URL: "env:RABBIT_URL", Exchange: "orders", RoutingKey: "orders.{type}",
				TLS: &tandem.TLSAuth{Cert: "file:testdata/ship.pem", Key: "env:SHIP_TLS"}}},
			{Name: "queue", Topics: []string{"orders"}, BatchSize: 10, AMQP: &tandem.AMQP{URL: "amqp://127.0.0.1:5672", Queue: "work"}},
		},
		Sources: []source.Source{{Name: "warehouse", Topic: "orders", Type: "stock.moved", Source: "/warehouse",
			AMQP: source.AMQP{URL: "env:RABBIT_URL", Queue: "stock", Prefetch: 50, TLS: &tandem.TLSAuth{CA: "file:/etc/ca.pem"}}}},
	}
	if got.Secrets == nil {
		t.Error("no Secrets")
	}
	got.Secrets = nil
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b tandem.Filter) bool { return a.String() == b.String() }), cmpopts.IgnoreUnexported(stream.Options{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(warnings) != 1 || warnings[0].String() != `testdata/every.yaml:36:22: subscriptions.ship.topics[1]: "orders.*" matches no topic of this file` {
		t.Errorf("warnings: %v", warnings)
	}
}

// TestWarnings: a topic that a file names and does not declare may come into being later, but probably has another name.
func TestWarnings(t *testing.T) {
	const file = `topics: {chat: }
services: {a: {url: "http://b"}, h: {url: "http://b", health: {path: /healthz}}}
subscriptions:
  u: {topics: [chat], service: a, mode: request}
  c: {topics: [chat], service: h, mode: request}
  e: {topics: [chat], service: a}
  l: {topics: [chat], url: "http://b", mode: request}
routes:
  - {match: GET /a, stream: {topics: [chat], publish: {topic: chta, type: said}}}
  - {match: GET /b, stream: {topics: [chat, talk.*], publish: {topic: chat, type: said}}}
  - {match: POST /c, topic: said, type: said}
`
	_, warnings, err := Parse("t.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range warnings {
		got = append(got, w.String())
	}
	want := []string{
		`t.yaml:4:32: subscriptions.u.service: a request link calls "a", which has no health check; add "health: {path: /healthz}" to the service`,
		`t.yaml:9:63: routes[0].stream.publish.topic: topic "chta" is not declared in this file; did you mean "chat"?`,
		`t.yaml:10:45: routes[1].stream.topics[1]: "talk.*" matches no topic of this file`,
		`t.yaml:11:29: routes[2].topic: topic "said" is not declared in this file; declare it under topics, or create it through the API before it is used`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestEmptyFileIsDefaults(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "topics:\nroutes:\nservices:\napi:\n"} {
		got, warnings, err := Parse("etc/tandem.yaml", []byte(text))
		if err != nil || len(warnings) > 0 {
			t.Errorf("%q: %v %v", text, warnings, err)
		}
		if got.Data != "etc/tandem-data" || got.PublicAddr != ":8080" || got.APIAddr != "127.0.0.1:8090" || got.AutoCreate {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestAnchorsShareValues(t *testing.T) {
	got, _, err := Parse("t.yaml", []byte(`
topics: {a: &keep {retention: 1h}, b: *keep}
`))
	if err != nil || len(got.Topics) != 2 || got.Topics[1].Retention != got.Topics[0].Retention {
		t.Fatal(got.Topics, err)
	}
}

// faults returns the texts of all errors of a file named t.yaml.
func faults(t *testing.T, text string) []string {
	t.Helper()
	o, _, err := Parse("t.yaml", []byte(text))
	if err == nil {
		return nil
	}
	if o.Secrets != nil || o.Data != "" {
		t.Errorf("options beside an error: %+v", o)
	}
	var e *tandem.Error
	if !errors.As(err, &e) || e.Code != tandem.CodeInvalid || len(e.Fields) == 0 {
		t.Fatalf("not an Invalid error with fields: %#v", err)
	}
	var fs []string
	for _, f := range e.Fields {
		fs = append(fs, f.Pointer+": "+f.Detail)
	}
	if e.Hint != "" {
		fs = append(fs, e.Hint)
	}
	return fs
}

func TestFaults(t *testing.T) {
	tests := []struct{ name, text, want string }{
		// Keys.
		{"unknown key", "topics:\n  a: {retenton: 1h}", `t.yaml:2:7: topics.a: unknown key "retenton"; did you mean "retention"?`},
		{"swapped letters", "tpoics: {}", `t.yaml:1:1: unknown key "tpoics"; did you mean "topics"?`},
		{"strange key", "xyzzy: 1", `t.yaml:1:1: unknown key "xyzzy"; allowed: data, public, api, engine, limits, egress, ledger, flows, traces, log, request, streams, services, topics, routes, sources, subscriptions`},
		{"other case", "Topics: {}", `t.yaml:1:1: unknown key "Topics"; did you mean "topics"?`},
		{"key twice", "data: a\ndata: b", `t.yaml:2:1: key "data" is given twice; the first is in line 1`},
		{"name twice", "topics:\n  a:\n  a:", `t.yaml:3:3: topics: key "a" is given twice; the first is in line 2`},
		{"merge key", "x: &x {a: 1}\ntopics: {a: {<<: *x}}", `t.yaml:1:1: unknown key "x"; allowed: data, public, api, engine, limits, egress, ledger, flows, traces, log, request, streams, services, topics, routes, sources, subscriptions|t.yaml:2:14: topics.a: merge keys ("<<") are not supported; repeat the keys, or use an alias for a whole value`},
		{"key of a list", "topics: {[a]: {}}", `t.yaml:1:10: topics: a key must be text, not a list`},
		{"long key", strings.Repeat("k", 300) + ": 1", `t.yaml:1:1: a key is longer than 256 bytes`},
		// YAML.
		{"not YAML", "topics:\n\t- a", `t.yaml:2:1: not YAML: found character that cannot start any token`},
		{"unclosed", "topics: {a: ", `t.yaml:1:1: not YAML: did not find expected node content`},
		{"unknown alias", "topics: {a: *b}", `t.yaml:1:1: not YAML: unknown anchor 'b' referenced`},
		{"two documents", "data: a\n---\ndata: b", `t.yaml:2:1: a second document begins here; a configuration is one document`},
		{"a list", "- a", `t.yaml:1:1: must be a mapping with the keys data, public, api, engine, limits, egress, ledger, flows, traces, log, request, streams, services, topics, routes, sources, subscriptions, not a list`},
		{"text", "hello", `t.yaml:1:1: must be a mapping with the keys data, public, api, engine, limits, egress, ledger, flows, traces, log, request, streams, services, topics, routes, sources, subscriptions, not "hello"`},
		// Types.
		{"number for text", "data: 12", `t.yaml:1:7: data: must be text, not the number 12; put it in quotes: "12"`},
		{"nothing for text", "data:", `t.yaml:1:6: data: has no value`},
		{"empty text", `data: ""`, `t.yaml:1:7: data: is empty; leave the key out instead`},
		{"list for mapping", "topics: [a]", `t.yaml:1:9: topics: must be a mapping of topics by name, not a list`},
		{"mapping for list", "routes: {a: b}", `t.yaml:1:9: routes: must be a list of routes, not a mapping`},
		{"text for number", "topics: {a: {partitions: many}}", `t.yaml:1:26: topics.a.partitions: must be a whole number from 1 to 1024, not "many"`},
		{"too many", "topics: {a: {partitions: 5000}}", `t.yaml:1:26: topics.a.partitions: 5000 is outside 1 to 1024`},
		{"fraction", "topics: {a: {partitions: 1.5}}", `t.yaml:1:26: topics.a.partitions: must be a whole number from 1 to 1024, not the number 1.5`},
		{"days", "topics: {a: {retention: 7d}}", `t.yaml:1:25: topics.a.retention: "7d" is not a duration such as 500ms, 30s or 168h; days are not a unit, write 168h`},
		{"bare seconds", "topics: {a: {retention: 30}}", `t.yaml:1:25: topics.a.retention: "30" is not a duration such as 500ms, 30s or 168h`},
		{"no time", "services: {a: {url: \"http://b\", timeout: 0s}}", `t.yaml:1:42: services.a.timeout: must be above zero, not 0s`},
		{"size", "limits: {freeBytes: 3 apples}", `t.yaml:1:21: limits.freeBytes: must be a size such as 1048576, 512MiB or 10GB, not "3 apples"`},
		{"size overflow", "limits: {freeBytes: 99999999TiB}", `t.yaml:1:21: limits.freeBytes: must be a size such as 1048576, 512MiB or 10GB, not "99999999TiB"`},
		{"tiny events", "limits: {maxEventBytes: 10}", `t.yaml:1:25: limits.maxEventBytes: 10 is outside 1KiB to 64MiB`},
		// Names and addresses.
		{"topic name", "topics: {Orders: }", `t.yaml:1:10: topics: "Orders" is not a topic name: small letters, digits, '-' and '_' in parts separated by '.', at most 200 bytes`},
		{"our topic", "topics: {_x: }", `t.yaml:1:10: topics: "_x" is not a topic of yours: names with a leading '_' belong to Tandem`},
		{"service name", "services: {a b: {url: \"http://b\"}}", `t.yaml:1:12: services: "a b" is not a name: small letters, digits, '-' and '_' in parts separated by '.', at most 200 bytes`},
		{"no port", `public: {listen: "localhost"}`, `t.yaml:1:18: public.listen: "localhost" is not an address such as ":8080" or "127.0.0.1:8080"`},
		{"large port", `public: {listen: ":99999"}`, `t.yaml:1:18: public.listen: ":99999" has no port from 0 to 65535`},
		{"no scheme", "services: {a: {url: localhost:9000}}", `t.yaml:1:21: services.a.url: must be a URL such as http://127.0.0.1:9000`},
		{"password", `services: {a: {url: "http://me:hunter2@b"}}`, `t.yaml:1:21: services.a.url: must not hold a user or password: they would be shown in clear`},
		{"no url", "services: {a: {timeout: 1s}}", `t.yaml:1:15: services.a: "url" is missing`},
		// Engines.
		{"broker without a port", "engine: {kafka: {brokers: [a]}}", `t.yaml:1:28: engine.kafka.brokers[0]: "a" is not an address such as ":8080" or "127.0.0.1:8080"`},
		{"kafka without brokers", "engine: {kafka: {prefix: a}}", `t.yaml:1:17: engine.kafka: "brokers" is missing`},
		{"nats without a place", "engine: nats", `t.yaml:1:9: engine: "nats" needs to know where: engine: {nats: {…}}`},
		{"other engine", "engine: sqlite", `t.yaml:1:9: engine: unknown engine "sqlite"; allowed: embedded, or a mapping with kafka or nats`},
		{"two engines", "engine: {kafka: {brokers: [a:1]}, nats: {url: \"nats://b\"}}", `t.yaml:1:9: engine: kafka and nats exclude each other`},
		{"too few replicas", "engine: {kafka: {brokers: [a:1], replication: 2, minInSync: 3}}", `t.yaml:1:61: engine.kafka.minInSync: 3 replicas cannot be in sync of 2`},
		{"sasl without password", "engine: {kafka: {brokers: [a:1], sasl: {mechanism: PLAIN, user: u}}}", `t.yaml:1:40: engine.kafka.sasl: "password" is missing`},
		{"sasl of another kind", "engine: {kafka: {brokers: [a:1], sasl: {mechanism: GSSAPI, user: u, password: env:P}}}", `t.yaml:1:52: engine.kafka.sasl.mechanism: "GSSAPI" is not allowed; allowed: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER`},
		{"password in the url", "engine: {nats: {url: \"nats://u:secret@b\"}}", `t.yaml:1:22: engine.nats.url: must not hold a user or a password; use user and password`},
		{"two users", "engine: {nats: {url: \"nats://b\", token: env:T, nkey: file:N}}", `t.yaml:1:16: engine.nats: credentials, nkey, user with password, and token exclude each other`},
		{"half a user", "engine: {nats: {url: \"nats://b\", user: u}}", `t.yaml:1:16: engine.nats: user and password belong together`},
		{"half a certificate", "engine: {nats: {url: \"nats://b\", tls: {cert: env:C}}}", `t.yaml:1:39: engine.nats.tls: cert and key belong together`},
		{"adopted elsewhere", "topics: {a: {kafka: {topic: A}}}", `t.yaml:1:21: topics.a.kafka: needs the engine kafka; the engine is embedded`},
		// Not supported yet.
		{"no URL in a list", "services: {a: {url: []}}", `t.yaml:1:21: services.a.url: is empty; name a URL`},
		{"a bad URL in a list", "services: {a: {url: [\"http://a\", \"b\"]}}", `t.yaml:1:34: services.a.url[1]: must be a URL such as http://127.0.0.1:9000`},
		{"another path", "services: {a: {url: [\"http://a/x\", \"http://b/y\"]}}", `t.yaml:1:36: services.a.url[1]: "http://b/y" has another path than "http://a/x"`},
		{"the same URL", "services: {a: {url: [\"http://a\", \"http://a\"]}}", `t.yaml:1:34: services.a.url[1]: "http://a" is there twice`},
		{"a check of nothing", "services: {a: {url: \"http://a\", health: {}}}", `t.yaml:1:41: services.a.health: "path" is missing`},
		{"no path", "services: {a: {url: \"http://a\", health: {path: healthz}}}", `t.yaml:1:48: services.a.health.path: "healthz" is not a path such as /healthz`},
		{"checks too often", "services: {a: {url: \"http://a\", health: {path: /, interval: 1ms}}}", `t.yaml:1:61: services.a.health.interval: 1ms is outside 100ms to 1h0m0s`},
		{"a check that is not over", "services: {a: {url: \"http://a\", health: {path: /, timeout: 6s}}}", `t.yaml:1:60: services.a.health.timeout: 6s is not between 0 and the interval, 5s`},
		{"a count of none", "services: {a: {url: \"http://a\", health: {path: /, healthy: 0}}}", `t.yaml:1:60: services.a.health.healthy: 0 is outside 1 to 100`},
		{"schema", "topics: {a: {schema: a.json}}", `t.yaml:1:14: topics.a.schema: not supported yet; events are not checked against a schema`},
		// Request mode.
		{"request pulled", "topics: {a: }\nsubscriptions: {s: {topics: [a], pull: {}, mode: request}}", `t.yaml:2:50: subscriptions.s.mode: cannot be request beside pull: nobody is called`},
		{"request to a broker", "topics: {a: }\nsubscriptions: {s: {topics: [a], amqp: {url: env:A, queue: q}, mode: request}}", `t.yaml:2:70: subscriptions.s.mode: cannot be request beside amqp: a broker does not answer`},
		{"request in batches", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", mode: request, content: batch}}", `t.yaml:2:75: subscriptions.s.content: cannot be batch in mode request: events are sent one by one`},
		{"parallel events", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", parallel: true}}", `t.yaml:2:61: subscriptions.s.parallel: goes with mode: request`},
		{"other mode", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", mode: ask}}", `t.yaml:2:57: subscriptions.s.mode: "ask" is not allowed; allowed: event, request`},
		{"long chain", "request: {timeout: 2h}", `t.yaml:1:20: request.timeout: 2h is above 1h`},
		// Streams.
		{"unknown key of streams", "streams:\n  {maxAge: 1h,\n  maxPerAdress: 5}", `t.yaml:3:3: streams: unknown key "maxPerAdress"; did you mean "maxPerAddress"?`},
		{"no streams", "streams: {max: 0}", `t.yaml:1:16: streams.max: 0 is outside 1 to 1000000`},
		{"too many streams", "streams: {max: 2000000, maxPerPrincipal: -1}", `t.yaml:1:16: streams.max: 2000000 is outside 1 to 1000000|t.yaml:1:42: streams.maxPerPrincipal: -1 is outside 1 to 1000000`},
		{"streams of an address", "streams: {maxPerAddress: all}", `t.yaml:1:26: streams.maxPerAddress: must be a whole number from 1 to 1000000, not "all"`},
		{"young streams", "streams: {maxAge: 100ms}", `t.yaml:1:19: streams.maxAge: 100ms is below 1s`},
		{"endless streams", "streams: {maxAge: never}", `t.yaml:1:19: streams.maxAge: "never" is not a duration such as 500ms, 30s or 168h`},
		{"no reconnects", "streams: {reconnectRate: 0.5}", `t.yaml:1:26: streams.reconnectRate: must be a whole number from 1 to 1000000, not the number 0.5`},
		{"nothing waits", "streams: {waitingBytes: 64KiB}", `t.yaml:1:25: streams.waitingBytes: 64KiB is outside 1MiB to 64GiB`},
		{"all waits", "streams: {waitingBytes: 1TiB}", `t.yaml:1:25: streams.waitingBytes: 1TiB is outside 1MiB to 64GiB`},
		// API.
		{"beyond loopback", `api: {listen: ":8090"}`, `t.yaml:1:15: api.listen: the API does not listen on :8090 without tokens: everybody who can reach it could do everything (listen on 127.0.0.1, or configure api.tokens)`},
		{"token in clear", "api: {tokens: [{name: a, sha256: hunter2, roles: [read]}]}", `t.yaml:1:34: api.tokens[0].sha256: must be the SHA-256 of the token, 64 hexadecimal digits`},
		{"role", "api: {tokens: [{name: a, sha256: " + strings.Repeat("ab", 32) + ", roles: [reed]}]}", `t.yaml:1:108: api.tokens[0].roles[0]: "reed" is not read, publish, operate or pull`},
		{"bare token", "api: {tokens: [{}]}", `t.yaml:1:16: api.tokens[0].name: must be 1 to 200 printable ASCII characters without spaces|t.yaml:1:16: api.tokens[0].sha256: must be the SHA-256 of the token, 64 hexadecimal digits|t.yaml:1:16: api.tokens[0].roles: must name at least one of read, publish, operate and pull`},
		{"token twice", "api:\n  tokens:\n    - &t {name: a, sha256: " + strings.Repeat("ab", 32) + ", roles: [read]}\n    - *t", `t.yaml:3:17: api.tokens[1].name: a is there twice|t.yaml:3:28: api.tokens[1].sha256: is that of another token`},
		// Routes.
		{"no match", "services: {a: {url: \"http://b\"}}\nroutes: [{service: a}]", `t.yaml:2:10: routes[0]: "match" is missing`},
		{"unknown service", "services: {orders: {url: \"http://b\"}}\nroutes: [{match: GET /a, service: order}]", `t.yaml:2:35: routes[0].service: no service "order"; did you mean "orders"?`},
		{"unknown authorizer", "topics: {a: }\nroutes: [{match: POST /a, topic: a, type: x, authorize: accounts}]", `t.yaml:2:57: routes[0].authorize[0]: no service "accounts"; the file declares no services`},
		{"operation false", "routes: [{match: GET /a, operation: false}]", `t.yaml:1:37: routes[0].operation: must be true or a mapping; leave it out instead of false`},
		{"no binding", "routes: [{match: GET /a}]", `t.yaml:1:10: routes[0]: GET /a: a route has exactly one of service, topic, stream, operation: true and client`},
		{"match", "services: {a: {url: \"http://b\"}}\nroutes: [{match: \"GET a\", service: a}]", `t.yaml:2:18: routes[0].match: "a" is not a path that begins with /`},
		{"same match", "services: {a: {url: \"http://b\"}}\nroutes:\n- {match: GET /a, service: a}\n- {match: GET /a, service: a}", `t.yaml:4:11: routes[1].match: "GET /a" and "GET /a" match the same requests, and neither is the more specific one`},
		{"placeholder", "topics: {a: }\nroutes: [{match: \"GET /a/{id}\", stream: {topics: [a], filter: {subject: \"{di}\"}}}]", `t.yaml:2:63: routes[0].stream.filter: the filter's value "{di}" for subject names {di}, which is not defined`},
		{"slow", "topics: {a: }\nroutes: [{match: GET /a, stream: {topics: [a], slow: conflat}}]", `t.yaml:2:54: routes[0].stream.slow: "conflat" is not allowed; did you mean "conflate"?`},
		{"publish of what", "topics: {a: }\nroutes: [{match: GET /a, stream: {topics: [a], publish: {topic: a}}}]", `t.yaml:2:57: routes[0].stream.publish: "type" is missing`},
		{"publish by name", "topics: {a: }\nroutes: [{match: GET /a, stream: {topics: [a], publish: a}}]", `t.yaml:2:57: routes[0].stream.publish: must be a mapping with the keys topic, type, key, subject, not "a"|t.yaml:2:57: routes[0].stream.publish: "topic" is missing|t.yaml:2:57: routes[0].stream.publish: "type" is missing`},
		{"publish of nobody", "topics: {a: }\nroutes: [{match: GET /a, stream: {topics: [a], publish: {topic: a, type: t, subject: \"{principal}\"}}}]", `t.yaml:2:86: routes[0].stream.publish.subject: names {principal}, but no authorize says who that is`},
		{"publish without a place", "topics: {a: }\nroutes: [{match: \"GET /a/{id}\", stream: {topics: [a], publish: {topic: a, type: t, key: \"{di}\"}}}]", `t.yaml:2:89: routes[0].stream.publish.key: {di} is not a placeholder of GET /a/{id}`},
		{"stream by POST", "topics: {a: }\nroutes: [{match: POST /a, stream: {topics: [a]}}]", `t.yaml:2:18: routes[0].match: a stream takes GET, not POST`},
		{"client by POST", "routes: [{match: POST /t.js, client: true}]", `t.yaml:1:18: routes[0].match: the browser module takes GET, not POST`},
		{"no client", "routes: [{match: GET /t.js, client: false}]", `t.yaml:1:37: routes[0].client: must be true; leave it out instead of false`},
		{"client beside a stream", "topics: {a: }\nroutes: [{match: GET /t.js, client: true, stream: {topics: [a]}}]", `t.yaml:2:10: routes[0]: GET /t.js: a route has exactly one of service, topic, stream, operation: true and client`},
		// Subscriptions.
		{"no target", "topics: {a: }\nsubscriptions: {s: {topics: [a]}}", `t.yaml:2:20: subscriptions.s: names neither "service", "url" nor "amqp" to deliver to, nor "pull"`},
		{"amqp without target", "topics: {a: }\nsubscriptions: {s: {topics: [a], amqp: {url: env:A}}}", `t.yaml:2:40: subscriptions.s.amqp: must name an exchange or a queue`},
		{"amqp beside url", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", amqp: {url: env:A, queue: q}}}", `t.yaml:2:39: subscriptions.s.url: cannot stand beside amqp`},
		{"routing key", "topics: {a: }\nsubscriptions: {s: {topics: [a], amqp: {url: env:A, exchange: e, routingKey: \"{Type}\"}}}", `t.yaml:2:78: subscriptions.s.amqp.routingKey: {Type} names neither an attribute of the event, nor data.PATH, topic or key`},
		{"source without queue", "topics: {a: }\nsources: {s: {amqp: {url: env:A}, topic: a}}", `t.yaml:2:21: sources.s.amqp: "queue" is missing`},
		{"source without amqp", "topics: {a: }\nsources: {s: {topic: a}}", `t.yaml:2:14: sources.s: "amqp" is missing`},
		{"two targets", "topics: {a: }\nservices: {b: {url: \"http://b\"}}\nsubscriptions: {s: {topics: [a], service: b, url: \"http://c\"}}", `t.yaml:3:51: subscriptions.s.url: stands beside service; name one of them`},
		{"no topics", "subscriptions: {s: {url: \"http://c\"}}", `t.yaml:1:20: subscriptions.s: "topics" is missing`},
		{"topic not a list", "subscriptions: {s: {url: \"http://c\", topics: a}}", `t.yaml:1:46: subscriptions.s.topics: must be a list of topics, not "a"; write [a]`},
		{"pattern", "subscriptions: {s: {url: \"http://c\", topics: [\"a*\"]}}", `t.yaml:1:47: subscriptions.s.topics[0]: "a*" is neither a topic name nor a pattern: "*" stands for one part between dots, a last "**" for the rest`},
		{"filter value", "topics: {a: }\nsubscriptions:\n  s:\n    topics: [a]\n    url: http://c\n    filter:\n      all:\n        - {type: x}\n        - {prefix: {type: [1]}}", `t.yaml:9:27: subscriptions.s.filter.all[1].prefix.type: must be a string, an integer or a boolean`},
		{"filter attribute", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", filter: {Type: x}}}", `t.yaml:2:66: subscriptions.s.filter.Type: is neither a dialect (exact, prefix, suffix, all, any, not, sql, cel) nor an attribute of a-z and 0-9`},
		{"sql", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", filter: {sql: \"type = \"}}}", `t.yaml:2:65: subscriptions.s.filter.sql: line 1, column 8: the end does not belong here: expected is an attribute, a value or a bracket`},
		{"cel", "topics: {a: }\nsubscriptions:\n  s:\n    topics: [a]\n    url: http://c\n    filter:\n      all:\n        - {type: x}\n        - cel: |\n            event.type == 'x' &&\n              total > 5", `t.yaml:9:16: subscriptions.s.filter.all[1].cel: line 2, column 3: undeclared reference to 'total'`},
		{"placeholder in cel", "topics: {a: }\nroutes:\n  - match: GET /a/{id}\n    stream: {topics: [a], filter: {cel: \"event.subject == '{id}'\"}}", `t.yaml:4:41: routes[0].stream.filter.cel: names {id}, which a condition cannot take: put it beside, as in {"subject": "{id}", "cel": …}`},
		{"inline secret", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", secret: whsec_aGVsbG8=}}", `t.yaml:2:59: subscriptions.s.secret: must be a reference, env:NAME or file:PATH, not the secret itself`},
		{"from", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", from: yesterday}}", `t.yaml:2:57: subscriptions.s.from: "yesterday" is not "earliest", "latest" or a time such as 2026-01-31T08:00:00Z`},
		{"target and pull", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", pull: {}}}", `t.yaml:2:39: subscriptions.s.url: cannot stand beside pull: nothing is sent`},
		{"pull", "topics: {a: }\nsubscriptions: {s: {topics: [a], pull: {visibilty: 1m}}}", `t.yaml:2:41: subscriptions.s.pull: unknown key "visibilty"; did you mean "visibility"?`},
		{"pull true", "topics: {a: }\nsubscriptions: {s: {topics: [a], pull: true}}", `t.yaml:2:40: subscriptions.s.pull: must be a mapping with the keys visibility, not the boolean true`},
		{"old secret", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", oldSecrets: [{secret: whsec_x}]}}", `t.yaml:2:64: subscriptions.s.oldSecrets[0]: "until" is missing|t.yaml:2:73: subscriptions.s.oldSecrets[0].secret: must be a reference, env:NAME or file:PATH, not the secret itself`},
		{"until", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", oldSecrets: [{secret: env:A, until: soon}]}}", `t.yaml:2:87: subscriptions.s.oldSecrets[0].until: "soon" is not a time such as 2026-01-31T08:00:00Z`},
		{"header name", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", headers: {\"a b\": c}}}", `t.yaml:2:61: subscriptions.s.headers: "a b" is not the name of a header`},
		{"header value", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", headers: {A: 7, B: \"x\\n\"}}}", `t.yaml:2:64: subscriptions.s.headers.A: must be text in quotes, or a reference, env:NAME or file:PATH|t.yaml:2:70: subscriptions.s.headers.B: must not have control characters`},
		{"two auths", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", auth: {basic: {user: u, password: env:A}, oauth2: {tokenUrl: \"http://t\", clientId: c, clientSecret: env:B}}}}", `t.yaml:2:65: subscriptions.s.auth.basic: cannot stand beside oauth2`},
		{"auth parts", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", auth: {basic: {user: u}}}}", `t.yaml:2:65: subscriptions.s.auth.basic: "password" is missing`},
		{"content", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", content: batches}}", `t.yaml:2:60: subscriptions.s.content: "batches" is not allowed; did you mean "batch"?`},
		{"batch size", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", batchSize: 1001}}", `t.yaml:2:62: subscriptions.s.batchSize: 1001 is outside 1 to 1000`},
		{"rate", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", rate: 0}}", `t.yaml:2:57: subscriptions.s.rate: must be a number of events a second above zero, such as 50 or 0.5, not the number 0`},
		{"no rate", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", rate: .nan}}", `t.yaml:2:57: subscriptions.s.rate: must be a number of events a second above zero, such as 50 or 0.5, not the number .nan`},
		{"status", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", answers: {4xx: retry, 999: dead, 404: drop}}}", `t.yaml:2:73: subscriptions.s.answers: "999" is neither a status such as 404 nor a class such as 4xx|t.yaml:2:89: subscriptions.s.answers[404]: "drop" is not allowed; allowed: delivered, retry, dead, disable`},
		{"header of ours", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", headers: {webhook-id: x}}}", `t.yaml:2:73: subscriptions.s.headers.webhook-id: is a header that Tandem sets`},
		{"secret and pull", "topics: {a: }\nsubscriptions: {s: {topics: [a], pull: {visibility: 20h}, secret: env:A}}", `t.yaml:2:53: subscriptions.s.pull.visibility: must be from 1s to 12h0m0s|t.yaml:2:67: subscriptions.s.secret: cannot stand beside pull: nothing is sent`},
		{"egress", "egress: {allow: [10.0.0.0/33, \"http://x\"]}", `t.yaml:1:18: egress.allow[0]: "10.0.0.0/33" is not a prefix such as 10.1.0.0/16, an address or the name of a host|t.yaml:1:31: egress.allow[1]: "http://x" is not a prefix such as 10.1.0.0/16, an address or the name of a host`},
		{"backoff list", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", backoff: {base: 1s, list: [5s]}}}", `t.yaml:2:77: subscriptions.s.backoff.list: cannot stand beside base and max`},
		{"no backoff", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", backoff: {list: []}}}", `t.yaml:2:67: subscriptions.s.backoff.list: must not be empty`},
		{"wrong url", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"ftp://c\"}}", `t.yaml:2:39: subscriptions.s.url: must be a URL such as http://127.0.0.1:9000`},
		{"endless rate", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", rate: 2000000}}", `t.yaml:2:57: subscriptions.s.rate: must be from 0.001 to 1000000 events a second`},
		{"batch size alone", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", batchSize: 5}}", `t.yaml:2:62: subscriptions.s.batchSize: goes with content: batch, or amqp`},
		{"traces", "traces: {otlp: collector:4318, sample: -1}", `t.yaml:1:16: traces.otlp: must be a URL such as http://127.0.0.1:9000|t.yaml:1:40: traces.sample: must be a number from 0 to 1, such as 0.1, not the number -1`},
		{"log", "log: {access: 1, sample: 50%}", `t.yaml:1:15: log.access: must be true or false, not the number 1|t.yaml:1:26: log.sample: must be a number from 0 to 1, such as 0.1, not "50%"`},
		{"log share", "log: {access: true, sample: 1.5}", `t.yaml:1:29: log.sample: must be a number from 0 to 1, such as 0.1, not the number 1.5`},
		{"flows", "flows: {age: forever, size: -1}", `t.yaml:1:14: flows.age: must be above zero, not forever|t.yaml:1:29: flows.size: must not be negative; 0 keeps no index of flows`},
		{"ledger", "ledger: {age: forever, size: -1}", `t.yaml:1:15: ledger.age: must be above zero, not forever|t.yaml:1:30: ledger.size: must not be negative; 0 keeps no ledger`},
		{"backoff", "topics: {a: }\nsubscriptions: {s: {topics: [a], url: \"http://c\", backoff: {base: 1m, max: 1s}}}", `t.yaml:2:60: subscriptions.s.backoff: base 1m0s is above max 1s`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(faults(t, tt.text), "|"); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestAllFaultsAreReported(t *testing.T) {
	got := faults(t, "data: 1\nengine: x\ntopics: {A: , b: {partitions: 0}}\nroutes: [{mtach: x}]\n")
	if len(got) != 6 {
		t.Errorf("%d faults: %s", len(got), strings.Join(got, "\n"))
	}
	many := faults(t, "topics: {"+strings.Repeat("A: , ", 1)+strings.Join(numbered(30), ", ")+"}")
	if len(many) != maxProblems+1 || many[maxProblems] != "and 11 more" {
		t.Errorf("%d faults: %s", len(many), strings.Join(many, "\n"))
	}
}

func numbered(n int) (names []string) {
	for i := range n {
		names = append(names, "B"+strings.Repeat("x", i)+": ")
	}
	return names
}

func TestAliasBomb(t *testing.T) {
	bomb := "x0: &x0 [a, a, a, a, a, a, a, a, a, a]\n"
	for i := '1'; i <= '9'; i++ {
		bomb += strings.NewReplacer("N", string(i), "P", string(i-1)).Replace("xN: &xN [*xP, *xP, *xP, *xP, *xP, *xP, *xP, *xP, *xP, *xP]\n")
	}
	got := faults(t, bomb+"subscriptions: {s: {topics: [a], url: \"http://c\", filter: {any: *x9}}}\n")
	if !strings.Contains(strings.Join(got, "\n"), "too many values or too deep") {
		t.Error(strings.Join(got, "\n"))
	}
	got = faults(t, "subscriptions: {s: {topics: [a], url: \"http://c\", filter: &f {any: [*f]}}}\n")
	if !strings.Contains(strings.Join(got, "\n"), "too many values or too deep") {
		t.Error(strings.Join(got, "\n"))
	}
}

func TestLargeFile(t *testing.T) {
	if got := faults(t, "#"+strings.Repeat("x", maxFileBytes)); len(got) != 1 || got[0] != "t.yaml:1:1: the file is larger than 1 MiB" {
		t.Error(got)
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	const secret = "hunter2hunter2"
	for _, text := range []string{
		"subscriptions: {s: {topics: [a], url: \"http://c\", secret: " + secret + "}}",
		"subscriptions: {s: {topics: [a], url: \"http://c\", secret: [" + secret + "]}}",
		"subscriptions: {s: {topics: [a], url: \"http://c\", oldSecrets: [{secret: " + secret + "}]}}",
		"subscriptions: {s: {topics: [a], url: \"http://c\", headers: {A: [" + secret + "]}}}",
		"subscriptions: {s: {topics: [a], url: \"http://c\", auth: {basic: {user: u, password: " + secret + "}}}}",
		"subscriptions: {s: {topics: [a], url: \"http://c\", auth: {oauth2: {clientSecret: " + secret + "}}}}",
		"subscriptions: {s: {topics: [a], url: \"http://c\", auth: {tls: {key: " + secret + "}}}}",
		"subscriptions: {s: {topics: [a], amqp: {queue: q, url: \"amqp://u:" + secret + "@h/\"}}}",
		"subscriptions: {s: {topics: [a], amqp: {queue: q, url: \"" + secret + "\"}}}",
		"sources: {s: {topic: a, amqp: {queue: q, url: \"amqp://u:" + secret + "@[h/\"}}}",
		"api: {tokens: [{name: a, sha256: " + secret + "}]}",
		"services: {a: {url: \"http://x:" + secret + "@b\"}}",
	} {
		if got := strings.Join(faults(t, text), "\n"); got == "" || strings.Contains(got, secret) {
			t.Errorf("%q", got)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "-1": -1, "1048576": 1 << 20, "512MiB": 512 << 20, "10 GB": 10e9, "1kB": 1000, "7B": 7, "2TiB": 2 << 40} {
		if got, ok := parseSize(text); !ok || got != want {
			t.Errorf("%q: %d %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "MiB", "+1", "1.5GB", "1XB", "9223372036854775807KiB", "1 MiB B"} {
		if got, ok := parseSize(text); ok {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	every, err := os.ReadFile("testdata/every.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(every)
	f.Add([]byte("a: &a [*a]\nb: {<<: *a}\n---\n- x"))
	f.Add([]byte("routes: [{operation: {topics: [a], succeed: [b]}, authorize: [{service: x}]}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, _, err := Parse("f.yaml", data)
		var e *tandem.Error
		if err != nil && (!errors.As(err, &e) || len(e.Fields) == 0 || len(e.Fields) > maxProblems) {
			t.Fatalf("%#v", err)
		}
		if err == nil && o.Secrets == nil {
			t.Fatal("no options and no error")
		}
	})
}
