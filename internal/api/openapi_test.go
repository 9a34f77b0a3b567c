package api

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

var verbs = []string{"get", "put", "post", "delete", "patch"}

// TestDocumentHasEveryRoute walks the table of routes and the document in both directions.
func TestDocumentHasEveryRoute(t *testing.T) {
	d := loadDocument(t)
	ids := map[string]bool{}
	for _, r := range routes {
		op, _ := d.at("paths", r.path, strings.ToLower(r.method)).(map[string]any)
		if op == nil {
			t.Errorf("%s %s is not in the document", r.method, r.path)
			continue
		}
		if role, _ := op["x-tandem-role"].(string); role != r.role {
			t.Errorf("%s %s needs the role %q; the document says %q", r.method, r.path, r.role, role)
		}
		id := op["operationId"].(string)
		if ids[id] {
			t.Errorf("operationId %s is there twice", id)
		}
		ids[id] = true
	}
	for path, item := range d.at("paths").(map[string]any) {
		for name := range item.(map[string]any) {
			if !slices.Contains(verbs, name) {
				continue
			}
			if !slices.ContainsFunc(routes, func(r route) bool { return r.path == path && strings.EqualFold(r.method, name) }) {
				t.Errorf("%s %s is in the document and not in the table", name, path)
			}
		}
	}
	for _, r := range planned {
		if d.at("paths", r.path) != nil {
			t.Errorf("%s is in the document, though it is not built", r.path)
		}
	}
}

// TestDocumentRefersToWhatThereIs: every $ref leads somewhere, every component is used.
func TestDocumentRefersToWhatThereIs(t *testing.T) {
	d := loadDocument(t)
	used := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				used[ref] = true
				if d.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...) == nil {
					t.Errorf("%s leads nowhere", ref)
				}
			}
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(d.doc)
	for kind, all := range d.at("components").(map[string]any) {
		for name := range all.(map[string]any) {
			if ref := "#/components/" + kind + "/" + name; kind != "securitySchemes" && !used[ref] {
				t.Errorf("%s is used nowhere", ref)
			}
		}
	}
}

// TestAnswersFollowTheDocument sends a request of every kind, and checks that status, content type and body are among
// those that the document names.
func TestAnswersFollowTheDocument(t *testing.T) {
	d := loadDocument(t)
	s := newSchemas(t, d)
	h := newDocumented(t)
	succeeded := map[string]bool{"POST /v1/config:reload": true} // needs a file
	const one = `{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"k","time":"2026-01-31T09:30:00Z","data":{"n":1}}`
	for _, c := range []struct {
		method, path, arg, query, body, contentType string
		status                                      int
	}{
		{"PUT", "/v1/topics/{topic}", "orders", "", `{"partitions":2,"type":"t","source":"/s"}`, "", 201},
		{"PUT", "/v1/topics/{topic}", "orders", "", `{"type":"t","source":"/s"}`, "", 200},
		{"PUT", "/v1/topics/{topic}", "orders", "", `{"partitions":3}`, "", 409},
		{"PUT", "/v1/topics/{topic}", "orders", "", `{`, "", 400},
		{"POST", "/v1/topics/{topic}/events", "orders", "", one, tandem.MediaEvent, 201},
		{"POST", "/v1/topics/{topic}/events", "orders", "", "[" + one + "]", tandem.MediaBatch, 201},
		{"POST", "/v1/topics/{topic}/events", "orders", "", one + "\n{}", tandem.MediaNDJSON, 200},
		{"POST", "/v1/topics/{topic}/events", "orders", "", `{}`, "application/json", 201},
		{"POST", "/v1/topics/{topic}/events", "orders", "ack=accepted", `{}`, "application/json", 202},
		{"POST", "/v1/topics/{topic}/events", "orders", "", `{}`, tandem.MediaEvent, 400},
		{"POST", "/v1/topics/{topic}/events", "orders", "", `{}`, "text/plain", 415},
		{"POST", "/v1/topics/{topic}/events", "absent", "", one, tandem.MediaEvent, 404},
		{"GET", "/v1/topics/{topic}/events", "orders", "from=earliest", "", "", 200},
		{"GET", "/v1/topics/{topic}/events", "orders", "cursor=AQEAAAAAAAAAAAAAAAAAAAAC", "", "", 200}, // of another log
		{"GET", "/v1/topics/{topic}/events", "orders", "cursor=x", "", "", 400},
		{"GET", "/v1/events", "", "topic=**", "", "", 200},
		{"GET", "/v1/events", "", "", "", "", 400},
		{"GET", "/v1/streams", "", "", "", "", 200},
		{"GET", "/v1/streams", "", "limit=1001", "", "", 400},
		{"GET", "/v1/topics", "", "", "", "", 200},
		{"GET", "/v1/topics/{topic}", "orders", "", "", "", 200},
		{"GET", "/v1/topics/{topic}", "absent", "", "", "", 404},
		{"GET", "/v1/subscriptions", "", "", "", "", 200},
		{"PUT", "/v1/subscriptions/{name}", "pay", "", everything, "", 201},
		{"GET", "/v1/subscriptions/{name}", "pay", "", "", "", 200},
		{"GET", "/v1/subscriptions/{name}", "absent", "", "", "", 404},
		{"POST", "/v1/subscriptions/{name}:pause", "pay", "", "", "", 200},
		{"POST", "/v1/subscriptions/{name}:resume", "pay", "", "", "", 200},
		{"POST", "/v1/subscriptions/{name}:seek", "pay", "", `{"from":"earliest"}`, "", 200},
		{"POST", "/v1/subscriptions/{name}:seek", "pay", "", `{"cursor":"abc","dryRun":true}`, "", 200},
		{"POST", "/v1/subscriptions/{name}:test", "pay", "", "", "", 200},
		{"POST", "/v1/subscriptions/{name}:test", "absent", "", "", "", 404},
		{"POST", "/v1/subscriptions/{name}:replay", "pay", "", `{"from":"2026-01-31T09:30:00Z","to":"2026-02-01T00:00:00Z","filter":{"type":"t"},"evenIfSeen":true,"rate":50}`, "", 201},
		{"POST", "/v1/subscriptions/{name}:replay", "pay", "", `{}`, "", 400},
		{"POST", "/v1/subscriptions/{name}:pull", "pay", "", "", "", 200},
		{"POST", "/v1/subscriptions/{name}:pull", "pay", "", `{"max":10,"wait":"5s","visibility":"1m"}`, "", 200},
		{"POST", "/v1/subscriptions/{name}:pull", "pay", "", `{"max":1001}`, "", 400},
		{"POST", "/v1/subscriptions/{name}:pull", "absent", "", "", "", 404},
		{"POST", "/v1/subscriptions/{name}:ack", "pay", "", `{"leases":["a"]}`, "", 200},
		{"POST", "/v1/subscriptions/{name}:ack", "pay", "", `{"leases":[]}`, "", 400},
		{"POST", "/v1/subscriptions/{name}:nack", "pay", "", `{"leases":["a"],"delay":"5s"}`, "", 200},
		{"POST", "/v1/subscriptions/{name}:extend", "pay", "", `{"leases":["a"],"visibility":"5m"}`, "", 200},
		{"GET", "/v1/subscriptions/{name}/deliveries", "pay", "event=1&state=dead&since=2026-01-31T09:30:00Z", "", "", 200},
		{"GET", "/v1/subscriptions/{name}/deliveries", "pay", "state=lost", "", "", 400},
		{"GET", "/v1/subscriptions/{name}/deliveries", "absent", "", "", "", 404},
		{"GET", "/v1/subscriptions/{name}/dead-letters", "pay", "", "", "", 200},
		{"GET", "/v1/subscriptions/{name}/dead-letters/{id}", "pay", "", "", "", 200},
		{"POST", "/v1/subscriptions/{name}/dead-letters:redrive", "pay", "", `{"all":true}`, "", 200},
		{"POST", "/v1/subscriptions/{name}/dead-letters:redrive", "pay", "", `{"filter":{"type":"t"},"reason":"exhausted","since":"2026-01-31T09:30:00Z","until":"2026-02-01T09:30:00Z","rate":5,"dryRun":true}`, "", 200},
		{"POST", "/v1/subscriptions/{name}/dead-letters:discard", "pay", "", `{"ids":["1"]}`, "", 200},
		{"DELETE", "/v1/subscriptions/{name}", "pay", "", "", "", 204},
		{"GET", "/v1/operations/{id}", "op", "", "", "", 200},
		{"DELETE", "/v1/operations/{id}", "op", "", "", "", 200},
		{"GET", "/v1/flows", "", "key=k&type=t&state=failed&since=2026-01-31T09:30:00Z", "", "", 200},
		{"GET", "/v1/flows", "", "since=yesterday", "", "", 400},
		{"GET", "/v1/flows", "", "trace=00000000000000000000000000000001", "", "", 404},
		{"GET", "/v1/flows/{id}", "", "", "", "", 200},
		{"GET", "/v1/explain", "", "event=1&source=a", "", "", 200},
		{"GET", "/v1/explain", "", "position=a", "", "", 400},
		{"GET", "/v1/status", "", "", "", "", 200},
		{"GET", "/v1/config", "", "", "", "", 200},
		{"POST", "/v1/config:reload", "", "", "", "", 409},
		{"GET", "/v1/openapi.json", "", "", "", "", 200},
		{"GET", "/metrics", "", "", "", "", 200},
		{"GET", "/livez", "", "", "", "", 200},
		{"GET", "/v1/client.js", "", "", "", "", 200},
		{"GET", "/readyz", "", "", "", "", 200},
		{"DELETE", "/v1/topics/{topic}", "orders", "", "", "", 204},
	} {
		name := fmt.Sprint(c.method, " ", c.path, " ", c.status)
		target := regexp.MustCompile(`\{(name|topic)\}`).ReplaceAllString(c.path, c.arg)
		target = strings.ReplaceAll(target, "{id}", "7")
		if c.query != "" {
			target += "?" + c.query
		}
		r := httptest.NewRequest(c.method, target, strings.NewReader(c.body))
		r.Host = "localhost"
		if c.contentType != "" {
			r.Header.Set("Content-Type", c.contentType)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		res := w.Result()
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != c.status {
			t.Errorf("%s: status %d: %s", name, res.StatusCode, body)
			continue
		}
		if c.status < 300 {
			succeeded[c.method+" "+c.path] = true
		}
		place := []string{"paths", c.path, strings.ToLower(c.method), "responses", fmt.Sprint(c.status)}
		answer, _ := d.at(place...).(map[string]any)
		if answer == nil {
			t.Errorf("%s is not in the document", name)
			continue
		}
		if ref, ok := answer["$ref"].(string); ok {
			place = strings.Split(strings.TrimPrefix(ref, "#/"), "/")
			answer = d.at(place...).(map[string]any)
		}
		for header := range res.Header {
			known := []string{"Content-Type", "Content-Length", "Cache-Control", "X-Content-Type-Options", "Vary", "X-Accel-Buffering", "Allow"}
			if named, _ := answer["headers"].(map[string]any); named[header] == nil && named[http.CanonicalHeaderKey(header)] == nil && !slices.Contains(known, header) && header != "Etag" {
				t.Errorf("%s: the document does not name the header %s", name, header)
			}
		}
		contents, _ := answer["content"].(map[string]any)
		if len(body) == 0 {
			continue
		}
		media, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
		if contents[media] == nil {
			t.Errorf("%s: the document has no content %q", name, media)
			continue
		}
		switch media {
		case "application/json", tandem.MediaProblem:
			if err := s.check(body, append(place, "content", media, "schema")...); err != nil {
				t.Errorf("%s: %v\n%s", name, err, body)
			}
		case tandem.MediaNDJSON:
			for line := range strings.Lines(string(body)) {
				receipt, problem := s.check([]byte(line), "components", "schemas", "Receipt"), s.check([]byte(line), "components", "schemas", "Problem")
				if receipt != nil && problem != nil {
					t.Errorf("%s: %v\n%s", name, receipt, line)
				}
			}
		}
		// What is sent follows the document as well, where it was taken.
		if c.body != "" && c.status < 300 && c.contentType != tandem.MediaNDJSON {
			media := c.contentType
			if media == "" {
				media = "application/json"
			}
			if err := s.check([]byte(c.body), "paths", c.path, strings.ToLower(c.method), "requestBody", "content", media, "schema"); err != nil {
				t.Errorf("%s, request: %v", name, err)
			}
		}
	}
	for _, r := range routes {
		if !succeeded[r.method+" "+r.path] {
			t.Errorf("%s %s was not tried", r.method, r.path)
		}
	}
}

// TestDocumentedResults: the example of docs/delivery.md is an answer to a batch.
func TestDocumentedResults(t *testing.T) {
	s := newSchemas(t, loadDocument(t))
	page, err := os.ReadFile("../../docs/delivery.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```json\n")
	example, _, ok := strings.Cut(example, "```")
	if !ok {
		t.Fatal("docs/delivery.md has no example")
	}
	if err := s.check([]byte(example), "components", "schemas", "BatchResults"); err != nil {
		t.Error(err)
	}
}

// TestDocumentedPresence: the example of docs/streams.md is an answer to who is connected.
func TestDocumentedPresence(t *testing.T) {
	s := newSchemas(t, loadDocument(t))
	page, err := os.ReadFile("../../docs/streams.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```json\n{\"open\"")
	example, _, ok := strings.Cut(example, "```")
	if !ok {
		t.Fatal("docs/streams.md has no example")
	}
	if err := s.check([]byte(`{"open"`+example), "components", "schemas", "StreamPresence"); err != nil {
		t.Error(err)
	}
}
