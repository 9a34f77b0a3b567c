package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// conformance returns the tool of cloudevents/conformance, and the directory of its module.
func conformance(t *testing.T) (tool, dir string) {
	t.Helper()
	tool, dir = os.Getenv("TANDEM_CONFORMANCE"), os.Getenv("TANDEM_CONFORMANCE_DIR")
	if tool == "" || dir == "" {
		t.Skip("TANDEM_CONFORMANCE is not set: run these tests with make interop")
	}
	return tool, dir
}

// TestConformanceFeatures: every scenario of the HTTP binding of cloudevents/conformance, through the API.
func TestConformanceFeatures(t *testing.T) {
	_, dir := conformance(t)
	scenarios := readFeature(t, filepath.Join(dir, "features", "http-protocol-binding.feature"))
	if len(scenarios) < 4 {
		t.Fatalf("%d scenarios, want at least 4", len(scenarios))
	}
	config := "topics:\n"
	for i := range scenarios { // all have the same event, so each gets a topic
		config += fmt.Sprintf("  c%d: {}\n", i)
	}
	s := start(t, config)
	for i, c := range scenarios {
		t.Run(c.name, func(t *testing.T) {
			path := fmt.Sprintf("/v1/topics/c%d/events", i)
			req, err := http.NewRequest(http.MethodPost, s.url("%s", path), strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = c.header
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusCreated {
				t.Fatalf("%s: %s", resp.Status, answer)
			}
			var page struct{ Events []map[string]any }
			if err := json.Unmarshal([]byte(get(t, s.url("%s?from=earliest", path))), &page); err != nil || len(page.Events) != 1 {
				t.Fatal(err, len(page.Events))
			}
			for key, want := range c.attributes {
				if got := page.Events[0][key]; got != want {
					t.Errorf("%s is %v, want %s", key, got, want)
				}
			}
			var data any
			if err := json.Unmarshal([]byte(c.data), &data); err != nil {
				t.Fatal(err)
			}
			if got := page.Events[0]["data"]; !reflect.DeepEqual(got, data) {
				t.Errorf("data is %v, want %v", got, data)
			}
		})
	}
}

// scenario is one example of a scenario of a feature file.
type scenario struct {
	name       string
	header     http.Header
	body       string
	attributes map[string]string
	data       string
}

var placeholder = regexp.MustCompile(`<\w+>`)

// readFeature reads as much of the language Gherkin as the files of cloudevents/conformance use: an HTTP request, a table of
// attributes and the data in JSON, with one placeholder and its examples.
func readFeature(t *testing.T, path string) []scenario {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []scenario
	for _, block := range strings.Split(string(text), "Scenario Outline: ")[1:] {
		block, examples, _ := strings.Cut(block, "Examples:")
		values := tableRows(examples)
		for _, v := range values[1:] {
			out = append(out, readScenario(t, placeholder.ReplaceAllString(block, v[0])))
		}
	}
	return out
}

func readScenario(t *testing.T, block string) scenario {
	t.Helper()
	parts := strings.Split(block, `"""`)
	if len(parts) != 5 {
		t.Fatalf("a scenario of %d parts: %s", len(parts), block)
	}
	c := scenario{header: http.Header{}, attributes: map[string]string{}, data: parts[3]}
	c.name, _, _ = strings.Cut(block, "\n")
	head, body, _ := strings.Cut(dedent(parts[1]), "\n\n")
	c.body = body
	for _, line := range strings.Split(strings.TrimSpace(head), "\n")[1:] {
		name, value, _ := strings.Cut(line, ": ")
		if !strings.EqualFold(name, "Host") && !strings.EqualFold(name, "Content-Length") {
			c.header.Set(name, value)
		}
	}
	for _, row := range tableRows(parts[2])[1:] {
		c.attributes[row[0]] = row[1]
	}
	return c
}

// dedent removes the indentation of a text of a feature file.
func dedent(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	indent := len(lines[0]) - len(strings.TrimLeft(lines[0], " "))
	for i, l := range lines {
		lines[i] = l[min(indent, len(l)):]
	}
	return strings.Join(lines, "\n")
}

func tableRows(text string) (rows [][]string) {
	for sc := bufio.NewScanner(strings.NewReader(text)); sc.Scan(); {
		line := strings.TrimSpace(sc.Text())
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows
}

// TestConformanceTool: the tool of cloudevents/conformance publishes its own events, gets them delivered, and finds no difference. It
// compares the data of structured events by their text, so that of those only the ones with data in JSON are looked at.
func TestConformanceTool(t *testing.T) {
	tool, dir := conformance(t)
	events := filepath.Join(dir, "yaml", "v1.0", "v1_minimum.yaml")
	text, err := os.ReadFile(events)
	if err != nil {
		t.Fatal(err)
	}
	for content, wanted := range map[string]string{"structured": withJSON(t, string(text)), "binary": string(text)} {
		t.Run(content, func(t *testing.T) {
			_, port, _ := strings.Cut(freeAddr(t), ":")
			got := lines(t.Context(), t, tool, "listen", "-P", port)
			s := start(t, `
services:
  tool: {url: "http://127.0.0.1:`+port+`"}
topics:
  events: {}
subscriptions:
  tool: {topics: [events], service: tool, path: /, content: `+content+`}
`)
			if said, err := exec.CommandContext(t.Context(), tool, "invoke", s.url("/v1/topics/events/events"), "-f", events).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, said)
			}
			sameEvents(t, tool, wanted, got)
		})
	}
}

// withJSON returns the events of a file of the tool that have data in JSON.
func withJSON(t *testing.T, text string) string {
	var wanted []string
	for _, event := range strings.Split(text, "---\n") {
		if strings.Contains(event, "datacontenttype: application/json") {
			wanted = append(wanted, event)
		}
	}
	if len(wanted) < 3 {
		t.Fatalf("%d events with JSON", len(wanted))
	}
	return strings.Join(wanted, "---\n")
}

// sameEvents waits until what the tool got is what is wanted.
func sameEvents(t *testing.T, tool, wanted string, got <-chan string) {
	t.Helper()
	want, file := filepath.Join(t.TempDir(), "want.yaml"), filepath.Join(t.TempDir(), "got.yaml")
	if err := os.WriteFile(want, []byte(wanted), 0o600); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(30 * time.Second)
	for text, said := "", []byte(nil); ; {
		select {
		case line := <-got:
			text += line + "\n"
		case <-time.After(200 * time.Millisecond): // nothing more was said: perhaps that was all
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var err error
			if said, err = exec.CommandContext(t.Context(), tool, "diff", "--ignore-additions", want, file).CombinedOutput(); err == nil {
				return
			}
		case <-deadline:
			t.Fatalf("the tool still says: %s", said)
		}
	}
}
