package engines

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/drivertest"
	"github.com/tandem-hybrid/tandem/eventlog/kafkalog"
)

// kafkaLogs counts the logs of this process: each has a prefix of its own, so that all can use one cluster.
var kafkaLogs atomic.Int64

// kafkaPrefix returns a prefix of its own. Its topics on a real broker are deleted when the test ends: a broker is slow to start with thousands.
func kafkaPrefix(t testing.TB) string {
	prefix := fmt.Sprintf("t%d-%d-", time.Now().UnixNano(), kafkaLogs.Add(1))
	t.Cleanup(func() {
		if os.Getenv("TANDEM_KAFKA") == "" {
			return
		}
		cl, err := kgo.NewClient(kgo.SeedBrokers(realKafka(t)...))
		if err != nil {
			t.Error(err)
			return
		}
		defer cl.Close()
		admin := kadm.NewClient(cl)
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		list, err := admin.ListTopics(ctx)
		if err != nil {
			t.Errorf("list the topics of a test: %v", err)
			return
		}
		if names := slices.DeleteFunc(list.Names(), func(name string) bool { return !strings.HasPrefix(name, prefix) }); len(names) > 0 {
			if _, err := admin.DeleteTopics(ctx, names...); err != nil {
				t.Errorf("delete the topics of a test: %v", err)
			}
		}
	})
	return prefix
}

// realKafka returns the brokers that TANDEM_KAFKA names.
func realKafka(t testing.TB) []string {
	t.Helper()
	if os.Getenv("TANDEM_KAFKA") == "" {
		t.Skip(`needs a Kafka broker: eval "$(make -s kafka-up)", which sets TANDEM_KAFKA`)
	}
	return strings.Split(os.Getenv("TANDEM_KAFKA"), ",")
}

func openKafka(t testing.TB, opts kafkalog.Options) *kafkalog.Engine {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	e, err := kafkalog.Open(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	fmt.Fprintf(os.Stderr, "%s: %s", w.t.Name(), b)
	return len(b), nil
}

// opened is an engine that can be opened again.
type opened struct {
	*kafkalog.Engine
	opts kafkalog.Options
}

func conformance(brokers func(testing.TB) []string, skip map[string]string) drivertest.Harness {
	return drivertest.Harness{
		Open: func(t testing.TB) driver.Driver {
			opts := kafkalog.Options{Brokers: brokers(t), Prefix: kafkaPrefix(t), Dir: t.TempDir() + "/state",
				HoldAtMost: 20 * time.Second} // on a busy machine
			return opened{openKafka(t, opts), opts}
		},
		Reopen: func(t testing.TB, drv driver.Driver) driver.Driver {
			o := drv.(opened)
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			return opened{openKafka(t, o.opts), o.opts}
		},
		Skip: skip,
	}
}

func fakeKafka(t testing.TB) []string {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()
}

func TestKafkaConformanceFake(t *testing.T) {
	drivertest.Run(t, conformance(fakeKafka, nil))
}

func TestKafkaConformance(t *testing.T) {
	brokers := realKafka(t)
	drivertest.Run(t, conformance(func(testing.TB) []string { return brokers }, nil))
}
