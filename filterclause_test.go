package tandem_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

// TestClause: the first part that is false is told, with what it looked at.
func TestClause(t *testing.T) {
	e := &tandem.Event{ID: "1", Source: "/orders", Type: "order.placed", Subject: "7", Meta: tandem.Meta{Hops: 2, Causes: []string{"a", "b"}},
		Extensions: []tandem.Extension{{Name: "tenant", Value: "north"}, {Name: "apitoken", Value: "hush"}, {Name: "trail", Value: "q7w8e9r0t1y2u3i4o5p6"},
			{Name: "uuid", Value: "0192f0c1-7b1e-7c3a-9e57-2f0d7c1b8a44"}, {Name: "long", Value: strings.Repeat("ä ", 100)}}}
	for filter, want := range map[string]string{
		`{"type":"order.placed"}`: "",
		`{}`:                      "",
		`{"type":"order.paid"}`:   `{"exact":{"type":"order.paid"}} type is "order.placed"`,
		`[{"type":"order.placed"},{"prefix":{"subject":"8"}},{"suffix":{"tenant":"x"}}]`:        `{"prefix":{"subject":"8"}} subject is "7"`,
		`{"all":[{"all":[{"type":"order.placed"},{"exact":{"color":"red"}}]},{"subject":"8"}]}`: `{"exact":{"color":"red"}} color is not there`,
		`{"any":[{"type":"a"},{"type":"b"},{"subject":"8"}]}`:                                   `{"any":[{"exact":{"type":"a"}},{"exact":{"type":"b"}},{"exact":{"subject":"8"}}]} type is "order.placed" subject is "7"`,
		`{"not":{"tenant":"north"}}`:    `{"not":{"exact":{"tenant":"north"}}} tenant is "north"`,
		`{"tandemhops":3}`:              `{"exact":{"tandemhops":"3"}} tandemhops is "2"`,
		`{"tandemcause":"c"}`:           `{"exact":{"tandemcause":"c"}} tandemcause is "a b"`,
		`{"apitoken":"x"}`:              `{"exact":{"apitoken":"x"}} apitoken is not shown`,
		`{"trail":"x"}`:                 `{"exact":{"trail":"x"}} trail is not shown`,
		`{"uuid":"x"}`:                  `{"exact":{"uuid":"x"}} uuid is "0192f0c1-7b1e-7c3a-9e57-2f0d7c1b8a44"`,
		`{"long":"x"}`:                  `{"exact":{"long":"x"}} long is "` + strings.Repeat("ä ", 20) + `…"`,
		`{"type":"x","sql":"type = 1"}`: `{"all":[{"sql":"type = 1"},{"exact":{"type":"x"}}]} a condition in it cannot be compiled any more`,
	} {
		f, err := tandem.ParseFilter([]byte(filter))
		if err != nil {
			t.Fatal(err)
		}
		if got := clauseText(f.Clause(e)); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", filter, got, want)
		}
	}
	many := `{"any":[`
	for i := range 40 {
		many += fmt.Sprintf(`{"attribute%d":"%s"},`, i, strings.Repeat("x", 20))
	}
	f, err := tandem.ParseFilter([]byte(strings.TrimSuffix(many, ",") + "]}"))
	if err != nil {
		t.Fatal(err)
	}
	if c := f.Clause(e); len(c.Saw) != 8 || len(c.Text) > 300 || !strings.HasSuffix(c.Text, "…") {
		t.Errorf("%d bytes, %d values", len(c.Text), len(c.Saw))
	}
}

func clauseText(c *tandem.FilterClause) string {
	if c == nil {
		return ""
	}
	text := strings.TrimSpace(c.Dialect + " " + c.Text)
	for _, v := range c.Saw {
		text += " " + v.String()
	}
	if c.Fault != "" {
		text += " " + c.Fault
	}
	return text
}
