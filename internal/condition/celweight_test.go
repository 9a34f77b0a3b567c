package condition

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

func jsonEvent(data string) *tandem.Event {
	return &tandem.Event{ID: "1", Source: "/s", Type: "t", DataContentType: "application/json", Data: []byte(data), Encoding: tandem.DataJSON}
}

// Each of these ran for seconds up to for ever when operators were not paid for before they ran: by data, or by the text alone.
func TestCostOfOneOperator(t *testing.T) {
	numbers := strings.TrimSuffix(strings.Repeat("1,", 100), ",")
	nested := strings.TrimSuffix(strings.Repeat("[1,[2]],", 60_000), ",")
	large := jsonEvent(`{"l":[` + numbers + `],"d":[[` + nested + `]],"s":"` + strings.Repeat("ab", 200_000) + `"}`)
	twice := func(n int, what, tail string) string { return "[[1, 1]]" + strings.Repeat(what, n) + tail }
	for name, text := range map[string]string{
		"lists in lists are compared":        "data.l.all(x, data.d == data.d)",
		"lists in lists are looked for":      "data.l.all(x, data.d in [data.d])",
		"a list that grew is looked through": twice(40, ".map(x, x + x)", ".exists(x, 5 in x)"),
		"lists that grew are compared":       twice(40, ".map(x, x + x)", ".exists(x, x != x)"),
		"a list of itself is compared":       twice(40, ".map(x, [x, x])", ".exists(x, x != x)"),
		"a map of itself is compared":        twice(40, ".map(x, {'a': x, 'b': x})", ".exists(x, x != x)"),
		"a regular expression":               `data.s.matches("(a|b|ab){1,100}c")`,
		"a regular expression of its own":    `matches(data.s, "(a|b|ab){1,100}c")`,
		"text as a number":                   "data.l.all(x, data.l.all(y, int(data.s) == 1 || true))",
		"text as a time":                     "data.l.all(x, data.l.all(y, timestamp(data.s) == timestamp(data.s) || true))",
		"time zones":                         `data.l.all(x, data.l.all(y, timestamp("2020-01-01T00:00:00Z").getHours("Europe/No" + string(x)) > 0 || true))`,
	} {
		t.Run(name, func(t *testing.T) {
			cond, err := New(Options{Logger: slog.New(slog.DiscardHandler)}).Compile("cel", text)
			if err != nil {
				t.Fatal(err)
			}
			if cond.Match(large) {
				t.Error("it matches")
			}
			if !cond.(*celCondition).warned.Load() {
				t.Error("the cost is within the limit")
			}
		})
	}
}

// What is paid for in advance means the same, and stays within the limit for what people write.
func TestWeighedArguments(t *testing.T) {
	c := New(Options{Logger: slog.New(slog.DiscardHandler)})
	e := jsonEvent(`{"name":"type","n":2,"text":"12","a":{"b":[1,{"c":"x"}]},"list":[` + strings.TrimSuffix(strings.Repeat(`"abcdefgh",`, 10_000), ",") +
		`],"long":"` + strings.Repeat("a", 100_000) + `b"}`)
	for text, want := range map[string]bool{
		`event[data.name] == "t"`:                                   true,
		`event[data.name] != "t"`:                                   false,
		`data.a.b[data.n - 1.0 == 1.0 ? 1 : 0].c == "x"`:            true,
		`data.a == {"b": [1.0, {"c": "x"}]}`:                        true,
		`data.a.b == [1, 2]`:                                        false,
		`data.text in ["11", "12"] && !(data.text in ["13"])`:       true,
		`"abcdefgh" in data.list && !("x" in data.list)`:            true,
		`int(data.text) == 12 && string(data.n) == "2"`:             true,
		`data.long.matches("^a+b$") && matches(data.text, "^1")`:    true,
		`event == event && size(event) > 3 && !("none" in event)`:   true,
		`timestamp("2020-06-01T00:00:00Z").getHours("+02:00") == 2`: true,
		`data.list.exists_one(x, x == "y")`:                         false,
	} {
		cond, err := c.Compile("cel", text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := cond.Match(e); got != want {
			t.Errorf("%s: %v", text, got)
		}
		if cond.(*celCondition).warned.Load() {
			t.Errorf("%s costs too much", text)
		}
	}
}
