package gateway

import (
	"bytes"
	"encoding/json"
)

// strict decodes JSON and refuses members that v does not have: a misspelled key is never ignored.
func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(v)
}
