package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// buffer is output that is read while it is written, and says when there is more.
type buffer struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{}
}

func newBuffer() *buffer { return &buffer{more: make(chan struct{}, 1)} }

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b.Write(p)
	select {
	case b.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// await waits until the output matches.
func (b *buffer) await(t *testing.T, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.After(20 * time.Second)
	for {
		if m := re.FindStringSubmatch(b.String()); m != nil {
			return m
		}
		select {
		case <-b.more:
		case <-late:
			t.Fatalf("no %q in:\n%s", pattern, b.String())
		}
	}
}

// tool runs a command line with text on stdin.
func tool(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return status, out.String(), errs.String()
}

// must runs a command line that has to succeed, and returns what it prints.
func must(t *testing.T, args ...string) string {
	t.Helper()
	status, out, errs := tool(t, "", args...)
	if status != exitOK {
		t.Fatalf("tandem %s: status %d: %s", strings.Join(args, " "), status, errs)
	}
	return out
}

// serving is a server run by the command line.
type serving struct {
	out, err *buffer
	stop     context.CancelFunc
	status   chan int
}

func serve(t *testing.T, args ...string) *serving {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &serving{out: newBuffer(), err: newBuffer(), stop: cancel, status: make(chan int, 1)}
	args = append([]string{"serve", "--data", t.TempDir(), "--public", "127.0.0.1:0", "--api", "127.0.0.1:0"}, args...)
	go func() { s.status <- run(ctx, args, strings.NewReader(""), s.out, s.err) }()
	t.Cleanup(func() { s.end(t) })
	t.Setenv("TANDEM_API_URL", s.out.await(t, `api +(http://\S+)\n`)[1])
	s.out.await(t, `config .*\n`)
	return s
}

// end stops the server, once, and checks that it ended well.
func (s *serving) end(t *testing.T) {
	t.Helper()
	s.stop()
	select {
	case status := <-s.status:
		if status != exitOK {
			t.Errorf("serve ended with %d: %s", status, s.err)
		}
		s.status <- status
	case <-time.After(30 * time.Second):
		t.Fatal("the server does not stop")
	}
}

func TestPublishAndTail(t *testing.T) {
	t.Chdir(t.TempDir())
	serve(t)
	out := must(t, "publish", "orders", `{"total": 12}`, "--type", "order.placed", "--subject", "42", "--id", "a")
	if !regexp.MustCompile(`^orders/\d/\d+  id a  cursor \S+\n$`).MatchString(out) {
		t.Errorf("%q", out)
	}
	var receipt tandem.Receipt
	if err := json.Unmarshal([]byte(must(t, "publish", "orders", `{"total": 12}`, "-t", "order.placed", "-s", "42", "--id", "a", "--json")), &receipt); err != nil || receipt.Duplicate != tandem.DuplicateYes {
		t.Errorf("%+v %v", receipt, err)
	}
	status, _, errs := tool(t, "", "publish", "orders", `{"total": 13}`, "-t", "order.placed", "-s", "42", "--id", "a")
	if status != exitConflict || !strings.HasPrefix(errs, "tandem: publish to orders: an event of this id was stored with other data") {
		t.Errorf("%d %q", status, errs)
	}
	must(t, "publish", "notes", "hello\x1b[2J", "-t", "note.taken", "--content-type", "text/plain")

	if out := must(t, "tail", "orders", "notes", "--no-follow"); !regexp.MustCompile(`^\S+ order.placed 42 {"total":12}\n\S+ note.taken - hello�\[2J\n$`).MatchString(out) {
		t.Errorf("%q", out)
	}
	if out := must(t, "tail", "**", "--from", "earliest", "-n", "1", "--filter", "sql=type LIKE 'note.%' AND NOT (EXISTS missing)", "--filter", "cel=event.type == 'note.taken'", "--json"); !strings.Contains(out, `"type":"note.taken"`) {
		t.Errorf("tail by conditions: %s", out)
	}
	if out := must(t, "tail", "**", "--from", "earliest", "--no-follow", "--filter", "cel=data.total > 11 && data.total < 13", "--json"); strings.Count(out, "\n") != 1 || !strings.Contains(out, `"id":"a"`) {
		t.Errorf("tail by the data: %s", out)
	}
	if status, _, errs := tool(t, "", "tail", "orders", "--filter", "cel=data.total >"); status == exitOK || !strings.Contains(errs, "/cel line 1, column 13") {
		t.Errorf("%d %q", status, errs)
	}
	if out := must(t, "tail", "**", "--from", "earliest", "-n", "1", "--filter", "type=note.taken", "--json"); !strings.Contains(out, `"type":"note.taken"`) || strings.Count(out, "\n") != 1 {
		t.Errorf("%q", out)
	}
	if out := must(t, "tail", "orders", "--cursor", string(receipt.Cursor), "--no-follow"); out != "" {
		t.Errorf("%q", out)
	}
}

func TestTailFollows(t *testing.T) {
	t.Chdir(t.TempDir())
	serve(t)
	must(t, "topics", "create", "orders")
	out := newBuffer()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan int)
	go func() {
		done <- run(ctx, []string{"tail", "orders", "--since", "1m", "--type", "a", "--type", "b"}, nil, out, io.Discard)
	}()
	for _, typ := range []string{"a", "x", "b"} {
		must(t, "publish", "orders", "1", "--type", typ)
	}
	out.await(t, `^\S+ a - 1\n\S+ b - 1\n$`)
	cancel()
	if status := <-done; status != exitOK {
		t.Errorf("tail ended with %d", status)
	}
}

func TestPublishLines(t *testing.T) {
	t.Chdir(t.TempDir())
	serve(t)
	file := filepath.Join(t.TempDir(), "lines.ndjson")
	if err := os.WriteFile(file, []byte(strings.Repeat("{\"n\":1}\n", 2500)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := must(t, "publish", "bulk", "--file", file, "--type", "n"); !strings.HasPrefix(out, "bulk: 2500 stored, 0 stored before, 0 refused, in ") {
		t.Errorf("%q", out)
	}
	status, out, errs := tool(t, "{}\n{\n", "publish", "bulk", "--file", "-", "--type", "n", "--json")
	if status != exitFailed || strings.Count(out, "\n") != 1 || !strings.HasPrefix(errs, "tandem: line 2: malformed JSON") {
		t.Errorf("%d %q %q", status, out, errs)
	}
}

func TestTopicsAndSubscriptions(t *testing.T) {
	t.Chdir(t.TempDir())
	file := filepath.Join(t.TempDir(), "tandem.yaml")
	if err := os.WriteFile(file, []byte("services: {shop: {url: \"http://127.0.0.1:9\"}}\ntopics: {orders: {partitions: 2}}\nsubscriptions: {ship: {topics: [orders], service: shop}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, "--config", file)
	must(t, "topics", "create", "audit", "--partitions", "3", "--retention", "forever")
	if out := must(t, "topics"); out != "TOPIC\tPARTITIONS\tRETENTION\tKEY\tOWNER\naudit\t3\tforever\tsubject\tapi\norders\t2\t168h\tsubject\tfile\n" &&
		out != "TOPIC\tPARTITIONS\tRETENTION\tKEY\tOWNER\naudit\t3\tforever\t-\tapi\norders\t2\t168h\t-\tfile\n" {
		t.Errorf("%q", out)
	}
	if out := must(t, "subs"); !strings.Contains(out, "\nship\torders\tshop\t") {
		t.Errorf("%q", out)
	}
	must(t, "subs", "create", "copy", "--topic", "orders", "--service", "shop", "--path", "/copy", "--filter", "type=a")
	for _, args := range [][]string{{"subs", "pause", "copy"}, {"subs", "resume", "copy"}} {
		if out := must(t, append(args, "--json")...); !strings.Contains(out, `"name":"copy"`) {
			t.Errorf("%v: %q", args, out)
		}
	}
	if out := must(t, "subs", "seek", "copy", "--from", "earliest", "--dry-run"); out != "0 events would be read again, 0 events would be gone over (0 of them parked), before filtering\n" {
		t.Errorf("%q", out)
	}
	if out := must(t, "subs", "seek", "copy", "--from", "earliest", "--json"); out != `{"again":0,"over":0,"parked":0}`+"\n" {
		t.Errorf("%q", out)
	}
	if out := must(t, "subs", "show", "copy"); !strings.Contains(out, `filter    {"exact":{"type":"a"}}`) {
		t.Errorf("%q", out)
	}
	if out := must(t, "dead-letters", "redrive", "copy", "--all"); out != "0 dead letters redriven\n" {
		t.Errorf("%q", out)
	}
	must(t, "dead-letters", "list", "copy")
	must(t, "subs", "delete", "copy", "--yes")
	must(t, "topics", "delete", "audit", "--yes")
	for _, tt := range []struct {
		args   string
		status int
		says   string
	}{
		{"topics create orders", exitConflict, "tandem: PUT /v1/topics/orders: the configuration file declares the topic orders (change it there and reload: POST /v1/config:reload)\n"},
		{"topics show audit", exitNotFound, "tandem: GET /v1/topics/audit: no topic audit\n"},
		{"topics delete orders", exitUsage, "tandem: delete topic orders and all its events needs a yes (say --yes to do it without being asked)\n"},
		{"subs show copy", exitNotFound, "tandem: GET /v1/subscriptions/copy: "},
		{"dead-letters discard ship", exitUsage, "tandem: which dead letters? (name their ids, choose them with --reason, --filter, --since and --until, or say --all)\n"},
		{"dead-letters redrive ship --all --reason loop", exitUsage, "tandem: which dead letters? "},
		{"dead-letters show ship x", exitNotFound, "tandem: GET /v1/subscriptions/ship/dead-letters/x: "},
		{"subs replay ship", exitUsage, "tandem: no place to replay from (say --from, --since or --cursor)\n"},
		{"deliveries ship --position x", exitUsage, "tandem: position \"x\" is not topic/partition/offset\n"},
		{"deliveries ship --event nope", exitNotFound, "tandem: the topics of ship hold no event \"nope\", and its ledger has no row of it (--state expired "},
		{"subs create typo --file -", exitUsage, "tandem: read -: the JSON has a member that is not known: /attemptz: is not known here\n"},
		{"pull ship --max 0", exitUsage, "tandem: --max 0: at least one event\n"},
		{"pull ship --ack --exec true", exitUsage, "tandem: --ack and --exec can't be used together"},
		{"subs seek ship", exitUsage, "tandem: no place to seek to (say --from, --since or --cursor)\n"},
	} {
		if status, _, errs := tool(t, `{"topics":["orders"],"service":"shop","attemptz":5}`, strings.Fields(tt.args)...); status != tt.status || !strings.HasPrefix(errs, tt.says) {
			t.Errorf("tandem %s: %d %q", tt.args, status, errs)
		}
	}

	// A reload is all or nothing.
	if err := os.WriteFile(file, []byte("topics: {orders: {partitions: 2}, more: {retenton: 1h}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hangUp(t)
	s.err.await(t, `not reloaded; the last good one holds.*unknown key.*retenton`)
	if err := os.WriteFile(file, []byte("topics: {orders: {partitions: 2}, more: }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hangUp(t)
	s.err.await(t, `configuration reloaded`)
	must(t, "topics", "show", "more")
	if out := must(t, "subs", "show", "ship"); !strings.Contains(out, "owner orphan") {
		t.Errorf("%q", out)
	}
}

func hangUp(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

func TestFlagsWinOverVariables(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("TANDEM_DATA", "/dev/null/not-a-directory")
	t.Setenv("TANDEM_API", "nowhere:99999")
	status, _, errs := tool(t, "", "serve", "--public", "127.0.0.1:0")
	if status != exitUsage || !strings.Contains(errs, "environment variable TANDEM_API") {
		t.Errorf("%d %q", status, errs)
	}
	t.Setenv("TANDEM_API", "127.0.0.1:1")
	serve(t)
}

func TestServerThatIsNotThere(t *testing.T) {
	status, _, errs := tool(t, "", "topics", "--api", "http://127.0.0.1:1")
	if status != exitUnavailable || !strings.Contains(errs, "(is a server listening on http://127.0.0.1:1?)") {
		t.Errorf("%d %q", status, errs)
	}
}

// TestTailNothing: no event is shown when none is asked for, and nobody waits for one.
func TestTailNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	serve(t)
	must(t, "publish", "orders", "{}", "--type", "t")
	for _, follow := range []string{"--follow", "--no-follow"} {
		if out := must(t, "tail", "orders", "-n", "0", "--from", "earliest", follow); out != "" {
			t.Errorf("%s: %q", follow, out)
		}
	}
	if status, _, errs := tool(t, "", "tail", "orders", "-n", "-1"); status != exitUsage {
		t.Errorf("%d %q", status, errs)
	}
}

func TestCheck(t *testing.T) {
	t.Chdir(t.TempDir())
	if status, _, errs := tool(t, "", "check"); status != exitNotFound || errs != "tandem: there is no tandem.yaml here (name a file: tandem check FILE)\n" {
		t.Errorf("%d %q", status, errs)
	}
	write := func(text string) {
		if err := os.WriteFile("tandem.yaml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("services: {shop: {url: \"http://127.0.0.1:9\"}}\ntopics: {orders: }\nroutes:\n  - {match: POST /orders, service: shop}\n  - {match: POST /notes, topic: note, type: note.taken}\n  - {match: \"GET /orders/{id}/chat\", stream: {topics: [orders], filter: {subject: \"{id}\"}, slow: conflate, publish: {topic: orders, type: chat.said}}, authorize: shop}\n  - {match: GET /feed, stream: {topics: [orders]}}\n  - {match: GET /tandem.js, client: true}\nsubscriptions: {ship: {topics: [orders], service: shop, path: /ship, filter: {type: a}}, work: {topics: [orders], pull: {}}}\n")
	want := `tandem.yaml:5:33: warning: routes[1].topic: topic "note" is not declared in this file; declare it under topics, or create it through the API before it is used

engine
  embedded
    receipt  synced to disk
    batches  stored whole, over topics and together with state
    repeats  recognised when they are published, within the window
    cursor   one number, for any number of topics
    counts   of events are exact
    writers  this process alone

routes
  POST /orders           ─request→ service shop
  POST /notes            ─event→ topic note (stored as note.taken)
  GET /orders/{id}/chat  ─event→ stream orders ({"exact":{"subject":"{id}"}}, slow: conflate, what clients send is stored in orders as chat.said), authorized by shop
  GET /feed              ─event→ stream orders
  GET /tandem.js         ─request→ client (the browser module)

topics
  orders (8 partitions, kept 168h)
    ─event→ ship → shop/ship ({"exact":{"type":"a"}})
    ─event→ work → (pulled)

tandem.yaml is valid: 1 service, 1 topic, 5 routes, 2 subscriptions
`
	if out := must(t, "check"); out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	var ok checked
	if err := json.Unmarshal([]byte(must(t, "check", "tandem.yaml", "--json")), &ok); err != nil || !ok.Valid || len(ok.Warnings) != 1 || len(ok.Topology.Routes) != 5 || ok.Topology.Routes[2].Publish != "orders" || ok.Topology.Routes[4].Kind != "client" {
		t.Errorf("%+v %v", ok, err)
	}
	write("topics: {orders: }\nsources:\n  stock: {amqp: {url: env:RABBIT, queue: stock}, topic: orders}\n  other: {amqp: {url: env:RABBIT, queue: q}, topic: more}\nsubscriptions:\n  erp: {topics: [orders], amqp: {url: env:RABBIT, exchange: shop}}\n  box: {topics: [orders], amqp: {url: env:RABBIT, queue: box}}\n")
	want = `tandem.yaml:4:53: warning: sources.other.topic: topic "more" is not declared in this file; declare it under topics, or create it through the API before it is used
`
	wired := `
topics
  orders (8 partitions, kept 168h)
    ←event─ stock ← RabbitMQ queue stock
    ─event→ erp → RabbitMQ exchange shop
    ─event→ box → RabbitMQ queue box

sources of topics that are not declared here
  more: ←event─ other ← RabbitMQ queue q

tandem.yaml is valid: 0 services, 1 topic, 0 routes, 2 subscriptions, 2 sources
`
	if out := must(t, "check"); !strings.HasPrefix(out, want) || !strings.HasSuffix(out, wired) {
		t.Errorf("got\n%s\nwant\n%s…%s", out, want, wired)
	}
	write("tpoics: {}\n")
	if status, out, errs := tool(t, "", "check"); status != exitUsage || out != "tandem.yaml:1:1: unknown key \"tpoics\"; did you mean \"topics\"?\ntandem.yaml: 1 error\n" || errs != "" {
		t.Errorf("%d %q %q", status, out, errs)
	}
	if status, out, _ := tool(t, "", "check", "--json"); status != exitUsage || !strings.Contains(out, `"valid":false`) {
		t.Errorf("%d %q", status, out)
	}
	if out := must(t, "check", "--schema"); !json.Valid([]byte(out)) {
		t.Error("the schema is not JSON")
	}
}

func TestUsage(t *testing.T) {
	for args, want := range map[string]string{
		"chekc":                              "tandem: unexpected argument chekc, did you mean \"check\"? (tandem --help shows how)\n",
		"serve --foo":                        "tandem: unknown flag --foo (tandem serve --help shows how)\n",
		"topics create":                      "tandem: expected \"<topic>\" (tandem topics create --help shows how)\n",
		"tail a --since 1m --from x":         "tandem: --from and --since can't be used together (tandem tail --help shows how)\n",
		"tail a --last 1 --from x":           "tandem: --from and --last can't be used together (tandem tail --help shows how)\n",
		"tail a --last 0":                    "tandem: --last 0: a number of events is at least 1\n",
		"tail a --slow conflate --no-follow": "tandem: --slow and --no-follow cannot be given together\n",
		"tail a --slow never":                "",
		"publish a {":                        "tandem: publish to a: the data is not JSON (put it in quotes, or say --content-type text/plain)\n",
		"publish a {} --file b":              "tandem: data and --file cannot be given together\n",
		"tail a --from yesterday":            "tandem: \"yesterday\" is not earliest, latest or an RFC 3339 time\n",
		"tail a --filter x":                  "tandem: --filter \"x\" is neither attribute=value nor JSON\n",
		"topics --api localhost":             "tandem: \"localhost\" is not the URL of a server (write a URL such as http://127.0.0.1:8090)\n",
		"topics create a --retention":        "",
	} {
		status, _, errs := tool(t, "", strings.Fields(args)...)
		if status != exitUsage || want != "" && errs != want {
			t.Errorf("tandem %s: %d %q", args, status, errs)
		}
	}
}

func TestHelpHasExamples(t *testing.T) {
	for _, command := range []string{"serve", "check", "publish", "tail", "topics", "subscriptions", "pull", "deliveries", "dead-letters", "demo", "compare"} {
		if out := must(t, command, "--help"); !strings.Contains(out, "Examples:\n\n    tandem "+command) {
			t.Errorf("%s: %s", command, out)
		}
	}
	if out := must(t); !strings.Contains(out, "Exit status: 0 done") || strings.Contains(out, "-service") {
		t.Errorf("%s", out)
	}
	must(t, "version", "--json")
}

// broken is a pipe that nobody reads any more.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, &os.PathError{Op: "write", Err: syscall.EPIPE} }

func TestAPipeThatEnds(t *testing.T) {
	t.Chdir(t.TempDir())
	serve(t)
	must(t, "publish", "a", "1", "--type", "x")
	var errs bytes.Buffer
	if status := run(t.Context(), []string{"tail", "a", "--from", "earliest"}, nil, broken{}, &errs); status != exitOK || errs.Len() > 0 {
		t.Errorf("%d %q", status, errs.String())
	}
}
