package spike

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
)

// jetStream is a driver on NATS JetStream: one stream for each partition, and one for state, whose subjects are the keys.
// A batch is not atomic over streams: events are stored first, then state.
type jetStream struct {
	directory
	js jetstream.JetStream

	commit    sync.Mutex
	revisions map[string]uint64 // of the state records
}

func openJetStream(ctx context.Context, nc *nats.Conn) (*jetStream, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "tandem_state", Subjects: []string{"tandem.state.*"}, MaxMsgsPerSubject: 1})
	if err != nil {
		return nil, err
	}
	return &jetStream{directory: newDirectory(), js: js, revisions: map[string]uint64{}}, nil
}

func (j *jetStream) Info() driver.Info {
	return driver.Info{Engine: "nats", Dedup: driver.DedupBoth}
}

// streamName holds the incarnation, since a stream has no identity beside its name.
func streamName(id driver.ID, partition int) string {
	return fmt.Sprintf("tandem_%x_%d", uint64(id), partition)
}

func subject(id driver.ID, partition int) string {
	return fmt.Sprintf("tandem.t.%x.%d", uint64(id), partition)
}

func (j *jetStream) CreateTopic(ctx context.Context, spec tandem.Topic) (driver.Topic, error) {
	j.mu.Lock()
	_, taken := j.byName[spec.Name]
	j.mu.Unlock()
	if taken {
		return driver.Topic{}, tandem.Errorf(tandem.CodeConflict, "topic %s exists", spec.Name)
	}
	t := driver.Topic{Topic: spec, ID: driver.ID(hash64(spec.Name + time.Now().String()))}
	for p := range spec.Partitions {
		if _, err := j.js.CreateStream(ctx, jetstream.StreamConfig{Name: streamName(t.ID, p), Subjects: []string{subject(t.ID, p)}}); err != nil {
			return t, unavailable(err)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.byName[spec.Name], j.byID[t.ID] = t, t
	return t, nil
}

// Append stores the events one after the other, then the state: replies before their acknowledgement.
func (j *jetStream) Append(ctx context.Context, b *driver.Batch) error {
	j.commit.Lock()
	defer j.commit.Unlock()
	for i := range b.Records {
		if _, err := j.topic(b.Records[i].Topic, b.Records[i].Partition); err != nil {
			return err
		}
	}
	j.mu.Lock()
	for i := range b.State {
		if !j.holds(&b.State[i]) {
			b.Failed = len(b.Records) + i
			j.mu.Unlock()
			return tandem.Errorf(tandem.CodeConflict, "state %s has another value", b.State[i].Key)
		}
	}
	j.mu.Unlock()
	for i := range b.Records {
		b.Records[i].Seq = 0
	}
	for i := range b.Records {
		if err := j.publish(ctx, &b.Records[i]); err != nil {
			return unavailable(err)
		}
	}
	if len(b.Records) > 0 {
		j.notify(ends(b.Records))
	}
	for i := range b.State {
		if err := j.putState(ctx, &b.State[i]); err != nil {
			b.Failed = len(b.Records) + i
			return err
		}
	}
	return nil
}

func (j *jetStream) publish(ctx context.Context, r *driver.Record) error {
	value, err := encode(r.Event)
	if err != nil {
		return err
	}
	var opts []jetstream.PublishOpt
	if r.Dedup {
		opts = append(opts, jetstream.WithMsgID(hex.EncodeToString(r.Identity[:])))
	}
	ack, err := j.js.Publish(ctx, subject(r.Topic, r.Partition), value, opts...)
	if err != nil {
		return err
	}
	r.Offset, r.Seq, r.Stored, r.Duplicate = ack.Sequence, ack.Sequence, r.Partition, ack.Duplicate
	return nil
}

// putState compares by the revision that this process has seen, so that of two processes one is refused by the server.
func (j *jetStream) putState(ctx context.Context, op *driver.StateOp) error {
	var opts []jetstream.PublishOpt
	if op.If != nil {
		opts = append(opts, jetstream.WithExpectLastSequencePerSubject(j.revisions[op.Key]))
	}
	value := append([]byte{0}, op.Value...)
	if op.Value == nil {
		value = nil // a deletion is an empty message
	}
	ack, err := j.js.Publish(ctx, "tandem.state."+hex.EncodeToString([]byte(op.Key)), value, opts...)
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return tandem.Errorf(tandem.CodeConflict, "state %s has another value", op.Key)
	}
	if err != nil {
		return unavailable(err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.revisions[op.Key] = ack.Sequence
	j.apply(op)
	return nil
}

// Read starts an ordered consumer for each call. An engine keeps one for each partition.
func (j *jetStream) Read(ctx context.Context, id driver.ID, partition int, from uint64, most, maxBytes int, dst []tandem.Record) ([]tandem.Record, error) {
	b, err := j.Bounds(ctx, id, partition)
	if err != nil || from >= b.End {
		return dst, err
	}
	t, err := j.topic(id, partition)
	if err != nil {
		return dst, err
	}
	c, err := j.js.OrderedConsumer(ctx, streamName(id, partition), jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(1, from)})
	if err != nil {
		return dst, unavailable(err)
	}
	got, err := c.Fetch(int(min(uint64(most), b.End-max(from, b.Start))), jetstream.FetchMaxWait(time.Second))
	if err != nil {
		return dst, unavailable(err)
	}
	n, used := 0, 0
	for m := range got.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return dst, err
		}
		ev, err := decode(m.Data())
		if err != nil {
			return dst, err
		}
		if used += len(ev.Data); n > 0 && used > maxBytes {
			break
		}
		n++
		dst = append(dst, tandem.Record{Event: ev, Seq: meta.Sequence.Stream,
			Position: tandem.Position{Topic: t.Name, Partition: partition, Offset: meta.Sequence.Stream}})
	}
	return dst, unavailable(got.Error())
}

func (j *jetStream) Bounds(ctx context.Context, id driver.ID, partition int) (driver.Bounds, error) {
	if _, err := j.topic(id, partition); err != nil {
		return driver.Bounds{}, err
	}
	s, err := j.js.Stream(ctx, streamName(id, partition))
	if err != nil {
		return driver.Bounds{}, unavailable(err)
	}
	st := s.CachedInfo().State
	b := driver.Bounds{Start: st.FirstSeq, End: st.LastSeq + 1, Bytes: int64(st.Bytes)}
	if st.Msgs == 0 {
		b.Start = b.End
	}
	if b.Start > 1 {
		b.Removed = b.Start
	}
	b.StartSeq, b.EndSeq = b.Start, b.End
	return b, nil
}

func (j *jetStream) OffsetAt(ctx context.Context, id driver.ID, partition int, t time.Time) (uint64, error) {
	return 0, errNotTried
}

func (j *jetStream) ScanState(_ context.Context, from, to string, fn func(string, []byte) bool) error {
	j.scan(from, to, fn)
	return nil
}

func (j *jetStream) UpdateTopic(context.Context, tandem.Topic) (driver.Topic, error) {
	return driver.Topic{}, errNotTried
}
func (j *jetStream) DeleteTopic(context.Context, string) error      { return errNotTried }
func (j *jetStream) Topics(context.Context) ([]driver.Topic, error) { return nil, nil }
func (j *jetStream) Own(context.Context, string) (driver.Fence, error) {
	return driver.Fence{}, errNotTried
}
func (j *jetStream) Health() error { return nil }
func (j *jetStream) Close() error  { return nil }

var _ driver.Driver = (*jetStream)(nil)
