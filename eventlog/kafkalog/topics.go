package kafkalog

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// declaration is the record of a topic in the topic of state.
type declaration struct {
	Topic tandem.Topic `json:"topic"`
	Kafka string       `json:"kafka"`
	// Making is true before Kafka was asked to make it: a process that ended between the two left either.
	Making bool `json:"making,omitempty"`
}

func isUnknownTopic(err error) bool {
	return errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID)
}

// kafkaName is the name of a topic in Kafka.
func (e *Engine) kafkaName(spec *tandem.Topic) string {
	if spec.Kafka.Topic != "" {
		return spec.Kafka.Topic
	}
	return e.opts.Prefix + spec.Name
}

// keepDeclaration writes the record of a topic; nil removes it.
func (e *Engine) keepDeclaration(ctx context.Context, name string, d *declaration) error {
	var value []byte
	if d != nil {
		var err error
		if value, err = json.Marshal(d); err != nil {
			return err
		}
	}
	return e.control(ctx, func(*group) ([]stateOp, error) { return []stateOp{{key: kindTopic + name, value: value}}, nil })
}

// CreateTopic implements driver.Driver. With spec.Kafka.Topic it adopts a topic: the number of partitions is then Kafka's.
func (e *Engine) CreateTopic(ctx context.Context, spec tandem.Topic) (driver.Topic, error) {
	if err := e.writable(); err != nil {
		return driver.Topic{}, err
	}
	e.change.Lock()
	defer e.change.Unlock()
	kafka := e.kafkaName(&spec)
	if e.topics.named(spec.Name) != nil {
		return driver.Topic{}, tandem.Errorf(tandem.CodeConflict, "topic %s exists", spec.Name)
	}
	if t, _ := e.topics.ofKafka(kafka, 0); t != nil {
		return driver.Topic{}, tandem.Errorf(tandem.CodeConflict, "the topic %s of Kafka is %s already", kafka, t.Name)
	}
	if spec.Kafka.Topic != "" {
		if kafka == e.state.topic || !validKafkaName(kafka) {
			return driver.Topic{}, tandem.Errorf(tandem.CodeInvalid, "the topic %q of Kafka cannot be adopted", kafka).WithField("/kafka/topic", "is not the name of a topic with events")
		}
		return e.adopt(ctx, spec, kafka)
	}
	// A creation that was cut short left its record: what is there by that name is ours.
	known, err := e.declared(spec.Name)
	if err != nil {
		return driver.Topic{}, err
	}
	if known == nil {
		if err := e.keepDeclaration(ctx, spec.Name, &declaration{Topic: spec, Kafka: kafka, Making: true}); err != nil {
			return driver.Topic{}, err
		}
	}
	uuid, err := e.makeTopic(ctx, kafka, int32(spec.Partitions), e.topicConfigs(&spec))
	if errors.Is(err, kerr.TopicAlreadyExists) && known != nil {
		err = nil
	}
	if err != nil {
		if tandem.CodeOf(coded("", err)) != tandem.CodeUnavailable || errors.Is(err, kerr.TopicAlreadyExists) {
			if known == nil {
				err = errors.Join(err, e.keepDeclaration(ctx, spec.Name, nil))
			}
		}
		return driver.Topic{}, creation(kafka, err)
	}
	m, err := e.awaitTopic(ctx, kafka, uuid)
	if err != nil {
		return driver.Topic{}, err
	}
	return e.take(ctx, newTopic(spec, kafka, m.id, len(m.leaders), e.opts.MaxMessageBytes), m)
}

// creation explains why Kafka does not make a topic.
func creation(kafka string, err error) error {
	switch {
	case errors.Is(err, kerr.TopicAlreadyExists):
		return tandem.Errorf(tandem.CodeConflict, "Kafka has a topic %s that is not Tandem's", kafka).
			WithHint("adopt it with kafka: {topic: %s}, or delete it", kafka)
	case errors.Is(err, kerr.InvalidTopicException):
		return tandem.Errorf(tandem.CodeConflict, "Kafka refuses the name %s: %w", kafka, err).WithHint("names that differ only in dots and underscores are one to it")
	case errors.Is(err, kerr.InvalidReplicationFactor):
		return tandem.Errorf(tandem.CodeUnavailable, "create %s: %w", kafka, err).WithHint("there are fewer brokers than replicas")
	}
	return coded("create "+kafka, err)
}

// adopt takes a topic that is there.
func (e *Engine) adopt(ctx context.Context, spec tandem.Topic, kafka string) (driver.Topic, error) {
	found, err := e.metadata(ctx, kafka)
	if err != nil {
		return driver.Topic{}, coded("adopt "+kafka, err)
	}
	m := found[kafka]
	if isUnknownTopic(m.err) {
		return driver.Topic{}, tandem.Errorf(tandem.CodeInvalid, "Kafka has no topic %s to adopt", kafka).WithField("/kafka/topic", "is not there")
	}
	if m.err != nil {
		return driver.Topic{}, coded("adopt "+kafka, m.err)
	}
	limits, err := e.readLimits(ctx, kafka)
	if err != nil {
		return driver.Topic{}, coded("adopt "+kafka, err)
	}
	t := newTopic(spec, kafka, m.id, len(m.leaders), limits[kafka])
	if err := e.readEnds(ctx, t); err != nil {
		return driver.Topic{}, coded("adopt "+kafka, err)
	}
	return e.take(ctx, t, m)
}

// take makes a topic that Kafka has one of Tandem's.
func (e *Engine) take(ctx context.Context, t *topic, m topicMeta) (driver.Topic, error) {
	t.noteLeaders(m)
	if err := e.keepDeclaration(ctx, t.Name, &declaration{Topic: t.Topic.Topic, Kafka: t.kafka}); err != nil {
		return driver.Topic{}, err
	}
	e.topics.put(t)
	return t.Topic, nil
}

// declared reads the record of a topic, nil if there is none.
func (e *Engine) declared(name string) (*declaration, error) {
	if err := e.reading(); err != nil {
		return nil, err
	}
	defer e.closing.RUnlock()
	v, _, ok, err := e.state.index.Get(kindTopic + name)
	if !ok || err != nil {
		return nil, err
	}
	d := new(declaration)
	return d, json.Unmarshal(v, d)
}

// UpdateTopic implements driver.Driver. Of an adopted topic only what Tandem keeps of it changes.
func (e *Engine) UpdateTopic(ctx context.Context, spec tandem.Topic) (driver.Topic, error) {
	if err := e.writable(); err != nil {
		return driver.Topic{}, err
	}
	e.change.Lock()
	defer e.change.Unlock()
	old := e.topics.named(spec.Name)
	if old == nil {
		return driver.Topic{}, tandem.Errorf(tandem.CodeNotFound, "no topic %s", spec.Name)
	}
	if spec.Kafka.Topic != old.Kafka.Topic {
		return driver.Topic{}, tandem.Errorf(tandem.CodeConflict, "topic %s is the topic %s of Kafka", spec.Name, old.kafka).WithField("/kafka/topic", "cannot change")
	}
	spec.Partitions = old.Partitions
	if !old.adopted {
		var alter []kadm.AlterConfig
		for name, value := range e.topicConfigs(&spec) {
			alter = append(alter, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: value})
		}
		answers, err := e.admin.AlterTopicConfigs(ctx, alter, old.kafka)
		if err == nil && len(answers) > 0 {
			err = answers[0].Err
		}
		if err != nil {
			return driver.Topic{}, coded("update "+spec.Name, err)
		}
	}
	if err := e.keepDeclaration(ctx, spec.Name, &declaration{Topic: spec, Kafka: old.kafka}); err != nil {
		return driver.Topic{}, err
	}
	anew := *old
	anew.Topic.Topic = spec
	e.topics.put(&anew)
	return anew.Topic, nil
}

// DeleteTopic implements driver.Driver. A topic that was adopted stays in Kafka.
func (e *Engine) DeleteTopic(ctx context.Context, name string) error {
	if err := e.writable(); err != nil {
		return err
	}
	e.change.Lock()
	defer e.change.Unlock()
	t := e.topics.named(name)
	if t == nil {
		return tandem.Errorf(tandem.CodeNotFound, "no topic %s", name)
	}
	if !t.adopted {
		answer, err := e.admin.DeleteTopic(ctx, t.kafka)
		if err == nil {
			err = answer.Err
		}
		if err != nil && !isUnknownTopic(err) {
			return coded("delete "+name, err)
		}
	}
	e.forget(t)
	return e.keepDeclaration(ctx, name, nil)
}

// forget drops what this process knows of a topic.
func (e *Engine) forget(t *topic) {
	if !e.topics.drop(t) {
		return
	}
	e.tails.forget(t)
	e.chunks.forget(t)
	e.client.PurgeTopicsFromProducing(t.kafka)
	// The producer of transactions, which is the committer's, is made anew: it counts what it sent to the old incarnation.
	r := &request{bytes: 1, failed: -1, done: make(chan struct{}), control: func(*group) ([]stateOp, error) {
		e.closeTx()
		return nil, errPurged
	}}
	if e.committer.push(r) == nil {
		<-r.done
	}
}

// errPurged answers a step that writes nothing.
var errPurged = errors.New("nothing to write")

// Topics implements driver.Driver.
func (e *Engine) Topics(context.Context) ([]driver.Topic, error) {
	if err := e.open(nil); err != nil {
		return nil, err
	}
	list := []driver.Topic{}
	for _, t := range e.topics.all() {
		list = append(list, t.Topic)
	}
	return list, nil
}
