package eventlog

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// TopicInfo is a topic and what it holds.
type TopicInfo struct {
	tandem.Topic
	ID     driver.ID
	Bounds []driver.Bounds // by partition; only from Topic, not from Topics
}

// topic is one version of a topic's declaration. It does not change; what does is in live, which all versions share.
type topic struct {
	driver.Topic
	keyRule string // attribute or data.PATH, "" for the subject
	hash    uint32 // of the name, for cursors
	live    *liveTopic
}

type liveTopic struct {
	ends    []atomic.Uint64     // end of each partition, as Notify said
	top     atomic.Uint64       // the largest of them
	spread  atomic.Uint32       // where events without key go next
	watches map[*Watch]struct{} // guarded by topicTable.mu
}

func newTopic(dt driver.Topic) *topic {
	t := &topic{Topic: dt, hash: nameHash(dt.Name), live: &liveTopic{ends: make([]atomic.Uint64, dt.Partitions), watches: map[*Watch]struct{}{}}}
	t.setKeyRule()
	return t
}

// raise moves the end of a partition. Only the engine's goroutine does so, and whoever makes the topic known.
func (l *liveTopic) raise(partition int, end uint64) {
	l.ends[partition].Store(end)
	l.top.Store(max(l.top.Load(), end))
}

func (t *topic) setKeyRule() {
	if t.Key != "subject" {
		t.keyRule = t.Key
	}
}

// topicTable is the list of topics and of those who wait for their events.
//
// change is held while the engine changes a topic and listeners are told, so that both happen in one order. mu guards the
// maps; no call of the engine is made under it, since the engine takes it in Notify.
type topicTable struct {
	change    sync.Mutex
	listeners []*func() // guarded by change

	mu      sync.RWMutex
	byName  map[string]*topic
	byID    map[driver.ID]*topic
	watches map[*Watch]struct{}

	version atomic.Uint64 // raised after every change
}

func (tt *topicTable) init() {
	tt.byName, tt.byID, tt.watches = map[string]*topic{}, map[driver.ID]*topic{}, map[*Watch]struct{}{}
}

func (tt *topicTable) get(name string) *topic {
	tt.mu.RLock()
	defer tt.mu.RUnlock()
	return tt.byName[name]
}

// put adds a topic, or a new version of one.
func (tt *topicTable) put(t *topic) {
	tt.mu.Lock()
	defer tt.mu.Unlock()
	known := tt.byID[t.ID] != nil
	tt.byName[t.Name], tt.byID[t.ID] = t, t
	tt.version.Add(1)
	if known {
		return
	}
	for w := range tt.watches {
		if w.sel.Match(t.Name) {
			t.live.watches[w] = struct{}{}
		}
	}
}

// wake signals those who wait for a topic.
func (tt *topicTable) wake(t *topic) {
	tt.mu.RLock()
	defer tt.mu.RUnlock()
	for w := range t.live.watches {
		w.signal()
	}
}

// drop removes a topic and wakes those who wait for it.
func (tt *topicTable) drop(t *topic) {
	tt.mu.Lock()
	defer tt.mu.Unlock()
	delete(tt.byName, t.Name)
	delete(tt.byID, t.ID)
	tt.version.Add(1)
	for w := range t.live.watches {
		w.signal()
	}
}

// match returns the topics of a selection, sorted by name.
func (tt *topicTable) match(sel Selection) []*topic {
	tt.mu.RLock()
	defer tt.mu.RUnlock()
	return tt.matchLocked(sel)
}

func (tt *topicTable) matchLocked(sel Selection) []*topic {
	var hits []*topic
	if !sel.wild {
		for _, name := range sel.patterns {
			if t := tt.byName[name]; t != nil {
				hits = append(hits, t)
			}
		}
		return hits
	}
	for name, t := range tt.byName {
		if sel.Match(name) {
			hits = append(hits, t)
		}
	}
	slices.SortFunc(hits, func(a, b *topic) int { return cmp.Compare(a.Name, b.Name) })
	return hits
}

// tell calls the listeners. It is called with change held.
func (tt *topicTable) tell() {
	for _, fn := range tt.listeners {
		(*fn)()
	}
}

// OnTopics registers fn, which is called after a topic was created, changed or deleted: in order, one call at a time. It
// must not block and must not change topics. stop unregisters it and waits for a call under way.
func (l *Log) OnTopics(fn func()) (stop func()) {
	l.topics.change.Lock()
	defer l.topics.change.Unlock()
	entry := &fn
	l.topics.listeners = append(l.topics.listeners, entry)
	return func() {
		l.topics.change.Lock()
		defer l.topics.change.Unlock()
		l.topics.listeners = slices.DeleteFunc(l.topics.listeners, func(e *func()) bool { return e == entry })
	}
}

// Topics lists the topics, sorted by name, without I/O.
func (l *Log) Topics() []TopicInfo {
	l.topics.mu.RLock()
	all := make([]TopicInfo, 0, len(l.topics.byName))
	for _, t := range l.topics.byName {
		all = append(all, TopicInfo{Topic: t.Topic.Topic, ID: t.ID})
	}
	l.topics.mu.RUnlock()
	slices.SortFunc(all, func(a, b TopicInfo) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Topic returns one topic and what its partitions hold. Code: NotFound.
func (l *Log) Topic(ctx context.Context, name string) (TopicInfo, error) {
	t := l.topics.get(name)
	if t == nil {
		return TopicInfo{}, noTopic(name)
	}
	info := TopicInfo{Topic: t.Topic.Topic, ID: t.ID, Bounds: make([]driver.Bounds, t.Partitions)}
	for i := range info.Bounds {
		var err error
		if info.Bounds[i], err = l.drv.Bounds(ctx, t.ID, i); err != nil {
			return TopicInfo{}, tandem.Wrap("bounds of "+name, err)
		}
	}
	return info, nil
}

// CreateTopic makes a topic; zero fields take their defaults. A name with a leading underscore is for Tandem's own
// topics: callers that pass on a user's wish check tandem.ValidTopicName first. Codes: Invalid, Conflict, Unavailable.
func (l *Log) CreateTopic(ctx context.Context, spec tandem.Topic) (TopicInfo, error) {
	if spec.Partitions == 0 {
		spec.Partitions = tandem.DefaultPartitions
	}
	if err := checkTopic(&spec); err != nil {
		return TopicInfo{}, tandem.Wrap("create topic", err)
	}
	if !l.info.TotalOrder && spec.Partitions > maxVectorPartitions {
		return TopicInfo{}, tandem.Errorf(tandem.CodeInvalid, "create topic: the engine %s has a place for each partition in a cursor", l.info.Engine).
			WithField("/partitions", "must be from 1 to %d with this engine", maxVectorPartitions)
	}
	l.topics.change.Lock()
	defer l.topics.change.Unlock()
	dt, err := l.drv.CreateTopic(ctx, spec)
	if err != nil {
		return TopicInfo{}, tandem.Wrap("create topic "+spec.Name, err)
	}
	t := newTopic(dt)
	if l.info.TotalOrder {
		for i := range t.live.ends {
			t.live.raise(i, dt.Born+1)
		}
	}
	l.topics.put(t)
	if !l.info.TotalOrder {
		l.catchUp(ctx, t)
	} else {
		// The driver promises that all before Born are readable. After put, so that who sees the place sees the topic.
		l.raise(dt.Born + 1)
	}
	l.topics.wake(t)
	l.topics.tell()
	return TopicInfo{Topic: t.Topic.Topic, ID: t.ID}, nil
}

// catchUp takes the ends of a topic as the engine has them: not every engine counts from zero, an adopted topic has events, and others may
// have written before it was made known. Under mu, since Notify may move them on.
func (l *Log) catchUp(ctx context.Context, t *topic) {
	for i := range t.live.ends {
		b, err := l.drv.Bounds(ctx, t.ID, i)
		if err != nil {
			return // deleted meanwhile, or closed
		}
		l.topics.mu.Lock()
		if b.End > t.live.ends[i].Load() {
			t.live.raise(i, b.End)
		}
		l.topics.mu.Unlock()
	}
}

// UpdateTopic changes a topic's declaration; zero fields take their defaults, but zero Partitions keeps the number there
// is. What is so already is not written again: declaring it once more works on a full disk. Codes: NotFound, Invalid, Conflict (another number of partitions), Unavailable.
func (l *Log) UpdateTopic(ctx context.Context, spec tandem.Topic) (TopicInfo, error) {
	l.topics.change.Lock()
	defer l.topics.change.Unlock()
	old := l.topics.get(spec.Name)
	if old == nil {
		return TopicInfo{}, noTopic(spec.Name)
	}
	if spec.Partitions == 0 {
		spec.Partitions = old.Partitions
	}
	if err := checkTopic(&spec); err != nil {
		return TopicInfo{}, tandem.Wrap("update topic", err)
	}
	if spec.Partitions != old.Partitions {
		return TopicInfo{}, tandem.Errorf(tandem.CodeConflict, "topic %s has %d partitions", spec.Name, old.Partitions).
			WithField("/partitions", "cannot change").
			WithHint("the key of an event decides its partition, so a new number would break the order: make another topic")
	}
	if spec == old.Topic.Topic {
		return TopicInfo{Topic: spec, ID: old.ID}, nil
	}
	dt, err := l.drv.UpdateTopic(ctx, spec)
	if err != nil {
		return TopicInfo{}, tandem.Wrap("update topic "+spec.Name, err)
	}
	t := &topic{Topic: dt, hash: nameHash(dt.Name), live: old.live}
	t.setKeyRule()
	l.topics.put(t)
	l.topics.tell()
	return TopicInfo{Topic: t.Topic.Topic, ID: t.ID}, nil
}

// DeleteTopic removes a topic and its events. It works on a full disk. Code: NotFound.
func (l *Log) DeleteTopic(ctx context.Context, name string) error {
	l.topics.change.Lock()
	defer l.topics.change.Unlock()
	t := l.topics.get(name)
	if t == nil {
		return noTopic(name)
	}
	if err := l.drv.DeleteTopic(ctx, name); err != nil {
		return tandem.Wrap("delete topic "+name, err)
	}
	l.topics.drop(t)
	l.topics.tell()
	if l.repeats != nil {
		if err := l.repeats.forget(t.ID); err != nil {
			l.opts.Logger.Warn("the ids of a deleted topic are remembered a while longer", "topic", name, "error", err)
		}
	}
	if l.info.TotalOrder {
		// The topic is gone whether or not this is stored, nor does the caller's end change that.
		if err := l.keepHorizon(context.WithoutCancel(ctx)); err != nil {
			l.opts.Logger.Warn("cursors behind a deleted topic may count as foreign after a restart", "topic", name, "error", err)
		}
	}
	return nil
}

// publishTopic returns a topic that is published to.
func (l *Log) publishTopic(ctx context.Context, name string) (*topic, error) {
	if t := l.topics.get(name); t != nil {
		return t, nil
	}
	if !l.opts.AutoCreate {
		return nil, noTopic(name).WithHint("create the topic first")
	}
	if !tandem.ValidTopicName(name) {
		return nil, tandem.Errorf(tandem.CodeInvalid, "%q cannot name a topic", name).WithField("topic", "%s", nameRule)
	}
	_, err := l.CreateTopic(ctx, tandem.Topic{Name: name})
	if t := l.topics.get(name); t != nil { // ours, or that of another who was faster
		return t, nil
	}
	if err == nil { // and deleted again
		err = noTopic(name)
	}
	return nil, err
}

const nameRule = "must be segments of a-z, 0-9, _ and -, separated by dots, at most 200 bytes, and begin with a letter or digit"

// checkTopic applies defaults and returns what is wrong with a declaration. Names of Tandem's own topics are valid here.
func checkTopic(t *tandem.Topic) error {
	bad := &tandem.Error{Code: tandem.CodeInvalid, Err: errInvalidTopic}
	if !tandem.ValidTopicName(strings.TrimPrefix(t.Name, "_")) || len(t.Name) > tandem.MaxTopicNameBytes {
		bad.WithField("/name", "%s", nameRule)
	}
	if t.Partitions < 1 || t.Partitions > tandem.MaxPartitions {
		bad.WithField("/partitions", "must be from 1 to %d", tandem.MaxPartitions)
	}
	if t.Retention == 0 {
		t.Retention = tandem.Duration(tandem.DefaultRetention)
	}
	if r := time.Duration(t.Retention); r > 0 && r < time.Second {
		bad.WithField("/retention", "must be at least 1s, or forever")
	}
	if t.RetentionBytes < 0 {
		bad.WithField("/retentionBytes", "must not be negative")
	}
	if !validKeyRule(t.Key) {
		bad.WithField("/key", "must be subject, data.PATH or the name of an attribute")
	}
	if len(bad.Fields) > 0 {
		return bad
	}
	return nil
}

// validKeyRule keeps out what no event can have, "vehicleId" for "data.vehicleId", since its events would have no order.
func validKeyRule(key string) bool {
	path, ok := strings.CutPrefix(key, "data.")
	if !ok {
		return key == "" || tandem.ValidAttributeName(key)
	}
	return len(key) <= 200 && !strings.ContainsAny(path, " \t\r\n") && !slices.Contains(strings.Split(path, "."), "")
}

func noTopic(name string) *tandem.Error {
	return tandem.Errorf(tandem.CodeNotFound, "no topic %s", name)
}
