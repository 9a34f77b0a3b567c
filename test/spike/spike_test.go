package spike

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/drivertest"
)

// left is what neither driver tries.
var left = map[string]string{
	"Topics": "changing and deleting topics", "Recreate": "deleting topics", "Model": "deleting topics", "Retention": "retention", "RetentionBytes": "retention",
	"OffsetAt": "offset by time", "Close": "appends under way at Close", "DedupConflict": "a fingerprint of the content",
}

func with(more map[string]string) map[string]string {
	m := maps.Clone(left)
	maps.Copy(m, more)
	return m
}

func newKafka(t testing.TB) driver.Driver {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	k, err := openKafka(ctx, cluster.ListenAddrs())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newJetStream(t testing.TB) driver.Driver {
	s, err := server.NewServer(&server.Options{JetStream: true, StoreDir: t.TempDir(), DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	j, err := openJetStream(ctx, nc)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestKafka(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{Open: newKafka, Skip: with(map[string]string{"Bounds": "the size of a partition and a dense Seq"})})
}

func TestJetStream(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{Open: newJetStream, Skip: with(map[string]string{"Fence": "ownership", "Dedup": "repeats that change their partition"})})
}

// One cursor over several topics, on engines whose offsets count within a partition.
func TestLog(t *testing.T) {
	for name, open := range map[string]func(testing.TB) driver.Driver{"kafka": newKafka, "nats": newJetStream} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			l, err := eventlog.Open(ctx, open(t), eventlog.Options{AutoCreate: true})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			write := func(topic string, n int) {
				for i := range n {
					ev := tandem.Event{Source: "/spike", Type: "tried", Subject: fmt.Sprint(i % 5), Data: []byte("1")}
					if _, err := l.Append(ctx, topic, []tandem.Event{ev, ev}); err != nil {
						t.Fatal(err)
					}
				}
			}
			write("a.one", 10)
			write("a.two", 3)
			sel, err := eventlog.Select("a.*")
			if err != nil {
				t.Fatal(err)
			}
			start, read, late := tandem.Start{Earliest: true}, 0, false
			for range 200 {
				r, err := l.NewReader(ctx, sel, start) // resumed for each page
				if err != nil {
					t.Fatal(err)
				}
				p, err := r.Read(ctx, tandem.Filter{}, 3)
				if err != nil || p.Gap != nil {
					t.Fatal(p.Gap, err)
				}
				if read += len(p.Events); read >= 14 && !late {
					late = true
					write("a.late", 2)
				}
				start.Earliest, start.Cursor = false, p.Cursor
				if len(p.Events) > 1 && read%2 == 0 { // the last of the page is left for the next
					start.Cursor = r.CursorAfter(&p.Events[len(p.Events)-2])
					read--
				}
				r.Close()
				if len(p.Events) == 0 {
					break
				}
			}
			if read != 30 {
				t.Errorf("read %d events, want 30", read)
			}
		})
	}
}
