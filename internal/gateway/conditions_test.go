package gateway

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/condition"
)

// judging answers with the ids of the events that pass the filter.
type judging []tandem.Event

func (all judging) Serve(w http.ResponseWriter, _ *http.Request, ask tandem.StreamRequest) {
	for i := range all {
		if ask.Filter.Match(&all[i]) {
			_, _ = w.Write([]byte(all[i].ID))
		}
	}
}

// TestStreamConditions: a condition of a stream route is compiled once, and a segment of the path takes effect beside it only.
func TestStreamConditions(t *testing.T) {
	compiled := 0
	conditions := condition.New(condition.Options{})
	compile := func(dialect, text string) (tandem.Condition, error) {
		compiled++
		return conditions.Compile(dialect, text)
	}
	g := New(newWorld(t, nil, `[]`).log, Options{Logger: slog.New(slog.DiscardHandler), Conditions: compile, Streams: judging{
		{ID: "a", Source: "/s", Type: "t", Subject: "7", Data: []byte(`{"total":120}`)},
		{ID: "b", Source: "/s", Type: "t", Subject: "8", Data: []byte(`{"total":120}`)},
		{ID: "c", Source: "/s", Type: "t", Subject: "7", Data: []byte(`{"total":12}`)},
		{ID: "d", Source: "/s", Type: "t", Subject: "' OR 1 = 1 OR '", Data: []byte(`{"total":120}`)},
	}})
	filter := func(text string) tandem.Filter {
		f, err := tandem.ParseFilter([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	apply := func(f tandem.Filter) error {
		return g.Apply([]Route{{Match: "GET /orders/{id}/events", Stream: &Stream{Topics: []string{"orders"}, Filter: f}}}, nil)
	}
	if err := apply(filter(`{"subject":"{id}","cel":"data.total > 100","sql":"type = 't'"}`)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"7": "a", "8": "b", "9": "", "%27%20OR%201%20=%201%20OR%20%27": "d", "%27%20%7C%7C%20true": ""} {
		w := httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequest("GET", "/orders/"+path+"/events", nil))
		if w.Body.String() != want {
			t.Errorf("%s: %d %s, want %s", path, w.Code, w.Body, want)
		}
	}
	if compiled != 2 {
		t.Errorf("%d compiled", compiled)
	}
	err := apply(filter(`{"any":[{"type":"t"},{"cel":"data.total >"}]}`))
	if tandem.CodeOf(err) != tandem.CodeInvalid || !strings.Contains(err.Error(), "/routes/0/stream/filter/any/1/cel line 1, column 13") {
		t.Error(err)
	}
	g.opts.Conditions = nil
	if err := apply(filter(`{"cel":"true"}`)); tandem.CodeOf(err) != tandem.CodeUnsupported {
		t.Error(err)
	}
}
