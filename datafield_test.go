package tandem_test

import (
	"testing"

	"github.com/tandem-hybrid/tandem"
)

func TestDataField(t *testing.T) {
	const data = ` {"vehicleId":"v1","n":-1.50,"yes":true,"no":false,"nil":null,"esc\u0061pe":"a\"b\u00e9","":{"":"empty"},"bad":"\ud800",
		"items":[{"sku":"A"},{"sku":"B","deep":[[7]]}],"twice":1,"twice":2,"data":{"x":"y"},"0":"zero"} `
	e := tandem.Event{Data: []byte(data)}
	for path, want := range map[string]string{
		"vehicleId": "v1", "n": "-1.50", "yes": "true", "no": "false", "escape": `a"bé`, ".": "empty",
		"items.0.sku": "A", "items.1.sku": "B", "items.1.deep.0.0": "7", "twice": "1", "data.x": "y", "0": "zero",
	} {
		if got, ok := tandem.DataField(&e, path); got != want || !ok {
			t.Errorf("%q: got %q, %v", path, got, ok)
		}
		if got, ok := e.Attribute("data." + path); got != want || !ok {
			t.Errorf("Attribute(data.%s): got %q, %v", path, got, ok)
		}
	}
	for _, path := range []string{"", "nope", "nil", "items", "items.2", "items.x", "items.-1.sku", "vehicleId.x", "bad", "items.0"} {
		if got, ok := tandem.DataField(&e, path); ok {
			t.Errorf("%q: got %q", path, got)
		}
	}
	for _, e := range []tandem.Event{{}, {Data: []byte(`{`)}, {Data: []byte(`{"a":`)}, {Data: []byte(`{"a":tru}`)}, {Data: []byte(`{"a":"x`)},
		{Data: []byte(`{"a":1}`), DataContentType: "text/plain"}, {Data: []byte(`{"a":1}`), Encoding: tandem.DataBinary}} {
		if got, ok := tandem.DataField(&e, "a"); ok {
			t.Errorf("%s: got %q", e.Data, got)
		}
	}
}

func TestAttribute(t *testing.T) {
	e := tandem.Event{ID: "i", Source: "s", Type: "t", Subject: "sub", Time: "now", DataContentType: "c", DataSchema: "d",
		Extensions: []tandem.Extension{{Name: "x", Value: "y"}, {Name: "empty"}},
		Meta:       tandem.Meta{Flow: "f", Causes: []string{"a", "b"}, Operation: "o", Hops: 4, TraceParent: "p", TraceState: "q"}}
	for name, want := range map[string]string{"id": "i", "source": "s", "type": "t", "subject": "sub", "time": "now",
		"datacontenttype": "c", "dataschema": "d", "specversion": "1.0", "x": "y", "empty": "", "tandemflow": "f",
		"tandemcause": "a b", "tandemoperation": "o", "tandemhops": "4", "traceparent": "p", "tracestate": "q"} {
		if got, ok := e.Attribute(name); got != want || !ok {
			t.Errorf("%s: got %q, %v", name, got, ok)
		}
	}
	for _, name := range []string{"", "nope", "data", "data_base64", "Subject"} {
		if got, ok := e.Attribute(name); ok {
			t.Errorf("%s: got %q", name, got)
		}
	}
	if _, ok := new(tandem.Event).Attribute("tandemhops"); ok {
		t.Error("tandemhops of an event without hops")
	}
}
