package tandem_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tandem-hybrid/tandem"
)

// FuzzParseEventJSON holds the parser to encoding/json and to its own writer.
func FuzzParseEventJSON(f *testing.F) {
	for _, s := range []string{string(benchEvent), with(`"data_base64":"AP8=","x":-1,"y":true,"z":null`),
		with(`"subject":"\ud83d\ude00\u00e9","tandemcause":"a b","tandemhops":3,"datacontenttype":"text/plain","data":"a\nb"`), `{"id":1}`, `[{}]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := tandem.ParseEventJSON(in)
		malformed := err != nil && strings.HasPrefix(err.Error(), "malformed JSON")
		if valid := json.Valid(in) && utf8.Valid(in); malformed == valid && !tooDeep(in) && (!valid || bytes.HasPrefix(bytes.TrimSpace(in), []byte("{"))) {
			t.Fatalf("valid JSON: %v, but %v", valid, err)
		}
		if batch, batchErr := tandem.ParseBatchJSON(append(append([]byte("["), in...), ']')); err == nil && (batchErr != nil || !reflect.DeepEqual(batch[0], e)) {
			t.Fatalf("in a batch: %v", batchErr)
		}
		if err != nil {
			if tandem.CodeOf(err) != tandem.CodeInvalid || !utf8.ValidString(err.Error()) {
				t.Fatalf("%q", err)
			}
			return
		}
		// Every name and value is what encoding/json makes of it.
		var std map[string]any
		if err := json.Unmarshal(in, &std); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"id", "source", "type", "subject", "time", "datacontenttype", "dataschema", tandem.AttrFlow, tandem.AttrOperation} {
			want, _ := std[name].(string)
			if got, _ := e.Attribute(name); got != want {
				t.Fatalf("%s: got %q, want %q", name, got, want)
			}
		}
		for _, x := range e.Extensions {
			if want, ok := std[x.Name].(string); ok && want != x.Value {
				t.Fatalf("%s: got %q, want %q", x.Name, x.Value, want)
			}
		}
		checked := e
		if err := tandem.CheckEvent(&checked); err != nil || !reflect.DeepEqual(checked, e) {
			t.Fatalf("CheckEvent of a parsed event: %v", err)
		}
		out := tandem.AppendEventJSON(nil, &e)
		again, err := tandem.ParseEventJSON(out)
		if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if !bytes.Equal(again.Data, e.Data) || again.Encoding != e.Encoding {
			t.Fatalf("data became %q", again.Data)
		}
		if twice := tandem.AppendEventJSON(nil, &again); !bytes.Equal(out, twice) {
			t.Fatalf("written as %s and then as %s", out, twice)
		}
	})
}

// tooDeep tells of input that only the limit on nesting, which encoding/json has at another depth, refuses.
func tooDeep(in []byte) bool {
	return bytes.Count(in, []byte("["))+bytes.Count(in, []byte("{")) > 1000
}

// FuzzParseBinaryHTTP looks at two headers, so that they can repeat each other.
func FuzzParseBinaryHTTP(f *testing.F) {
	f.Add("ce-subject", "Euro%20%e2%82%AC", "ce-x", `"a \"b"`, "text/plain", []byte("x"))
	f.Add("Ce-Time", "2026-01-31T09:30:00Z", "ce-time", "", "application/json", []byte(`{"a":1}`))
	f.Add("ce-tandemhops", "3", "ce-tandemcause", "a%20b", "", []byte(nil))
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2, contentType string, body []byte) {
		h := required("content-type", contentType)
		if contentType == "" {
			h.Del("content-type")
		}
		h[k1] = append(h[k1], v1)
		h[k2] = append(h[k2], v2)
		e, err := tandem.ParseBinaryHTTP(h, body)
		if err != nil {
			if tandem.CodeOf(err) != tandem.CodeInvalid || len(err.(*tandem.Error).Fields) == 0 {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(e.Data, body) {
			t.Fatalf("data became %q", e.Data)
		}
		out := http.Header{}
		e.WriteBinaryHeader(out)
		again, err := tandem.ParseBinaryHTTP(out, e.Data)
		if err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		if e.DataContentType == "" {
			e.DataContentType = again.DataContentType
		}
		if !reflect.DeepEqual(again, e) {
			t.Fatalf("%+v became %+v", e, again)
		}
		if _, err := tandem.ParseEventJSON(tandem.AppendEventJSON(nil, &e)); err != nil {
			t.Fatalf("in JSON: %v", err)
		}
	})
}

// FuzzFilter checks that what is written is read back, and that the index may trust Exact.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{`{"type":"order.placed","not":{"subject":"x"}}`, `{"any":[{"exact":{"type":"a","id":"1"}},{"prefix":{"type":"order"}}]}`,
		`[{"suffix":{"source":"p"}},{"priority":5}]`, `{"subject":"{id}"}`, `{}`,
		`{"cel":"data.x > 1"}`, `{"not":{"sql":"type = '{id}'"}}`} {
		f.Add([]byte(s), "order.placed")
	}
	f.Fuzz(func(t *testing.T, in []byte, typ string) {
		filter, err := tandem.ParseFilter(in)
		if err != nil {
			if tandem.CodeOf(err) != tandem.CodeInvalid {
				t.Fatal(err)
			}
			return
		}
		text := filter.String()
		again, err := tandem.ParseFilter([]byte(text))
		if err != nil || again.String() != text {
			t.Fatalf("%s became %s: %v", text, again, err)
		}
		e := filterEvent()
		e.Type = typ
		filter, err = filter.Bind(fakeCompile)
		if err != nil {
			t.Fatal(err)
		}
		if again, err = again.Bind(fakeCompile); err != nil {
			t.Fatal(err)
		}
		matches := filter.Match(e)
		if again.Match(e) != matches {
			t.Fatalf("%s matches differently when read back", text)
		}
		for _, b := range filter.Bounds() {
			if value, ok := e.Attribute(b.Attribute); matches && !(ok && within(b, value)) {
				t.Fatalf("%s matches, but %q is not within %+v", text, value, b)
			}
		}
		filter.Expand(func(name string) (string, bool) { return name, true })
	})
}

// FuzzLineReader holds the reader to strings.Split.
func FuzzLineReader(f *testing.F) {
	f.Add("a\n\nb\r\n", 3)
	f.Add("abcdefgh\nab", 4)
	f.Fuzz(func(t *testing.T, in string, limit int) {
		if limit < 1 || limit > 100 {
			return
		}
		var want []string
		for i, l := range strings.Split(in, "\n") {
			l = strings.TrimSuffix(l, "\r")
			n := strconv.Itoa(i + 1)
			if len(l) > limit {
				want = append(want, n+" too long")
			} else if l = string(bytes.TrimSpace([]byte(l))); l != "" {
				want = append(want, n+" "+l)
			}
		}
		got := readLines(strings.NewReader(in), limit)
		if strings.Join(got, "|") != strings.Join(append(want, "EOF"), "|") {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}
