package natslog

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/internal/percent"
)

// The headers of a message, beside the ce- headers of the binary mode of CloudEvents' NATS binding.
const (
	cePrefix = "ce-"
	// headerMeta is what an event has and the binding does not: see appendMeta. A message without it was written by others.
	headerMeta = "Tandem-Meta"

	headerMsgID      = "Nats-Msg-Id"
	headerBatch      = "Nats-Batch-Id"
	headerBatchSeq   = "Nats-Batch-Sequence"
	headerCommit     = "Nats-Batch-Commit"
	headerLastSeq    = "Nats-Expected-Last-Sequence"
	headerLastMsgID  = "Nats-Expected-Last-Msg-Id"
	headerTTL        = "Nats-TTL"
	headerSequence   = "Nats-Sequence"
	headerSubject    = "Nats-Subject"
	headerTime       = "Nats-Time-Stamp"
	headerPrevious   = "Nats-Last-Sequence"
	headerPending    = "Nats-Pending-Messages" // of a request for messages that has ended
	headerStatus     = "Status"
	headerStatusText = "Description"
)

// maxHeader is the server's limit of all headers of a message; some is left for those of a batch.
const maxHeader = 65535 - 512

// headers fills a nats.Header, whose values share one array.
type headers struct {
	h      nats.Header
	values []string
	size   int
}

func newHeaders(n int) headers {
	return headers{h: make(nats.Header, n), values: make([]string, 0, n), size: len("NATS/1.0\r\n\r\n")}
}

func (h *headers) set(name, value string) {
	h.values = append(h.values, value)
	n := len(h.values)
	h.h[name] = h.values[n-1 : n : n]
	h.size += len(name) + len(value) + len(": \r\n")
}

// encode returns the message of a record, which shares the data of its event, and the bytes that the server will count for it.
func encode(r *driver.Record, subject string) (*nats.Msg, int) {
	ev := r.Event
	h := newHeaders(12 + len(ev.Extensions))
	h.set("ce-specversion", "1.0")
	for _, a := range [...]struct{ name, value string }{
		{"ce-id", ev.ID}, {"ce-source", ev.Source}, {"ce-type", ev.Type}, {"ce-subject", ev.Subject}, {"ce-time", ev.Time},
		{"ce-datacontenttype", ev.DataContentType}, {"ce-dataschema", ev.DataSchema},
		{cePrefix + tandem.AttrFlow, ev.Meta.Flow}, {cePrefix + tandem.AttrOperation, ev.Meta.Operation},
		{cePrefix + tandem.AttrTraceParent, ev.Meta.TraceParent}, {cePrefix + tandem.AttrTraceState, ev.Meta.TraceState},
	} {
		if a.value != "" {
			h.set(a.name, percent.Encode(a.value))
		}
	}
	if len(ev.Meta.Causes) > 0 {
		h.set(cePrefix+tandem.AttrCause, percent.Encode(strings.Join(ev.Meta.Causes, " ")))
	}
	if ev.Meta.Hops > 0 {
		h.set(cePrefix+tandem.AttrHops, strconv.Itoa(ev.Meta.Hops))
	}
	for i := range ev.Extensions {
		h.set(cePrefix+ev.Extensions[i].Name, percent.Encode(ev.Extensions[i].Value))
	}
	h.set(headerMeta, string(appendMeta(make([]byte, 0, 96), r)))
	if r.Dedup {
		h.set(headerMsgID, base64.RawURLEncoding.EncodeToString(r.Identity[:]))
	}
	return &nats.Msg{Subject: subject, Header: h.h, Data: ev.Data}, storedSize(subject, h.size, len(ev.Data))
}

// storedSize is what the server's file store needs for a message.
func storedSize(subject string, header, data int) int {
	return 22 + len(subject) + 4 + header + data + 8
}

// appendMeta writes what makes an event come back as it was: fields NAME=VALUE, separated by semicolons, values percent-encoded, after
// the version of the format.
//
//	a  when it was accepted, in nanoseconds since 1970
//	s  the sum of its content, when its id may be sent again (Record.Dedup)
//	d  its DataEncoding, and n when there is no data, which is not empty data
//	x  names and kinds of its extensions, in their order
//	k, p, r  key, producer, route
func appendMeta(b []byte, r *driver.Record) []byte {
	ev := r.Event
	b = append(b, "1"...)
	if !ev.Meta.Accepted.IsZero() {
		b = append(b, ";a="...)
		b = strconv.AppendInt(b, ev.Meta.Accepted.UnixNano(), 10)
	}
	if r.Dedup {
		b = append(b, ";s="...)
		b = strconv.AppendUint(b, r.Sum, 16)
	}
	b = append(b, ";d="...)
	b = strconv.AppendUint(b, uint64(ev.Encoding), 10)
	if ev.Data == nil {
		b = append(b, 'n')
	}
	if len(ev.Extensions) > 0 {
		b = append(b, ";x="...)
		for i := range ev.Extensions {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, ev.Extensions[i].Name...)
			b = append(b, '0'+byte(ev.Extensions[i].Kind))
		}
	}
	for _, f := range [...]struct{ name, value string }{{";k=", ev.Meta.Key}, {";p=", ev.Meta.Producer}, {";r=", ev.Meta.Route}} {
		if f.value != "" {
			b = append(b, f.name...)
			b = append(b, strings.ReplaceAll(percent.Encode(f.value), ";", "%3B")...)
		}
	}
	return b
}
