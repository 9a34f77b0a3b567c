package tandem_test

import (
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

func TestCheckEvent(t *testing.T) {
	ext := func(name, value string, kind tandem.ExtensionKind) func(*tandem.Event) {
		return func(e *tandem.Event) { e.Extensions = []tandem.Extension{{Name: name, Value: value, Kind: kind}} }
	}
	for name, c := range map[string]struct {
		change func(*tandem.Event)
		want   string // "" for valid
	}{
		"valid":                {func(e *tandem.Event) {}, ""},
		"empty":                {func(e *tandem.Event) { *e = tandem.Event{} }, "/id is required; /source is required; /type is required"},
		"line end":             {func(e *tandem.Event) { e.Subject = "a\nb" }, "/subject has a control character"},
		"not UTF-8":            {func(e *tandem.Event) { e.ID = "\xff" }, "/id is not UTF-8"},
		"long":                 {func(e *tandem.Event) { e.Type = strings.Repeat("x", 4097) }, "/type is longer"},
		"time":                 {func(e *tandem.Event) { e.Time = "2026-01-31" }, "/time must be"},
		"header injection":     {func(e *tandem.Event) { e.DataContentType = "a/b\r\nX: y" }, "/datacontenttype has a control character"},
		"key":                  {func(e *tandem.Event) { e.Meta.Key = "\xff" }, "/key must be UTF-8"},
		"flow":                 {func(e *tandem.Event) { e.Meta.Flow = "\x00" }, "/tandemflow has a control character"},
		"cause with a space":   {func(e *tandem.Event) { e.Meta.Causes = []string{"a b"} }, "/tandemcause must be references"},
		"empty cause":          {func(e *tandem.Event) { e.Meta.Causes = []string{""} }, "/tandemcause must be references"},
		"causes":               {func(e *tandem.Event) { e.Meta.Causes = []string{"a", "b"} }, ""},
		"too many causes":      {func(e *tandem.Event) { e.Meta.Causes = strings.Split(strings.Repeat("x ", 2100)+"x", " ") }, "/tandemcause is longer"},
		"hops":                 {func(e *tandem.Event) { e.Meta.Hops = -1 }, "/tandemhops must be"},
		"extension":            {ext("a1", "", 0), ""},
		"extension name":       {ext("A", "", 0), "/A is not an attribute"},
		"extension of ours":    {ext("tandemflow", "x", 0), "/tandemflow has a field of its own"},
		"extension data":       {ext("data", "x", 0), "/data has a field of its own"},
		"extension text":       {ext("a", "\n", 0), "/a has a control character"},
		"integer":              {ext("a", "42", tandem.ExtensionInteger), ""},
		"integer not shortest": {ext("a", "+42", tandem.ExtensionInteger), "/a must be an integer"},
		"integer too large":    {ext("a", "2147483648", tandem.ExtensionInteger), "/a must be an integer"},
		"boolean":              {ext("a", "1", tandem.ExtensionBoolean), "/a must be true or false"},
		"kind":                 {ext("a", "1", 9), "/a has an unknown kind"},
		"extension twice":      {func(e *tandem.Event) { e.Extensions = []tandem.Extension{{Name: "a"}, {Name: "a"}} }, "/a is there twice"},
		"too many extensions":  {func(e *tandem.Event) { e.Extensions = make([]tandem.Extension, 65) }, "one too many"},
		"not JSON":             {func(e *tandem.Event) { e.Data = []byte(`{`) }, "/data is not JSON"},
		"JSON not UTF-8":       {func(e *tandem.Event) { e.Data = []byte("\"\xff\"") }, "/data is not JSON"},
		"text is not JSON":     {func(e *tandem.Event) { e.Data, e.Encoding = []byte(`x`), tandem.DataText }, "/data is not JSON"},
		"text not UTF-8": {func(e *tandem.Event) {
			e.Data, e.Encoding, e.DataContentType = []byte("\xff"), tandem.DataText, "text/plain"
		}, "/data is not UTF-8"},
		"encoding": {func(e *tandem.Event) { e.Data, e.Encoding = []byte(`1`), 9 }, "/data has an unknown encoding"},
	} {
		e := tandem.Event{ID: "1", Source: "/s", Type: "t"}
		c.change(&e)
		err := tandem.CheckEvent(&e)
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		case err != nil && tandem.CodeOf(err) != tandem.CodeInvalid:
			t.Errorf("%s: code %s", name, tandem.CodeOf(err))
		}
	}
}

func TestCheckEventSettlesEncoding(t *testing.T) {
	for _, c := range []struct {
		contentType, data string
		given, want       tandem.DataEncoding
	}{
		{"", "", tandem.DataAuto, tandem.DataAuto},
		{"", "", tandem.DataJSON, tandem.DataAuto},
		{"", `{}`, tandem.DataAuto, tandem.DataJSON},
		{"text/json", `"x"`, tandem.DataAuto, tandem.DataJSON},
		{"application/json", `1`, tandem.DataText, tandem.DataJSON},
		{"application/json", `1`, tandem.DataBinary, tandem.DataBinary},
		{"text/csv", "a,b", tandem.DataAuto, tandem.DataText},
		{"application/soap+xml", "<a/>", tandem.DataAuto, tandem.DataText},
		{"text/plain", "\xff", tandem.DataAuto, tandem.DataBinary},
		{"text/plain", "", tandem.DataText, tandem.DataText},
		{"image/png", "x", tandem.DataAuto, tandem.DataBinary},
		{"image/png", "x", tandem.DataText, tandem.DataText},
		{"text/plain", `{"a":1}`, tandem.DataJSON, tandem.DataJSON},
		{"text/plain", `"a"`, tandem.DataJSON, tandem.DataText},
	} {
		e := tandem.Event{ID: "1", Source: "/s", Type: "t", DataContentType: c.contentType, Data: []byte(c.data), Encoding: c.given}
		if err := tandem.CheckEvent(&e); err != nil || e.Encoding != c.want || string(e.Data) != c.data {
			t.Errorf("%+v: got %d, %q, %v", c, e.Encoding, e.Data, err)
		}
	}
}

func TestIsJSON(t *testing.T) {
	for in, want := range map[string]bool{"": true, "application/json": true, "Application/JSON;charset=utf-8": true,
		"text/json": true, "application/a+json": true, "application/a+JSON ; x=y": true, "text/plain": false,
		"application/jsonx": false, "json": false, "application/xml;a=b/json": false} {
		if tandem.IsJSON(in) != want {
			t.Errorf("IsJSON(%q) = %v", in, !want)
		}
	}
}
