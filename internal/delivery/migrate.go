package delivery

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/internal/offsetmap"
)

// Prefix begins the keys of all state records of this package.
const Prefix = "delivery/"

// Mover says where things of a log lie in another one that its events were copied to.
type Mover interface {
	// From is the identity of the log.
	From() [8]byte
	// Started is when the migration was begun, in Unix milliseconds, however often it is run.
	Started() int64
	// Topics returns the topics that there are, in an order that does not change.
	Topics() []driver.ID
	// Topic returns a topic and its incarnation in the new log; ok is false for one that was deleted.
	Topic(driver.ID) (t tandem.Topic, to driver.ID, ok bool)
	// Place returns the offset of an event in the new log if it was copied (exact), else that of the first one behind it, or the end.
	Place(ctx context.Context, id driver.ID, part int, offset uint64) (next uint64, exact bool, err error)
	// First returns the first event of a partition that was copied: its offset and sequence number in the old log; seq is zero when that is not
	// known any more. Without one, offset and seq are those of the end. removed is driver.Bounds.Removed of the old log.
	First(ctx context.Context, id driver.ID, part int) (offset, seq, removed uint64, err error)
	// Seq returns the sequence number in the new log of the first event at or after an offset of it.
	Seq(ctx context.Context, id driver.ID, part int, next uint64) (uint64, error)
	// Gone names an incarnation that is not in the new log, for what is known of events that were not copied.
	Gone(driver.ID) driver.ID
}

// moved is a migration that a subscription has come through: what leases of before it look like.
type moved struct {
	Tag uint64          `json:"tag"`
	Log offsetmap.LogID `json:"log"`
}

// Migrate gives put the state records of this package for the log that events were copied to, for those of the old one. The places of events are
// translated; what is known of events that were not copied is kept under an incarnation that is not there, as that of a topic that was deleted. The
// same records come each time. An event without outcome that was not copied, since retention was faster, is recorded as expired.
func Migrate(ctx context.Context, from offsetmap.State, to Mover, put func(key string, value []byte) error) error {
	t := &translation{ctx: ctx, from: from, to: to, put: put}
	err := offsetmap.Scan(ctx, from, configPrefix, func(key string, value []byte) error {
		value, err := t.config(key[len(configPrefix):], value)
		if err != nil {
			return damaged(key, err)
		}
		return put(key, value)
	})
	if err != nil {
		return err
	}
	err = offsetmap.Scan(ctx, from, statePrefix, func(key string, value []byte) error {
		name, rest, ok := strings.Cut(key[len(statePrefix):], "/")
		if !ok {
			return damaged(key, errFormat)
		}
		if name != t.name {
			if err := t.end(); err != nil {
				return err
			}
			if err := t.begin(name); err != nil {
				return err
			}
		}
		if err := t.record(rest, value); err != nil {
			return damaged(key, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return t.end()
}

// translation translates one subscription after the other.
type translation struct {
	ctx  context.Context
	from offsetmap.State
	to   Mover
	put  func(key string, value []byte) error

	name    string
	grown   int64               // bytes that dead letters have more than before
	ledger  bool                // one is kept
	lastSeg uint64              // the segment for what is recorded now
	sums    map[uint64]*segment // of segments, as far as they are translated
}

// begin looks at the ledger of the next subscription.
func (t *translation) begin(name string) error {
	*t = translation{ctx: t.ctx, from: t.from, to: t.to, put: t.put, name: name, sums: map[uint64]*segment{}}
	value, err := offsetmap.Get(t.ctx, t.from, t.key(keyHorizon))
	if err != nil || value == nil {
		return err
	}
	var h horizon
	t.ledger = parseJSON(value, &h, &h.Version) == nil // a damaged one is cut at the next start
	t.lastSeg = max(uint64(t.to.Started()/1000), unixSeconds(h.Since))
	prefix := t.key(kindSegment)
	return t.from.ScanState(t.ctx, prefix, prefix[:len(prefix)-1]+"0", func(key string, _ []byte) bool {
		if start, err := strconv.ParseUint(key[len(prefix):], 16, 64); err == nil {
			t.lastSeg = start
		}
		return true
	})
}

// end writes the segment that what was recorded here made necessary.
func (t *translation) end() error {
	for start, g := range t.sums {
		if err := t.put(t.key(kindSegment)+segmentName(start), g.append(nil)); err != nil {
			return err
		}
	}
	t.sums = nil
	return nil
}

func (t *translation) key(rest string) string { return subPrefix(t.name) + rest }

// record translates a record of a subscription.
func (t *translation) record(rest string, value []byte) error {
	kind, tail, _ := strings.Cut(rest, "/")
	switch kind + "/" {
	case kindAt:
		return t.cursors(tail, value)
	case kindTried:
		return t.placed(kindTried, tail, func(where, where, bool) ([]byte, error) { return value, nil })
	case kindParked:
		return t.placed(kindParked, tail, func(_, w where, exact bool) ([]byte, error) { return t.letter(value, w, exact) })
	case kindWaiting:
		return t.placed(kindWaiting, tail, func(old, w where, exact bool) ([]byte, error) { return t.waiter(value, old, w, exact) })
	case kindDead, kindRedrive, kindPaced:
		return t.dead(kind+"/", tail, value)
	case kindLedger:
		return t.ledgerRecord(tail, value)
	case kindSegment:
		return t.segment(tail, value)
	case kindVersion:
		var v oldVersion
		if err := parseJSON(value, &v, &v.Version); err != nil {
			return err
		}
		if err := t.version(&v.Held); err != nil {
			return err
		}
		return t.put(t.key(rest), jsonValue(v))
	}
	switch rest {
	case keyTally:
		sum, err := parseTally(value)
		if err != nil {
			return err
		}
		sum.bytes += t.grown
		return t.put(t.key(rest), sum.append(nil))
	case keyRate, keyRun, keyHorizon:
		return t.put(t.key(rest), value)
	}
	return tandem.Errorf(tandem.CodeUnsupported, "it is of a kind that cannot be migrated")
}

// where translates the place of an event; exact is true if it was copied.
func (t *translation) where(w where) (to where, exact bool, err error) {
	_, id, ok := t.to.Topic(w.topic)
	if ok {
		next, exact, err := t.to.Place(t.ctx, w.topic, w.part, w.offset)
		if err != nil {
			return where{}, false, err
		}
		if exact {
			return where{id, w.part, next}, true, nil
		}
	}
	return where{t.to.Gone(w.topic), w.part, w.offset}, false, nil
}

// placed translates a record whose key ends with a place.
func (t *translation) placed(kind, rest string, value func(old, w where, exact bool) ([]byte, error)) error {
	old, err := parseWhere(rest)
	if err != nil {
		return err
	}
	w, exact, err := t.where(old)
	if err != nil {
		return err
	}
	v, err := value(old, w, exact)
	if err != nil {
		return err
	}
	return t.put(t.key(kind)+w.String(), v)
}

// letter gives the header of a copy its place.
func (t *translation) letter(value []byte, w where, exact bool) ([]byte, error) {
	if len(value) == 0 || value[0] != formatVersion {
		return nil, errFormat
	}
	n, width := binary.Uvarint(value[1:])
	if width <= 0 || n > uint64(len(value)-1-width) {
		return nil, errFormat
	}
	rest := value[1+width:]
	var l letter
	if err := json.Unmarshal(rest[:n], &l); err != nil {
		return nil, fmt.Errorf("%w: %w", errFormat, err)
	}
	if !exact {
		return value, nil
	}
	l.Offset = w.offset
	var err error
	if l.Seq, err = t.seq(w, l.Topic); err != nil {
		return nil, err
	}
	head := jsonValue(l)
	b := append(make([]byte, 0, len(head)+len(rest)), formatVersion)
	b = binary.AppendUvarint(b, uint64(len(head)))
	b = append(b, head...)
	return append(b, rest[n:]...), nil
}

// seq returns the sequence number of an event of the new log by the name of its topic.
func (t *translation) seq(w where, topic string) (uint64, error) {
	for _, id := range t.to.Topics() {
		if info, to, ok := t.to.Topic(id); ok && to == w.topic && info.Name == topic {
			return t.to.Seq(t.ctx, id, w.part, w.offset)
		}
	}
	return 0, nil
}

func (t *translation) waiter(value []byte, old, w where, exact bool) ([]byte, error) {
	v, err := parseWaiter(value)
	if err != nil || !exact {
		return value, err
	}
	v.seq, err = t.to.Seq(t.ctx, old.topic, w.part, w.offset)
	return v.append(nil), err
}

// dead translates a record of a dead letter.
func (t *translation) dead(kind, id string, value []byte) error {
	old, epoch, ok := parseDeadID(id)
	if !ok {
		return errFormat
	}
	w, exact, err := t.where(old)
	if err != nil {
		return err
	}
	if kind == kindDead {
		was := len(value)
		if value, err = t.letter(value, w, exact); err != nil {
			return err
		}
		t.grown += int64(len(value) - was)
	}
	return t.put(t.key(kind)+deadID(w, epoch), value)
}

// cursors translates how far a topic was read. Events that were not copied are recorded as expired.
func (t *translation) cursors(rest string, value []byte) error {
	var n uint64
	if _, err := fmt.Sscanf(rest, "%016x", &n); err != nil {
		return errFormat
	}
	epoch, parts, err := parseCursors(value)
	if err != nil {
		return err
	}
	id := driver.ID(n)
	info, to, ok := t.to.Topic(id)
	if !ok || info.Partitions != len(parts) { // deleted: what was held is recorded at the next start
		return t.put(t.key(kindAt)+topicHex(t.to.Gone(id)), value)
	}
	for i := range parts {
		p := &parts[i]
		if err := t.overtaken(id, info.Name, i, p, epoch); err != nil {
			return err
		}
		held := p.held[:0]
		for _, offset := range p.held {
			next, exact, err := t.to.Place(t.ctx, id, i, offset)
			if err != nil {
				return err
			}
			if exact {
				held = append(held, next)
			} else if err := t.expired(where{id, i, offset}, epoch, 0, 0, info.Name); err != nil {
				return err
			}
		}
		p.held = held
		if p.next, _, err = t.to.Place(t.ctx, id, i, p.next); err != nil {
			return err
		}
		if p.seq, err = t.to.Seq(t.ctx, id, i, p.next); err != nil {
			return err
		}
	}
	return t.put(t.key(kindAt)+topicHex(to), appendCursors(nil, epoch, parts))
}

// overtaken records what retention removed before it was read, or copied.
func (t *translation) overtaken(id driver.ID, name string, part int, p *partCursor, epoch uint64) error {
	first, seq, removed, err := t.to.First(t.ctx, id, part)
	known := p.seq != 0 && seq != 0
	if err != nil || p.next >= first || known && seq <= p.seq || !known && removed <= p.next {
		return err
	}
	count := uint64(0)
	if known {
		count = seq - p.seq
	}
	return t.expired(where{id, part, p.next}, epoch, first, count, name)
}

// config translates a configuration, which has been through one more migration then.
func (t *translation) config(name string, value []byte) ([]byte, error) {
	c, err := parseConfig(value)
	if err != nil {
		return nil, err
	}
	for i := range c.Versions {
		if err := t.version(&c.Versions[i]); err != nil {
			return nil, err
		}
	}
	if c.Until != nil {
		if *c.Until, err = t.places(c.Until, c.current()); err != nil {
			return nil, err
		}
	}
	c.Moved = append(c.Moved, moved{Tag: tagOf(name, c.Born), Log: t.to.From()})
	c.Born++ // so that a lease of before is never taken for one of an event that lies at the same place now
	return jsonValue(&c), nil
}

func (t *translation) version(v *version) (err error) {
	v.From, err = t.places(&v.From, &v.Declaration)
	return err
}

// places translates places for the topics that a declaration selects. Topics that appear later are read from their start, as before.
func (t *translation) places(p *places, decl *tandem.Subscription) (places, error) {
	if p.Number == 0 && len(p.Parts) == 0 {
		return places{}, nil
	}
	out := places{Parts: map[driver.ID][]uint64{}}
	for id, offsets := range p.Parts {
		if _, _, ok := t.to.Topic(id); !ok {
			out.Parts[t.to.Gone(id)] = offsets
		}
	}
	for _, id := range t.to.Topics() {
		info, to, ok := t.to.Topic(id)
		if _, named := p.Parts[id]; !ok || !named && !matchesTopic(decl, info.Name) {
			continue
		}
		offsets := make([]uint64, info.Partitions)
		for i := range offsets {
			var err error
			if offsets[i], _, err = t.to.Place(t.ctx, id, i, p.at(id, i)); err != nil {
				return places{}, err
			}
		}
		out.Parts[to] = offsets
	}
	return out, nil
}
