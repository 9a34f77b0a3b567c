package migrate

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/offsetmap"
)

// Plan is what would be copied.
type Plan struct {
	From   Engine      `json:"from"`
	To     Engine      `json:"to"`
	Begun  bool        `json:"begun"`  // by an earlier run, which this one would go on with
	Topics []TopicPlan `json:"topics"` // sorted by name
	Events uint64      `json:"events"` // of all topics
	Bytes  int64       `json:"bytes"`  // as the source stores them
	State  []RoomPlan  `json:"state"`
}

// Engine is one side.
type Engine struct {
	Engine string          `json:"engine"`
	Log    offsetmap.LogID `json:"log"`
}

// TopicPlan is a topic to be copied.
type TopicPlan struct {
	Topic      string `json:"topic"`
	Partitions int    `json:"partitions"`
	Events     uint64 `json:"events"`
	Bytes      int64  `json:"bytes"`
}

// RoomPlan is the state of a room.
type RoomPlan struct {
	Prefix  string `json:"prefix"`
	How     string `json:"how"` // copied, translated, left out
	Records uint64 `json:"records"`
	Bytes   int64  `json:"bytes"`
}

// Plan says what Run would do, and stores nothing. Codes: as Run.
func (m *Migration) Plan(ctx context.Context) (Plan, error) {
	if err := m.look(ctx); err != nil {
		return Plan{}, err
	}
	began, err := m.began(ctx)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{From: engineOf(m.from.Info()), To: engineOf(m.to.Info()), Begun: began, Events: m.events, Topics: []TopicPlan{}}
	for _, t := range m.topics {
		row := TopicPlan{Topic: t.from.Name, Partitions: t.from.Partitions}
		for _, pt := range t.parts {
			row.Events += pt.old.EndSeq - pt.old.StartSeq
			row.Bytes += pt.old.Bytes
		}
		p.Topics, p.Bytes = append(p.Topics, row), p.Bytes+row.Bytes
	}
	if p.State, err = m.stateOfSource(ctx); err == nil && !began && len(p.Topics)+len(p.State) == 0 {
		err = errNothing()
	}
	return p, err
}

// stateOfSource counts the state of each room. Code: Unsupported, when a record belongs to none.
func (m *Migration) stateOfSource(ctx context.Context) ([]RoomPlan, error) {
	rooms := m.rooms()
	plans := make([]RoomPlan, len(rooms))
	for i, r := range rooms {
		plans[i] = RoomPlan{Prefix: r.Prefix, How: r.how()}
	}
	stranger := ""
	err := m.from.ScanState(ctx, "", "", func(key string, value []byte) bool {
		i := slices.IndexFunc(rooms, func(r Room) bool { return strings.HasPrefix(key, r.Prefix) })
		if i < 0 {
			stranger = strings.Clone(key)
			return false
		}
		plans[i].Records++
		plans[i].Bytes += int64(len(key) + len(value))
		return true
	})
	if err != nil {
		return nil, tandem.Wrap("read the state of the source", err)
	}
	if stranger != "" {
		return nil, tandem.Errorf(tandem.CodeUnsupported, "state record %s of the source is of a kind that cannot be migrated", stranger).
			WithHint("was the source written by a newer version of Tandem?")
	}
	return slices.DeleteFunc(plans, func(p RoomPlan) bool { return p.Records == 0 }), nil
}

// horizon reads how far the numbers of the source reached, where its last topics were deleted.
func (m *Migration) horizon(ctx context.Context, out *offsetmap.Log) error {
	value, err := offsetmap.Get(ctx, m.from, "log/horizon")
	if len(value) == 8 {
		out.End = max(out.End, binary.BigEndian.Uint64(value))
	}
	return tandem.Wrap("read the source", err)
}

func sortTopics(all []*topic) {
	slices.SortFunc(all, func(a, b *topic) int { return cmp.Compare(a.from.Name, b.from.Name) })
}
