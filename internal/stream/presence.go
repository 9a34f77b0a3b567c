package stream

import (
	"slices"
	"time"

	"github.com/tandem-hybrid/tandem"
)

// Present says who is connected to what. It costs a look at each open stream, and no more for those that it lists.
func (s *Streams) Present(q tandem.StreamQuery) tandem.StreamPresence {
	p := tandem.StreamPresence{Open: s.Open(), Topics: map[string]int{}, Streams: []tandem.StreamInfo{}}
	var found []*member
	s.mu.Lock()
	for pattern, n := range s.asked {
		p.Topics[pattern] = n
	}
	for m := range s.members {
		if (q.Topic == "" || m.sel.Match(q.Topic)) && (q.Principal == "" || m.ask.Principal == q.Principal) {
			found = append(found, m)
		}
	}
	s.mu.Unlock()
	p.Matching = len(found)
	if q.Limit <= 0 {
		return p
	}
	slices.SortFunc(found, func(a, b *member) int { return b.born.Compare(a.born) })
	for _, m := range found[:min(q.Limit, len(found))] {
		p.Streams = append(p.Streams, m.info())
	}
	return p
}

func (m *member) info() tandem.StreamInfo {
	i := tandem.StreamInfo{Kind: m.format.String(), Principal: m.ask.Principal, Address: m.remote, Topics: m.ask.Topics,
		Since: m.born.UTC().Format(time.RFC3339Nano), State: "live", Slow: m.slow}
	if i.Slow == "" {
		i.Slow = tandem.SlowCatchUp
	}
	if !m.filter.IsZero() {
		i.Filter = &m.filter
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	i.Events, i.Cursor, i.Acked = m.sent, m.told, m.acked
	switch {
	case m.ending != "":
		i.State = "ending"
	case m.behind && m.window == nil:
		i.State = "behind"
	}
	return i
}
