package server_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	tandemclient "github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/server"
)

// TestStopLetsPullersGo: who waits for leases holds no stop up, and is told to come again.
func TestStopLetsPullersGo(t *testing.T) {
	s := startServer(t, server.Options{Topics: []tandem.Topic{{Name: "orders"}}, Subscriptions: []tandem.Subscription{{Name: "work", Topics: []string{"orders"}, Pull: &tandem.Pull{}}}})
	reading := make(chan struct{}) // the handler reads the body
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(reading) }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.APIAddr()+"/v1/subscriptions/work:pull", strings.NewReader(`{"wait":"60s"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Expect", "100-continue")
	status := make(chan string, 1)
	go func() {
		res, err := client.Do(req)
		if err != nil {
			status <- err.Error()
			return
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		status <- res.Status
	}()
	<-reading
	began := time.Now()
	stopServer(t, s)
	if got := <-status; !strings.HasPrefix(got, "503") || time.Since(began) > 15*time.Second {
		t.Errorf("%s after %s", got, time.Since(began))
	}
}

// TestLifeOfALetter goes through the real rooms as an operator does: pulled and given back until dead, explained, redriven, replayed.
func TestLifeOfALetter(t *testing.T) {
	s := startServer(t, server.Options{Topics: []tandem.Topic{{Name: "orders", Partitions: 2}}})
	c, err := tandemclient.New("http://"+s.APIAddr(), tandemclient.Options{HTTP: client})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if _, err := c.CreateSubscription(ctx, tandem.Subscription{Name: "work", Topics: []string{"orders"}, Pull: &tandem.Pull{}, Attempts: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Publish(ctx, "orders", tandem.Event{ID: "1", Source: "/s", Type: "placed", Subject: "42", Data: []byte(`{"n": 1}`)}); err != nil {
		t.Fatal(err)
	}
	pull := func(name string, attempt int) tandem.Lease {
		t.Helper()
		got, err := c.Pull(ctx, name, tandem.PullRequest{Max: 10, Wait: tandem.Duration(20 * time.Second)})
		if err != nil || len(got) != 1 || got[0].Attempt != attempt || got[0].Event.ID != "1" || string(got[0].Event.Data) != `{"n": 1}` {
			t.Fatalf("attempt %d of %s: %+v %v", attempt, name, got, err)
		}
		return got[0]
	}
	answered := func(got []tandem.LeaseResult, err error, want string) {
		t.Helper()
		if err != nil || len(got) != 1 || got[0].Outcome != want {
			t.Fatalf("%+v %v, want %s", got, err, want)
		}
	}
	first := pull("work", 1)
	got, err := c.Nack(ctx, "work", 0, first.Token)
	answered(got, err, tandem.LeaseReleased)
	second := pull("work", 2)
	if second.ID != first.ID {
		t.Errorf("the delivery %s became %s", first.ID, second.ID)
	}
	got, err = c.Ack(ctx, "work", first.Token)
	answered(got, err, tandem.LeaseLost)
	got, err = c.Extend(ctx, "work", time.Minute, second.Token)
	answered(got, err, tandem.LeaseExtended)
	got, err = c.Nack(ctx, "work", 0, second.Token)
	answered(got, err, tandem.LeaseReleased)

	row := func() tandem.Delivery {
		t.Helper()
		page, err := c.Deliveries(ctx, "work", tandem.DeliveryQuery{Position: &first.Event.Position})
		if err != nil || len(page.Deliveries) != 1 {
			t.Fatalf("%+v %v", page, err)
		}
		return page.Deliveries[0]
	}
	// The outcome of a nack is not waited for, as that of an acknowledgement is.
	dead := row()
	for deadline := time.Now().Add(20 * time.Second); dead.State != tandem.DeliveryDead && time.Now().Before(deadline); dead = row() {
		time.Sleep(5 * time.Millisecond)
	}
	if dead.State != tandem.DeliveryDead || dead.Attempts != 2 || len(dead.History) != 2 || dead.DeadLetter == "" {
		t.Fatalf("%+v", dead)
	}
	letter, err := c.DeadLetter(ctx, "work", dead.DeadLetter)
	if err != nil || letter.Reason != "exhausted" || letter.Event.ID != "1" {
		t.Errorf("%+v %v", letter, err)
	}
	if n, err := c.Redrive(ctx, "work", tandem.DeadLetterSelection{Reason: "exhausted", DryRun: true}); err != nil || n.Count != 1 || !n.DryRun {
		t.Errorf("%+v %v", n, err)
	}
	if n, err := c.Redrive(ctx, "work", tandem.DeadLetterSelection{IDs: []string{letter.ID}}); err != nil || n.Count != 1 {
		t.Errorf("%+v %v", n, err)
	}
	third := pull("work", 1)
	got, err = c.Ack(ctx, "work", third.Token)
	answered(got, err, tandem.LeaseAcknowledged)
	if d := row(); d.State != tandem.DeliveryDelivered {
		t.Errorf("%+v", d)
	}
	if _, err := c.DeadLetter(ctx, "work", letter.ID); tandem.CodeOf(err) != tandem.CodeNotFound {
		t.Errorf("%v", err)
	}

	replay, err := c.Replay(ctx, "work", tandem.ReplayRequest{From: tandem.Start{Earliest: true}})
	if err != nil {
		t.Fatal(err)
	}
	again := pull(replay.Name, 1)
	if again.ID != first.ID {
		t.Errorf("a receiver that remembers %s would take %s again", first.ID, again.ID)
	}
	got, err = c.Ack(ctx, replay.Name, again.Token)
	answered(got, err, tandem.LeaseAcknowledged)
	if plan, err := c.Seek(ctx, "work", tandem.Start{Earliest: true}, true); err != nil || plan.Again != 1 || !plan.DryRun {
		t.Errorf("%+v %v", plan, err)
	}
	if _, err := c.Seek(ctx, "work", tandem.Start{Earliest: true}, false); err != nil {
		t.Error(err)
	}
	if sought := pull("work", 1); sought.ID == first.ID {
		t.Error("a seek begins a new epoch, whose deliveries are others")
	}
	if err := c.DeleteSubscription(context.WithoutCancel(ctx), replay.Name); err != nil {
		t.Error(err)
	}
}
