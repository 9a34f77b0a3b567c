// Package rules holds the walls of the code as tests: who may import whom, and what a client must not link.
package rules

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/tandem-hybrid/tandem"

// rows lists the rooms from top to bottom. A package may import packages of lower rows, and packages inside its own
// room (a folder below it), nothing beside it.
var rows = [][]string{
	{"cmd/tandem"},
	{"internal/compare", "internal/demo"},
	{"internal/process"}, // child processes of the same binary: Tandem and the services of examples
	{"internal/config", "examples/shop", "examples/fleet", "examples/kitchen"},
	{"server"},
	{"internal/api", "internal/gateway", "internal/operation", "internal/delivery", "internal/source", "internal/stream", "internal/health", "internal/flow", "internal/contract", "internal/console", "internal/migrate"},
	{"internal/auth", "internal/browser"}, // who calls: the rooms ask it, it asks nobody; the module that pages load
	{"internal/otlp"},                     // spans to a collector
	{"internal/httpx", "internal/condition", "internal/match", "internal/amqp", "internal/chain"}, // problems and JSON over HTTP; the conditions of filters; an index of filters; RabbitMQ; request chains
	{"eventlog/memlog", "eventlog/pebblelog", "eventlog/kafkalog", "eventlog/natslog", "eventlog/drivertest"},
	{"eventlog"},
	{"eventlog/stateindex", "eventlog/idindex", "eventlog/flowindex"}, // what a process knows beside its engine: its state in order of keys, the ids it has read, where flows lie
	{"eventlog/internal/localstore"},
	{"eventlog/driver"},
	{"client", "outbox"},                            // link nothing but the words
	{"internal/websocket", "internal/tracecontext"}, // bytes of frames, and one codec for both ends; W3C trace context
	{"internal/offsetmap"},                          // where the events of a log lie in another one: the log reads it, migrate writes it
	{"."},
	{"internal/percent"}, // how headers carry what is no ASCII: on HTTP by the words themselves, on NATS by its engine
}

// engines stand beside eventlog: server opens one and hands it over, rooms hold only eventlog.Log.
var bans = []struct{ from, to, reason string }{
	{"eventlog", "eventlog/pebblelog", "the log holds an engine through driver alone"},
	{"eventlog", "eventlog/kafkalog", "the log holds an engine through driver alone"},
	{"eventlog", "eventlog/natslog", "the log holds an engine through driver alone"},
	{"internal/", "eventlog/pebblelog", "only server chooses an engine"},
	{"internal/", "eventlog/kafkalog", "only server chooses an engine"},
	{"internal/", "eventlog/natslog", "only server chooses an engine"},
	{"client", "eventlog", "a service must be able to link the client without an engine"},
	{"outbox", "eventlog", "a service must be able to link the outbox without an engine"},
	{"examples/shop", "eventlog", "a service is nothing but an HTTP handler"},
	{"examples/shop", "server", "a service is nothing but an HTTP handler"},
	{"examples/shop", "client", "a service needs no client of Tandem's"},
	{"examples/fleet", "eventlog", "a vehicle speaks over the wire"},
	{"examples/fleet", "server", "a vehicle speaks over the wire"},
	{"examples/fleet", "client", "a vehicle needs no client of Tandem's"},
	{"examples/kitchen", "eventlog", "a service is nothing but an HTTP handler"},
	{"examples/kitchen", "server", "a service is nothing but an HTTP handler"},
	{"examples/kitchen", "client", "who waits speaks over the wire"},
}

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Deps"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	return pkgs
}

// room returns the row and the room of a package of this module, and whether it has one.
func room(path string) (row int, name string, ok bool) {
	rel := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
	if rel == "" {
		rel = "."
	}
	best := ""
	for i, r := range rows {
		for _, n := range r {
			if (rel == n || strings.HasPrefix(rel, n+"/")) && len(n) > len(best) {
				row, best = i, n
			}
		}
	}
	return row, best, best != ""
}

func TestImportsPointDown(t *testing.T) {
	for _, p := range list(t, module+"/...") {
		rel := strings.TrimPrefix(p.ImportPath, module+"/")
		row, name, ok := room(p.ImportPath)
		if !ok {
			if rel == "internal/rules" || strings.HasPrefix(rel, "internal/bench") {
				continue
			}
			t.Errorf("%s is in no room: add it to the map of the code and to this test", rel)
			continue
		}
		for _, imp := range p.Imports {
			if imp != module && !strings.HasPrefix(imp, module+"/") {
				continue
			}
			irow, iname, ok := room(imp)
			if ok && iname != name && irow <= row {
				t.Errorf("%s imports %s: imports point down only", rel, strings.TrimPrefix(imp, module+"/"))
			}
		}
		for _, b := range bans {
			if rel != b.from && !strings.HasPrefix(rel, strings.TrimSuffix(b.from, "/")+"/") {
				continue
			}
			for _, imp := range p.Imports {
				if irel := strings.TrimPrefix(imp, module+"/"); irel == b.to || strings.HasPrefix(irel+"/", b.to+"/") {
					t.Errorf("%s imports %s: %s", rel, irel, b.reason)
				}
			}
		}
	}
}

func TestClientsLinkNoEngineAndNoParser(t *testing.T) {
	for _, p := range list(t, module+"/client", module+"/outbox", module) {
		for _, dep := range p.Deps {
			switch {
			case dep == module+"/internal/percent",
				p.ImportPath == module+"/client" && dep == module+"/internal/websocket",
				p.ImportPath == module+"/outbox" && dep == module+"/internal/tracecontext":
				continue // one codec for both ends
			}
			// Filters are compiled by the server alone: their parsers are larger than the client.
			for _, large := range []string{"cockroachdb/pebble", "jackc/pgx", "twmb/franz-go", "nats-io/", "cel.dev/", "cloudevents/", "antlr", module + "/internal/"} {
				if strings.Contains(dep, large) {
					t.Errorf("%s links %s", p.ImportPath, dep)
				}
			}
			if p.ImportPath == module && strings.Contains(dep, ".") && strings.Contains(strings.SplitN(dep, "/", 2)[0], ".") && !strings.HasPrefix(dep, module) {
				t.Errorf("package tandem links %s: the standard library only", dep)
			}
		}
	}
}
