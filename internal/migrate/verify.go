package migrate

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/internal/offsetmap"
)

// Summary is what was copied and compared.
type Summary struct {
	From    Engine         `json:"from"`
	To      Engine         `json:"to"`
	Topics  []TopicSummary `json:"topics"`
	Events  uint64         `json:"events"`  // compared, on both sides
	Retired uint64         `json:"retired"` // copied, and removed by retention since, on either side
	Found   uint64         `json:"found"`   // copied by an earlier run
	State   []RoomSummary  `json:"state"`
	Took    float64        `json:"seconds"`
}

// TopicSummary is a topic that is the same on both sides.
type TopicSummary struct {
	Topic      string        `json:"topic"`
	Partitions []PartSummary `json:"partitions"`
}

// PartSummary is a partition that is the same on both sides.
type PartSummary struct {
	Events uint64 `json:"events"`
	Sum    string `json:"sum"` // over all events in their order, in hexadecimal
}

// RoomSummary is the state of a room in the target.
type RoomSummary struct {
	Prefix  string `json:"prefix"`
	Records uint64 `json:"records"`
	Sum     string `json:"sum"`
}

func engineOf(i driver.Info) Engine { return Engine{i.Engine, i.LogID} }

func (m *Migration) summary() Summary {
	return Summary{From: engineOf(m.from.Info()), To: engineOf(m.to.Info()), Topics: []TopicSummary{}, State: []RoomSummary{}}
}

// Verify compares both sides after a migration that is finished, before Tandem is started on the target: what it stores there has no counterpart.
// Codes: Conflict (they differ; the first difference is named), NotFound (nothing was migrated).
func (m *Migration) Verify(ctx context.Context) (Summary, error) {
	begin := m.opts.Now()
	closeSource, err := m.openSource(ctx)
	if err != nil {
		return m.summary(), err
	}
	defer closeSource()
	if err := m.look(ctx); err != nil {
		return m.summary(), err
	}
	began, err := m.began(ctx)
	if err == nil && (!began || m.run.Finished.IsZero()) {
		err = tandem.Errorf(tandem.CodeNotFound, "no migration into the target is finished").WithHint("run it without --verify-only")
	}
	if err == nil {
		err = m.known(ctx)
	}
	if err != nil {
		return m.summary(), err
	}
	s, err := m.verify(ctx)
	s.Took = m.opts.Now().Sub(begin).Seconds()
	return s, err
}

// known finds the topics of a migration that is finished.
func (m *Migration) known(ctx context.Context) error {
	there, err := m.to.Topics(ctx)
	if err != nil {
		return tandem.Wrap("read the topics of the target", err)
	}
	byName := map[string]driver.Topic{}
	for _, dt := range there {
		byName[dt.Name] = dt
	}
	for _, t := range m.topics {
		r, ok, err := m.places.Topic(ctx, uint64(t.from.ID))
		if err != nil {
			return tandem.Wrap("read the map of the target", err)
		}
		dt, there := byName[t.from.Name]
		if !ok || !there || uint64(dt.ID) != r.To || len(r.Parts) != len(t.parts) {
			return tandem.Errorf(tandem.CodeConflict, "topic %s is not in the target as it was copied", t.from.Name)
		}
		t.to = dt
		for i, p := range t.parts {
			if n := r.Parts[i].Next; n > 0 {
				p.any, p.last = true, n-1
			}
		}
	}
	return nil
}

// verify reads both sides again and compares them with each other and with the map.
func (m *Migration) verify(ctx context.Context) (Summary, error) {
	s := m.summary()
	s.Found = m.found
	if err := m.refreshBounds(ctx); err != nil {
		return s, err
	}
	var done uint64
	for _, t := range m.topics {
		row := TopicSummary{Topic: t.from.Name}
		for _, p := range t.parts {
			if err := ctx.Err(); err != nil {
				return s, err
			}
			c := comparison{m: m, p: p, done: done}
			if err := c.run(ctx); err != nil {
				return s, err
			}
			row.Partitions = append(row.Partitions, PartSummary{c.events, c.sum()})
			s.Events, s.Retired, done = s.Events+c.events, s.Retired+c.retired, c.done
		}
		s.Topics = append(s.Topics, row)
	}
	err := m.verifyState(ctx, &s)
	return s, err
}

// refreshBounds looks at the source again: retention may have gone on, and these are the bounds that the map is to have.
func (m *Migration) refreshBounds(ctx context.Context) error {
	for _, t := range m.topics {
		for _, p := range t.parts {
			b, err := m.from.Bounds(ctx, t.from.ID, p.index)
			if err != nil {
				return tandem.Wrap("bounds of "+t.from.Name, err)
			}
			p.old = b
		}
	}
	return nil
}

// comparison compares a partition.
type comparison struct {
	m               *Migration
	p               *part
	mine, theirs    stored
	left, right     *chain
	events, retired uint64
	done            uint64
}

// stored reads the events of one side.
type stored struct {
	drv   driver.Driver
	read  func(ctx context.Context, id driver.ID, part int, from uint64, max, maxBytes int, dst []tandem.Record) ([]tandem.Record, error)
	id    driver.ID
	part  int
	at    uint64
	batch int
	bytes int
	buf   []tandem.Record
	head  int
}

// next returns the next event without taking it, nil at the end.
func (s *stored) next(ctx context.Context) (*tandem.Record, error) {
	if s.head == len(s.buf) {
		var err error
		if s.buf, err = s.read(ctx, s.id, s.part, s.at, s.batch, s.bytes, s.buf[:0]); err != nil {
			return nil, err
		}
		s.head = 0
		if len(s.buf) == 0 {
			return nil, nil
		}
		s.at = s.buf[len(s.buf)-1].Position.Offset + 1
	}
	return &s.buf[s.head], nil
}

func (c *comparison) run(ctx context.Context) error {
	m, p := c.m, c.p
	c.left, c.right = newChain(), newChain()
	c.mine = stored{drv: m.from, read: m.read, id: p.topic.from.ID, part: p.index, batch: m.opts.BatchEvents, bytes: m.opts.BatchBytes}
	c.theirs = stored{drv: m.to, read: m.to.Read, id: p.topic.to.ID, part: p.index, batch: m.opts.BatchEvents, bytes: m.opts.BatchBytes}
	p.removed = p.old.Removed
	err := m.places.Pairs(ctx, uint64(p.topic.from.ID), p.index, func(pairs []offsetmap.Pair) error {
		p.removed = min(p.removed, pairs[0].From) // what was removed after it was copied is in the target
		for _, pair := range pairs {
			if err := c.pair(ctx, pair); err != nil {
				return err
			}
		}
		m.progress(StepVerify, c.done, m.events)
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	mine, err := c.mine.next(ctx)
	if err != nil {
		return tandem.Wrap("read the source", err)
	}
	if mine != nil {
		return c.differ(mine.Position.Offset, "it was not copied: was the source written to meanwhile?").
			WithHint("see that Tandem is stopped on the source, and migrate again")
	}
	theirs, err := c.theirs.next(ctx)
	if err != nil {
		return tandem.Wrap("read the target", err)
	}
	if theirs != nil && theirs.Position.Offset < p.after() {
		return c.differ(p.old.End, "the target has an event at %d that the source does not have", theirs.Position.Offset)
	}
	if c.left.Sum64() != c.right.Sum64() {
		return c.differ(p.old.Start, "the checksums over the partition differ") // cannot be: each event was compared
	}
	return nil
}

// pair compares one event, which either side may have removed since.
func (c *comparison) pair(ctx context.Context, pair offsetmap.Pair) error {
	mine, err := c.mine.next(ctx)
	if err != nil {
		return tandem.Wrap("read the source", err)
	}
	theirs, err := c.theirs.next(ctx)
	if err != nil {
		return tandem.Wrap("read the target", err)
	}
	c.done++
	left, right := mine != nil && mine.Position.Offset <= pair.From, theirs != nil && theirs.Position.Offset <= pair.To
	if left && mine.Position.Offset < pair.From {
		return c.differ(mine.Position.Offset, "it is not in the map of offsets")
	}
	if right && theirs.Position.Offset < pair.To {
		return c.differ(pair.From, "the target has an event at %d that the source does not have", theirs.Position.Offset)
	}
	if left {
		c.mine.head++
	}
	if right {
		c.theirs.head++
	}
	switch {
	case left && right:
		c.left.event(&mine.Event)
		c.right.event(&theirs.Event)
		c.events++
		if !sameEvent(&mine.Event, &theirs.Event) {
			return c.differ(pair.From, "the target has other data at %d", pair.To)
		}
		return nil
	case left:
		return c.gone(ctx, c.theirs, pair.To, pair.From, "the target does not have it, at %d", pair.To)
	case right:
		return c.gone(ctx, c.mine, pair.From, pair.From, "the source does not have it any more")
	}
	c.retired++
	return nil
}

// gone tells retention, which removes from the start of a partition on, from a loss.
func (c *comparison) gone(ctx context.Context, side stored, offset, from uint64, why string, args ...any) error {
	b, err := side.drv.Bounds(ctx, side.id, side.part)
	if err != nil {
		return tandem.Wrap("bounds of "+c.p.topic.from.Name, err)
	}
	if offset < b.Removed {
		c.retired++
		return nil
	}
	return c.differ(from, why, args...)
}

func (c *comparison) differ(offset uint64, why string, args ...any) *tandem.Error {
	at := tandem.Position{Topic: c.p.topic.from.Name, Partition: c.p.index, Offset: offset}
	return tandem.Errorf(tandem.CodeConflict, "both sides differ at %s: %s", at, fmt.Sprintf(why, args...))
}

func (c *comparison) sum() string { return hexSum(c.left) }

func hexSum(c *chain) string { return hex.EncodeToString(c.Sum(nil)) }

// verifyState translates the state of the source again and compares it with what the target has.
func (m *Migration) verifyState(ctx context.Context, s *Summary) error {
	var room *RoomSummary
	sum := newChain()
	end := func() {
		if room != nil {
			room.Sum = hexSum(sum)
		}
	}
	err := m.eachRoom(ctx, func(r *Room, key string, value []byte) error {
		if room == nil || room.Prefix != r.Prefix {
			end()
			s.State = append(s.State, RoomSummary{Prefix: r.Prefix})
			room, sum = &s.State[len(s.State)-1], newChain()
		}
		there, err := offsetmap.Get(ctx, m.to, key)
		if err != nil {
			return tandem.Wrap("read the target", err)
		}
		if there == nil || !bytes.Equal(there, value) {
			return tandem.Errorf(tandem.CodeConflict, "both sides differ: state record %s", key).
				WithHint("was Tandem started on the target, or is it still running on the source?")
		}
		room.Records++
		sum.text(key)
		sum.bytes(value)
		return nil
	})
	end()
	if err != nil {
		return err
	}
	return m.noMore(ctx, s)
}

// noMore looks for state that the source has nothing for.
func (m *Migration) noMore(ctx context.Context, s *Summary) error {
	own := offsetmap.LogID(m.from.Info().LogID)
	counts := map[string]uint64{}
	rooms := m.rooms()
	stranger := ""
	err := m.to.ScanState(ctx, "", "", func(key string, _ []byte) bool {
		if key == offsetmap.RunKey || key == offsetmap.LogKey(own) || strings.HasPrefix(key, offsetmap.TopicsOf(own)) || strings.HasPrefix(key, offsetmap.ChunksOf(own)) {
			return true
		}
		for i := range rooms {
			if !rooms[i].Skip && strings.HasPrefix(key, rooms[i].Prefix) {
				counts[rooms[i].Prefix]++
				return true
			}
		}
		stranger = strings.Clone(key)
		return false
	})
	if err != nil {
		return tandem.Wrap("read the target", err)
	}
	for _, r := range s.State {
		if counts[r.Prefix] != r.Records && stranger == "" {
			stranger = fmt.Sprintf("%d records %s, and %d are expected", counts[r.Prefix], r.Prefix, r.Records)
		}
		delete(counts, r.Prefix)
	}
	for prefix := range counts {
		stranger = prefix
	}
	if stranger != "" {
		return tandem.Errorf(tandem.CodeConflict, "both sides differ: the target has state that was not copied: %s", stranger)
	}
	return nil
}
