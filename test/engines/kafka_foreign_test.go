package engines

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/kafkalog"
	"github.com/tandem-hybrid/tandem/server"
)

// foreignClient is a client of somebody else.
func foreignClient(t testing.TB, opts kafkalog.Options, more ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(opts.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner())}, more...)...)
	mustKafka(t, err)
	t.Cleanup(cl.Close)
	return cl
}

// foreignTopic makes a topic, and waits until a broker shows it.
func foreignTopic(t testing.TB, opts kafkalog.Options, name string, parts int32, configs map[string]*string) string {
	t.Helper()
	admin := kadm.NewClient(foreignClient(t, opts, kgo.MetadataMinAge(10*time.Millisecond)))
	_, err := admin.CreateTopic(context.Background(), parts, 1, configs, opts.Prefix+name)
	mustKafka(t, err)
	eventually(t, "the topic is there", 10*time.Second, func() bool {
		details, err := admin.ListTopics(context.Background(), opts.Prefix+name)
		return err == nil && details[opts.Prefix+name].Err == nil
	})
	return opts.Prefix + name
}

// TestKafkaAdopt: a topic that others made and write to, in all compressions, is read under a name of Tandem's, told of without being asked for, and
// left where it is when it is deleted.
func TestKafkaAdopt(t *testing.T) {
	eachKafka(t, func(t *testing.T, opts kafkalog.Options) {
		ctx := context.Background()
		name := foreignTopic(t, opts, "Orders.V1", 3, nil)
		e := openKafka(t, opts)
		l, err := eventlog.Open(ctx, e, eventlog.Options{})
		mustKafka(t, err)
		defer l.Close()
		produce := func(codec kgo.CompressionCodec, part int32, from, n int) {
			t.Helper()
			cl := foreignClient(t, opts, kgo.ProducerBatchCompression(codec))
			for i := range n {
				mustKafka(t, cl.ProduceSync(ctx, &kgo.Record{Topic: name, Partition: part, Key: []byte("k"), Value: fmt.Appendf(nil, `{"n":%d,"fill":"%s"}`, from+i, strings.Repeat("x", 300))}).FirstErr())
			}
		}
		produce(kgo.NoCompression(), 0, 0, 3)

		_, err = l.CreateTopic(ctx, tandem.Topic{Name: "none", Kafka: tandem.KafkaTopic{Topic: opts.Prefix + "not-there"}})
		mustCode(t, err, tandem.CodeInvalid)
		spec := tandem.Topic{Name: "orders", Kafka: tandem.KafkaTopic{Topic: name, Source: "/legacy", Type: "order"}}
		made, err := l.CreateTopic(ctx, spec)
		mustKafka(t, err)
		if made.Partitions != 3 {
			t.Errorf("%d partitions, Kafka has 3", made.Partitions)
		}
		_, err = l.CreateTopic(ctx, tandem.Topic{Name: "again", Kafka: tandem.KafkaTopic{Topic: name}})
		mustCode(t, err, tandem.CodeConflict)

		// One reader waits; nobody reads the partition that others write to first.
		sel, err := eventlog.Select("orders")
		mustKafka(t, err)
		r, err := l.NewReader(ctx, sel, tandem.Start{Earliest: true})
		mustKafka(t, err)
		defer r.Close()
		read := func(want int) (got []tandem.Record) {
			t.Helper()
			ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			for len(got) < want {
				p, err := r.Next(ctx, tandem.Filter{}, 100)
				if err != nil {
					t.Fatalf("after %d events of %d: %v", len(got), want, err)
				}
				if p.Gap != nil {
					t.Fatalf("a gap: %+v", p.Gap)
				}
				got = append(got, p.Events...)
			}
			return got
		}
		first := read(3)
		if e := first[1]; e.Type != "order" || e.Source != "/legacy" || e.ID != "0-1" || e.Subject != "k" || !strings.HasPrefix(string(e.Data), `{"n":1`) || e.DataContentType != "application/json" {
			t.Errorf("the second event is %+v", e.Event)
		}
		for i, codec := range []kgo.CompressionCodec{kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
			produce(codec, int32(i%3), 10*i, 5)
			if got := read(5); !strings.HasPrefix(string(got[4].Data), fmt.Sprintf(`{"n":%d`, 10*i+4)) {
				t.Errorf("codec %d: the last of five events is %s", i, got[4].Data)
			}
		}
		// Tandem writes there, too.
		_, err = l.Append(ctx, "orders", []tandem.Event{{ID: "mine", Source: "/tandem", Type: "t", Subject: "k"}})
		mustKafka(t, err)
		if got := read(1); got[0].ID != "mine" {
			t.Errorf("read %s", got[0].ID)
		}

		mustKafka(t, l.DeleteTopic(ctx, "orders"))
		details, err := kadm.NewClient(foreignClient(t, opts)).ListTopics(ctx, name)
		mustKafka(t, err)
		if details[name].Err != nil {
			t.Errorf("the adopted topic was deleted: %v", details[name].Err)
		}
		again, err := l.CreateTopic(ctx, spec)
		mustKafka(t, err)
		if b, err := e.Bounds(ctx, again.ID, 0); err != nil || b.End < 8 {
			t.Errorf("adopted again, it has %+v, %v", b, err)
		}
	})
}

// TestKafkaForeignTransaction: what was acknowledged behind an open transaction of others is waited for, then refused, and read when that has ended. What
// others gave up is never read.
func TestKafkaForeignTransaction(t *testing.T) {
	eachKafka(t, func(t *testing.T, opts kafkalog.Options) {
		ctx := context.Background()
		opts.Timeout = time.Second
		e := openKafka(t, opts)
		defer e.Close()
		topic, err := e.CreateTopic(ctx, tandem.Topic{Name: "t", Partitions: 1, Retention: -1})
		mustKafka(t, err)
		publish := func(id string) {
			mustKafka(t, e.Append(ctx, &driver.Batch{Records: []driver.Record{{Topic: topic.ID, Event: plain(id, time.Now())}}}))
		}
		ids := func() (s string, err error) {
			got, err := e.Read(ctx, topic.ID, 0, 0, 100, 1<<20, nil)
			for i := range got {
				s += got[i].ID + " "
			}
			return s, err
		}
		publish("a")
		other := foreignClient(t, opts, kgo.TransactionalID(opts.Prefix+"other"))
		want := "a "
		for _, commit := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
			mustKafka(t, other.BeginTransaction())
			theirs := &kgo.Record{Topic: opts.Prefix + "t", Value: []byte("theirs")}
			mustKafka(t, other.ProduceSync(ctx, theirs).FirstErr())
			b, err := e.Bounds(ctx, topic.ID, 0)
			mustKafka(t, err)
			publish("behind")
			if _, err := e.Read(ctx, topic.ID, 0, b.End, 100, 1<<20, nil); tandem.CodeOf(err) != tandem.CodeUnavailable {
				t.Errorf("behind an open transaction the error is %v", err)
			}
			if s, err := ids(); err != nil || s != want {
				t.Errorf("from the start it reads %q, %v, want %q", s, err, want)
			}
			mustKafka(t, other.EndTransaction(ctx, commit))
			if commit {
				want += fmt.Sprintf("0-%d ", theirs.Offset)
			}
			want += "behind "
			eventually(t, want, 10*time.Second, func() bool {
				s, err := ids()
				return err == nil && s == want
			})
		}
	})
}

// TestKafkaRemoved: what Kafka removed is known before anything behind it is read, and a topic that is deleted behind Tandem's back is gone.
func TestKafkaRemoved(t *testing.T) {
	eachKafka(t, func(t *testing.T, opts kafkalog.Options) {
		ctx := context.Background()
		e := openKafka(t, opts)
		l, err := eventlog.Open(ctx, e, eventlog.Options{})
		mustKafka(t, err)
		defer l.Close()
		topic, err := l.CreateTopic(ctx, tandem.Topic{Name: "t", Partitions: 1, RetentionBytes: 8 << 20})
		mustKafka(t, err)
		sel, err := eventlog.Select("t")
		mustKafka(t, err)
		r, err := l.NewReader(ctx, sel, tandem.Start{})
		mustKafka(t, err)
		defer r.Close()
		for i := range 20 {
			_, err := l.Append(ctx, "t", []tandem.Event{{ID: fmt.Sprint(i), Source: "/t", Type: "t"}})
			mustKafka(t, err)
		}
		admin := kadm.NewClient(foreignClient(t, opts))
		offsets := kadm.Offsets{}
		offsets.AddOffset(opts.Prefix+"t", 0, 7, -1)
		deleted, err := admin.DeleteRecords(ctx, offsets)
		mustKafka(t, err)
		mustKafka(t, deleted.Error())
		p, err := r.Read(ctx, tandem.Filter{}, 100)
		mustKafka(t, err)
		// The start may have been seen or not; then all is read from memory.
		if len(p.Events) != 13 && len(p.Events) != 20 || p.Gap == nil && len(p.Events) == 13 {
			t.Errorf("a reader from before the removal: %d events, gap %+v", len(p.Events), p.Gap)
		}
		eventually(t, "Bounds knows of the removal", 10*time.Second, func() bool {
			b, err := e.Bounds(ctx, topic.ID, 0)
			return err == nil && b.Removed == 7 && b.Start == 7 && b.End == 20
		})
		got, err := e.Read(ctx, topic.ID, 0, 0, 100, 1<<20, nil)
		if err != nil || len(got) != 13 || got[0].ID != "7" {
			t.Errorf("from the start there are %d events, %v", len(got), err)
		}

		_, err = admin.DeleteTopic(ctx, opts.Prefix+"t")
		mustKafka(t, err)
		err = e.Append(ctx, &driver.Batch{Records: []driver.Record{{Topic: topic.ID, Event: plain("x", time.Now())}}})
		if code := tandem.CodeOf(err); code != tandem.CodeNotFound && code != tandem.CodeUnavailable {
			t.Errorf("an event for a topic that was just deleted outside: %v", err)
		}
		eventually(t, "a topic deleted outside is gone", 30*time.Second, func() bool {
			_, err := e.Bounds(ctx, topic.ID, 0)
			return tandem.CodeOf(err) == tandem.CodeNotFound
		})
		err = e.Append(ctx, &driver.Batch{Records: []driver.Record{{Topic: topic.ID, Event: plain("x", time.Now())}}})
		mustCode(t, err, tandem.CodeNotFound)
	})
}

// TestKafkaMirror: the places of a subscription are those of a group.
func TestKafkaMirror(t *testing.T) {
	eachKafka(t, func(t *testing.T, opts kafkalog.Options) {
		ctx := context.Background()
		e := openKafka(t, opts)
		defer e.Close()
		topic, err := e.CreateTopic(ctx, tandem.Topic{Name: "t", Partitions: 2, Retention: -1})
		mustKafka(t, err)
		mustKafka(t, e.Mirror(ctx, opts.Prefix+"payments", []kafkalog.Place{{Topic: topic.ID, Partition: 1, Next: 42}, {Topic: 1, Next: 1}}))
		got, err := kadm.NewClient(foreignClient(t, opts)).FetchOffsets(ctx, opts.Prefix+"payments")
		mustKafka(t, err)
		if o, ok := got.Lookup(opts.Prefix+"t", 1); !ok || o.At != 42 || len(got) != 1 {
			t.Errorf("the group has %+v", got)
		}
	})
}

// tool runs a program and returns what it printed.
func tool(t *testing.T, stdin string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %v: %v\n%s%s", name, args, err, out.String(), errs.String())
	}
	return out.String()
}

// TestKafkaTools: kcat and Kafka's own console tools read what Tandem wrote, with key, headers and payload, and what they write is read.
func TestKafkaTools(t *testing.T) {
	opts := kafkalog.Options{Brokers: realKafka(t), Prefix: kafkaPrefix(t)}
	ctx := context.Background()
	e := openKafka(t, opts)
	defer e.Close()
	topic, err := e.CreateTopic(ctx, tandem.Topic{Name: "t", Partitions: 1, Retention: -1})
	mustKafka(t, err)
	ev := plain("id-1", time.Now())
	ev.Subject, ev.Extensions = "käy", []tandem.Extension{{Name: "region", Value: "eu"}}
	mustKafka(t, e.Append(ctx, &driver.Batch{Records: []driver.Record{{Topic: topic.ID, Event: ev}}}))
	name, broker := opts.Prefix+"t", opts.Brokers[0]
	next := uint64(0)
	readOne := func() tandem.Event {
		t.Helper()
		var got []tandem.Record
		eventually(t, "the record is read", 20*time.Second, func() bool {
			var err error
			got, err = e.Read(ctx, topic.ID, 0, next, 10, 1<<20, nil)
			mustKafka(t, err)
			return len(got) > 0
		})
		next = got[len(got)-1].Position.Offset + 1
		return got[len(got)-1].Event
	}
	if got := readOne(); got.ID != "id-1" {
		t.Fatalf("read %+v", got)
	}
	wantHeaders := []string{"ce_specversion", "1.0", "ce_id", "id-1", "ce_source", "/test", "ce_type", "test", "ce_subject", "käy", "ce_region", "eu"}

	t.Run("console", func(t *testing.T) {
		out := tool(t, "", "../kafka/tool", "console-consumer", "--bootstrap-server", broker, "--topic", name, "--from-beginning", "--max-messages", "1", "--isolation-level", "read_committed",
			"--property", "print.key=true", "--property", "print.headers=true", "--property", "key.separator=|", "--property", "headers.separator=;")
		for _, want := range append(wantHeaders, `|käy|{"n":1}`) {
			if !strings.Contains(out, want) {
				t.Errorf("the console consumer prints %q, without %q", out, want)
			}
		}
		tool(t, "ce_specversion:1.0;ce_id:console;ce_source:/c;ce_type:t;content-type:application/json|the key|{\"by\":\"console\"}\n", "../kafka/tool", "console-producer",
			"--bootstrap-server", broker, "--topic", name, "--compression-codec", "lz4", "--property", "parse.key=true", "--property", "parse.headers=true",
			"--property", "key.separator=|", "--property", "headers.delimiter=|", "--property", "headers.separator=;")
		got := readOne()
		got.Meta.Accepted = time.Time{}
		want := tandem.Event{ID: "console", Source: "/c", Type: "t", DataContentType: "application/json", Data: []byte(`{"by":"console"}`), Encoding: tandem.DataJSON, Meta: tandem.Meta{Key: "the key"}}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("of the console producer (-want +got):\n%s", d)
		}
	})
	t.Run("kcat", func(t *testing.T) {
		if _, err := exec.LookPath("kcat"); err != nil {
			t.Skip("needs kcat: apt-get install kcat")
		}
		out := tool(t, "", "kcat", "-b", broker, "-C", "-t", name, "-o", "beginning", "-c", "1", "-f", `%h|%k|%s`)
		for i := 0; i < len(wantHeaders); i += 2 {
			if !strings.Contains(out, wantHeaders[i]+"="+wantHeaders[i+1]) {
				t.Errorf("kcat prints %q, without %s=%s", out, wantHeaders[i], wantHeaders[i+1])
			}
		}
		if !strings.HasSuffix(out, `|käy|{"n":1}`) {
			t.Errorf("kcat prints %q", out)
		}
		for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
			tool(t, "k|"+codec+"\n", "kcat", "-b", broker, "-P", "-t", name, "-K", "|", "-z", codec, "-H", "content-type=text/plain")
			if got := readOne(); string(got.Data) != codec || got.Encoding != tandem.DataText || got.Type != "kafka.record" || got.Subject != "k" {
				t.Errorf("of kcat with %s: %+v", codec, got)
			}
		}
	})
}

// TestKafkaSecure: all mechanisms over TLS, and what goes wrong says so without the password.
func TestKafkaSecure(t *testing.T) {
	brokers, dir := os.Getenv("TANDEM_KAFKA_SECURE"), os.Getenv("TANDEM_KAFKA_DIR")
	if brokers == "" || dir == "" {
		t.Skip(`needs a Kafka broker with TLS: eval "$(make -s kafka-up)", which sets TANDEM_KAFKA_SECURE`)
	}
	pem, err := os.ReadFile(filepath.Join(dir, "tls", "ca.crt"))
	mustKafka(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls", "client.crt"), filepath.Join(dir, "tls", "client.key"))
	mustKafka(t, err)
	const password = "tandem-secret"
	hour := time.Now().Add(time.Hour)
	ctx := context.Background()
	for _, c := range []struct{ mechanism, secret, wrong, why string }{
		{"PLAIN", password, "wrong-" + password, "Invalid username or password"},
		{"SCRAM-SHA-256", password, "wrong-" + password, "invalid credentials"},
		{"scram-sha-512", password, "wrong-" + password, "invalid credentials"},
		{"OAUTHBEARER", unsignedToken("tandem", hour), unsignedToken("tandem", hour.Add(-2*time.Hour)), "invalid_token"},
	} {
		t.Run(c.mechanism, func(t *testing.T) {
			opts := kafkalog.Options{Brokers: strings.Split(brokers, ","), Prefix: kafkaPrefix(t), TLS: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}},
				SASL: kafkalog.SASL{Mechanism: c.mechanism, User: "tandem", Secret: func(context.Context) (string, error) { return c.secret, nil }}}
			e := openKafka(t, opts)
			defer e.Close()
			topic, err := e.CreateTopic(ctx, tandem.Topic{Name: "t", Partitions: 1, Retention: -1})
			mustKafka(t, err)
			mustKafka(t, e.Append(ctx, &driver.Batch{Records: []driver.Record{{Topic: topic.ID, Event: plain("1", time.Now())}}, State: []driver.StateOp{setState("k", "v")}}))
			got, err := e.Read(ctx, topic.ID, 0, 0, 10, 1<<20, nil)
			if err != nil || len(got) != 1 {
				t.Errorf("read %d events, %v", len(got), err)
			}
			wrong := opts
			wrong.SASL.Secret = func(context.Context) (string, error) { return c.wrong, nil }
			_, err = kafkalog.Open(ctx, wrong)
			mustCode(t, err, tandem.CodeUnavailable)
			if !strings.Contains(err.Error(), c.why) {
				t.Errorf("%v, without %q", err, c.why)
			}
			if strings.Contains(err.Error(), c.wrong) || strings.Contains(fmt.Sprintf("%+v %#v", opts, opts.SASL), c.secret) {
				t.Errorf("the password is in what is printed: %v", err)
			}
		})
	}
	_, err = kafkalog.Open(ctx, kafkalog.Options{Brokers: strings.Split(brokers, ","), TLS: &tls.Config{}, Timeout: 2 * time.Second})
	mustCode(t, err, tandem.CodeUnavailable)
	t.Log(err)

	t.Run("as configured", func(t *testing.T) {
		token := unsignedToken("tandem", hour)
		secrets := func(token string) func(string) (string, error) {
			return func(ref string) (string, error) {
				return map[string]string{"env:TOKEN": token, "file:ca.pem": string(pem)}[ref], nil
			}
		}
		opts := server.Options{Data: t.TempDir(), Secrets: secrets(token), Engine: server.Engine{Kafka: &server.Kafka{Brokers: strings.Split(brokers, ","), Prefix: kafkaPrefix(t),
			TLS: &server.EngineTLS{CA: "file:ca.pem"}, SASL: &server.SASL{Mechanism: "OAUTHBEARER", Token: "env:TOKEN"}}}}
		e, err := server.OpenEngine(ctx, opts)
		mustKafka(t, err)
		defer e.Close()
		_, err = e.CreateTopic(ctx, tandem.Topic{Name: "t", Partitions: 1})
		mustKafka(t, err)
		opts.Secrets = secrets(token + "x") // a signature, where the algorithm says that there is none
		_, err = server.OpenEngine(ctx, opts)
		mustCode(t, err, tandem.CodeUnavailable)
		if !strings.Contains(err.Error(), "does not take the token") || strings.Contains(err.Error(), token) {
			t.Errorf("of a wrong token: %v", err)
		}
	})
}

// unsignedToken is one that a broker takes that has Kafka's own validator for tests (RFC 7519, section 6).
func unsignedToken(subject string, until time.Time) string {
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	return part(`{"alg":"none"}`) + "." + part(fmt.Sprintf(`{"sub":%q,"exp":%d}`, subject, until.Unix())) + "."
}
