package eventlog

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

var errInvalidEvent = errors.New("the event is invalid")

// maxFields bounds how many wrong parts one error names.
const maxFields = 20

// preparer completes and checks the events of one call, so that nothing is handed to the engine if one of them is wrong.
type preparer struct {
	log     *Log
	now     time.Time
	many    bool
	ids     idMaker
	bad     *tandem.Error // the first kind of failure found, with the fields of all of that kind
	spreads int           // partition of the events without key
	spread  *liveTopic    // whose it is
}

func (l *Log) newPreparer(events int) preparer {
	now := l.accept()
	return preparer{log: l, now: now, many: events > 1, ids: idMaker{now: now, left: events}}
}

// accept returns the time of acceptance: in milliseconds, which every engine can hold.
func (l *Log) accept() time.Time { return l.opts.Now().UTC().Truncate(time.Millisecond) }

// prepare fills in r from the event and returns the event's size.
func (p *preparer) prepare(t *topic, ev *tandem.Event, links string, i int, r *driver.Record) int {
	if r.Dedup = ev.ID != ""; !r.Dedup {
		ev.ID = p.ids.next()
	}
	ev.Meta.Accepted = p.now
	p.log.opts.Sampling.Ensure(t.Name, ev)
	withoutLinks(ev)
	if err := tandem.CheckEvent(ev); err != nil {
		p.invalid(i, err)
	}
	size := sizeOf(ev)
	if size > p.log.limit {
		p.tooLarge(i, size, p.log.limit)
	}
	size += len(ev.Meta.TraceParent)
	if links != "" {
		size += len(tandem.AttrLinks) + len(links)
		ev.Extensions = append(slices.Clip(ev.Extensions), tandem.Extension{Name: tandem.AttrLinks, Value: links})
	}
	if most := p.log.info.MaxEventBytes; most > 0 && size > most {
		p.tooLarge(i, size, most)
	}
	r.Partition = p.partition(t, ev)
	if r.Dedup {
		r.Identity = tandem.Fingerprint(t.Name, ev.Source, ev.ID)
		r.Sum = contentSum(ev)
	}
	return size
}

// withoutLinks leaves out what an event says of request links: its publisher cannot know it. The slice may be shared.
func withoutLinks(ev *tandem.Event) {
	isLinks := func(x tandem.Extension) bool { return x.Name == tandem.AttrLinks }
	if slices.ContainsFunc(ev.Extensions, isLinks) {
		ev.Extensions = slices.DeleteFunc(slices.Clone(ev.Extensions), isLinks)
	}
}

// invalid notes what is wrong with the i-th event.
func (p *preparer) invalid(i int, err error) {
	if p.bad == nil {
		p.bad = &tandem.Error{Code: tandem.CodeInvalid, Err: errInvalidEvent}
	}
	var e *tandem.Error
	if p.bad.Code != tandem.CodeInvalid || !errors.As(err, &e) {
		return
	}
	for _, f := range e.Fields {
		if len(p.bad.Fields) < maxFields {
			p.bad.WithField(pointer(i, p.many, f.Pointer[1:]), "%s", f.Detail)
		}
	}
}

func (p *preparer) tooLarge(i, size, limit int) {
	if p.bad != nil {
		return
	}
	p.bad = tandem.Errorf(tandem.CodeTooLarge, "an event of %d bytes is over the limit of %d", size, limit).
		WithField(pointer(i, p.many, "data"), "%d bytes with attributes, at most %d", size, limit).
		WithHint("store what is large elsewhere and put its address into the event")
}

func (p *preparer) err() error {
	if p.bad == nil {
		return nil
	}
	return p.bad
}

// partition chooses where an event goes and notes the key that the topic declares. Events without key share a partition
// within one call, so that a batch touches few of them, and take turns from call to call.
func (p *preparer) partition(t *topic, ev *tandem.Event) int {
	if t.keyRule != "" && ev.Meta.Key == "" {
		if key, ok := ev.Attribute(t.keyRule); ok {
			ev.Meta.Key = key
		}
	}
	if key := ev.Ordering(); key != "" {
		return tandem.Partition(key, t.Partitions)
	}
	if p.spread != t.live {
		p.spread = t.live
		p.spreads = int(t.live.spread.Add(1) % uint32(t.Partitions))
	}
	return p.spreads
}

// sizeOf is the number of bytes of an event that count against the limit: payload, attributes, and what Tandem stores of
// its own, but for the trace that it may have begun.
func sizeOf(ev *tandem.Event) int {
	n := len(ev.ID) + len(ev.Source) + len(ev.Type) + len(ev.Subject) + len(ev.Time) + len(ev.DataContentType) + len(ev.DataSchema) + len(ev.Data)
	for i := range ev.Extensions {
		n += len(ev.Extensions[i].Name) + len(ev.Extensions[i].Value)
	}
	m := &ev.Meta
	for i := range m.Causes {
		n += len(m.Causes[i])
	}
	return n + len(m.Key) + len(m.Flow) + len(m.Operation) + len(m.Producer) + len(m.Route) + len(m.TraceState)
}

// contentSum tells an honest repeat from other data under the same id. It leaves out what a client may well make anew
// when it tries again, the time and the trace, and what differs between the forms an event may be sent in: how the data was
// encoded on the way, the order of extensions, and whether JSON is named or implied. It must not change: engines store it.
func contentSum(ev *tandem.Event) uint64 {
	var s summer
	s.Reset()
	s.put(ev.Type)
	s.put(ev.Subject)
	if ev.DataContentType == "" && ev.Data != nil {
		s.put("application/json")
	} else {
		s.put(ev.DataContentType)
	}
	s.put(ev.DataSchema)
	var extensions uint64
	for i := range ev.Extensions {
		if ev.Extensions[i].Name == tandem.AttrLinks {
			continue // ours, and not known when a repeat is sent
		}
		var x summer
		x.Reset()
		x.put(ev.Extensions[i].Name)
		x.put(ev.Extensions[i].Value)
		extensions += x.Sum64()
	}
	s.number(extensions)
	s.number(uint64(len(ev.Data)))
	s.Write(ev.Data)
	return s.Sum64()
}

// summer hashes parts with their lengths.
type summer struct{ xxhash.Digest }

func (s *summer) put(part string) {
	s.number(uint64(len(part)))
	s.WriteString(part)
}

func (s *summer) number(n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	s.Write(b[:])
}
