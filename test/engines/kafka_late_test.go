package engines

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/kafkalog"
)

// lateBroker is a cluster of three, of which one has not heard of a topic yet.
type lateBroker struct {
	*kfake.Cluster
	node   int32
	topic  string
	asked  atomic.Int64 // requests that it answered so
	doubts atomic.Bool  // no broker knows the ends of the topic's partitions
}

func newLateBroker(t *testing.T, topic string) *lateBroker {
	c, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	l := &lateBroker{Cluster: c, topic: topic, node: 1}
	c.ControlKey(int16(kmsg.Metadata), l.metadata)
	c.ControlKey(int16(kmsg.ListOffsets), l.ends)
	return l
}

func (l *lateBroker) metadata(r kmsg.Request) (kmsg.Response, error, bool) {
	l.KeepControl()
	req := r.(*kmsg.MetadataRequest)
	if l.CurrentNode() != l.node || len(req.Topics) != 1 || req.Topics[0].Topic == nil || *req.Topics[0].Topic != l.topic {
		return nil, nil, false
	}
	l.asked.Add(1)
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	resp.ControllerID = l.node
	for i, addr := range l.ListenAddrs() {
		host, port, _ := net.SplitHostPort(addr)
		n, _ := strconv.Atoi(port)
		b := kmsg.NewMetadataResponseBroker()
		b.NodeID, b.Host, b.Port = int32(i), host, int32(n)
		resp.Brokers = append(resp.Brokers, b)
	}
	rt := kmsg.NewMetadataResponseTopic()
	rt.Topic, rt.ErrorCode = &l.topic, kerr.UnknownTopicOrPartition.Code
	resp.Topics = append(resp.Topics, rt)
	return resp, nil, true
}

func (l *lateBroker) ends(r kmsg.Request) (kmsg.Response, error, bool) {
	l.KeepControl()
	req := r.(*kmsg.ListOffsetsRequest)
	if !l.doubts.Load() {
		return nil, nil, false
	}
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	about := false
	for _, t := range req.Topics {
		about = about || t.Topic == l.topic
		rt := kmsg.NewListOffsetsResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewListOffsetsResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.Partition, kerr.UnknownTopicOrPartition.Code
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil, about
}

// TestKafkaLateBroker: a broker that has not heard of a topic makes nobody forget it, neither while Tandem runs nor when it starts.
func TestKafkaLateBroker(t *testing.T) {
	l := newLateBroker(t, "late-t")
	opts := kafkalog.Options{Brokers: l.ListenAddrs(), Prefix: "late-", Dir: t.TempDir() + "/state"}
	var topic driver.Topic
	there := func(e *kafkalog.Engine, id string) {
		t.Helper()
		if err := e.Append(context.Background(), &driver.Batch{Records: []driver.Record{{Topic: topic.ID, Event: plain(id, time.Now())}}}); err != nil {
			t.Error(err)
		}
		if _, err := e.Bounds(context.Background(), topic.ID, 0); err != nil {
			t.Error(err)
		}
	}
	e := openKafka(t, opts)
	topic, err := e.CreateTopic(context.Background(), tandem.Topic{Name: "t", Partitions: 1, Retention: -1})
	mustKafka(t, err)
	there(e, "first")
	l.doubts.Store(true)
	from := l.asked.Load()
	eventually(t, "the late broker is asked a few times", time.Minute, func() bool { return l.asked.Load() >= from+3 })
	l.doubts.Store(false)
	there(e, "second")
	mustKafka(t, e.Close())
	for n := range 6 { // one in three asks the late broker
		from := l.asked.Load()
		e := openKafka(t, opts)
		all, err := e.Topics(context.Background())
		mustKafka(t, err)
		if len(all) != 1 {
			t.Errorf("after a start there are %d topics", len(all))
		} else {
			topic = all[0]
			there(e, fmt.Sprint(n))
		}
		mustKafka(t, e.Close())
		if t.Failed() || n > 2 && l.asked.Load() > from {
			break
		}
	}
}
