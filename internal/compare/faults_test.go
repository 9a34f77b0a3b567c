package compare

import (
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

func TestParseFault(t *testing.T) {
	for s, want := range map[string]FaultPlan{
		"payments:down":             {Process: "payments", Down: true},
		"payments:down@10s+5s":      {Process: "payments", Down: true, At: 10 * time.Second, For: 5 * time.Second},
		"payments:slow=500ms@0s+1m": {Process: "payments", Slow: 500 * time.Millisecond, For: time.Minute},
		"payments:error=30%":        {Process: "payments", Error: 0.3},
		"payments:error=0.5%":       {Process: "payments", Error: 0.005},
		"tandem:down":               {Process: Tandem, Down: true},
	} {
		got, err := ParseFault(s)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", s, got, err)
			continue
		}
		if again, err := ParseFault(got.String()); err != nil || again != got {
			t.Errorf("%s is written %s: %v", s, got, err)
		}
	}
	for s, why := range map[string]string{
		"payments": "PROCESS:KIND", ":down": "PROCESS:KIND", "payments:up": "kinds", "payments:down=1": "kinds",
		"payments:slow": "duration", "payments:slow=-1s": "duration", "payments:error=30": "percentage", "payments:error=0%": "percentage",
		"payments:error=101%": "percentage", "payments:error=NaN%": "percentage", "payments:down@10s": "AT+FOR", "payments:down@10s+0s": "AT+FOR",
		"payments:down@-1s+1s": "AT+FOR", "tandem:slow=1s": "only be down", "broker:down": "no broker",
	} {
		if _, err := ParseFault(s); tandem.CodeOf(err) != tandem.CodeInvalid || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", s, err, why)
		}
	}
	if f := (FaultPlan{Down: true}).In(30 * time.Second); f.At != 10*time.Second || f.For != 10*time.Second {
		t.Errorf("without times: %+v of 30s", f)
	}
}

func TestRestyle(t *testing.T) {
	const file = `subscriptions:
  a: {topics: [t], service: x} # kept
  b: {topics: [t], url: "http://h/", mode: event}
  c: {topics: [t], pull: {}}
`
	got, err := Restyle([]byte(file), Request)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(got), "mode: request"); n != 2 || strings.Contains(string(got), "mode: event") || !strings.Contains(string(got), "# kept") {
		t.Errorf("%s", got)
	}
	if got, err = Restyle([]byte(file), Request, "a"); err != nil || strings.Count(string(got), "mode: request") != 1 {
		t.Errorf("a alone: %v\n%s", err, got)
	}
	for name, names := range map[string][]string{"unknown": {"d"}} {
		if _, err := Restyle([]byte(file), Request, names...); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, file := range []string{"", "a: b", "subscriptions: {c: {pull: {}}}", "\t:"} {
		if _, err := Restyle([]byte(file), Request); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%q: %v", file, err)
		}
	}
}
