package tandem_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-hybrid/tandem"
)

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func required(pairs ...string) http.Header {
	return header(append([]string{"ce-specversion", "1.0", "ce-id", "1", "ce-source", "/s", "ce-type", "t"}, pairs...)...)
}

func TestContentMode(t *testing.T) {
	for _, c := range []struct {
		h    http.Header
		want tandem.Mode
	}{
		{header(), tandem.ModePlain},
		{header("Content-Type", "application/json"), tandem.ModePlain},
		{header("Content-Type", "application/json", "Ce-Time", "x"), tandem.ModePlain},
		{header("Content-Type", "application/json", "ce-id", "1"), tandem.ModeBinary},
		{header("ce-specversion", "1.0"), tandem.ModeBinary},
		{header("Content-Type", "Application/CloudEvents+JSON; charset=UTF-8"), tandem.ModeStructured},
		{header("Content-Type", "application/cloudevents+json", "ce-id", "1"), tandem.ModeStructured},
		{header("Content-Type", "application/cloudevents-batch+json;charset=UTF-8"), tandem.ModeBatch},
		{header("Content-Type", "application/x-ndjson"), tandem.ModeNDJSON},
	} {
		if got, err := tandem.ContentMode(c.h); got != c.want || err != nil {
			t.Errorf("%v: got %d, %v, want %d", c.h, got, err, c.want)
		}
	}
	for _, typ := range []string{"application/cloudevents+avro", "application/cloudevents", "application/cloudevents-batch+xml"} {
		if _, err := tandem.ContentMode(header("Content-Type", typ, "ce-id", "1")); tandem.CodeOf(err) != tandem.CodeMediaType {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

func TestParseBinaryHTTP(t *testing.T) {
	h := required("ce-subject", "Euro%20%e2%82%AC %F0%9F%98%80", "ce-time", "2026-01-31T09:30:00Z", "ce-zeta", `"a \"b\" %25"`, "ce-alpha", "100%",
		"ce-tandemflow", "f", "ce-tandemcause", "a%20b", "ce-tandemhops", "2", "ce-traceparent", "p", "content-type", "text/plain", "Accept", "x", "Cer", "x")
	got, err := tandem.ParseBinaryHTTP(h, []byte("body\x00"))
	if err != nil {
		t.Fatal(err)
	}
	want := tandem.Event{ID: "1", Source: "/s", Type: "t", Subject: "Euro € 😀", Time: "2026-01-31T09:30:00Z", DataContentType: "text/plain",
		Extensions: []tandem.Extension{{Name: "alpha", Value: "100%"}, {Name: "zeta", Value: `a "b" %`}},
		Data:       []byte("body\x00"), Encoding: tandem.DataText,
		Meta: tandem.Meta{Flow: "f", Causes: []string{"a", "b"}, Hops: 2, TraceParent: "p"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	// Keys that did not go through net/http, and raw UTF-8 of libraries that do not encode.
	raw := http.Header{"ce-specversion": {"1.0"}, "CE-ID": {"1"}, "Ce-Source": {"/käse"}, "ce-type": {"t"}}
	if got, err := tandem.ParseBinaryHTTP(raw, nil); err != nil || got.Source != "/käse" || got.Data != nil || got.Encoding != tandem.DataAuto {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestParseBinaryHTTPRefuses(t *testing.T) {
	for _, c := range []struct {
		h    http.Header
		body string
		want string
	}{
		{header(), "", "ce-id is required; ce-source is required; ce-specversion is required; ce-type is required"},
		{required("ce-id", "2"), "", "ce-id must be there once"},
		{http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "ce-id": {"1"}, "Ce-Source": {"s"}, "Ce-Type": {"t"}}, "", "ce-id must be there once"},
		{required("ce-x", "1", "ce-x", "1"), "", "ce-x must be there once"},
		{http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"s"}, "Ce-Type": {"t"}, "ce-x": {"1"}, "Ce-X": {"1"}}, "", "ce-x is there twice"},
		{header("ce-specversion", "0.3", "ce-id", "1", "ce-source", "/s", "ce-type", "t"), "", "ce-specversion must be 1.0"},
		{required("ce-datacontenttype", "a/b"), "", "ce-datacontenttype must not be there"},
		{required("ce-data", "1"), "", "ce-data is no attribute"},
		{required("ce-data_base64", "1"), "", "ce-data_base64 is no attribute"},
		{required("ce-a-b", "1"), "", "ce-a-b is not an attribute"},
		{required("ce-subject", "%C0%A0"), "", "ce-subject is not UTF-8"},
		{required("ce-subject", "\xff"), "", "ce-subject is not UTF-8"},
		{required("ce-subject", ""), "", "ce-subject must not be empty"},
		{required("ce-subject", "a%0D%0Ab"), "", "ce-subject has a control character"},
		{required("ce-time", "now"), "", "ce-time must be"},
		{required("ce-tandemhops", "x"), "", "ce-tandemhops must be"},
		{required("Content-Type", "application/json"), "{", "/data is not JSON"},
		{required(), "hello", "/data is not JSON"},
		{required("Content-Type", "text/plän"), "", "content-type must be a media type"},
	} {
		_, err := tandem.ParseBinaryHTTP(c.h, []byte(c.body))
		if err == nil || !strings.Contains(err.Error(), c.want) || tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%v:\n got %v\nwant %s", c.h, err, c.want)
		}
	}
	h := required()
	for i := range 200 {
		h.Set("ce-x"+strings.Repeat("y", i%60)+string(rune('a'+i/60)), "1")
	}
	if _, err := tandem.ParseBinaryHTTP(h, nil); err == nil || !strings.Contains(err.Error(), "one too many") {
		t.Errorf("200 extensions: %v", err)
	}
}

func TestWriteBinaryHeader(t *testing.T) {
	e := tandem.Event{ID: "1", Source: "/s", Type: "t", Subject: "Euro € \"😀\" 5%~!", Data: []byte(`{}`),
		Extensions: []tandem.Extension{{Name: "n", Value: "5", Kind: tandem.ExtensionInteger}},
		Meta:       tandem.Meta{Flow: "f", Causes: []string{"a", "b"}, Hops: 1, Key: "hidden", Producer: "hidden"}}
	h := http.Header{}
	e.WriteBinaryHeader(h)
	want := required("ce-subject", "Euro%20%E2%82%AC%20%22%F0%9F%98%80%22%205%25~!", "ce-n", "5", "ce-tandemflow", "f",
		"ce-tandemcause", "a%20b", "ce-tandemhops", "1", "content-type", "application/json")
	if diff := cmp.Diff(want, h); diff != "" {
		t.Error(diff)
	}
	e = tandem.Event{ID: "1", Source: "/s", Type: "t"}
	h = http.Header{}
	e.WriteBinaryHeader(h)
	if diff := cmp.Diff(required(), h); diff != "" {
		t.Errorf("without data: %s", diff)
	}
}
