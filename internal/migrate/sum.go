package migrate

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/tandem-hybrid/tandem"
)

// sameEvent reports whether two events say the same, in all that Tandem stores of one.
func sameEvent(a, b *tandem.Event) bool {
	return a.ID == b.ID && a.Source == b.Source && a.Type == b.Type && a.Subject == b.Subject && a.Time == b.Time &&
		a.DataContentType == b.DataContentType && a.DataSchema == b.DataSchema && slices.Equal(a.Extensions, b.Extensions) &&
		(a.Data == nil) == (b.Data == nil) && bytes.Equal(a.Data, b.Data) && a.Encoding == b.Encoding && sameMeta(&a.Meta, &b.Meta)
}

func sameMeta(a, b *tandem.Meta) bool {
	return a.Key == b.Key && a.Flow == b.Flow && slices.Equal(a.Causes, b.Causes) && a.Operation == b.Operation && a.Hops == b.Hops &&
		a.Producer == b.Producer && a.Route == b.Route && a.TraceParent == b.TraceParent && a.TraceState == b.TraceState && a.Accepted.Equal(b.Accepted)
}

// chain is a checksum over many events, or records, in their order.
type chain struct{ xxhash.Digest }

func newChain() *chain {
	c := &chain{}
	c.Reset()
	return c
}

func (c *chain) number(n uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	c.Write(b[:])
}

func (c *chain) text(s string) {
	c.number(uint64(len(s)))
	c.WriteString(s)
}

func (c *chain) bytes(b []byte) {
	c.number(uint64(len(b)))
	c.Write(b)
}

func (c *chain) event(e *tandem.Event) {
	for _, s := range []string{e.ID, e.Source, e.Type, e.Subject, e.Time, e.DataContentType, e.DataSchema, e.Meta.Key, e.Meta.Flow, e.Meta.Operation,
		e.Meta.Producer, e.Meta.Route, e.Meta.TraceParent, e.Meta.TraceState} {
		c.text(s)
	}
	c.number(uint64(len(e.Extensions)))
	for _, x := range e.Extensions {
		c.text(x.Name)
		c.text(x.Value)
		c.number(uint64(x.Kind))
	}
	c.number(uint64(len(e.Meta.Causes)))
	for _, s := range e.Meta.Causes {
		c.text(s)
	}
	c.number(uint64(e.Meta.Hops))
	c.number(uint64(e.Meta.Accepted.UnixNano()))
	c.number(uint64(e.Encoding))
	if e.Data == nil {
		c.number(1)
	}
	c.bytes(e.Data)
}
