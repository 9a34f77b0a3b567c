package webhook

import (
	"slices"
	"testing"
)

func TestHide(t *testing.T) {
	for _, c := range []struct {
		text    string
		secrets []string
		want    string
	}{
		{"a pass and a password", []string{"pass", "password"}, "a [masked] and a [masked]"},
		{"x", slices.Repeat([]string{"x", "m", "a", "s", "k", "e", "d"}, 8), "[masked]"}, // masks are not masked again
		{"text", []string{""}, "text"},
		{"text", nil, "text"},
	} {
		if got := hide([]byte(c.text), c.secrets, 100); got != c.want {
			t.Errorf("%q: %q", c.text, got)
		}
	}
}
