package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/amqp/amqptest"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/internal/source"
	"github.com/tandem-hybrid/tandem/server"
)

// family is a metric as /metrics tells of it.
type family struct {
	kind, help string
	labels     map[string]bool
}

var (
	labelName  = regexp.MustCompile(`(\w+)="`)
	metricPart = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// families returns the metrics of a server of which every room has something to tell.
func families(t *testing.T) map[string]*family {
	t.Helper()
	shop := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(shop.Close)
	broker := amqptest.New(t)
	t.Setenv("TEST_RABBIT", broker.URL())
	s := startServer(t, server.Options{
		Secrets:       secretOfEnv,
		Traces:        shop.URL,
		Services:      []tandem.Service{{Name: "shop", URL: shop.URL, Health: &tandem.Health{Path: "/"}}},
		Topics:        []tandem.Topic{{Name: "orders", Type: "order.placed", Source: "/orders"}},
		Routes:        []gateway.Route{{Match: "GET /shop", Service: "shop"}},
		Subscriptions: []tandem.Subscription{{Name: "mail", Topics: []string{"orders"}, Service: "shop"}},
		Sources:       []source.Source{{Name: "warehouse", Topic: "orders", Type: "t", AMQP: source.AMQP{URL: "env:TEST_RABBIT", Queue: "q"}}},
	})
	api := "http://" + s.APIAddr()
	for _, path := range []string{"/v1/topics/orders/events", "/v1/nothing"} { // an event, and a problem
		send(t, "POST", api+path, "application/json", "1")
	}
	all := map[string]*family{}
	of := func(name string) *family {
		if all[name] == nil {
			all[name] = &family{labels: map[string]bool{}}
		}
		return all[name]
	}
	var text string
	until(t, "the source to begin", func() bool {
		text = get(t, api+"/metrics")
		return strings.Contains(text, "tandem_source_reconnects_total{")
	})
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, help, _ := strings.Cut(rest, " ")
			of(name).help = help
			continue
		}
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			of(name).kind = kind
			continue
		}
		name := line[:strings.IndexAny(line, "{ ")]
		if all[name] == nil {
			name = metricPart.ReplaceAllString(name, "")
		}
		for _, m := range labelName.FindAllStringSubmatch(line, -1) {
			of(name).labels[m[1]] = true
		}
	}
	return all
}

// TestMetricsAreDocumented: docs/metrics.md has the metrics of a server, with kind, labels and help, and no others.
func TestMetricsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "| `tandem_") && !strings.HasPrefix(line, "| `tandem_relay_") && !strings.HasPrefix(line, "| `tandem_outbox_") {
			documented[strings.TrimSpace(line)] = true
		}
	}
	for name, f := range families(t) {
		if !strings.HasPrefix(name, "tandem_") {
			continue
		}
		labels := ""
		for _, l := range slices.Sorted(maps.Keys(f.labels)) {
			if l != "le" {
				labels += ", `" + l + "`"
			}
		}
		row := strings.ReplaceAll(fmt.Sprintf("| `%s` | %s | %s | %s |", name, f.kind, strings.TrimPrefix(labels, ", "), f.help), "|  |", "| |")
		if !documented[row] {
			t.Errorf("docs/metrics.md lacks\n%s", row)
		}
		delete(documented, row)
	}
	for row := range documented {
		t.Errorf("docs/metrics.md has, and the server has not\n%s", row)
	}
}

// TestDashboard: the queries of docs/grafana/tandem.json ask for metrics and labels that there are.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../docs/grafana/tandem.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct {
				Name, Type string
				Query      any
				Definition string
			}
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	all := families(t)
	check := func(where, query string) {
		known := map[string]bool{"le": true, "instance": true} // the second is Prometheus' own
		names := regexp.MustCompile(`\b(tandem|go|process)_\w+`).FindAllString(query, -1)
		for _, name := range names {
			f := all[name]
			if f == nil && metricPart.MatchString(name) {
				if f = all[metricPart.ReplaceAllString(name, "")]; f != nil && f.kind != "histogram" {
					f = nil
				}
			}
			if f == nil {
				t.Errorf("%s asks for %s, which is not there", where, name)
				continue
			}
			maps.Copy(known, f.labels)
		}
		if len(names) == 0 {
			t.Errorf("%s asks for no metric: %s", where, query)
		}
		used := regexp.MustCompile(`(\w+)(?:=~|!=|!~|=)"`).FindAllStringSubmatch(query, -1)
		for _, by := range regexp.MustCompile(`by \(([^)]*)\)|label_values\([^,]*,([^)]*)\)`).FindAllStringSubmatch(query, -1) {
			for name := range strings.SplitSeq(by[1]+by[2], ",") {
				used = append(used, []string{"", strings.TrimSpace(name)})
			}
		}
		for _, m := range used {
			if !known[m[1]] {
				t.Errorf("%s uses the label %q, which %s has not", where, m[1], names)
			}
		}
	}
	ids := map[int]bool{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.Title == "" || p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %d %q has no id or title of its own, or shows nothing", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			check(p.Title, target.Expr)
		}
	}
	for _, v := range dashboard.Templating.List {
		if v.Type == "query" {
			check("the variable "+v.Name, v.Definition)
		}
	}
	if len(ids) < 20 {
		t.Errorf("%d panels", len(ids))
	}
}
