package own

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// request is one line of a file of requests, such as
//
//	{"method": "POST", "path": "/orders", "headers": {"Authorization": "Bearer …"}, "body": {"reference": "{{seq}}", "id": "{{uuid}}"}}
//
// The body is a JSON value, or a string that is sent as it is. In path, headers and body these are replaced:
// {{seq}} the number of the attempt, from 0; {{uuid}} a random UUID, another one at each place; {{unit}} the id of the attempt,
// the same at each place; {{now}} the time, in RFC 3339.
type request struct {
	method  string
	path    string
	headers map[string]string
	body    string
}

// maxLine is the longest line of a file of requests, in bytes.
const maxLine = 16 << 20

// readRequests reads a file of requests. Codes: NotFound, Invalid with the line.
func readRequests(path string) ([]request, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &tandem.Error{Code: tandem.CodeNotFound, Op: "read requests", Err: err}
	}
	defer f.Close()
	var list []request
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		r, err := parseRequest(lines.Bytes())
		if err != nil {
			return nil, tandem.Errorf(tandem.CodeInvalid, "%s:%d: %w", path, n, err)
		}
		list = append(list, r)
	}
	if err := lines.Err(); err != nil {
		return nil, tandem.Errorf(tandem.CodeInvalid, "%s: %w", path, err)
	}
	if len(list) == 0 {
		return nil, tandem.Errorf(tandem.CodeInvalid, "%s: there are no requests", path)
	}
	return list, nil
}

func parseRequest(line []byte) (r request, err error) {
	var in struct {
		Method  string            `json:"method"`
		Path    string            `json:"path"`
		Headers map[string]string `json:"headers"`
		Body    json.RawMessage   `json:"body"`
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return r, err
	}
	r = request{method: in.Method, path: in.Path, headers: in.Headers, body: string(in.Body)}
	if r.method == "" {
		r.method = http.MethodPost
	}
	if !strings.HasPrefix(r.path, "/") {
		return r, fmt.Errorf("path %q does not begin with /: it is sent to the public listener of this run", r.path)
	}
	var text string
	switch {
	case r.body == "null":
		r.body = ""
	case json.Unmarshal(in.Body, &text) == nil:
		r.body = text
	case r.body != "" && r.header("Content-Type") == "":
		r.headers = map[string]string{"Content-Type": "application/json"}
		for name, value := range in.Headers {
			r.headers[name] = value
		}
	}
	for _, s := range append([]string{r.path, r.body}, values(r.headers)...) {
		if _, rest, ok := strings.Cut(replace(s, 0, "", time.Time{}), "{{"); ok {
			name, _, _ := strings.Cut(rest, "}}")
			return r, fmt.Errorf("{{%.20s}} is not seq, uuid, unit or now", name)
		}
	}
	return r, nil
}

func (r request) header(name string) string {
	for n, v := range r.headers {
		if strings.EqualFold(n, name) {
			return v
		}
	}
	return ""
}

func values(m map[string]string) (list []string) {
	for _, v := range m {
		list = append(list, v)
	}
	return list
}

// make fills in a request for one attempt.
func (r request) make(ctx context.Context, base string, seq int, unit string) (*http.Request, error) {
	now := time.Now()
	req, err := http.NewRequestWithContext(ctx, r.method, base+replace(r.path, seq, unit, now), strings.NewReader(replace(r.body, seq, unit, now)))
	if err != nil {
		return nil, err
	}
	for name, value := range r.headers {
		req.Header.Set(name, replace(value, seq, unit, now))
	}
	return req, nil
}

// replace puts values in the place of templates. What is no template stays.
func replace(s string, seq int, unit string, now time.Time) string {
	if !strings.Contains(s, "{{") {
		return s
	}
	s = strings.NewReplacer("{{seq}}", strconv.Itoa(seq), "{{unit}}", unit, "{{now}}", now.UTC().Format(time.RFC3339Nano)).Replace(s)
	for strings.Contains(s, "{{uuid}}") {
		s = strings.Replace(s, "{{uuid}}", uuid(), 1)
	}
	return s
}

// uuid is a random UUID, version 4 (RFC 9562, section 5.4).
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it does not fail
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
