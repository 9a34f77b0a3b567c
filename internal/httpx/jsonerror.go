package httpx

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"

	"github.com/tandem-hybrid/tandem"
)

// invalidJSON puts what package json says into the words of a problem. The body that was read into v, nil when it was not,
// shows where an error without a place belongs.
func invalidJSON(err error, body []byte, v any) error {
	var coded *tandem.Error
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &coded) && v == nil:
		return coded
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return tandem.Errorf(tandem.CodeInvalid, "malformed JSON: unexpected end")
	case errors.As(err, &syntax):
		return tandem.Errorf(tandem.CodeInvalid, "malformed JSON at byte %d: %s", syntax.Offset, syntax.Error())
	case errors.As(err, &kind):
		return tandem.Errorf(tandem.CodeInvalid, "the JSON does not have the form expected").
			WithField(pointerOf(kind.Field), "must not be a JSON %s", kind.Value)
	}
	if v != nil {
		if err := refused(body, reflect.TypeOf(v), ""); err != nil {
			return err
		}
	}
	if coded != nil {
		return coded
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	if name, ok := strings.CutPrefix(text, "unknown field "); ok {
		name, _ = strconv.Unquote(name)
		return tandem.Errorf(tandem.CodeInvalid, "the JSON has a member that is not known").
			WithField("/"+pointerToken(name), "is not known here")
	}
	return tandem.Errorf(tandem.CodeInvalid, "the JSON cannot be read: %s", text)
}

// pointerOf makes a pointer of a path of package json, which also names embedded structs. Those are exported in Go, and no
// member on our wire begins in upper case.
func pointerOf(field string) string {
	at := ""
	for name := range strings.SplitSeq(field, ".") {
		if name != "" && (name[0] < 'A' || name[0] > 'Z') {
			at += "/" + pointerToken(name)
		}
	}
	return at
}

// pointerToken escapes a member name for a JSON pointer (RFC 6901).
func pointerToken(name string) string {
	if len(name) > 64 {
		name = strings.ToValidUTF8(name[:64], "") + "…"
	}
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

func itoa(i int) string { return strconv.Itoa(i) }
