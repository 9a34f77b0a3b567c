package kafkalog

import (
	"cmp"
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicMeta is what a broker says of a topic now. The client's cache may be of the incarnation before.
type topicMeta struct {
	id       [16]byte
	leaders  []int32 // negative when there is none
	replicas int     // the least of a partition
	err      error
}

// metadata asks any broker about topics. It has an entry for each. A broker may not know of what was just made, nor of what was deleted.
func (e *Engine) metadata(ctx context.Context, kafka ...string) (map[string]topicMeta, error) {
	return metadataOf(ctx, e.client, kafka)
}

// everyBroker asks all brokers about topics. It fails when one of them does not answer.
func (e *Engine) everyBroker(ctx context.Context, kafka ...string) ([]map[string]topicMeta, error) {
	var all []map[string]topicMeta
	for _, b := range e.client.DiscoveredBrokers() {
		one, err := metadataOf(ctx, b, kafka)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		return nil, kerr.BrokerNotAvailable
	}
	return all, nil
}

func metadataOf(ctx context.Context, broker kmsg.Requestor, kafka []string) (map[string]topicMeta, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	for i := range kafka {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = &kafka[i]
		req.Topics = append(req.Topics, rt)
	}
	resp, err := req.RequestWith(ctx, broker)
	if err != nil {
		return nil, err
	}
	found := make(map[string]topicMeta, len(kafka))
	for _, name := range kafka {
		found[name] = topicMeta{err: kerr.UnknownTopicOrPartition}
	}
	for i := range resp.Topics {
		rt := &resp.Topics[i]
		if rt.Topic == nil {
			continue
		}
		m := topicMeta{id: rt.TopicID, leaders: make([]int32, len(rt.Partitions)), err: kerr.ErrorForCode(rt.ErrorCode)}
		for j := range rt.Partitions {
			rp := &rt.Partitions[j]
			if rp.Partition < 0 || int(rp.Partition) >= len(m.leaders) {
				m.err = cmp.Or(m.err, error(kerr.UnknownServerError))
				continue
			}
			m.leaders[rp.Partition] = rp.Leader
			if kerr.ErrorForCode(rp.ErrorCode) != nil {
				m.leaders[rp.Partition] = -1
			}
			if m.replicas == 0 || len(rp.Replicas) < m.replicas {
				m.replicas = len(rp.Replicas)
			}
		}
		found[*rt.Topic] = m
	}
	return found, nil
}

// led reports whether all partitions have a leader.
func (m *topicMeta) led() bool {
	for _, l := range m.leaders {
		if l < 0 {
			return false
		}
	}
	return m.err == nil && len(m.leaders) > 0
}

// noteLeaders keeps which node leads each partition.
func (t *topic) noteLeaders(m topicMeta) {
	for i, l := range m.leaders {
		if i < len(t.parts) {
			t.parts[i].leader.Store(l)
		}
	}
}

// findLeaders asks who leads the partitions of a topic.
func (e *Engine) findLeaders(ctx context.Context, t *topic) error {
	found, err := e.metadata(ctx, t.kafka)
	if err != nil {
		return err
	}
	m := found[t.kafka]
	if m.err != nil {
		return m.err
	}
	if m.id != t.uuid {
		return kerr.UnknownTopicID
	}
	t.noteLeaders(m)
	return nil
}
