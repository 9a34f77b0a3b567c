package tandem_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tandem-hybrid/tandem"
)

func readLines(r io.Reader, limit int) (out []string) {
	lr := tandem.NewLineReader(r, limit)
	for {
		line, n, err := lr.Next()
		switch {
		case err == nil:
			out = append(out, fmt.Sprintf("%d %s", n, line))
		case tandem.CodeOf(err) == tandem.CodeTooLarge:
			out = append(out, fmt.Sprintf("%d too long", n))
		default:
			return append(out, err.Error())
		}
	}
}

func TestLineReader(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	for name, c := range map[string]struct {
		in    string
		limit int
		want  []string
	}{
		"empty":               {"", 0, []string{"EOF"}},
		"last without end":    {"a\nb", 0, []string{"1 a", "2 b", "EOF"}},
		"blank lines":         {"\n \t\r\na\r\n\n\nb\n\n", 0, []string{"3 a", "6 b", "EOF"}},
		"at the limit":        {"abc\nabc\r\nabc", 3, []string{"1 abc", "2 abc", "3 abc", "EOF"}},
		"over the limit":      {"abcd\nabc\nabcd\r\nabcde\r\nab\nabcd", 3, []string{"1 too long", "2 abc", "3 too long", "4 too long", "5 ab", "6 too long", "EOF"}},
		"far over the limit":  {"a\n" + long + "\nb\n" + long, 100, []string{"1 a", "2 too long", "3 b", "4 too long", "EOF"}},
		"longer than a block": {long + "\na", 0, []string{"1 " + long, "2 a", "EOF"}},
	} {
		for kind, r := range map[string]io.Reader{
			"": strings.NewReader(c.in), ", one byte": iotest.OneByteReader(strings.NewReader(c.in)),
			", data with EOF": iotest.DataErrReader(strings.NewReader(c.in)),
		} {
			if got := readLines(r, c.limit); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%s%s: got %.200q", name, kind, got)
			}
		}
	}
	broken := io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(errors.New("broken")))
	if got := fmt.Sprint(readLines(broken, 0)); got != "[1 a broken]" {
		t.Errorf("a cut line was taken as whole: %s", got)
	}
	if got := readLines(stuck{}, 0); got[0] != io.ErrNoProgress.Error() {
		t.Errorf("got %v", got)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestLineReaderKeepsLines(t *testing.T) {
	var in strings.Builder
	for i := range 30000 {
		fmt.Fprintf(&in, "line %d\n", i)
	}
	lr := tandem.NewLineReader(strings.NewReader(in.String()), 0)
	var lines [][]byte
	for {
		line, _, err := lr.Next()
		if err == io.EOF {
			break
		}
		lines = append(lines, line)
		_ = append(line, "overwritten"...)
	}
	for i, l := range lines {
		if string(l) != fmt.Sprintf("line %d", i) {
			t.Fatalf("line %d became %q", i, l)
		}
	}
	if len(lines) != 30000 {
		t.Errorf("%d lines", len(lines))
	}
}

func TestParseNDJSONLine(t *testing.T) {
	plain := tandem.Event{Source: "/default", Type: "d"}
	e, err := tandem.ParseNDJSONLine([]byte(with(`"data":1`)), &plain)
	if err != nil || e.ID != "1" || e.Source != "/s" {
		t.Errorf("got %+v, %v", e, err)
	}
	for _, in := range []string{`{"a": 1}`, `[1]`, `"specversion"`, `{"a":{"specversion":"1.0"}}`, ` 5 `} {
		e, err = tandem.ParseNDJSONLine([]byte(in), &plain)
		if err != nil || e.Source != "/default" || e.ID != "" || string(e.Data) != strings.TrimSpace(in) || e.Encoding != tandem.DataJSON {
			t.Errorf("%s: got %+v, %v", in, e, err)
		}
	}
	if plain.Data != nil {
		t.Error("the default event was changed")
	}
	for _, in := range []string{``, `{`, `{"a":1}{"a":2}`, "\"\xff\"", `{"specversion":"1.0"}`, `{"specversion":`, `{"a":1,"specversion":2}`} {
		if _, err = tandem.ParseNDJSONLine([]byte(in), &plain); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%s: %v", in, err)
		}
	}
}
