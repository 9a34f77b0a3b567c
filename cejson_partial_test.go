package tandem

import "testing"

// TestParsePartialEventJSON: what somebody else completes may lack what is required, and nothing else is taken that would not be.
func TestParsePartialEventJSON(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"data":{"a":1}}`: true,
		`{}`:               true,
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1}`: true,
		`{"id":null,"data":1}`:            true,
		`{"specversion":"0.3"}`:           false,
		`{"id":5}`:                        false,
		`{"id":"1","id":"2"}`:             false,
		`{"data":1,"data_base64":"AA=="}`: false,
		`{"tandemhops":-1}`:               false,
		`[]`:                              false,
		``:                                false,
	} {
		e, err := ParsePartialEventJSON([]byte(text))
		if (err == nil) != ok {
			t.Errorf("%s: %+v, %v", text, e, err)
		}
		if _, err := ParseEventJSON([]byte(text)); err == nil && !ok {
			t.Errorf("%s is a whole event", text)
		}
	}
	e, err := ParsePartialEventJSON([]byte(`{"data":{"a":1}}`))
	if err != nil || string(e.Data) != `{"a":1}` || e.ID+e.Source+e.Type != "" {
		t.Errorf("%+v, %v", e, err)
	}
}
