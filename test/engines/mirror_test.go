package engines

import (
	"context"
	"log/slog"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/server"
)

// TestKafkaShowsProgress: what a subscription has done is the offset of a group without members, where tools for lags find it.
func TestKafkaShowsProgress(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	srv, err := server.New(server.Options{Data: filepath.Join(t.TempDir(), "data"), PublicAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0",
		Engine:        server.Engine{Kafka: &server.Kafka{Brokers: cluster.ListenAddrs(), Prefix: "shown"}},
		Topics:        []tandem.Topic{{Name: "orders", Partitions: 1}},
		Subscriptions: []tandem.Subscription{{Name: "work", Topics: []string{"orders"}, From: "earliest", Pull: &tandem.Pull{}}},
		Logger:        slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer srv.Stop(context.Background())
	cl, err := client.New("http://"+srv.APIAddr(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := cl.Publish(t.Context(), "orders", tandem.Event{ID: strconv.Itoa(i), Source: "/s", Type: "t"}); err != nil {
			t.Fatal(err)
		}
	}
	leases, err := cl.Pull(t.Context(), "work", tandem.PullRequest{Max: 2, Wait: tandem.Duration(5 * time.Second)})
	if err != nil || len(leases) != 2 {
		t.Fatalf("%d leases, %v", len(leases), err)
	}
	if _, err := cl.Ack(t.Context(), "work", leases[0].Token, leases[1].Token); err != nil {
		t.Fatal(err)
	}
	kc, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer kc.Close()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		offsets, err := kadm.NewClient(kc).FetchOffsets(t.Context(), "shown.work")
		at, _ := offsets.Lookup("shown.orders", 0)
		if err == nil && at.At == 2 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the group is at %+v, %v", at, err)
		}
	}
}
