package eventlog_test

import (
	"net/http"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
)

// TestRepeatInAnotherForm: an event that is sent again in the other HTTP mode, or with its extensions in another order, is
// the same event; other data under its id is refused.
func TestRepeatInAnotherForm(t *testing.T) {
	log, err := eventlog.Open(t.Context(), memlog.New(memlog.Options{}), eventlog.Options{AutoCreate: true})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	structured := func(text string) tandem.Event {
		t.Helper()
		e, err := tandem.ParseEventJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	binary := func(h map[string]string, body string) tandem.Event {
		t.Helper()
		header := http.Header{}
		for k, v := range h {
			header.Set(k, v)
		}
		e, err := tandem.ParseBinaryHTTP(header, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for _, c := range []struct {
		name      string
		event     tandem.Event
		duplicate bool
		code      tandem.Code
	}{
		{"first", structured(`{"specversion":"1.0","id":"1","source":"s","type":"t","b":"2","a":1,"data":{"n":1}}`), false, ""},
		{"other order", structured(`{"specversion":"1.0","id":"1","source":"s","type":"t","a":1,"b":"2","data":{"n":1}}`), true, ""},
		{"JSON named", structured(`{"specversion":"1.0","id":"1","source":"s","type":"t","datacontenttype":"application/json","a":1,"b":"2","data":{"n":1}}`), true, ""},
		{"binary", binary(map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "1", "Ce-Source": "s", "Ce-Type": "t", "Ce-A": "1", "Ce-B": "2",
			"Content-Type": "application/json"}, `{"n":1}`), true, ""},
		{"other value", structured(`{"specversion":"1.0","id":"1","source":"s","type":"t","a":1,"b":"3","data":{"n":1}}`), false, tandem.CodeConflict},
		{"values swapped", structured(`{"specversion":"1.0","id":"1","source":"s","type":"t","a":2,"b":"1","data":{"n":1}}`), false, tandem.CodeConflict},
		{"other data", structured(`{"specversion":"1.0","id":"1","source":"s","type":"t","a":1,"b":"2","data":{"n":2}}`), false, tandem.CodeConflict},
	} {
		receipts, err := log.Append(t.Context(), "orders", []tandem.Event{c.event})
		if tandem.CodeOf(err) != c.code {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil && (receipts[0].Duplicate == tandem.DuplicateYes) != c.duplicate {
			t.Errorf("%s: duplicate %v", c.name, receipts[0].Duplicate)
		}
	}
}
