package tandem_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tandem-hybrid/tandem"
)

func TestValidTopicName(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "orders": true, "0a": true, "a-b_c": true, "a.b.c": true, "a._b": true, "a.-": true, strings.Repeat("a", 200): true,
		"": false, "_ours": false, "-a": false, ".a": false, "a.": false, "a..b": false, "A": false, "a b": false, "ä": false, "a/b": false,
		"*": false, strings.Repeat("a", 201): false,
	} {
		if tandem.ValidTopicName(name) != want {
			t.Errorf("ValidTopicName(%q) = %v", name, !want)
		}
	}
}

func TestTopicPatterns(t *testing.T) {
	for p, want := range map[string]bool{"*": true, "**": true, "a": true, "a.*": true, "*.a": true, "a.**": true, "a.*.b.**": true,
		"": false, "**.a": false, "a*": false, "a.b*": false, "a..*": false, "_a.*": false, "a.***": false} {
		if tandem.ValidTopicPattern(p) != want {
			t.Errorf("ValidTopicPattern(%q) = %v", p, !want)
		}
	}
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a", "a.b", false},
		{"*", "a", true}, {"*", "a.b", false}, {"**", "a", true}, {"**", "a.b.c", true},
		{"a.*", "a.b", true}, {"a.*", "a", false}, {"a.*", "a.b.c", false},
		{"a.**", "a.b.c", true}, {"a.**", "a", false}, {"*.b", "a.b", true}, {"*.b", "a.c", false}, {"a.*.c", "a.b.c", true},
		{"**", "_tandem", false}, {"*", "_tandem", false}, {"_tandem", "_tandem", true},
	} {
		if got := tandem.MatchTopic(c.pattern, c.name); got != c.want {
			t.Errorf("MatchTopic(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
}

func TestNewID(t *testing.T) {
	before := time.Now().UnixMilli()
	seen := map[string]bool{}
	var ids []string
	for range 100 {
		id := tandem.NewID()
		if len(id) != 36 || id[14] != '7' || !strings.ContainsRune("89ab", rune(id[19])) || seen[id] {
			t.Fatalf("%q is no new UUIDv7", id)
		}
		seen[id] = true
		ids = append(ids, id[:13])
	}
	if !slices.IsSorted(ids) {
		t.Error("ids do not sort by time")
	}
	var ms int64
	if _, err := fmt.Sscanf(strings.ReplaceAll(ids[0], "-", ""), "%x", &ms); err != nil || ms < before || ms > time.Now().UnixMilli() {
		t.Errorf("%q holds the time %d: %v", ids[0], ms, err)
	}
}

const wantRef = "bbPHysPNqEfEb74HGY4Elw"

func TestFingerprint(t *testing.T) {
	if tandem.Fingerprint("a", "bc") == tandem.Fingerprint("ab", "c") || tandem.Fingerprint("a") == tandem.Fingerprint("a", "") {
		t.Error("parts collide by joining")
	}
	// These are stored and on the wire: they must never change.
	if got := tandem.Ref("orders", "/shop", "1"); got != wantRef || len(got) != 22 {
		t.Errorf("Ref = %q", got)
	}
	if tandem.DerivedID("orders", "/shop", "1") != wantRef {
		t.Error("DerivedID is not of the same form")
	}
}

func TestParseTime(t *testing.T) {
	for in, want := range map[string]bool{
		"2026-01-31T09:30:00Z": true, "2026-01-31T09:30:00.123456789123Z": true, "2026-01-31T09:30:00+23:59": true, "2024-02-29T00:00:00-00:00": true,
		"2000-02-29T00:00:00Z": true, "0000-01-01T00:00:00Z": true,
		"": false, "2026-01-31": false, "2026-01-31 09:30:00Z": false, "2026-01-31t09:30:00z": false, "2026-01-31T9:30:00Z": false,
		"2026-01-31T09:30:00": false, "2026-01-31T09:30:00,5Z": false, "2026-01-31T09:30:00.Z": false, "2026-01-31T09:30:60Z": false,
		"2026-01-31T24:00:00Z": false, "2026-01-31T09:60:00Z": false, "2026-13-01T00:00:00Z": false, "2026-00-01T00:00:00Z": false, "2026-04-31T00:00:00Z": false,
		"2026-01-00T00:00:00Z": false, "1900-02-29T00:00:00Z": false, "2026-01-31T09:30:00+24:00": false, "2026-01-31T09:30:00+0100": false,
		"2026-01-31T09:30:00+01:60": false, "2026-01-31T09:30:00Zx": false, "+026-01-31T09:30:00Z": false,
	} {
		if _, ok := tandem.ParseTime(in); ok != want {
			t.Errorf("ParseTime(%q) = %v", in, ok)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(-62135596800, 253402300799).Draw(t, "seconds"), rapid.Int64Range(0, 999999999).Draw(t, "ns")).
			In(time.FixedZone("", 60*rapid.IntRange(-720, 840).Draw(t, "zone")))
		if y := at.Year(); y < 0 || y > 9999 {
			return
		}
		if got, ok := tandem.ParseTime(at.Format(time.RFC3339Nano)); !ok || !got.Equal(at) {
			t.Fatalf("%v read as %v, %v", at, got, ok)
		}
	})
}

func TestParseStart(t *testing.T) {
	for in, want := range map[string]tandem.Start{"": {}, "latest": {}, "earliest": {Earliest: true},
		"2026-01-31T09:30:00Z": {Time: "2026-01-31T09:30:00Z"}} {
		if got, err := tandem.ParseStart(in); got != want || err != nil {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	if _, err := tandem.ParseStart("yesterday"); tandem.CodeOf(err) != tandem.CodeInvalid {
		t.Errorf("yesterday: %v", err)
	}
}

func TestPosition(t *testing.T) {
	p := tandem.Position{Topic: "a.b", Partition: 1023, Offset: 1<<64 - 1}
	if got, err := tandem.ParsePosition(p.String()); got != p || err != nil {
		t.Errorf("%s read as %+v, %v", p, got, err)
	}
	for _, in := range []string{"", "a", "a/1", "/1/1", "a/-1/1", "a/1/-1", "a/1/1/1", "a/x/1", "a/2147483648/1", "a/1/18446744073709551616"} {
		if _, err := tandem.ParsePosition(in); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestOrdering(t *testing.T) {
	e := tandem.Event{Subject: "s"}
	if e.Ordering() != "s" {
		t.Error("the subject is the key")
	}
	e.Meta.Key = "k"
	if e.Ordering() != "k" {
		t.Error("a key of its own comes first")
	}
}

func TestDuration(t *testing.T) {
	var v struct{ D tandem.Duration }
	if err := json.Unmarshal([]byte(`{"D":"1h30m"}`), &v); err != nil || v.D != tandem.Duration(90*time.Minute) {
		t.Errorf("got %v, %v", v.D, err)
	}
	if b, err := json.Marshal(v); err != nil || string(b) != `{"D":"1h30m0s"}` {
		t.Errorf("got %s, %v", b, err)
	}
	if err := json.Unmarshal([]byte(`{"D":"forever"}`), &v); err != nil || v.D >= 0 {
		t.Errorf("got %v, %v", v.D, err)
	}
	if b, err := json.Marshal(v); err != nil || string(b) != `{"D":"forever"}` {
		t.Errorf("got %s, %v", b, err)
	}
	for _, in := range []string{`{"D":5}`, `{"D":"5"}`, `{"D":"soon"}`} {
		if err := json.Unmarshal([]byte(in), &v); err == nil {
			t.Errorf("took %s", in)
		}
	}
}

func TestError(t *testing.T) {
	cause := io.ErrUnexpectedEOF
	err := tandem.Wrap("read page", tandem.Errorf(tandem.CodeUnavailable, "disk: %w", cause).WithHint("wait %ds", 3).
		WithField("/a", "is %d", 1).WithField("/b", "too").WithRetryAfter(1500*time.Millisecond))
	if want := "read page: disk: unexpected EOF: /a is 1; /b too (wait 3s)"; err.Error() != want {
		t.Errorf("got %q", err)
	}
	if !errors.Is(err, cause) || tandem.CodeOf(err) != tandem.CodeUnavailable {
		t.Errorf("got %v", err)
	}
	if tandem.CodeOf(nil) != "" || tandem.CodeOf(cause) != tandem.CodeInternal || tandem.CodeOf(tandem.Wrap("x", cause)) != tandem.CodeInternal ||
		tandem.CodeOf(fmt.Errorf("y: %w", err)) != tandem.CodeUnavailable || tandem.Wrap("x", nil) != nil {
		t.Error("wrong codes")
	}
	if (&tandem.Error{Code: tandem.CodeGone}).Error() != "gone" {
		t.Error("an error without a text is its code")
	}
}

func TestProblem(t *testing.T) {
	err := tandem.Wrap("publish", tandem.Wrap("append orders", tandem.Errorf(tandem.CodeUnavailable, "the disk is full").
		WithHint("free some").WithField("/a", "b").WithRetryAfter(1500*time.Millisecond)))
	p := tandem.ProblemOf(err)
	b, _ := json.Marshal(p)
	want := `{"type":"urn:tandem:problem/unavailable","title":"Unavailable for now","status":503,"detail":"the disk is full","hint":"free some","errors":[{"pointer":"/a","detail":"b"}]}`
	if string(b) != want {
		t.Errorf("got %s\nwant %s", b, want)
	}
	if s, ok := p.RetryAfterSeconds(); s != 2 || !ok {
		t.Errorf("Retry-After: %d, %v", s, ok)
	}
	var back tandem.Problem
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	e := back.Err()
	if diff := cmp.Diff([]any{e.Code, e.Err.Error(), e.Hint, e.Fields}, []any{tandem.CodeUnavailable, "the disk is full", "free some",
		[]tandem.FieldError{{Pointer: "/a", Detail: "b"}}}); diff != "" {
		t.Error(diff)
	}

	for _, err := range []error{io.EOF, tandem.Errorf(tandem.CodeInternal, "secret"), &tandem.Error{Code: "unheard-of", Err: io.EOF}} {
		if p := tandem.ProblemOf(err); p.Status != 500 || strings.Contains(p.Detail, "EOF") || strings.Contains(p.Detail, "secret") {
			t.Errorf("%v: %+v", err, p)
		}
	}
	if s, ok := tandem.ProblemOf(tandem.Errorf(tandem.CodeInvalid, "x")).RetryAfterSeconds(); ok {
		t.Errorf("Retry-After of an invalid request: %d", s)
	}
	if s, _ := tandem.ProblemOf(tandem.Errorf(tandem.CodeOverloaded, "x")).RetryAfterSeconds(); s != 1 {
		t.Errorf("Retry-After without a time: %d", s)
	}
	for status, want := range map[int]tandem.Code{404: tandem.CodeNotFound, 503: tandem.CodeUnavailable, 418: tandem.CodeInternal} {
		e := (&tandem.Problem{Type: "about:blank", Status: status}).Err()
		if e.Code != want || e.Err.Error() == "" {
			t.Errorf("%d: %+v", status, e)
		}
	}
}

// TestProblemOfEveryCode keeps the codes and their statuses together.
func TestProblemOfEveryCode(t *testing.T) {
	for _, code := range []tandem.Code{tandem.CodeInvalid, tandem.CodeUnauthorized, tandem.CodeForbidden, tandem.CodeNotFound, tandem.CodeConflict,
		tandem.CodeGone, tandem.CodePrecondition, tandem.CodeTooLarge, tandem.CodeUnsupported, tandem.CodeMediaType, tandem.CodeOverloaded,
		tandem.CodeUnavailable, tandem.CodeTimeout, tandem.CodeMethod, tandem.CodeSlow, tandem.CodeUpstream, tandem.CodeRequestLink} {
		p := tandem.ProblemOf(tandem.Errorf(code, "x"))
		if p.Type != tandem.ProblemBase+string(code) || p.Title == "" || p.Status < 400 || !strings.HasSuffix(p.Type, "/"+string(code)) {
			t.Errorf("%s: %+v", code, p)
		}
		if back := p.Err(); back.Code != code {
			t.Errorf("%s came back as %s", code, back.Code)
		}
	}
}

func TestReceiptJSON(t *testing.T) {
	b, err := json.Marshal(tandem.Receipt{ID: "1", Topic: "a", Partition: 2, Offset: 3, Cursor: "c"})
	if want := `{"id":"1","topic":"a","partition":2,"offset":3,"cursor":"c","duplicate":false}`; err != nil || string(b) != want {
		t.Errorf("got %s, %v", b, err)
	}
}
