package engines

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/drivertest"
	"github.com/tandem-hybrid/tandem/eventlog/natslog"
)

// natsPrefix returns a prefix that no other engine of the server has.
var natsCount atomic.Int64

func natsPrefix() string {
	return fmt.Sprintf("t%x-%d", time.Now().UnixNano(), natsCount.Add(1))
}

// natsServer starts a server in this process, which ends with the test.
func natsServer(t testing.TB, change func(*server.Options)) *server.Server {
	t.Helper()
	o := &server.Options{ServerName: "test", DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, JetStreamMaxStore: 8 << 40, JetStreamMaxMemory: 64 << 20}
	if change != nil {
		change(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("TANDEM_NATS_LOG") != "" {
		s.ConfigureLogger()
	}
	go s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s
}

// natsHarness is the conformance suite's way to engines that opts says how to reach. Every engine has a prefix of its own.
func natsHarness(opts natslog.Options) drivertest.Harness {
	var mu sync.Mutex
	used := map[driver.Driver]natslog.Options{}
	open := func(t testing.TB, o natslog.Options) driver.Driver {
		t.Helper()
		e, err := natslog.Open(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		used[e] = o
		return e
	}
	return drivertest.Harness{
		Open: func(t testing.TB) driver.Driver {
			o := opts
			o.Prefix, o.Dir = natsPrefix(), t.TempDir()
			return open(t, o)
		},
		Reopen: func(t testing.TB, drv driver.Driver) driver.Driver {
			if err := drv.Close(); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			o := used[drv]
			mu.Unlock()
			return open(t, o)
		},
	}
}

// TestNATSContract runs the conformance suite on a server in this process, over a proxy: its syncing is stalled for us when its answers are held
// back.
func TestNATSContract(t *testing.T) {
	p := natsTCP(t)
	h := natsHarness(natslog.Options{URL: p.url()})
	h.StallSync = func(testing.TB, driver.Driver) (<-chan struct{}, func()) { return p.stall(), p.resume }
	drivertest.Run(t, h)
}

// TestNATSContractReal runs it on the servers of TANDEM_NATS.
func TestNATSContractReal(t *testing.T) {
	drivertest.Run(t, natsHarness(natslog.Options{URL: natsURL(t), Replicas: natsReplicas(), SyncAlways: true}))
}

// natsURL is where real servers are.
func natsURL(t testing.TB) string {
	url := os.Getenv("TANDEM_NATS")
	if url == "" {
		t.Skip("needs a real NATS server: make nats-up, then export what it prints")
	}
	return url
}

// natsReplicas is three on a cluster.
func natsReplicas() int {
	for _, c := range os.Getenv("TANDEM_NATS") {
		if c == ',' {
			return 3
		}
	}
	return 1
}
