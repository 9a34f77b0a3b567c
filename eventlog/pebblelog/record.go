package pebblelog

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// A record is one event in a run:
//
//	flags       2 bytes, little-endian: which of the 14 strings are not empty
//	more        1 byte: recDedup … recEncoding
//	identity    16 bytes and sum 8 bytes, with recDedup
//	accepted    8 bytes: nanoseconds since 1970, with recAccepted
//	hops        uvarint, with recHops
//	lengths     uvarint each of the strings present
//	extensions  uvarint count; kind byte, uvarint name, uvarint value each; with recExtensions
//	causes      uvarint count; uvarint each; with recCauses
//	text        all strings in that order
//	data        the rest, with recData
//
// Its length and offset stand in the run, which also holds the version of this format; Pebble checks the bytes.
const (
	recDedup      = 1 << 0
	recData       = 1 << 1
	recAccepted   = 1 << 2
	recHops       = 1 << 3
	recExtensions = 1 << 4
	recCauses     = 1 << 5
	recEncoding   = 6 // two bits
)

const recStrings = 14

// fields are the strings of an event in the order in which they are stored.
func fields(ev *tandem.Event) [recStrings]*string {
	return [recStrings]*string{
		&ev.ID, &ev.Source, &ev.Type, &ev.Subject, &ev.Time, &ev.DataContentType, &ev.DataSchema,
		&ev.Meta.Key, &ev.Meta.Flow, &ev.Meta.Operation, &ev.Meta.Producer, &ev.Meta.Route,
		&ev.Meta.TraceParent, &ev.Meta.TraceState,
	}
}

// appendRecord encodes the event of r.
func appendRecord(b []byte, r *driver.Record) []byte {
	ev := r.Event
	strs := fields(ev)
	var flags uint16
	for i, s := range strs {
		if *s != "" {
			flags |= 1 << i
		}
	}
	more := byte(ev.Encoding&3) << recEncoding
	if r.Dedup {
		more |= recDedup
	}
	if ev.Data != nil {
		more |= recData
	}
	if !ev.Meta.Accepted.IsZero() {
		more |= recAccepted
	}
	if ev.Meta.Hops > 0 {
		more |= recHops
	}
	if len(ev.Extensions) > 0 {
		more |= recExtensions
	}
	if len(ev.Meta.Causes) > 0 {
		more |= recCauses
	}

	b = binary.LittleEndian.AppendUint16(b, flags)
	b = append(b, more)
	if r.Dedup {
		b = append(b, r.Identity[:]...)
		b = binary.LittleEndian.AppendUint64(b, r.Sum)
	}
	if more&recAccepted != 0 {
		b = binary.LittleEndian.AppendUint64(b, uint64(ev.Meta.Accepted.UnixNano()))
	}
	if more&recHops != 0 {
		b = binary.AppendUvarint(b, uint64(ev.Meta.Hops))
	}
	for _, s := range strs {
		if *s != "" {
			b = binary.AppendUvarint(b, uint64(len(*s)))
		}
	}
	if more&recExtensions != 0 {
		b = binary.AppendUvarint(b, uint64(len(ev.Extensions)))
		for i := range ev.Extensions {
			x := &ev.Extensions[i]
			b = append(b, byte(x.Kind))
			b = binary.AppendUvarint(b, uint64(len(x.Name)))
			b = binary.AppendUvarint(b, uint64(len(x.Value)))
		}
	}
	if more&recCauses != 0 {
		b = binary.AppendUvarint(b, uint64(len(ev.Meta.Causes)))
		for _, c := range ev.Meta.Causes {
			b = binary.AppendUvarint(b, uint64(len(c)))
		}
	}

	for _, s := range strs {
		b = append(b, *s...)
	}
	for i := range ev.Extensions {
		b = append(b, ev.Extensions[i].Name...)
		b = append(b, ev.Extensions[i].Value...)
	}
	for _, c := range ev.Meta.Causes {
		b = append(b, c...)
	}
	return append(b, ev.Data...)
}

var errRecord = errors.New("malformed record")

// cursor reads a record from its front; bad is set by the first read beyond its end.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.bad = true
		c.b = nil
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) byte() byte {
	if v := c.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (c *cursor) uint64() uint64 {
	if v := c.take(8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.bad = true
		c.b = nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.bad = true
		c.b = nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

// length is a uvarint that counts bytes, or items of at least a byte each, of what follows.
func (c *cursor) length() int {
	v := c.uvarint()
	if v > uint64(len(c.b)) {
		c.bad = true
		return 0
	}
	return int(v)
}

// head is what stands before the lengths of a record.
type head struct {
	flags    uint16
	more     byte
	identity [16]byte
	sum      uint64
	accepted int64 // math.MinInt64 when absent
	hops     uint64
}

func (c *cursor) head() (h head) {
	if v := c.take(2); v != nil {
		h.flags = binary.LittleEndian.Uint16(v)
	}
	h.more = c.byte()
	if h.more&recDedup != 0 {
		copy(h.identity[:], c.take(16))
		h.sum = c.uint64()
	}
	h.accepted = math.MinInt64
	if h.more&recAccepted != 0 {
		h.accepted = int64(c.uint64())
	}
	if h.more&recHops != 0 {
		h.hops = c.uvarint()
	}
	if h.flags>>recStrings != 0 || h.hops > math.MaxInt32 {
		c.bad = true
	}
	return h
}

// decodeRecord sets ev from b. All attributes share one string; ev.Data is a part of b.
func decodeRecord(b []byte, ev *tandem.Event) error {
	c := cursor{b: b}
	h := c.head()
	strs := fields(ev)
	var lens [recStrings]int
	total := 0
	for i := range lens {
		if h.flags&(1<<i) != 0 {
			lens[i] = c.length()
			total += lens[i]
		}
	}
	var exts []tandem.Extension
	var extLens []int
	if h.more&recExtensions != 0 {
		n := c.length()
		if n > len(c.b)/3 {
			return errRecord
		}
		exts = make([]tandem.Extension, n)
		extLens = make([]int, 2*n)
		for i := range exts {
			exts[i].Kind = tandem.ExtensionKind(c.byte())
			extLens[2*i], extLens[2*i+1] = c.length(), c.length()
			total += extLens[2*i] + extLens[2*i+1]
		}
	}
	var causes []string
	var causeLens []int
	if h.more&recCauses != 0 {
		n := c.length()
		causes = make([]string, n)
		causeLens = make([]int, n)
		for i := range causes {
			causeLens[i] = c.length()
			total += causeLens[i]
		}
	}
	text := string(c.take(total))
	if c.bad || h.more&recData == 0 && len(c.b) > 0 {
		return errRecord
	}

	next := func(n int) string {
		s := text[:n]
		text = text[n:]
		return s
	}
	for i, s := range strs {
		*s = next(lens[i])
	}
	for i := range exts {
		exts[i].Name = next(extLens[2*i])
		exts[i].Value = next(extLens[2*i+1])
	}
	for i := range causes {
		causes[i] = next(causeLens[i])
	}
	ev.Extensions = exts
	ev.Encoding = tandem.DataEncoding(h.more >> recEncoding)
	ev.Meta.Causes = causes
	ev.Meta.Hops = int(h.hops)
	ev.Meta.Accepted = time.Time{}
	if h.more&recAccepted != 0 {
		ev.Meta.Accepted = time.Unix(0, h.accepted).UTC()
	}
	ev.Data = nil
	if h.more&recData != 0 {
		ev.Data = c.b
		if ev.Data == nil {
			ev.Data = []byte{}
		}
	}
	return nil
}
