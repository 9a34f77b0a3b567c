package kafkalog

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tandem-hybrid/tandem"
)

var errNotOurs = errors.New("not a record of this format")

// decode makes an event of any record; what others wrote goes by the topic's defaults. Data is shared with the record.
func decode(r *kgo.Record, t *topic, out *tandem.Record) {
	*out = tandem.Record{Seq: uint64(r.Offset) + 1, Position: tandem.Position{Topic: t.Name, Partition: int(r.Partition), Offset: uint64(r.Offset)}}
	format, ok := header(r, headerTandem)
	if !ok || decodeOurs(r, format, out) != nil {
		out.Event, out.Assigned = tandem.Event{}, false
		decodeForeign(r, t, out)
	}
	out.Meta.Accepted = r.Timestamp.UTC()
}

func header(r *kgo.Record, name string) ([]byte, bool) {
	for i := range r.Headers {
		if r.Headers[i].Key == name {
			return r.Headers[i].Value, true
		}
	}
	return nil, false
}

// decodeOurs reads what encode wrote. All attributes share one string.
func decodeOurs(r *kgo.Record, format []byte, out *tandem.Record) error {
	ev := &out.Event
	keyed, kinds, err := readFormat(format, r.Value, out)
	if err != nil {
		return err
	}
	size, extensions := len(r.Key), 0
	for i := range r.Headers {
		size += len(r.Headers[i].Value)
		if strings.HasPrefix(r.Headers[i].Key, headerPrefix) {
			extensions++
		}
	}
	var all strings.Builder
	all.Grow(size)
	for i := range r.Headers {
		all.Write(r.Headers[i].Value)
	}
	all.Write(r.Key)
	text := all.String()
	if !utf8.ValidString(text) {
		return errNotOurs
	}
	for i := range r.Headers {
		h := &r.Headers[i]
		value := text[:len(h.Value)]
		text = text[len(h.Value):]
		if h.Key == headerTandem || h.Key == headerSpecVersion {
			continue
		}
		known, err := setAttribute(ev, h.Key, value)
		if err != nil {
			return err
		}
		if name, ok := strings.CutPrefix(h.Key, headerPrefix); ok && !known {
			if !tandem.ValidAttributeName(name) {
				return errNotOurs
			}
			if ev.Extensions == nil {
				ev.Extensions = make([]tandem.Extension, 0, max(1, min(extensions-4, tandem.MaxExtensions)))
			}
			ev.Extensions = append(ev.Extensions, tandem.Extension{Name: name, Value: value})
		}
	}
	if keyed {
		ev.Meta.Key = text
	}
	if len(kinds) > 0 && len(kinds) != len(ev.Extensions) || ev.ID == "" || ev.Source == "" || ev.Type == "" {
		return errNotOurs
	}
	for i := range kinds {
		if ev.Extensions[i].Kind = tandem.ExtensionKind(kinds[i] - '0'); ev.Extensions[i].Kind > tandem.ExtensionBoolean {
			return errNotOurs
		}
	}
	ev.Data = r.Value
	return nil
}

// readFormat reads the header tandem.
func readFormat(format, value []byte, out *tandem.Record) (keyed bool, kinds []byte, err error) {
	if len(format) == 0 || format[0] != formatVersion {
		return false, nil, errNotOurs
	}
	summed := false
	for i := 1; i < len(format); i++ {
		switch format[i] {
		case formatEncoding:
			if i++; i == len(format) || format[i] < '0' || format[i] > '3' {
				return false, nil, errNotOurs
			}
			out.Encoding = tandem.DataEncoding(format[i] - '0')
		case formatAssigned:
			out.Assigned = true
		case formatKey:
			keyed = true
		case formatSum:
			var sum [8]byte
			if i+8 >= len(format) || string(appendSum(sum[:0], value)) != string(format[i+1:i+9]) {
				return false, nil, errNotOurs
			}
			i += 8
			summed = true
		case formatKinds:
			kinds = format[i+1:]
			i = len(format)
		default:
			return false, nil, errNotOurs
		}
	}
	if !summed {
		return false, nil, errNotOurs
	}
	return keyed, kinds, nil
}

// setAttribute sets what a header says if it is one of those with a field of their own.
func setAttribute(ev *tandem.Event, name, value string) (known bool, err error) {
	switch name {
	case headerPrefix + tandem.AttrCause:
		ev.Meta.Causes = strings.Split(value, " ")
		return true, nil
	case headerPrefix + tandem.AttrHops:
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil || n < 0 {
			return true, errNotOurs
		}
		ev.Meta.Hops = int(n)
		return true, nil
	}
	for i, known := range names {
		if name == known {
			*texts(ev)[i] = value
			return true, nil
		}
	}
	return false, nil
}
