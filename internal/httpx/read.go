package httpx

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"

	"github.com/tandem-hybrid/tandem"
)

// ReadBody returns the body of a request of at most max bytes. Codes: TooLarge, Slow (a read deadline passed), Invalid
// (the body broke off).
func ReadBody(r *http.Request, max int64) ([]byte, error) {
	return AppendBody(nil, r, max)
}

// claimedBytes is how much is set aside for a body because its Content-Length says so. More comes as the body does.
const claimedBytes = 1 << 20

// AppendBody is ReadBody into a buffer of the caller: it appends to dst and returns the extended slice, also beside an error.
func AppendBody(dst []byte, r *http.Request, max int64) ([]byte, error) {
	if r.ContentLength > max {
		return dst, tooLarge(max)
	}
	if r.Body == nil || r.Body == http.NoBody {
		return dst, nil
	}
	start := len(dst)
	if n := int(min(r.ContentLength, claimedBytes)); n > 0 && cap(dst)-start <= n {
		dst = append(make([]byte, 0, start+n+1), dst...) // one byte more, so that the end is found without growing
	}
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.Body.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if int64(len(dst)-start) > max {
			return dst, tooLarge(max)
		}
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, BodyError(err)
		}
	}
}

// BodyError gives an error of reading a request's body its code: TooLarge, Slow or Invalid.
func BodyError(err error) error {
	var max *http.MaxBytesError
	var coded *tandem.Error
	switch {
	case errors.As(err, &coded):
		return err
	case errors.As(err, &max):
		return tooLarge(max.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return tandem.Errorf(tandem.CodeSlow, "the body did not arrive in time")
	}
	return tandem.Errorf(tandem.CodeInvalid, "the body broke off: %w", err)
}

func tooLarge(max int64) error {
	return tandem.Errorf(tandem.CodeTooLarge, "the body is larger than %d bytes", max)
}

// DecodeJSON reads a body of at most max bytes that is one JSON value into v. Members that v does not know and members
// that are there twice are refused. Codes: Invalid (Fields has the pointer where it is known), TooLarge, Slow.
func DecodeJSON(r *http.Request, max int64, v any) error {
	body, err := ReadBody(r, max)
	if err != nil {
		return err
	}
	return Strict(body, v)
}

// Strict is DecodeJSON of bytes at hand. Code: Invalid.
func Strict(body []byte, v any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return tandem.Errorf(tandem.CodeInvalid, "the body is empty where JSON is expected")
	}
	if err := repeated(json.NewDecoder(bytes.NewReader(body)), "", 0); err != nil {
		return invalidJSON(err, nil, nil)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return invalidJSON(err, body, v)
	}
	if _, err := dec.Token(); err != io.EOF {
		return tandem.Errorf(tandem.CodeInvalid, "malformed JSON: text after the value")
	}
	return nil
}

const maxDepth = 100

// repeated walks over one value and refuses objects that have a member twice, of which package json would drop one.
func repeated(dec *json.Decoder, at string, depth int) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	delim, nested := tok.(json.Delim)
	if !nested {
		return nil
	}
	if depth > maxDepth {
		return tandem.Errorf(tandem.CodeInvalid, "the JSON is nested more than %d deep", maxDepth)
	}
	seen := map[string]bool{}
	for i := 0; dec.More(); i++ {
		below := at + "/" + itoa(i)
		if delim == '{' {
			key, err := dec.Token()
			if err != nil {
				return err
			}
			name := key.(string)
			below = at + "/" + pointerToken(name)
			if seen[name] {
				return tandem.Errorf(tandem.CodeInvalid, "the JSON has a member twice").WithField(below, "is there twice")
			}
			seen[name] = true
		}
		if err := repeated(dec, below, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}
