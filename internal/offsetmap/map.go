package offsetmap

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// State is the state records of an engine, as driver.Driver scans them.
type State interface {
	ScanState(ctx context.Context, from, to string, fn func(key string, value []byte) bool) error
}

// cachedChunks is how many chunks a Map keeps decoded, of 64 KiB each.
const cachedChunks = 32

// Map is the map of one step: from one log to the next. It reads what it is asked for and holds at most 2 MiB. Safe for concurrent use.
type Map struct {
	state State
	log   LogID

	mu     sync.Mutex
	cached []*chunk // the one used last is the last
}

// chunk is a decoded chunk.
type chunk struct {
	topic  uint64
	part   int
	before uint64
	pairs  []Pair
}

func (c *chunk) has(topic uint64, part int, offset uint64) bool {
	return c.topic == topic && c.part == part && c.pairs[0].From <= offset && offset <= c.pairs[len(c.pairs)-1].From
}

// New returns the map of what came out of log.
func New(state State, log LogID) *Map { return &Map{state: state, log: log} }

// Place is where a place of the old log lies in the new one.
type Place struct {
	Found  bool   // there was an event at or after it
	Exact  bool   // there was one at it
	Next   uint64 // with Found: that event
	Before uint64 // the event before that one, or the last one there is without Found; zero when there is none
}

// Place returns the place of the first event of a partition that was at or after an offset.
func (m *Map) Place(ctx context.Context, topic uint64, part int, offset uint64) (Place, error) {
	c, err := m.chunk(ctx, topic, part, offset)
	if err != nil {
		return Place{}, err
	}
	if c == nil {
		last, err := m.Last(ctx, topic, part)
		return Place{Before: last.To}, err
	}
	i := sort.Search(len(c.pairs), func(i int) bool { return c.pairs[i].From >= offset })
	p := Place{Found: true, Exact: c.pairs[i].From == offset, Next: c.pairs[i].To, Before: c.before}
	if i > 0 {
		p.Before = c.pairs[i-1].To
	}
	return p, nil
}

// chunk returns the chunk that has the first pair at or after an offset, nil when all lie before it.
func (m *Map) chunk(ctx context.Context, topic uint64, part int, offset uint64) (*chunk, error) {
	if c := m.fromCache(topic, part, offset); c != nil {
		return c, nil
	}
	prefix := chunksOf(m.log, topic, part)
	var found *chunk
	var bad error
	err := m.state.ScanState(ctx, ChunkKey(m.log, topic, part, offset), after(prefix), func(key string, value []byte) bool {
		before, pairs, err := ParseChunk(value)
		if err != nil {
			bad = fmt.Errorf("record %s: %w", key, err)
			return false
		}
		found = &chunk{topic, part, before, pairs}
		return false
	})
	if err == nil {
		err = bad
	}
	if err != nil || found == nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.cached) == cachedChunks {
		m.cached = slices.Delete(m.cached, 0, 1)
	}
	m.cached = append(m.cached, found)
	return found, nil
}

func (m *Map) fromCache(topic uint64, part int, offset uint64) *chunk {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := len(m.cached) - 1; i >= 0; i-- {
		if c := m.cached[i]; c.has(topic, part, offset) {
			m.cached = append(slices.Delete(m.cached, i, i+1), c)
			return c
		}
	}
	return nil
}

// First returns the first pair of a partition; ok is false when there is none.
func (m *Map) First(ctx context.Context, topic uint64, part int) (first Pair, ok bool, err error) {
	c, err := m.chunk(ctx, topic, part, 0)
	if err != nil || c == nil {
		return Pair{}, false, err
	}
	return c.pairs[0], true, nil
}

// Last returns the last pair of a partition, the zero Pair when there is none. It looks at each chunk's key.
func (m *Map) Last(ctx context.Context, topic uint64, part int) (last Pair, err error) {
	var value []byte
	prefix := chunksOf(m.log, topic, part)
	err = m.state.ScanState(ctx, prefix, after(prefix), func(_ string, v []byte) bool {
		value = append(value[:0], v...)
		return true
	})
	if err != nil || value == nil {
		return Pair{}, err
	}
	_, pairs, err := ParseChunk(value)
	if err != nil {
		return Pair{}, fmt.Errorf("the last record of %s: %w", prefix, err)
	}
	return pairs[len(pairs)-1], nil
}

// Pairs calls fn for the pairs of a partition, in order, a chunk at a time, until it returns an error, which it returns. fn may use the engine.
func (m *Map) Pairs(ctx context.Context, topic uint64, part int, fn func([]Pair) error) error {
	return Scan(ctx, m.state, chunksOf(m.log, topic, part), func(key string, value []byte) error {
		_, pairs, err := ParseChunk(value)
		if err != nil {
			return fmt.Errorf("record %s: %w", key, err)
		}
		return fn(pairs)
	})
}

// Topic returns the record of a topic by its incarnation in the old log.
func (m *Map) Topic(ctx context.Context, topic uint64) (t Topic, ok bool, err error) {
	value, err := Get(ctx, m.state, TopicKey(m.log, topic))
	if err != nil || value == nil {
		return Topic{}, false, err
	}
	t, err = ParseTopic(value)
	return t, err == nil, err
}

// Topics calls fn for the topics of the old log.
func (m *Map) Topics(ctx context.Context, fn func(id uint64, t Topic) error) error {
	prefix := TopicsOf(m.log)
	return Scan(ctx, m.state, prefix, func(key string, value []byte) error {
		id, err := strconv.ParseUint(strings.TrimPrefix(key, prefix), 16, 64)
		if err != nil {
			return fmt.Errorf("record %s: %w", key, errFormat)
		}
		t, err := ParseTopic(value)
		if err != nil {
			return fmt.Errorf("record %s: %w", key, err)
		}
		return fn(id, t)
	})
}

// Logs returns the logs whose events came into this one, over one step or several.
func Logs(ctx context.Context, state State) (map[LogID]Log, error) {
	logs := map[LogID]Log{}
	err := Scan(ctx, state, logPrefix, func(key string, value []byte) error {
		var id LogID
		err := id.UnmarshalText([]byte(strings.TrimPrefix(key, logPrefix)))
		if err == nil {
			logs[id], err = ParseLog(value)
		}
		if err != nil {
			return fmt.Errorf("record %s: %w", key, err)
		}
		return nil
	})
	return logs, err
}

// The bounds of what Scan holds.
const (
	scanRecords = 512
	scanBytes   = 1 << 20
)

// Scan calls fn for the records whose key begins with prefix, which ends with a slash or is empty, in order of keys, until it returns an error,
// which it returns. It reads some records ahead, so that fn may use the engine, and keep what it is given.
func Scan(ctx context.Context, state State, prefix string, fn func(key string, value []byte) error) error {
	type record struct {
		key   string
		value []byte
	}
	end := ""
	if prefix != "" {
		end = after(prefix)
	}
	for from := prefix; ; {
		var page []record
		size := 0
		err := state.ScanState(ctx, from, end, func(key string, value []byte) bool {
			page = append(page, record{strings.Clone(key), append([]byte{}, value...)})
			size += len(key) + len(value)
			return len(page) < scanRecords && size < scanBytes
		})
		if err != nil {
			return err
		}
		for _, r := range page {
			if err := fn(r.key, r.value); err != nil {
				return err
			}
		}
		if len(page) < scanRecords && size < scanBytes {
			return nil
		}
		from = page[len(page)-1].key + "\x00"
	}
}

// Get returns the value of one state record, nil when there is none.
func Get(ctx context.Context, state State, key string) (value []byte, err error) {
	err = state.ScanState(ctx, key, key+"\x00", func(_ string, v []byte) bool {
		value = append([]byte{}, v...)
		return false
	})
	return value, err
}

// after returns the smallest string greater than all that begin with prefix, which ends with a slash.
func after(prefix string) string { return prefix[:len(prefix)-1] + "0" }
