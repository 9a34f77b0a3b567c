package httpx

import (
	"encoding"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// refused finds the value that its own type refused to read, such as a duration or a filter, and says where it is, which
// package json does not. It returns nil when it finds none.
func refused(body []byte, t reflect.Type, at string) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch value := reflect.New(t).Interface().(type) {
	case *time.Time:
		if json.Unmarshal(body, value) != nil { // whose text speaks of layouts
			return placed(errors.New("must be an RFC 3339 time such as 2026-01-31T09:30:00Z"), at)
		}
		return nil
	case json.Unmarshaler, encoding.TextUnmarshaler:
		return placed(json.Unmarshal(body, value), at)
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var members map[string]json.RawMessage
	_ = json.Unmarshal(body, &members) // of what is no object there are none
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		raw, below := members[name], at+"/"+pointerToken(name)
		switch {
		case f.Anonymous && name == "":
			raw, below = body, at
		case raw == nil:
			continue
		}
		if err := refused(raw, f.Type, below); err != nil {
			return err
		}
	}
	return nil
}

// placed puts a place before what is wrong with the value there.
func placed(err error, at string) error {
	var coded *tandem.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &coded) || len(coded.Fields) == 0:
		return tandem.Errorf(tandem.CodeInvalid, "the JSON does not have the form expected").WithField(at, "%s", detail(err))
	}
	out := *coded
	out.Fields = nil
	for _, f := range coded.Fields {
		out.WithField(at+f.Pointer, "%s", f.Detail)
	}
	return &out
}

// detail is the text of an error for its field.
func detail(err error) string {
	var coded *tandem.Error
	if errors.As(err, &coded) {
		return tandem.ProblemOf(err).Detail
	}
	return err.Error()
}
