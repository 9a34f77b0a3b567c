package engines

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/kafkalog"
)

// eachKafka runs a test on kfake, and on a real broker if there is one.
func eachKafka(t *testing.T, fn func(t *testing.T, opts kafkalog.Options)) {
	t.Run("fake", func(t *testing.T) { fn(t, kafkalog.Options{Brokers: fakeKafka(t), Prefix: kafkaPrefix(t)}) })
	t.Run("real", func(t *testing.T) { fn(t, kafkalog.Options{Brokers: realKafka(t), Prefix: kafkaPrefix(t)}) })
}

func mustCode(t testing.TB, err error, want tandem.Code) {
	t.Helper()
	if got := tandem.CodeOf(err); got != want {
		t.Fatalf("the error is %v, want code %q", err, want)
	}
}

func mustKafka(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls a condition.
func eventually(t testing.TB, what string, within time.Duration, fn func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !fn(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func stateOf(t testing.TB, e driver.Driver, key string) (value string, ok bool) {
	t.Helper()
	mustKafka(t, e.ScanState(context.Background(), key, key+"\x00", func(_ string, v []byte) bool {
		value, ok = string(v), true
		return false
	}))
	return value, ok
}

func setState(key, value string) driver.StateOp {
	return driver.StateOp{Key: key, Value: []byte(value)}
}

func plain(id string, at time.Time) *tandem.Event {
	return &tandem.Event{ID: id, Source: "/test", Type: "test", Data: []byte(`{"n":1}`), Encoding: tandem.DataJSON, Meta: tandem.Meta{Accepted: at.Truncate(time.Millisecond).UTC()}}
}

// TestKafkaTakeover: of two processes that open the same log the second has it, whatever the first does.
func TestKafkaTakeover(t *testing.T) {
	eachKafka(t, func(t *testing.T, opts kafkalog.Options) {
		ctx := context.Background()
		first := openKafka(t, opts)
		defer first.Close()
		topic, err := first.CreateTopic(ctx, tandem.Topic{Name: "t", Partitions: 1, Retention: -1})
		mustKafka(t, err)
		fence, err := first.Own(ctx, "duty")
		mustKafka(t, err)
		mustKafka(t, first.Append(ctx, &driver.Batch{State: []driver.StateOp{setState("cursor", "1")}, Fence: &fence}))

		second := openKafka(t, opts)
		defer second.Close()
		// At once, and when it has noticed.
		for range 2 {
			mustCode(t, first.Append(ctx, &driver.Batch{State: []driver.StateOp{setState("cursor", "stale")}}), tandem.CodePrecondition)
			err := first.Append(ctx, &driver.Batch{Records: []driver.Record{{Topic: topic.ID, Event: plain("x", time.Now())}}, State: []driver.StateOp{setState("cursor", "stale")}})
			mustCode(t, err, tandem.CodePrecondition)
			mustCode(t, first.Health(), tandem.CodePrecondition)
		}
		_, err = first.Own(ctx, "duty")
		mustCode(t, err, tandem.CodePrecondition)
		_, err = first.CreateTopic(ctx, tandem.Topic{Name: "u", Partitions: 1})
		mustCode(t, err, tandem.CodePrecondition)

		if v, _ := stateOf(t, second, "cursor"); v != "1" {
			t.Errorf("the second has the cursor %q", v)
		}
		anew, err := second.Own(ctx, "duty")
		mustKafka(t, err)
		if anew.Epoch <= fence.Epoch {
			t.Errorf("the epochs are %d, then %d", fence.Epoch, anew.Epoch)
		}
		mustCode(t, second.Append(ctx, &driver.Batch{State: []driver.StateOp{setState("cursor", "old")}, Fence: &fence}), tandem.CodePrecondition)
		mustKafka(t, second.Append(ctx, &driver.Batch{Records: []driver.Record{{Topic: topic.ID, Event: plain("y", time.Now())}}, State: []driver.StateOp{setState("cursor", "2")}, Fence: &anew}))
		mustKafka(t, second.Health())
		got, err := second.Read(ctx, topic.ID, 0, 0, 10, 1<<20, nil)
		if err != nil || len(got) != 1 || got[0].ID != "y" {
			t.Errorf("read %d events, %v", len(got), err)
		}

		// A third has what the second wrote, and not what the first wrote.
		mustKafka(t, second.Close())
		third := openKafka(t, opts)
		defer third.Close()
		if v, _ := stateOf(t, third, "cursor"); v != "2" {
			t.Errorf("the third has the cursor %q", v)
		}
	})
}

// TestKafkaClose: an engine leaves no goroutine behind, used or not, nor does one that cannot be opened.
func TestKafkaClose(t *testing.T) {
	eachKafka(t, func(t *testing.T, opts kafkalog.Options) {
		defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
		opts.Dir = t.TempDir() + "/state"
		for use := range 2 {
			e := openKafka(t, opts)
			if use > 0 {
				topic, err := e.CreateTopic(context.Background(), tandem.Topic{Name: "t", Partitions: 2, Retention: -1})
				mustKafka(t, err)
				for i := range 10 {
					mustKafka(t, e.Append(context.Background(), &driver.Batch{Records: []driver.Record{{Topic: topic.ID, Partition: i % 2, Event: plain(fmt.Sprint(i), time.Now())}}}))
					_, err := e.Read(context.Background(), topic.ID, i%2, 0, 10, 1<<20, nil)
					mustKafka(t, err)
				}
			}
			mustKafka(t, e.Close())
			mustKafka(t, e.Close())
			mustCode(t, e.Health(), tandem.CodeUnavailable)
			mustCode(t, e.ScanState(context.Background(), "", "", func(string, []byte) bool { return true }), tandem.CodeUnavailable)
		}
		_, err := kafkalog.Open(context.Background(), kafkalog.Options{Brokers: []string{"127.0.0.1:1"}, Timeout: time.Second})
		mustCode(t, err, tandem.CodeUnavailable)
	})
}

// BenchmarkKafkaStart opens a log with a million state records: with an index that is up to date, and without one.
func BenchmarkKafkaStart(b *testing.B) {
	records := 1_000_000
	if n := os.Getenv("TANDEM_STATE_RECORDS"); n != "" {
		fmt.Sscan(n, &records)
	}
	opts := kafkalog.Options{Prefix: kafkaPrefix(b), Dir: b.TempDir() + "/state"}
	e := quietKafka(b, opts)
	began := time.Now()
	value := make([]byte, 100)
	for i := 0; i < records; {
		var batch driver.Batch
		for range 5000 {
			batch.State = append(batch.State, driver.StateOp{Key: fmt.Sprintf("delivery/s/some-subscription/parked/%09d", i), Value: value})
			i++
		}
		mustKafka(b, e.Append(context.Background(), &batch))
	}
	b.Logf("written in %v", time.Since(began))
	mustKafka(b, e.Close())
	for _, dir := range []string{opts.Dir, "", b.TempDir() + "/anew"} {
		b.Run(fmt.Sprintf("index=%v,disk=%v", dir == opts.Dir, dir != ""), func(b *testing.B) {
			for range b.N {
				o := opts
				if o.Dir = dir; dir != opts.Dir && dir != "" {
					mustKafka(b, os.RemoveAll(dir))
				}
				e := quietKafka(b, o)
				b.StopTimer()
				n := 0
				mustKafka(b, e.ScanState(context.Background(), "", "", func(string, []byte) bool { n++; return true }))
				if n < records {
					b.Fatalf("%d state records of %d", n, records)
				}
				mustKafka(b, e.Close())
				b.StartTimer()
			}
		})
	}
}

// TestKafkaStaleWrite: a record that a process of the past wrote after it was taken over counts for nobody, and the owner writes its own again,
// since compaction keeps the last.
func TestKafkaStaleWrite(t *testing.T) {
	eachKafka(t, func(t *testing.T, opts kafkalog.Options) {
		ctx := context.Background()
		e := openKafka(t, opts)
		mustKafka(t, e.Append(ctx, &driver.Batch{State: []driver.StateOp{setState("kept", "mine"), setState("removed", "x")}}))
		mustKafka(t, e.Append(ctx, &driver.Batch{State: []driver.StateOp{{Key: "removed"}}}))
		topic := opts.Prefix + "_tandem.state"
		records := func() (all []*kgo.Record) { // of the two keys
			cl := foreignClient(t, opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
			end, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
			mustKafka(t, err)
			last, _ := end.Lookup(topic, 0)
			for done := false; !done; {
				cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
					if string(r.Key) == "s/kept" || string(r.Key) == "s/removed" {
						all = append(all, r)
					}
					done = done || r.Offset+1 >= last.Offset
				})
			}
			return all
		}
		before := records()
		stale := func(key, value string, epoch byte) *kgo.Record {
			return &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value), Headers: []kgo.RecordHeader{{Key: "e", Value: []byte{0, 0, 0, 0, 0, 0, 0, epoch}}}}
		}
		cl := foreignClient(t, opts)
		mustKafka(t, cl.ProduceSync(ctx, stale("s/kept", "stale", 0), stale("s/removed", "stale", 0)).FirstErr())
		eventually(t, "the owner writes its own again", 10*time.Second, func() bool { return len(records()) >= len(before)+4 })
		last := map[string]string{}
		for _, r := range records() {
			last[string(r.Key)] = fmt.Sprintf("%s %v", r.Value, r.Value == nil)
		}
		if last["s/kept"] != "mine false" || last["s/removed"] != " true" {
			t.Errorf("the last records are %q", last)
		}
		check := func(e *kafkalog.Engine) {
			t.Helper()
			if v, _ := stateOf(t, e, "kept"); v != "mine" {
				t.Errorf("the state is %q", v)
			}
			if v, ok := stateOf(t, e, "removed"); ok {
				t.Errorf("a removed record is %q", v)
			}
		}
		check(e)
		mustKafka(t, e.Health())
		mustKafka(t, e.Close())
		again := openKafka(t, opts)
		defer again.Close()
		check(again)
	})
}

// TestKafkaAlone: what is wrong with one batch is not the fault of those it was grouped with.
func TestKafkaAlone(t *testing.T) {
	eachKafka(t, func(t *testing.T, opts kafkalog.Options) {
		ctx := context.Background()
		e := openKafka(t, opts)
		defer e.Close()
		limit := "2000"
		small := foreignTopic(t, opts, "small", 1, map[string]*string{"max.message.bytes": &limit})
		topic, err := e.CreateTopic(ctx, tandem.Topic{Name: "small", Kafka: tandem.KafkaTopic{Topic: small}})
		mustKafka(t, err)
		large := plain("large", time.Now())
		large.Data, large.Encoding = []byte(strings.Repeat("x", 1900)), tandem.DataText
		mustCode(t, e.Append(ctx, &driver.Batch{Records: []driver.Record{{Topic: topic.ID, Event: large}}}), tandem.CodeTooLarge)
		mustCode(t, e.Append(ctx, &driver.Batch{Records: []driver.Record{{Topic: topic.ID, Event: large}}, State: []driver.StateOp{setState("k", "no")}}), tandem.CodeTooLarge)
		mustCode(t, e.Append(ctx, &driver.Batch{State: []driver.StateOp{{Key: "k", Value: make([]byte, 4<<20)}}}), tandem.CodeTooLarge)
		// Many small ones at once are more than a batch.
		errs := make(chan error)
		for i := range 100 {
			go func() {
				ev := plain(fmt.Sprint(i), time.Now())
				ev.Data, ev.Encoding = []byte(strings.Repeat(string(rune('a'+i%26)), 500)), tandem.DataText
				b := driver.Batch{Records: []driver.Record{{Topic: topic.ID, Event: ev}}}
				if i%2 == 0 {
					b.State = []driver.StateOp{setState(fmt.Sprint("k", i), "v")}
				}
				errs <- e.Append(ctx, &b)
			}()
		}
		for range 100 {
			mustKafka(t, <-errs)
		}
		// A large change of state, in as many batches as it takes, is whole.
		var ops []driver.StateOp
		for i := range 100 {
			ops = append(ops, driver.StateOp{Key: fmt.Sprint("large/", i), Value: make([]byte, 100_000)})
		}
		mustKafka(t, e.Append(ctx, &driver.Batch{State: ops}))
		n := 0
		mustKafka(t, e.ScanState(ctx, "large/", "large0", func(string, []byte) bool { n++; return true }))
		if n != 100 {
			t.Errorf("%d records of a large change of state", n)
		}
	})
}

// TestKafkaConfirmed: when Append returns, its event was told of and can be read, alone and beside others.
func TestKafkaConfirmed(t *testing.T) {
	eachKafka(t, func(t *testing.T, opts kafkalog.Options) {
		ctx := context.Background()
		e := openKafka(t, opts)
		defer e.Close()
		var told atomic.Uint64
		e.Notify(func(ends []driver.End) {
			for _, end := range ends {
				told.Store(end.End)
			}
		})
		topic, err := e.CreateTopic(ctx, tandem.Topic{Name: "t", Partitions: 1, Retention: -1})
		mustKafka(t, err)
		for i := range 300 {
			b := driver.Batch{Records: []driver.Record{{Topic: topic.ID, Event: plain(fmt.Sprint(i), time.Now())}}}
			if i%10 == 9 {
				b.State = []driver.StateOp{setState("k", "v")}
			}
			mustKafka(t, e.Append(ctx, &b))
			offset := b.Records[0].Offset
			if told.Load() <= offset {
				t.Fatalf("Append of %d returned while Notify was at %d", offset, told.Load())
			}
			got, err := e.Read(ctx, topic.ID, 0, offset, 10, 1<<20, nil)
			if err != nil || len(got) != 1 || got[0].ID != fmt.Sprint(i) {
				t.Fatalf("what was appended at %d is read as %d events, %v", offset, len(got), err)
			}
		}
	})
}
