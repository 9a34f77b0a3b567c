package stream

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/websocket"
)

// format is what messages of a stream look like.
type format uint8

const (
	formatSSE    format = iota // server-sent events (HTML, section 9.2)
	formatTandem               // WebSocket, tandem.v1.json
	formatCloud                // WebSocket, cloudevents.json
	formats
)

// String is how presence and metrics call it.
func (f format) String() string { return [...]string{"sse", "tandem.v1.json", "cloudevents.json"}[f] }

// segmentBytes is how large a segment gets, give or take an event. It is what a client that stops reading holds at least.
const segmentBytes = 64 << 10

// segment is a piece of a stream, ready to be written: whole messages. Its bytes are shared and do not change.
type segment struct {
	bytes  []byte
	events int
	end    tandem.Cursor // the place after it, events that the filter left out included
	told   tandem.Cursor // the place that its last message tells
}

// appendEvent writes an event as one message. json is the event, cursor the place after it.
func (f format) appendEvent(b, json []byte, cursor tandem.Cursor) []byte {
	switch f {
	case formatSSE:
		b = append(append(append(b, "id: "...), cursor...), "\ndata: "...)
		return append(appendLines(b, json), "\n\n"...)
	case formatTandem:
		const open, middle, end = `{"event":`, `,"cursor":"`, `"}`
		b = websocket.AppendHeader(b, websocket.Text, len(open)+len(json)+len(middle)+len(cursor)+len(end))
		b = append(append(append(b, open...), json...), middle...)
		return append(append(b, cursor...), end...)
	default:
		return websocket.AppendFrame(b, websocket.Text, json)
	}
}

// appendLines writes data of a message. Data that is JSON keeps its line ends, and each line of a message needs a field of its
// own: the client joins them with a line feed, which is white space there as well.
func appendLines(b, data []byte) []byte {
	if bytes.IndexByte(data, '\n') < 0 && bytes.IndexByte(data, '\r') < 0 {
		return append(b, data...)
	}
	lines := bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	lines = bytes.ReplaceAll(lines, []byte("\r"), []byte("\n"))
	return append(b, bytes.ReplaceAll(lines, []byte("\n"), []byte("\ndata: "))...)
}

// appendPlace writes a message that only moves the cursor, where the format has one.
func (f format) appendPlace(b []byte, cursor tandem.Cursor) []byte {
	switch f {
	case formatSSE:
		return append(append(append(b, "id: "...), cursor...), "\n\n"...)
	case formatTandem:
		return appendJSON(b, struct {
			Cursor tandem.Cursor `json:"cursor"`
		}{cursor})
	}
	return b
}

// appendHello begins a stream: how soon to connect again and, where the client has no cursor yet, one, since it may lose the
// connection before the first event.
func (f format) appendHello(b []byte, retry time.Duration, cursor tandem.Cursor) []byte {
	if f == formatSSE {
		b = appendRetry(b, retry)
		if cursor != "" {
			b = append(append(append(b, "id: "...), cursor...), '\n')
		}
		return append(b, '\n')
	}
	if cursor != "" {
		b = f.appendPlace(b, cursor)
	}
	return b
}

func appendRetry(b []byte, d time.Duration) []byte {
	return append(strconv.AppendInt(append(b, "retry: "...), d.Milliseconds(), 10), '\n')
}

// appendBeat shows that the stream lives.
func (f format) appendBeat(b []byte) []byte {
	if f == formatSSE {
		return append(b, ":\n\n"...)
	}
	return websocket.AppendFrame(b, websocket.Ping, nil)
}

// gapType is the type of the event that stands for a gap where messages are nothing but events.
const gapType = "tandem.stream.gap"

func (f format) appendGap(b []byte, g *tandem.Gap) []byte {
	data, _ := json.Marshal(g) // three strings
	switch f {
	case formatSSE:
		b = append(append(append(b, "event: gap\nid: "...), g.To...), "\ndata: "...)
		return append(append(b, data...), "\n\n"...)
	case formatTandem:
		return appendJSON(b, struct {
			Gap *tandem.Gap `json:"gap"`
		}{g})
	}
	e := tandem.Event{ID: tandem.NewID(), Source: "/tandem", Type: gapType, Data: data, Encoding: tandem.DataJSON}
	return websocket.AppendFrame(b, websocket.Text, tandem.AppendEventJSON(nil, &e))
}

// The reasons of expiring and reconnect.
const (
	reasonDraining    = "draining"
	reasonAge         = "age"
	reasonSlow        = "slow"
	reasonUnavailable = "unavailable"
)

type control struct {
	Reason string `json:"reason"`
	After  int64  `json:"after,omitempty"` // milliseconds
}

// appendExpiring warns that the stream ends soon.
func (f format) appendExpiring(b []byte) []byte {
	switch f {
	case formatSSE:
		return append(b, `event: expiring`+"\n"+`data: {"reason":"age"}`+"\n\n"...)
	case formatTandem:
		return appendJSON(b, map[string]control{"expiring": {Reason: reasonAge}})
	}
	return b
}

// appendGoodbye is the last that a stream says: come back after so long. place is the cursor, if the client was not told it yet.
func (f format) appendGoodbye(b []byte, reason string, after time.Duration, place tandem.Cursor) []byte {
	if f == formatSSE {
		b = append(appendRetry(b, after), "event: reconnect\n"...)
		if place != "" {
			b = append(append(append(b, "id: "...), place...), '\n')
		}
		return append(append(append(b, `data: {"reason":"`...), reason...), "\"}\n\n"...)
	}
	if f == formatTandem {
		if place != "" {
			b = f.appendPlace(b, place)
		}
		b = appendJSON(b, map[string]control{"reconnect": {Reason: reason, After: after.Milliseconds()}})
	}
	code := 1012 // service restart
	switch reason {
	case reasonSlow:
		code = 1008
	case reasonUnavailable:
		code = 1011
	}
	return websocket.AppendClose(b, code, reason)
}

// appendJSON writes one message of tandem.v1.json.
func appendJSON(b []byte, v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // of types of this package only
	}
	return websocket.AppendFrame(b, websocket.Text, data)
}
