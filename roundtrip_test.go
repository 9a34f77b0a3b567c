package tandem_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tandem-hybrid/tandem"
)

// attributeText draws what CloudEvents allows in an attribute.
func attributeText(minimum int) *rapid.Generator[string] {
	r := rapid.OneOf(rapid.RuneFrom([]rune(` "%\/<é€😀~{}`)), rapid.RuneFrom(nil, unicode.Latin, unicode.Han),
		rapid.Map(rapid.IntRange(0x21, 0x7e), func(n int) rune { return rune(n) }))
	return rapid.StringOfN(r, minimum, 40, -1)
}

var jsonValues = rapid.SampledFrom([]string{`null`, `0`, `-1.5e+3`, `"a\u00e9b"`, `"käse"`, "{\"a\" : [ 1,\n true ]}", `[]`, `{"a":1,"a":2}`})

func validEvent(t *rapid.T) tandem.Event {
	e := tandem.Event{
		ID: attributeText(1).Draw(t, "id"), Source: attributeText(1).Draw(t, "source"), Type: attributeText(1).Draw(t, "type"),
		Subject: attributeText(0).Draw(t, "subject"), DataSchema: attributeText(0).Draw(t, "dataschema"),
		Time: rapid.SampledFrom([]string{"", "2024-02-29T23:59:59.123456789-12:30"}).Draw(t, "time"),
		Meta: tandem.Meta{Flow: attributeText(0).Draw(t, "flow"), Operation: attributeText(0).Draw(t, "operation"),
			Hops: rapid.IntRange(0, 40).Draw(t, "hops"), TraceState: attributeText(0).Draw(t, "tracestate"),
			Causes: rapid.SliceOfN(rapid.StringMatching(`[A-Za-z0-9_-]{22}`), 0, 3).Draw(t, "causes")},
	}
	for i, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`x[a-z0-9]{0,10}`), 0, 12, rapid.ID).Draw(t, "names") {
		x := tandem.Extension{Name: name, Value: attributeText(0).Draw(t, "value"), Kind: tandem.ExtensionKind(i % 3)}
		switch x.Kind {
		case tandem.ExtensionInteger:
			x.Value = rapid.SampledFrom([]string{"0", "-2147483648", "2147483647"}).Draw(t, "int")
		case tandem.ExtensionBoolean:
			x.Value = "true"
		}
		e.Extensions = append(e.Extensions, x)
	}
	switch rapid.IntRange(0, 3).Draw(t, "kind of data") {
	case 1:
		e.DataContentType = rapid.SampledFrom([]string{"", "application/json", "a/b+json"}).Draw(t, "json type")
		e.Data = []byte(jsonValues.Draw(t, "json"))
	case 2:
		e.DataContentType = "text/plain"
		e.Data = []byte(rapid.String().Draw(t, "text"))
	case 3:
		e.DataContentType = "image/png"
		e.Data = rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
	}
	return e
}

func TestRoundTripJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := validEvent(t)
		if err := tandem.CheckEvent(&e); err != nil {
			t.Fatal(err)
		}
		b := tandem.AppendEventJSON(nil, &e)
		if !json.Valid(b) {
			t.Fatalf("not JSON: %s", b)
		}
		got, err := tandem.ParseEventJSON(b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if diff := cmp.Diff(e, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s: %s", b, diff)
		}
		if !tandem.IsEventJSON(b) {
			t.Fatalf("%s is no event", b)
		}
	})
}

func TestRoundTripHTTP(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := validEvent(t)
		if err := tandem.CheckEvent(&e); err != nil {
			t.Fatal(err)
		}
		h := http.Header{}
		e.WriteBinaryHeader(h)
		for k, v := range h {
			if k != http.CanonicalHeaderKey(k) || len(v) != 1 || strings.ContainsFunc(v[0], func(r rune) bool { return r < ' ' || r >= 0x7f }) {
				t.Fatalf("header %s: %q", k, v)
			}
		}
		got, err := tandem.ParseBinaryHTTP(h, e.Data)
		if err != nil {
			t.Fatalf("%v: %v", h, err)
		}
		// Headers have no kinds and no order, and always name the content type of JSON.
		for i := range e.Extensions {
			e.Extensions[i].Kind = tandem.ExtensionString
		}
		slices.SortFunc(e.Extensions, func(a, b tandem.Extension) int { return strings.Compare(a.Name, b.Name) })
		if len(e.Data) > 0 && e.DataContentType == "" {
			e.DataContentType = "application/json"
		}
		if diff := cmp.Diff(e, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%v: %s", h, diff)
		}
	})
}

// TestJSONValid holds the scanner to encoding/json, which differs in that it takes strings that are not UTF-8.
func TestJSONValid(t *testing.T) {
	piece := rapid.OneOf(rapid.SampledFrom([]string{`{`, `}`, `[`, `]`, `,`, `:`, `"a"`, `"\u00e9"`, `"`, `\`, ` `, "\n", "1", "-", "0", ".5",
		"e+1", "true", "false", "null", "nul", "\x00", "é", "\xff"}), jsonValues)
	rapid.Check(t, func(t *rapid.T) {
		s := strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(t, "pieces"), "")
		if got, want := tandem.JSONValid([]byte(s)), json.Valid([]byte(s)) && utf8.ValidString(s); got != want {
			t.Fatalf("JSONValid(%q) = %v", s, got)
		}
	})
	for depth, want := range map[int]bool{1000: true, 1001: false} {
		s := strings.Repeat("[", depth) + strings.Repeat("]", depth)
		if tandem.JSONValid([]byte(s)) != want {
			t.Errorf("depth %d", depth)
		}
	}
}
