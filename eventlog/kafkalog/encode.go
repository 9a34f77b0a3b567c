package kafkalog

import (
	"hash/crc32"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// An event is a record in binary mode of CloudEvents' Kafka protocol binding 1.0.2, section 3.2: each attribute in a header ce_NAME, the
// content type in content-type, the data as the value, and the ordering key as the key. Flow, causes, operation, hops and the trace are attributes
// there as they are on every wire. What no attribute says is in three headers more:
//
//	tandem           what this format is, in ASCII: the version 1, then letters
//	tandem_producer  Meta.Producer
//	tandem_route     Meta.Route
//
// The time stamp of the record is Meta.Accepted.
const (
	headerPrefix      = "ce_"
	headerSpecVersion = "ce_specversion"
	headerContentType = "content-type"
	headerTandem      = "tandem"
	headerProducer    = "tandem_producer"
	headerRoute       = "tandem_route"
)

// The letters of the header tandem, after its version.
const (
	formatVersion  = '1'
	formatEncoding = 'e' // and a digit: Encoding
	formatAssigned = 'a' // Tandem gave the event its id
	formatKey      = 'k' // the record's key is Meta.Key, and not the subject
	formatSum      = 's' // and eight hexadecimal digits: CRC-32C of the value. Who copies records and changes their values leaves headers as they are
	formatKinds    = 'x' // to the end: a digit for each extension, its Kind
)

// castagnoli is the table of CRC-32C, which processors have an instruction for.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const hexDigits = "0123456789abcdef"

func appendSum(b, value []byte) []byte {
	sum := crc32.Checksum(value, castagnoli)
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[sum>>shift&15])
	}
	return b
}

// names are the headers of the attributes that are strings of an event, in the order of texts.
var names = [...]string{"ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", headerContentType, "ce_dataschema",
	"ce_" + tandem.AttrFlow, "ce_" + tandem.AttrOperation, "ce_" + tandem.AttrTraceParent, "ce_" + tandem.AttrTraceState, headerProducer, headerRoute}

func texts(ev *tandem.Event) [len(names)]*string {
	return [...]*string{&ev.ID, &ev.Source, &ev.Type, &ev.Subject, &ev.Time, &ev.DataContentType, &ev.DataSchema,
		&ev.Meta.Flow, &ev.Meta.Operation, &ev.Meta.TraceParent, &ev.Meta.TraceState, &ev.Meta.Producer, &ev.Meta.Route}
}

var specVersion = []byte("1.0")

// encoding is room to encode a record in. It holds all that the record points to.
type encoding struct {
	buf     []byte
	headers []kgo.RecordHeader
}

// encode sets what r says of an event. r keeps no reference to the event.
func (e *encoding) encode(r *kgo.Record, ev *tandem.Event, assigned bool) {
	strs := texts(ev)
	key := ev.Ordering()
	size := len(key) + len(ev.Data) + 64 + 11
	for _, s := range strs {
		size += len(*s)
	}
	for i := range ev.Extensions {
		size += len(ev.Extensions[i].Value) + 1
	}
	for _, c := range ev.Meta.Causes {
		size += len(c) + 1
	}
	if cap(e.buf) < size {
		e.buf = make([]byte, 0, size+size/4)
	}
	e.buf, e.headers = e.buf[:0], e.headers[:0]

	e.headers = append(e.headers, kgo.RecordHeader{Key: headerSpecVersion, Value: specVersion})
	for i, s := range strs {
		if *s != "" {
			e.add(names[i], *s)
		}
	}
	if len(ev.Meta.Causes) > 0 {
		from := len(e.buf)
		for i, c := range ev.Meta.Causes {
			if i > 0 {
				e.buf = append(e.buf, ' ')
			}
			e.buf = append(e.buf, c...)
		}
		e.header(headerPrefix+tandem.AttrCause, from)
	}
	if ev.Meta.Hops > 0 {
		from := len(e.buf)
		e.buf = strconv.AppendInt(e.buf, int64(ev.Meta.Hops), 10)
		e.header(headerPrefix+tandem.AttrHops, from)
	}
	for i := range ev.Extensions {
		e.add(headerPrefix+ev.Extensions[i].Name, ev.Extensions[i].Value)
	}
	e.format(ev, assigned)

	r.Headers = e.headers
	r.Key, r.Value = nil, nil
	if key != "" {
		from := len(e.buf)
		e.buf = append(e.buf, key...)
		r.Key = e.since(from)
	}
	if ev.Data != nil {
		from := len(e.buf)
		e.buf = append(e.buf, ev.Data...)
		r.Value = e.since(from)
	}
	r.Timestamp = ev.Meta.Accepted
}

func (e *encoding) format(ev *tandem.Event, assigned bool) {
	from := len(e.buf)
	e.buf = append(e.buf, formatVersion, formatEncoding, '0'+byte(ev.Encoding&3))
	e.buf = appendSum(append(e.buf, formatSum), ev.Data)
	if assigned {
		e.buf = append(e.buf, formatAssigned)
	}
	if ev.Meta.Key != "" {
		e.buf = append(e.buf, formatKey)
	}
	for i := range ev.Extensions {
		if ev.Extensions[i].Kind != tandem.ExtensionString {
			e.buf = append(e.buf, formatKinds)
			for j := range ev.Extensions {
				e.buf = append(e.buf, '0'+byte(ev.Extensions[j].Kind))
			}
			break
		}
	}
	e.header(headerTandem, from)
}

func (e *encoding) add(name, value string) {
	from := len(e.buf)
	e.buf = append(e.buf, value...)
	e.header(name, from)
}

func (e *encoding) header(name string, from int) {
	e.headers = append(e.headers, kgo.RecordHeader{Key: name, Value: e.since(from)})
}

// since is what was added to buf, never nil.
func (e *encoding) since(from int) []byte { return e.buf[from:len(e.buf):len(e.buf)] }

// recordOf returns a record of its own for an event of a batch.
func recordOf(r *driver.Record, p *partition) *kgo.Record {
	rec := &kgo.Record{Topic: p.topic.Load().kafka, Partition: p.num}
	new(encoding).encode(rec, r.Event, !r.Dedup)
	return rec
}

// batchOverhead is what a batch takes beside its records.
const batchOverhead = 128

// sizeOf is about what a record takes in a batch.
func sizeOf(r *kgo.Record) int {
	n := len(r.Key) + len(r.Value) + 32
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value) + 4
	}
	return n
}
