package delivery

import "github.com/tandem-hybrid/tandem/eventlog/driver"

// Place is how far a subscription is in a partition.
type Place struct {
	Topic     driver.ID
	Partition int
	Next      uint64 // offset of the first event without an outcome
}

// Places calls fn for each subscription with its places, for tools of the engine's that show lags. They are of this moment: what a restart
// goes on from is stored with the outcomes. Fn may keep the places.
func (m *Manager) Places(fn func(subscription string, places []Place)) {
	for _, s := range m.sorted() {
		fn(s.name, s.places())
	}
}

func (s *subscription) places() []Place {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Place
	for _, t := range s.tracks {
		for i := range t.parts {
			all = append(all, Place{t.topic, i, t.parts[i].cursor()})
		}
	}
	return all
}
