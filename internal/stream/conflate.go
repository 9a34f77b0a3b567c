package stream

import (
	"context"
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
)

// The bounds of what is conflated at once: it is held in memory, and nothing is said meanwhile.
const (
	conflateKeys  = 2048
	conflateBytes = 512 << 10
	conflateTime  = 4 * readTime
)

// conflate reads up to the end, or to a bound, and keeps the latest event of each key, in the order of those. b and place are what is said
// before them.
func (c *catchUp) conflate(ctx context.Context, b []byte, place tandem.Cursor) (out []byte, events int, told tandem.Cursor, err error) {
	m := c.m
	k := conflated{format: m.format, latest: map[string]int{}}
	for began := time.Now(); k.live < conflateKeys && k.bytes < conflateBytes && time.Since(began) < conflateTime; {
		page, err := c.r.ReadWithin(ctx, m.filter, eventlog.Limits{Events: pumpEvents, Bytes: pumpBytes, To: c.to, Time: readTime})
		if err != nil && len(k.all) > 0 {
			break // what was read is behind the reader already; the next read meets it again
		}
		if err != nil {
			return nil, 0, "", err
		}
		if page.Gap != nil {
			k.keep("", m.format.appendGap(nil, page.Gap), "")
			place = page.Gap.To
		}
		for i := range page.Events {
			e := &page.Events[i].Event
			key := e.Ordering()
			if key != "" {
				key = page.Events[i].Position.Topic + "\x00" + key
			}
			place = c.r.CursorAfter(&page.Events[i])
			k.keep(key, tandem.AppendEventJSON(nil, e), place)
		}
		if !c.r.More() {
			break
		}
	}
	b, events = k.append(b)
	return b, events, place, nil
}

// conflated is what is kept of a stretch of a stream.
type conflated struct {
	format format
	all    []kept
	latest map[string]int // by key, the index in all
	live   int            // of all, those that no later one took the place of
	bytes  int            // of those
}

// kept is an event in JSON, or where at is empty a message that is ready. A nil text was replaced by a later one.
type kept struct {
	key  string
	text []byte
	at   tandem.Cursor
}

// keep takes one more, in the place of the one before of its key. An empty key is of its own.
func (k *conflated) keep(key string, text []byte, at tandem.Cursor) {
	if key != "" {
		if old, ok := k.latest[key]; ok {
			k.bytes -= len(k.all[old].text)
			k.all[old].text = nil
			k.live--
		}
		k.latest[key] = len(k.all)
	}
	k.all = append(k.all, kept{key, text, at})
	k.bytes += len(text)
	if k.live++; len(k.all) > 2*k.live+64 {
		k.compact()
	}
}

// compact drops what was replaced, so that memory is that of what is kept and not of what was read.
func (k *conflated) compact() {
	k.all = slices.DeleteFunc(k.all, func(e kept) bool { return e.text == nil })
	for i := range k.all {
		if key := k.all[i].key; key != "" {
			k.latest[key] = i
		}
	}
}

// append writes the messages, and counts the events among them.
func (k *conflated) append(b []byte) (out []byte, events int) {
	for i := range k.all {
		switch e := &k.all[i]; {
		case e.text == nil:
		case e.at == "":
			b = append(b, e.text...)
		default:
			b = k.format.appendEvent(b, e.text, e.at)
			events++
		}
	}
	return b, events
}
