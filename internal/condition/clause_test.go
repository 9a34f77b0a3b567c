package condition

import (
	"testing"

	"github.com/tandem-hybrid/tandem"
)

// TestClause: the first part that AND binds and that is not true is told, and what it looks at; values that could be secrets are not.
func TestClause(t *testing.T) {
	e := &tandem.Event{ID: "1", Source: "/orders", Type: "order.placed", Subject: "7", DataContentType: "application/json", Encoding: tandem.DataJSON,
		Extensions: []tandem.Extension{{Name: "priority", Value: "3", Kind: tandem.ExtensionInteger}},
		Data:       []byte(`{"total":42.5,"user":{"name":"Ada","password":"hush"},"card":"4242424242424242424242","items":[{"sku":"A-1"}],"none":null}`)}
	c := New(Options{})
	for _, tt := range []struct{ dialect, text, want string }{
		{"sql", "type = 'order.placed' AND priority > 3 AND color = 'red'", `priority > 3 priority is "3"`},
		{"sql", "type = 'order.placed' AND ( subject = '7' AND NOT (priority = 3) )", `NOT (priority = 3) priority is "3"`},
		{"sql", "type LIKE 'x%' OR subject IN ('1', id)", `type LIKE 'x%' OR subject IN ('1', id) type is "order.placed" subject is "7" id is "1"`},
		{"sql", "priority = 3 AND color = 'red'", `color = 'red' color is not there; the event does not have the attribute`},
		{"sql", "ABS(-priority + LENGTH(subject)) = 9 AND TRUE", `ABS(-priority + LENGTH(subject)) = 9 priority is "3" subject is "7"`},
		{"sql", "priority = 3 AND EXISTS color", `EXISTS color color is not there`},
		{"cel", "event.type == 'order.placed' && data.total > 100 && data.none == 1", `data.total > 100 data.total is "42.5"`},
		{"cel", "(event.subject == '7' && (data.user.name == 'Bob')) && true", `data.user.name == "Bob" data.user.name is "Ada"`},
		{"cel", "data.user.password == 'x'", `data.user.password == 'x' data.user.password is not shown`},
		{"cel", "data.card == 'x'", `data.card == 'x' data.card is not shown`},
		{"cel", "data.items.exists(i, i.sku == 'B-1') && data.total > 1", `data.items.exists(i, i.sku == "B-1") data.items is not shown`},
		{"cel", "data.items[0].sku == 'B-1'", `data.items[0].sku == 'B-1' data.items.0.sku is "A-1"`},
		{"cel", "has(event.color) && event.color == 'red'", `has(event.color) color is not there`},
		{"cel", "event.priority == 3 && data.discount < 5", `data.discount < 5 data.discount is not there`},
		{"cel", "data.total > 50 || event.subject == '8'", `data.total > 50 || event.subject == '8' data.total is "42.5" subject is "7"`},
		{"cel", "data == 'x'", `data == 'x' data is not shown`},
	} {
		cond, err := c.Compile(tt.dialect, tt.text)
		if err != nil {
			t.Fatal(err)
		}
		if cond.Match(e) {
			t.Errorf("%s matches", tt.text)
		}
		clause := cond.Clause(e)
		got := clause.Text
		for _, v := range clause.Saw {
			got += " " + v.String()
		}
		if clause.Fault != "" {
			got += "; " + clause.Fault
		}
		if got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.text, got, tt.want)
		}
	}
	// Within NOT of a filter, a condition is told that is true.
	f, err := tandem.ParseFilter([]byte(`{"not":{"cel":"event.subject == '7' && data.total > 1"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if f, err = f.Bind(c.Compile); err != nil {
		t.Fatal(err)
	}
	if clause := f.Clause(e); clause == nil || len(clause.Saw) != 2 || clause.Saw[1] != (tandem.SeenValue{Name: "data.total", Value: "42.5"}) {
		t.Errorf("%+v", clause)
	}
}
