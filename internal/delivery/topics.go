package delivery

import (
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// topicTable is the topics of the log as they were a moment ago. The list of the log is sorted anew each time that it is asked
// for, which is too much for every reply.
type topicTable struct {
	all    []eventlog.TopicInfo
	byName map[string]*eventlog.TopicInfo
	byID   map[driver.ID]*eventlog.TopicInfo
}

// readTopics asks the log again. A table is never replaced by one that was read before it.
func (m *Manager) readTopics() *topicTable {
	m.listing.Lock()
	defer m.listing.Unlock()
	t := &topicTable{all: m.log.Topics()}
	t.byName = make(map[string]*eventlog.TopicInfo, len(t.all))
	t.byID = make(map[driver.ID]*eventlog.TopicInfo, len(t.all))
	for i := range t.all {
		t.byName[t.all[i].Name], t.byID[t.all[i].ID] = &t.all[i], &t.all[i]
	}
	m.topics.Store(t)
	return t
}

// topicName returns the name of a topic, "" when it was deleted.
func (m *Manager) topicName(id driver.ID) string {
	if t := m.topics.Load(); t != nil && t.byID[id] != nil {
		return t.byID[id].Name
	}
	return ""
}

// refresh gives every subscription the topics that it matches now.
func (m *Manager) refresh() {
	m.following.Lock()
	defer m.following.Unlock()
	topics := m.readTopics()
	for _, s := range m.sorted() {
		s.follow(topics.all)
	}
	m.dropReaders(topics)
}

// follow gives subscriptions the topics that they match, as they were read last.
func (m *Manager) follow(subs ...*subscription) {
	m.following.Lock()
	defer m.following.Unlock()
	for _, s := range subs {
		s.follow(m.topics.Load().all)
	}
}

// topic returns a topic by name. One that was deleted a moment ago may still be returned.
func (m *Manager) topic(name string) (*eventlog.TopicInfo, bool) {
	if t := m.topics.Load(); t != nil {
		if info, ok := t.byName[name]; ok {
			return info, true
		}
	}
	info, ok := m.readTopics().byName[name]
	return info, ok
}
