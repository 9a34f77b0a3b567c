package condition

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/tandem-hybrid/tandem"
)

// maxRemembered bounds the data whose parsed form is kept for the next condition: to parse what is large costs more than most conditions.
const maxRemembered = tandem.DefaultMaxEventBytes

// parsed is the data of the event that was looked at last. Its bytes are a copy, so that nobody can change what is compared.
type parsed struct {
	data  []byte
	value ref.Val
}

// data returns the data of an event as CEL sees it: JSON as what it says, text as a string, anything else as bytes, and null where
// there is none. Conditions look at the same event one after the other, so the last one that was parsed is remembered.
func (c *Compiler) data(e *tandem.Event) ref.Val {
	switch {
	case len(e.Data) == 0:
		return types.NullValue
	case e.Encoding == tandem.DataText:
		return types.String(e.Data)
	case e.Encoding == tandem.DataBinary, e.Encoding == tandem.DataAuto && !tandem.IsJSON(e.DataContentType):
		return types.Bytes(e.Data)
	}
	if last := c.last.Load(); last != nil && bytes.Equal(last.data, e.Data) {
		return last.value
	}
	v := parseData(e.Data)
	if len(e.Data) <= maxRemembered {
		c.last.Store(&parsed{bytes.Clone(e.Data), v})
	}
	return v
}

func parseData(data []byte) ref.Val {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return types.NewErr("the data is not JSON")
	}
	if _, err := dec.Token(); err != io.EOF {
		return types.NewErr("the data is not JSON")
	}
	return types.DefaultTypeAdapter.NativeToValue(numbers(v))
}

// numbers makes doubles of numbers, as CEL does, except of whole ones that a double cannot hold: those become integers, so that
// an id is not taken for its neighbour.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		return numberOf(string(v))
	case map[string]any:
		for name, m := range v {
			v[name] = numbers(m)
		}
	case []any:
		for i, m := range v {
			v[i] = numbers(m)
		}
	}
	return v
}

func numberOf(s string) any {
	const exact = 1 << 53
	if len(s) > 15 && !strings.ContainsAny(s, ".eE") {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil && (n > exact || n < -exact) {
			return n
		}
		if n, err := strconv.ParseUint(s, 10, 64); err == nil && n > exact {
			return n
		}
	}
	f, _ := strconv.ParseFloat(s, 64) // out of range gives an infinity
	return f
}
