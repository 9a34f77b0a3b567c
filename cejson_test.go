package tandem_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-hybrid/tandem"
)

// with is a valid event with more members.
func with(members string) string {
	if members != "" {
		members = "," + members
	}
	return `{"specversion":"1.0","id":"1","source":"/s","type":"t"` + members + `}`
}

func TestParseEventJSON(t *testing.T) {
	base := func(change func(*tandem.Event)) tandem.Event {
		e := tandem.Event{ID: "1", Source: "/s", Type: "t"}
		change(&e)
		return e
	}
	for name, c := range map[string]struct {
		in   string
		want tandem.Event
	}{
		"least": {with(``), base(func(*tandem.Event) {})},
		"white space": {" \r\n\t{ \"specversion\" : \"1.0\" , \"id\" : \"1\",\n\"source\":\"/s\",\"type\":\"t\" } \n",
			base(func(*tandem.Event) {})},
		"all attributes": {with(`"subject":"s","time":"2026-01-31T09:30:00.5+01:00","dataschema":"http://x/y","datacontenttype":"application/json"`),
			base(func(e *tandem.Event) {
				e.Subject, e.Time, e.DataSchema, e.DataContentType = "s", "2026-01-31T09:30:00.5+01:00", "http://x/y", "application/json"
			})},
		"nulls are absent": {with(`"subject":null,"time":null,"dataschema":null,"datacontenttype":null,"data_base64":null,"ext":null,"tandemhops":null`),
			base(func(*tandem.Event) {})},
		"escapes": {with(`"subject":"a\"\\\/\u00e9\ud83d\ude00","ext":"\u0041"`), base(func(e *tandem.Event) {
			e.Subject = "a\"\\/é😀"
			e.Extensions = []tandem.Extension{{Name: "ext", Value: "A"}}
		})},
		"escaped names": {`{"specversi\u006fn":"1.0","\u0069d":"1","source":"/s","type":"t","\u0065xt":"v"}`, base(func(e *tandem.Event) {
			e.Extensions = []tandem.Extension{{Name: "ext", Value: "v"}}
		})},
		"not ASCII": {with(`"subject":"käse"`), base(func(e *tandem.Event) { e.Subject = "käse" })},
		"extensions": {with(`"b":"x","a":-5,"c":true,"d":false,"e":-0,"f":2147483647,"g":""`), base(func(e *tandem.Event) {
			e.Extensions = []tandem.Extension{{Name: "b", Value: "x"}, {Name: "a", Value: "-5", Kind: tandem.ExtensionInteger},
				{Name: "c", Value: "true", Kind: tandem.ExtensionBoolean}, {Name: "d", Value: "false", Kind: tandem.ExtensionBoolean},
				{Name: "e", Value: "0", Kind: tandem.ExtensionInteger}, {Name: "f", Value: "2147483647", Kind: tandem.ExtensionInteger}, {Name: "g"}}
		})},
		"meta": {with(`"tandemflow":"f","tandemcause":"c1 c2","tandemoperation":"o","tandemhops":3,"traceparent":"tp","tracestate":"ts"`),
			base(func(e *tandem.Event) {
				e.Meta = tandem.Meta{Flow: "f", Causes: []string{"c1", "c2"}, Operation: "o", Hops: 3, TraceParent: "tp", TraceState: "ts"}
			})},
		"hops as text": {with(`"tandemhops":"7"`), base(func(e *tandem.Event) { e.Meta.Hops = 7 })},
		"data, byte for byte": {with(`"data": {"a" : 1.0,` + "\n" + `"a":"\u0041"} `), base(func(e *tandem.Event) {
			e.Data, e.Encoding = []byte(`{"a" : 1.0,`+"\n"+`"a":"\u0041"}`), tandem.DataJSON
		})},
		"data is a string": {with(`"data":"x"`), base(func(e *tandem.Event) { e.Data, e.Encoding = []byte(`"x"`), tandem.DataJSON })},
		"data is null":     {with(`"data":null`), base(func(e *tandem.Event) { e.Data, e.Encoding = []byte(`null`), tandem.DataJSON })},
		"data before its content type": {with(`"data":"a\nb","datacontenttype":"text/plain"`), base(func(e *tandem.Event) {
			e.DataContentType, e.Data, e.Encoding = "text/plain", []byte("a\nb"), tandem.DataText
		})},
		"text": {with(`"datacontenttype":"text/plain","data":"käse"`), base(func(e *tandem.Event) {
			e.DataContentType, e.Data, e.Encoding = "text/plain", []byte("käse"), tandem.DataText
		})},
		"+json": {with(`"datacontenttype":"application/vnd.x+JSON; charset=utf-8","data":"x"`), base(func(e *tandem.Event) {
			e.DataContentType, e.Data, e.Encoding = "application/vnd.x+JSON; charset=utf-8", []byte(`"x"`), tandem.DataJSON
		})},
		"object under another content type": {with(`"datacontenttype":"text/plain","data":{}`), base(func(e *tandem.Event) {
			e.DataContentType, e.Data, e.Encoding = "text/plain", []byte(`{}`), tandem.DataJSON
		})},
		"binary": {with(`"data_base64":"AP8="`), base(func(e *tandem.Event) { e.Data, e.Encoding = []byte{0, 255}, tandem.DataBinary })},
		"binary, with escapes": {with(`"data":null,"data_base64":"\u0041P8="`), base(func(e *tandem.Event) {
			e.Data, e.Encoding = []byte{0, 255}, tandem.DataBinary
		})},
		"lone surrogate in data stays": {with(`"data":"\ud800"`), base(func(e *tandem.Event) { e.Data, e.Encoding = []byte(`"\ud800"`), tandem.DataJSON })},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tandem.ParseEventJSON([]byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			again := got
			if err := tandem.CheckEvent(&again); err != nil {
				t.Errorf("CheckEvent: %v", err)
			}
			if diff := cmp.Diff(got, again); diff != "" {
				t.Errorf("CheckEvent changed it: %s", diff)
			}
		})
	}
}

func TestParseEventJSONRefuses(t *testing.T) {
	many := make([]string, tandem.MaxExtensions+1)
	for i := range many {
		many[i] = fmt.Sprintf(`"x%d":1`, i)
	}
	for _, c := range []struct{ in, want string }{
		// syntax
		{``, "malformed JSON at byte 0: unexpected end"},
		{`[]`, "malformed JSON at byte 0: expected an object"},
		{"\ufeff{}", "malformed JSON at byte 0: expected an object"},
		{`{"id"`, "malformed JSON at byte 5: unexpected end"},
		{`{"id":"x`, "malformed JSON at byte 8: unexpected end"},
		{`{id:1}`, "malformed JSON at byte 1: expected a string"},
		{`{"id":"1",}`, "malformed JSON at byte 10: expected a string"},
		{with(`"a":01`), "expected a comma"},
		{with(`"a":1.`), "invalid number"},
		{with(`"a":NaN`), "expected a value"},
		{with(`"a":-`), "invalid number"},
		{with(`"data":NaN`), "expected a value"},
		{with(`"data":nul`), "expected a value"},
		{with(`"data":"` + "\x01" + `"`), "control character in a string"},
		{with(`"data":"` + "\xff" + `"`), "invalid UTF-8"},
		{with(`"subject":"` + "\xc0\xa0" + `"`), "invalid UTF-8"},
		{with(`"` + "\xff" + `":1`), "invalid UTF-8"},
		{with(`"data":"\x"`), "invalid escape"},
		{with(`"data":"\u12g4"`), "invalid escape"},
		{with(``) + `x`, "text after the value"},
		{with(`"data":` + strings.Repeat("[", 1001) + strings.Repeat("]", 1001)), "nested too deeply"},
		{with(`"data":` + strings.Repeat(`{"a":`, 1001) + "1" + strings.Repeat("}", 1001)), "nested too deeply"},
		// attributes
		{`{}`, "/specversion is required; /id is required; /source is required; /type is required"},
		{`{"specversion":"1.0","id":null,"source":"/s","type":"t"}`, "/id is required"},
		{`{"specversion":"0.3","id":"1","source":"/s","type":"t"}`, `/specversion must be "1.0"`},
		{`{"specversion":1.0,"id":"1","source":"/s","type":"t"}`, `/specversion must be a string`},
		{`{"specversion":"1.0","id":"","source":"","type":""}`, "/id must not be empty; /source must not be empty; /type must not be empty"},
		{`{"specversion":"1.0","id":1,"source":{"a":1},"type":["t"]}`, "/id must be a string; /source must be a string; /type must be a string"},
		{with(`"id":"2"`), "/id is there twice"},
		{with(`"\u0069d":"2"`), "/id is there twice"},
		{with(`"subject":null,"subject":"x"`), "/subject is there twice"},
		{with(`"data":1,"data":1`), "/data is there twice"},
		{with(`"x":1,"x":2`), "/x is there twice"},
		{with(`"x":null,"x":2`), "/x is there twice"},
		{with(`"tandemflow":"a","tandemflow":"a"`), "/tandemflow is there twice"},
		{with(`"subject":""`), "/subject must not be empty"},
		{with(`"subject":true`), "/subject must be a string"},
		{with(`"subject":"a\u0000b"`), "/subject has a control character"},
		{with(`"subject":"a\u0085b"`), "/subject has a control character"},
		{with(`"subject":"` + "\x7f" + `"`), "/subject has a control character"},
		{with(`"subject":"\ufffe"`), "/subject has a code point that is no character"},
		{with(`"subject":"\ud800"`), "/subject has half of a surrogate pair"},
		{with(`"subject":"\udc00\ud800"`), "/subject has half of a surrogate pair"},
		{with(`"subject":"\ud800\u0041"`), "/subject has half of a surrogate pair"},
		{with(`"x":"a\u0001"`), "/x has a control character"},
		{with(`"x":"\ud800x"`), "/x has half of a surrogate pair"},
		{with(`"subject":"` + strings.Repeat("x", tandem.MaxAttributeBytes+1) + `"`), "/subject is longer than 4096 bytes"},
		{with(`"time":"yesterday"`), "/time must be an RFC 3339 time"},
		{with(`"time":"2026-02-29T00:00:00Z"`), "/time must be an RFC 3339 time"},
		{with(`"datacontenttype":"text/plän"`), "/datacontenttype must be a media type in ASCII"},
		{with(`"Ext":"x"`), "/Ext is not an attribute"},
		{with(`"a_b":"x"`), "/a_b is not an attribute"},
		{with(`"":"x"`), "/ is not an attribute"},
		{with(`"a/b~c":"x"`), "/a~1b~0c is not an attribute"},
		{with(`"` + strings.Repeat("x", 65) + `":"x"`), "is not an attribute"},
		{with(strings.Join(many, ",")), "/x64 is one too many"},
		{with(`"x":1.5`), "/x must be an integer"},
		{with(`"x":1e2`), "/x must be an integer"},
		{with(`"x":2147483648`), "/x must be an integer"},
		{with(`"x":{}`), "/x must be a string, an integer or a boolean"},
		{with(`"x":[1]`), "/x must be a string, an integer or a boolean"},
		{with(`"tandemhops":-1`), "/tandemhops must be an integer"},
		{with(`"tandemhops":1.5`), "/tandemhops must be an integer"},
		{with(`"tandemhops":"x"`), "/tandemhops must be an integer"},
		{with(`"tandemhops":true`), "/tandemhops must be a string"},
		{with(`"data":1,"data_base64":"AA=="`), "/data_base64 cannot be there together with data"},
		{with(`"data_base64":"AA"`), "/data_base64 is not base64"},
		{with(`"data_base64":"-_8="`), "/data_base64 is not base64"},
		{with(`"data_base64":"A\ud800=="`), "/data_base64 is not base64"},
		{with(`"data_base64":1`), "/data_base64 must be a string"},
		{with(`"datacontenttype":"text/plain","data":"\ud800"`), "/data has half of a surrogate pair"},
	} {
		_, err := tandem.ParseEventJSON([]byte(c.in))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.120s:\n got %v\nwant %s", c.in, err, c.want)
			continue
		}
		if tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%.120s: code %s", c.in, tandem.CodeOf(err))
		}
	}
}

// TestWrongTypeIsNotMissing: an attribute that is there with a wrong type has one fault.
func TestWrongTypeIsNotMissing(t *testing.T) {
	_, err := tandem.ParseBatchJSON([]byte(`[{"specversion":"1.0","id":1,"type":"t"}]`))
	want := []tandem.FieldError{{Pointer: "/0/id", Detail: "must be a string"}, {Pointer: "/0/source", Detail: "is required"}}
	if diff := cmp.Diff(want, tandem.ProblemOf(err).Errors); diff != "" {
		t.Error(diff)
	}
}

func TestParseEventJSONBoundsFaults(t *testing.T) {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, `,"A%d":1`, i)
	}
	_, err := tandem.ParseEventJSON([]byte(`{"specversion":"1.0"` + b.String() + `}`))
	var e *tandem.Error
	if !errors.As(err, &e) || len(e.Fields) != 16 {
		t.Fatalf("%d faults reported, want 16", len(e.Fields))
	}
}

func TestDataSharesInput(t *testing.T) {
	in := []byte(with(`"subject":"s","data":{"a":1}`))
	e, err := tandem.ParseEventJSON(in)
	if err != nil {
		t.Fatal(err)
	}
	if cap(e.Data) != len(e.Data) {
		t.Error("appending to Data would overwrite the rest of the input")
	}
	clear(in)
	if e.Subject != "s" || e.Source != "/s" {
		t.Error("attributes share the input")
	}
	if e.Data[0] != 0 {
		t.Error("Data was copied")
	}
}

func TestParseEventJSONAllocations(t *testing.T) {
	n := testing.AllocsPerRun(100, func() {
		if _, err := tandem.ParseEventJSON(benchEvent); err != nil {
			t.Fatal(err)
		}
	})
	if n > 1 {
		t.Errorf("%v allocations, want 1", n)
	}
}

func TestAppendEventJSON(t *testing.T) {
	e := tandem.Event{ID: "a\"b", Source: "/s", Type: "t", Subject: "ü\u2028<\xff", Time: "2026-01-31T09:30:00Z",
		DataContentType: "text/plain", DataSchema: "urn:x",
		Extensions: []tandem.Extension{{Name: "n", Value: "-1", Kind: tandem.ExtensionInteger}, {Name: "s", Value: "\n\r\t\x01\\"},
			{Name: "b", Value: "true", Kind: tandem.ExtensionBoolean}},
		Data: []byte("li\ne"), Encoding: tandem.DataText,
		Meta: tandem.Meta{Key: "hidden", Flow: "f", Causes: []string{"a", "b"}, Operation: "o", Hops: 2, Producer: "hidden",
			Route: "hidden", TraceParent: "p", TraceState: "q"}}
	want := `{"specversion":"1.0","id":"a\"b","source":"/s","type":"t","subject":"ü` + "\u2028" + `<` + "\ufffd" + `","time":"2026-01-31T09:30:00Z",` +
		`"datacontenttype":"text/plain","dataschema":"urn:x","n":-1,"s":"\n\r\t\u0001\\","b":true,` +
		`"tandemflow":"f","tandemcause":"a b","tandemoperation":"o","tandemhops":2,"traceparent":"p","tracestate":"q","data":"li\ne"}`
	if got := string(tandem.AppendEventJSON(nil, &e)); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}

	for name, c := range map[string]struct {
		contentType string
		data        string
		encoding    tandem.DataEncoding
		want        string
	}{
		"none":            {"", "", tandem.DataAuto, `}`},
		"auto JSON":       {"", "{\"a\": 1,\n \"b\":2}", tandem.DataAuto, ",\"data\":{\"a\": 1,\n \"b\":2}}"},
		"auto text":       {"text/plain", "x", tandem.DataAuto, `,"datacontenttype":"text/plain","data":"x"}`},
		"auto, not UTF-8": {"text/plain", "\xff", tandem.DataAuto, `,"datacontenttype":"text/plain","data_base64":"/w=="}`},
		"auto binary":     {"image/png", "x", tandem.DataAuto, `,"datacontenttype":"image/png","data_base64":"eA=="}`},
		"empty text":      {"text/plain", "", tandem.DataText, `,"datacontenttype":"text/plain","data":""}`},
		"empty binary":    {"image/png", "", tandem.DataBinary, `,"datacontenttype":"image/png","data_base64":""}`},
		"binary JSON":     {"", "{}", tandem.DataBinary, `,"data_base64":"e30="}`},
	} {
		e := tandem.Event{ID: "1", Source: "/s", Type: "t", DataContentType: c.contentType, Data: []byte(c.data), Encoding: c.encoding}
		want := strings.TrimSuffix(with(""), "}") + c.want
		if got := string(tandem.AppendEventJSON(nil, &e)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
}

func TestEventMarshal(t *testing.T) {
	rec := tandem.Record{Event: tandem.Event{ID: "1", Source: "/s", Type: "t", Data: []byte(`{"a": 1}`)},
		Position: tandem.Position{Topic: "orders", Partition: 3, Offset: 9}, Seq: 4}
	b, err := json.Marshal(map[string]any{"event": rec})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"event":` + with(`"data":{"a":1}`) + `}`; string(b) != want {
		t.Errorf("got %s, want %s", b, want)
	}
	var back struct{ Event, Other *tandem.Record }
	in := []byte(`{"event":` + with(`"data":{"a": 1}`) + `,"other":null}`)
	if err := json.Unmarshal(in, &back); err != nil {
		t.Fatal(err)
	}
	clear(in)
	if back.Event.ID != "1" || string(back.Event.Data) != `{"a": 1}` || back.Other != nil {
		t.Errorf("got %+v", back.Event)
	}
	var e tandem.Event
	if err := json.Unmarshal([]byte(`null`), &e); err != nil {
		t.Errorf("null: %v", err)
	}
	if err := json.Unmarshal([]byte(`{"id":"1"}`), &e); tandem.CodeOf(err) != tandem.CodeInvalid {
		t.Errorf("missing attributes: %v", err)
	}
}

func TestPageJSON(t *testing.T) {
	e := tandem.Record{Event: tandem.Event{ID: "1", Source: "/s", Type: "t", Data: []byte(`[1]`), Encoding: tandem.DataJSON}}
	for want, p := range map[string]tandem.Page{
		`{"events":[],"cursor":""}`: {},
		`{"events":[` + with(`"data":[1]`) + `,` + with(`"data":[1]`) + `],"cursor":"c","gap":{"reason":"retention","from":"a","to":"b"}}`: {
			Events: []tandem.Record{e, e}, Cursor: "c", Gap: &tandem.Gap{Reason: tandem.GapRetention, From: "a", To: "b"}},
	} {
		b, err := json.Marshal(&p)
		if err != nil || string(b) != want {
			t.Errorf("got %s, %v\nwant %s", b, err, want)
		}
		var back tandem.Page
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if again := tandem.AppendPageJSON(nil, &back); string(again) != want {
			t.Errorf("read back as %s", again)
		}
	}
	var p tandem.Page
	if err := json.Unmarshal([]byte(`{"events":[{}]}`), &p); err == nil {
		t.Error("took an invalid event")
	}
}
