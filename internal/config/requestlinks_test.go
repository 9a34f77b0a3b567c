package config

import (
	"strings"
	"testing"
)

func TestLongChainsAreWarnedOf(t *testing.T) {
	link := func(name, topic, replies string) string {
		return name + ": {topics: [" + topic + "], url: \"http://c\", mode: request, replies: " + replies + "}\n  "
	}
	file := "topics: {a: {}, b: {}, c: {}}\nsubscriptions:\n  " + link("one", "a", "b") + link("two", "b", "b") + link("three", "b", "c")
	for _, c := range []struct{ more, want string }{
		{"", ""},
		{link("four", "c", "c"), `topics.a: a publish may call 4 request links, one after another (one, two, three, four)`},
		{strings.Replace(link("four", "c", "c"), "mode: request", "mode: event", 1), ""},
	} {
		_, warnings, err := Parse("t.yaml", []byte(file+c.more))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range warnings {
			got = append(got, w.String())
		}
		if all := strings.Join(got, "\n"); (c.want == "") != (all == "") || !strings.Contains(all, c.want) {
			t.Errorf("warned of %q, want %q", all, c.want)
		}
	}
}
