package percent

import "testing"

func TestPercent(t *testing.T) {
	for plain, coded := range map[string]string{"": "", "a/b": "a/b", "Euro € 😀": "Euro%20%E2%82%AC%20%F0%9F%98%80", `"%`: "%22%25", "\r\n\x00\x7f": "%0D%0A%00%7F"} {
		if got := Encode(plain); got != coded {
			t.Errorf("%q is encoded as %q, want %q", plain, got, coded)
		}
		if got := Decode(coded); got != plain {
			t.Errorf("%q is decoded as %q, want %q", coded, got, plain)
		}
	}
	for coded, plain := range map[string]string{`"a b"`: "a b", `"a \"b\" \\"`: `a "b" \`, `"`: `"`, "%e2%82%ac": "€", "100%": "100%", "%zz%4": "%zz%4", "%2525": "%25"} {
		if got := Decode(coded); got != plain {
			t.Errorf("%q is decoded as %q, want %q", coded, got, plain)
		}
	}
}
