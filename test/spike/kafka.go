package spike

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

const stateTopic = "_tandem_state"

// kafka is a driver on a Kafka cluster: a batch is one transaction, over the topics of its events and the compacted topic
// of state.
type kafka struct {
	directory
	brokers []string
	admin   *kadm.Client
	client  *kgo.Client

	commit    sync.Mutex // a producer has one transaction at a time
	producers map[string]*kgo.Client
	epochs    map[string]uint64
}

func openKafka(ctx context.Context, brokers []string) (*kafka, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return nil, err
	}
	k := &kafka{directory: newDirectory(), brokers: brokers, client: client, admin: kadm.NewClient(client),
		producers: map[string]*kgo.Client{}, epochs: map[string]uint64{}}
	compact := "compact"
	if _, err := k.admin.CreateTopic(ctx, 1, 1, map[string]*string{"cleanup.policy": &compact}, stateTopic); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return nil, err
	}
	return k, k.initProducer(ctx, "", "tandem")
}

// initProducer starts a transactional producer, which fences every older one of its id.
func (k *kafka) initProducer(_ context.Context, name, id string) error {
	p, err := kgo.NewClient(kgo.SeedBrokers(k.brokers...), kgo.TransactionalID(id), kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err == nil {
		k.producers[name] = p
	}
	return err
}

func (k *kafka) Info() driver.Info {
	return driver.Info{Engine: "kafka", Atomic: true, SparseSeq: true, Dedup: driver.DedupAtDelivery}
}

func (k *kafka) CreateTopic(ctx context.Context, spec tandem.Topic) (driver.Topic, error) {
	made, err := k.admin.CreateTopic(ctx, int32(spec.Partitions), 1, nil, spec.Name)
	if errors.Is(err, kerr.TopicAlreadyExists) {
		return driver.Topic{}, tandem.Errorf(tandem.CodeConflict, "topic %s exists", spec.Name)
	}
	if err != nil {
		return driver.Topic{}, unavailable(err)
	}
	// Half of the broker's UUID is enough to tell incarnations apart.
	t := driver.Topic{Topic: spec, ID: driver.ID(binary.BigEndian.Uint64(made.ID[:8]))}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.byName[spec.Name], k.byID[t.ID] = t, t
	return t, nil
}

// Append stores a batch in one transaction. Conditions on state are decided here and hold because the producer of the
// batch's owner is fenced by the broker: another process that took over makes this commit fail.
func (k *kafka) Append(ctx context.Context, b *driver.Batch) error {
	k.commit.Lock()
	defer k.commit.Unlock()
	owner := ""
	if b.Fence != nil {
		owner = b.Fence.Name
		if b.Fence.Epoch < k.epochs[owner] {
			return tandem.Errorf(tandem.CodePrecondition, "%s has another owner", owner)
		}
	}
	records := make([]*kgo.Record, 0, len(b.Records)+len(b.State))
	for i := range b.Records {
		r := &b.Records[i]
		t, err := k.topic(r.Topic, r.Partition)
		if err != nil {
			return err
		}
		value, err := encode(r.Event)
		if err != nil {
			return err
		}
		records = append(records, &kgo.Record{Topic: t.Name, Partition: int32(r.Partition), Key: []byte(r.Event.Ordering()), Value: value, Timestamp: r.Event.Meta.Accepted})
	}
	k.mu.Lock()
	for i := range b.State {
		if !k.holds(&b.State[i]) {
			b.Failed = len(b.Records) + i
			k.mu.Unlock()
			return tandem.Errorf(tandem.CodeConflict, "state %s has another value", b.State[i].Key)
		}
		records = append(records, &kgo.Record{Topic: stateTopic, Key: []byte(b.State[i].Key), Value: b.State[i].Value})
	}
	k.mu.Unlock()
	if err := k.transact(ctx, k.producers[owner], records); err != nil {
		return err
	}
	for i := range b.Records {
		r := &b.Records[i]
		r.Offset, r.Stored = uint64(records[i].Offset), r.Partition
		r.Seq = r.Offset + 1
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range b.State {
		k.apply(&b.State[i])
	}
	if len(b.Records) > 0 {
		k.notify(ends(b.Records))
	}
	return nil
}

func (k *kafka) transact(ctx context.Context, p *kgo.Client, records []*kgo.Record) error {
	if err := p.BeginTransaction(); err != nil {
		return unavailable(err)
	}
	if err := p.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return unavailable(errors.Join(err, p.EndTransaction(ctx, kgo.TryAbort)))
	}
	err := p.EndTransaction(ctx, kgo.TryCommit)
	if errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, kerr.ProducerFenced) {
		return tandem.Errorf(tandem.CodePrecondition, "another process took over: %w", err)
	}
	return unavailable(err)
}

func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return tandem.Errorf(tandem.CodeUnavailable, "%w", err)
}

// Read starts a consumer for each call. An engine keeps one for each partition, and a cache of its tail.
func (k *kafka) Read(ctx context.Context, id driver.ID, partition int, from uint64, most, maxBytes int, dst []tandem.Record) ([]tandem.Record, error) {
	t, err := k.topic(id, partition)
	if err != nil {
		return dst, err
	}
	end, err := k.stableEnd(ctx, t.Name, partition)
	if err != nil || from >= end {
		return dst, err
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(k.brokers...), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(50*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{t.Name: {int32(partition): kgo.NewOffset().At(int64(from))}}), kgo.KeepControlRecords())
	if err != nil {
		return dst, err
	}
	defer c.Close()
	for n, used := 0, 0; ; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return dst, unavailable(err)
		}
		for _, rec := range fetches.Records() {
			if !rec.Attrs.IsControl() {
				ev, err := decode(rec.Value)
				if err != nil {
					return dst, fmt.Errorf("record %s/%d/%d: %w", rec.Topic, rec.Partition, rec.Offset, err)
				}
				if used += len(ev.Data); n >= most || n > 0 && used > maxBytes {
					return dst, nil
				}
				n++
				dst = append(dst, tandem.Record{Event: ev, Seq: uint64(rec.Offset) + 1,
					Position: tandem.Position{Topic: t.Name, Partition: partition, Offset: uint64(rec.Offset)}})
			}
			if uint64(rec.Offset)+1 >= end {
				return dst, nil
			}
		}
	}
}

// stableEnd is the offset below which every transaction has ended.
func (k *kafka) stableEnd(ctx context.Context, topic string, partition int) (uint64, error) {
	list, err := k.admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return 0, unavailable(err)
	}
	o, _ := list.Lookup(topic, int32(partition))
	return uint64(o.Offset), unavailable(o.Err)
}

func (k *kafka) Bounds(ctx context.Context, id driver.ID, partition int) (driver.Bounds, error) {
	t, err := k.topic(id, partition)
	if err != nil {
		return driver.Bounds{}, err
	}
	end, err := k.stableEnd(ctx, t.Name, partition)
	if err != nil {
		return driver.Bounds{}, err
	}
	list, err := k.admin.ListStartOffsets(ctx, t.Name)
	if err != nil {
		return driver.Bounds{}, unavailable(err)
	}
	o, _ := list.Lookup(t.Name, int32(partition))
	start := uint64(o.Offset)
	return driver.Bounds{Start: start, End: end, StartSeq: start + 1, EndSeq: end + 1, Removed: start}, unavailable(o.Err)
}

func (k *kafka) ScanState(_ context.Context, from, to string, fn func(string, []byte) bool) error {
	k.scan(from, to, fn)
	return nil
}

// Own is a transactional id of its own: starting its producer fences the one before.
func (k *kafka) Own(ctx context.Context, name string) (driver.Fence, error) {
	k.commit.Lock()
	defer k.commit.Unlock()
	if old := k.producers[name]; old != nil && name != "" {
		old.Close()
	}
	if err := k.initProducer(ctx, name, "tandem-"+name); err != nil {
		return driver.Fence{}, unavailable(err)
	}
	k.epochs[name]++
	return driver.Fence{Name: name, Epoch: k.epochs[name]}, nil
}

func (k *kafka) UpdateTopic(context.Context, tandem.Topic) (driver.Topic, error) {
	return driver.Topic{}, errNotTried
}
func (k *kafka) DeleteTopic(context.Context, string) error      { return errNotTried }
func (k *kafka) Topics(context.Context) ([]driver.Topic, error) { return nil, nil }
func (k *kafka) Health() error                                  { return nil }
func (k *kafka) OffsetAt(context.Context, driver.ID, int, time.Time) (uint64, error) {
	return 0, errNotTried
}

func (k *kafka) Close() error {
	for _, p := range k.producers {
		p.Close()
	}
	k.client.Close()
	return nil
}

var (
	_ driver.Driver = (*kafka)(nil)

	errNotTried = tandem.Errorf(tandem.CodeUnsupported, "not part of the spike")
)
