package tandem_test

import (
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

func TestParseBatchJSON(t *testing.T) {
	in := " [" + with(`"x":1,"data":[1]`) + " ,\n" + with(`"y":"2"`) + "] "
	events, err := tandem.ParseBatchJSON([]byte(in))
	if err != nil || len(events) != 2 {
		t.Fatal(events, err)
	}
	want := "[" + with(`"x":1,"data":[1]`) + "," + with(`"y":"2"`) + "]"
	if got := string(tandem.AppendBatchJSON(nil, events)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if events, err := tandem.ParseBatchJSON([]byte("[]")); len(events) != 0 || err != nil {
		t.Errorf("empty batch: %v, %v", events, err)
	}
	// Nothing of an event may leak into the next.
	many := with(`"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"tandemhops":3,"data":1`)
	other := with(`"a":2,"b":2,"c":2,"d":2,"e":2,"f":2,"g":2,"h":2,"j":2`)
	events, err = tandem.ParseBatchJSON([]byte("[" + many + "," + with("") + "," + other + "]"))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(tandem.AppendEventJSON(nil, &events[1])); got != with("") {
		t.Errorf("got %s", got)
	}
	if got := string(tandem.AppendEventJSON(nil, &events[2])); got != other {
		t.Errorf("got %s", got)
	}
}

func TestParseBatchJSONRefuses(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{}`, "expected an array"},
		{`[` + with("") + `,]`, "expected an object"},
		{`[` + with("") + ` x`, "expected a comma or a closing bracket"},
		{`[` + with(""), "unexpected end"},
		{`[]x`, "text after the value"},
		{`[` + with("") + `,` + with(`"subject":1,"time":"x"`) + `]`, "/1/time must be an RFC 3339 time such as 2026-01-31T09:30:00Z"},
		{`[` + with("") + `,` + with(`"subject":1,"time":"x"`) + `]`, "/1/subject must be a string"},
	} {
		_, err := tandem.ParseBatchJSON([]byte(c.in))
		if err == nil || !strings.Contains(err.Error(), c.want) || tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%s:\n got %v\nwant %s", c.in, err, c.want)
		}
	}
}
