package natslog

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

func TestStreamNames(t *testing.T) {
	n := names("tandem")
	for _, topic := range []string{"orders", "orders.eu-west_1", "a_00000000000000ff_3"} {
		name := n.stream(topic, 0x1234, 7)
		if strings.ContainsAny(name, ".*> /\\") {
			t.Errorf("%q cannot be the name of a stream", name)
		}
		if id, part, ok := n.parseStream(name); !ok || id != driver.ID(0x1234) || part != 7 {
			t.Errorf("%s is read as %x, %d, %v", name, id, part, ok)
		}
	}
	for _, name := range []string{"", "tandem_state", "other_t_0000000000001234_7", "tandem_0000000000001234_7", "tandem_t_1234_7", "tandem_t_000000000000123x_7", "tandem_t_0000000000001234_x"} {
		if _, _, ok := n.parseStream(name); ok {
			t.Errorf("%q is read as a stream of a partition", name)
		}
	}
	if a, b := n.subject("orders", 3), n.subject("orders.3", 0); a != "tandem.events.orders.3" || b != "tandem.events.orders.3.0" {
		t.Error(a, b)
	}
}

func TestStateSubjects(t *testing.T) {
	n := names("tandem")
	seen := map[string]string{}
	for _, key := range []string{"rdelivery/c/ship", "ra", "ra.b", "ra b", "ra=20b", "r\x00\xff*>", "rÄ", "ta.b", "r=", "r/"} {
		subject := n.stateSubject(key)
		if rest := subject[len("tandem.state.r."):]; strings.ContainsAny(rest, ".*> \x00\t") {
			t.Errorf("%q has the subject %q", key, subject)
		}
		if got, ok := n.parseStateSubject(subject); !ok || got != key {
			t.Errorf("%q has the subject %q, which is read as %q", key, subject, got)
		}
		if other, there := seen[subject]; there {
			t.Errorf("%q and %q have one subject", key, other)
		}
		seen[subject] = key
	}
	for _, subject := range []string{"", "tandem.state.", "tandem.state.rx.a", "tandem.state.r.=4", "tandem.state.r.=zz", "other.state.r.a"} {
		if key, ok := n.parseStateSubject(subject); ok {
			t.Errorf("%q is read as %q", subject, key)
		}
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	o := Options{Password: "hidden", Token: "hidden"}
	j, err := json.Marshal(o.Password)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("options", "password", o.Password, "all", o)
	for _, s := range []string{fmt.Sprint(o), fmt.Sprintf("%v %+v %#v %s %q %x %d", o, o, o, o.Token, o.Token, o.Token, o.Token), string(j), b.String()} {
		if strings.Contains(s, "hidden") || strings.Contains(s, "68696464656e") {
			t.Errorf("a secret is shown: %s", s)
		}
	}
	if fmt.Sprint(Secret("")) != "" {
		t.Error("no secret looks like one")
	}
}
