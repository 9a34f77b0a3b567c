package kafkalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// settings are those of topics that are made.
type settings struct {
	replication int16
	minInSync   int
}

// Declared is what Info says of any cluster.
func Declared() driver.Info {
	return driver.Info{Engine: "kafka", Atomic: true, SparseSeq: true, Dedup: driver.DedupAtDelivery, Remote: true, Shared: true,
		Durable: "acknowledged by all replicas in sync (acks=all)"}
}

// describe learns what the cluster is, and sets Info but for what depends on its topics.
func (e *Engine) describe(ctx context.Context) error {
	md, err := e.admin.BrokerMetadata(ctx)
	if err != nil {
		return coded("reach a Kafka broker", err)
	}
	id := sum([]byte(md.Cluster), []byte(e.opts.Prefix))
	e.info = Declared()
	e.info.LogID, e.info.MaxEventBytes = [8]byte(id), e.opts.MaxMessageBytes-eventOverhead
	e.state.topic = e.opts.Prefix + stateName
	replicas := cmp.Or(e.opts.Replication, min(3, max(1, len(md.Brokers))))
	e.settings = settings{replication: int16(replicas), minInSync: cmp.Or(e.opts.MinInSync, max(1, replicas-1))}
	return nil
}

func configOf(configs []kadm.Config, name string) string {
	for _, c := range configs {
		if c.Key == name {
			return c.MaybeValue()
		}
	}
	return ""
}

// commonConfigs are those of all topics that are made.
func (e *Engine) commonConfigs() map[string]*string {
	configs := map[string]*string{
		"max.message.bytes":              text(e.opts.MaxMessageBytes),
		"message.timestamp.type":         text("CreateTime"),
		"min.insync.replicas":            text(e.settings.minInSync),
		"unclean.leader.election.enable": text("false"),
	}
	return configs
}

func text(v any) *string {
	s := fmt.Sprint(v)
	return &s
}

// topicConfigs are those of a topic of events. Kafka keeps by partition what Tandem declares of a topic, and whole segments: they are made small
// enough to be removed in time.
func (e *Engine) topicConfigs(spec *tandem.Topic) map[string]*string {
	configs := e.commonConfigs()
	configs["cleanup.policy"] = text("delete")
	retention := time.Duration(spec.Retention)
	configs["retention.ms"] = text(-1)
	if retention > 0 {
		configs["retention.ms"] = text(retention.Milliseconds())
		configs["segment.ms"] = text(min(max(retention/4, time.Second*10), 24*time.Hour).Milliseconds())
	}
	configs["retention.bytes"] = text(-1)
	if spec.RetentionBytes > 0 {
		each := max(spec.RetentionBytes/int64(spec.Partitions), 1)
		configs["retention.bytes"] = text(each)
		configs["segment.bytes"] = text(min(max(each/4, 1<<20), 1<<30))
	}
	return configs
}

// ensureState makes the topic of state if it is not there, checks it, and returns its UUID.
func (e *Engine) ensureState(ctx context.Context) (uuid [16]byte, err error) {
	name := e.state.topic
	found, err := e.metadata(ctx, name)
	if err != nil {
		return uuid, coded("look for "+name, err)
	}
	m := found[name]
	if isUnknownTopic(m.err) {
		configs := e.commonConfigs()
		configs["cleanup.policy"] = text("compact")
		configs["delete.retention.ms"] = text(tombstones.Milliseconds())
		configs["min.compaction.lag.ms"] = text(time.Hour.Milliseconds()) // for the repair of what a process of the past wrote
		configs["segment.bytes"] = text(64 << 20)
		uuid, err := e.makeTopic(ctx, name, 1, configs)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return uuid, creation(name, err)
		}
		if m, err = e.awaitTopic(ctx, name, uuid); err != nil {
			return uuid, err
		}
	}
	if m.err != nil {
		return uuid, coded("look for "+name, m.err)
	}
	configs, err := e.topicSettings(ctx, name)
	if err != nil {
		return uuid, coded("describe "+name, err)
	}
	if policy := configOf(configs[name], "cleanup.policy"); len(m.leaders) != 1 || policy != "compact" {
		return uuid, tandem.Errorf(tandem.CodeInvalid, "the topic %s has %d partitions and the cleanup policy %q", name, len(m.leaders), policy).
			WithHint("it holds Tandem's state: it needs one partition and cleanup.policy=compact, or choose another prefix")
	}
	return m.id, nil
}

// readLimits reads the largest batch that each topic takes. What is more than our own does not count.
func (e *Engine) readLimits(ctx context.Context, kafka ...string) (map[string]int, error) {
	limits := map[string]int{}
	if len(kafka) == 0 {
		return limits, nil
	}
	all, err := e.topicSettings(ctx, kafka...)
	for name, configs := range all {
		n, _ := strconv.Atoi(configOf(configs, "max.message.bytes"))
		if limits[name] = e.opts.MaxMessageBytes; n >= minMessageBytes {
			limits[name] = min(n, e.opts.MaxMessageBytes)
		}
	}
	return limits, err
}

// topicSettings asks for the settings of topics. A broker that does not know a new topic yet is asked again.
func (e *Engine) topicSettings(ctx context.Context, kafka ...string) (map[string][]kadm.Config, error) {
	ctx, cancel := context.WithTimeout(ctx, e.opts.Timeout)
	defer cancel()
	for {
		all, err := e.admin.DescribeTopicConfigs(ctx, kafka...)
		found := map[string][]kadm.Config{}
		for _, c := range all {
			err = errors.Join(err, c.Err)
			found[c.Name] = c.Configs
		}
		if err == nil || !isUnknownTopic(err) {
			return found, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// minMessageBytes is the least that the client can work with.
const minMessageBytes = 512

// warn fills in what the topics' settings say of durability.
func (e *Engine) warn(ctx context.Context) {
	names := []string{e.state.topic}
	for _, t := range e.topics.all() {
		names = append(names, t.kafka)
	}
	slices.Sort(names)
	found, err := e.metadata(ctx, names...)
	if err != nil {
		return
	}
	configs, err := e.topicSettings(ctx, names...)
	if err != nil {
		e.opts.Logger.Warn("the settings of topics are not known, so nothing is said about them", "error", err)
		return
	}
	var single, alone, unclean, small []string
	replicas, inSync := 0, 0
	for _, name := range names {
		c := configs[name]
		least := found[name].replicas
		most, _ := strconv.Atoi(configOf(c, "max.message.bytes"))
		need, _ := strconv.Atoi(configOf(c, "min.insync.replicas"))
		if name == e.state.topic {
			replicas, inSync = least, need
		}
		switch {
		case least == 1:
			single = append(single, name)
		case need < 2:
			alone = append(alone, name)
		}
		if configOf(c, "unclean.leader.election.enable") == "true" {
			unclean = append(unclean, name)
		}
		if most > 0 && most < e.opts.MaxMessageBytes {
			small = append(small, name)
		}
	}
	e.info.Durable = fmt.Sprintf("at least %d of %d replicas in sync, acks=all", max(1, inSync), max(1, replicas))
	if replicas <= 1 {
		e.info.Durable = "one replica, not synced to disk, acks=all"
	}
	warning := func(topics []string, what string) {
		if len(topics) > 0 {
			e.info.Warnings = append(e.info.Warnings, fmt.Sprintf("%s: %s", listed(topics), what))
		}
	}
	warning(single, "one replica, so what was acknowledged is lost with its broker's disk, or with its power before the system wrote it out")
	warning(alone, "min.insync.replicas is 1, so what was acknowledged may lie on one broker alone")
	warning(unclean, "unclean.leader.election.enable lets a broker lead that does not have all that was acknowledged")
	warning(small, fmt.Sprintf("max.message.bytes is less than %d, so events that Tandem takes may be refused", e.opts.MaxMessageBytes))
}

// listed names the first few.
func listed(names []string) string {
	const few = 5
	s := ""
	for i, n := range names {
		if i == few {
			return fmt.Sprintf("%s and %d more", s, len(names)-few)
		}
		if i > 0 {
			s += ", "
		}
		s += n
	}
	return s
}
