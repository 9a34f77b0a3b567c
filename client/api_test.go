package client_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/api"
	"github.com/tandem-hybrid/tandem/internal/auth"
	"github.com/tandem-hybrid/tandem/internal/stream"
)

// open serves the API of a log in memory and returns a client of it, and how to cut the connections of all clients.
func open(fatal func(...any)) (c *client.Client, cut, stop func()) {
	ctx := context.Background()
	log, err := eventlog.Open(ctx, memlog.New(memlog.Options{}), eventlog.Options{})
	if err != nil {
		fatal(err)
	}
	streams := stream.New(log, stream.Options{Retry: 10 * time.Millisecond})
	handler := api.New(api.Options{Log: log, Auth: auth.New(nil), Streams: streams, Logger: slog.New(slog.DiscardHandler)})
	srv := httptest.NewUnstartedServer(handler)
	conns := &kept{Listener: srv.Listener}
	srv.Listener = conns
	srv.Start()
	c, err = client.New(srv.URL, client.Options{HTTP: srv.Client()})
	if err != nil {
		fatal(err)
	}
	if _, err := c.CreateTopic(ctx, tandem.Topic{Name: "orders", Partitions: 2, Source: "/shop"}); err != nil {
		fatal(err)
	}
	return c, conns.cut, func() {
		srv.CloseClientConnections()
		srv.Close()
		now, cancel := context.WithCancel(ctx)
		cancel()
		_ = streams.Stop(now) // at once
		handler.Close()
		log.Close()
	}
}

// kept remembers connections, since streams take them over from the server.
type kept struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (k *kept) Accept() (net.Conn, error) {
	c, err := k.Listener.Accept()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.conns = append(k.conns, c)
	return c, err
}

// cut breaks all connections.
func (k *kept) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.conns {
		if c != nil {
			c.Close()
		}
	}
	k.conns = nil
}

func placed(id, order string) tandem.Event {
	return tandem.Event{ID: id, Source: "/shop", Type: "order.placed", Subject: order, Data: []byte(`{"total":12}`)}
}

func TestAgainstTheAPI(t *testing.T) {
	c, cut, stop := open(t.Fatal)
	defer stop()
	ctx := t.Context()

	first, err := c.Publish(ctx, "orders", placed("1", "42"))
	if err != nil || len(first) != 1 || first[0].Duplicate == tandem.DuplicateYes {
		t.Fatal(first, err)
	}
	again, err := c.Publish(ctx, "orders", placed("1", "42"))
	if err != nil || again[0].Duplicate != tandem.DuplicateYes || again[0].Offset != first[0].Offset {
		t.Errorf("%+v %v", again, err)
	}
	if got, err := c.Publish(ctx, "orders", placed("2", "42"), placed("3", "7")); err != nil || len(got) != 2 {
		t.Errorf("%+v %v", got, err)
	}
	keyed := placed("4", "8")
	keyed.Meta.Key = "42" // goes where the events of 42 are
	if got, err := c.Publish(ctx, "orders", keyed); err != nil || got[0].Partition != first[0].Partition {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := c.Publish(ctx, "orders", keyed, placed("5", "42")); tandem.CodeOf(err) != tandem.CodeInvalid {
		t.Errorf("%v", err)
	}
	if got, err := c.PublishJSON(ctx, "orders", []byte(`{"total":1}`), client.Attributes{"type": "order.paid", "subject": "42", "id": "6", "priority": "3"}); err != nil || got.ID != "6" {
		t.Errorf("%+v %v", got, err)
	}

	page, err := c.Read(ctx, client.Query{Topics: []string{"orders"}, Start: tandem.Start{Cursor: first[0].Cursor}, Limit: 2})
	if err != nil || len(page.Events) != 2 || page.Events[0].ID != "2" || page.Events[1].ID != "3" {
		t.Errorf("%+v %v", page, err)
	}
	filter, _ := tandem.ParseFilter([]byte(`{"type":"order.paid"}`))
	page, err = c.Read(ctx, client.Query{Topics: []string{"**"}, Start: tandem.Start{Earliest: true}, Filter: filter})
	if err != nil || len(page.Events) != 1 || page.Events[0].Source != "/shop" {
		t.Errorf("%+v %v", page, err)
	}
	if v, _ := page.Events[0].Extension("priority"); v != "3" {
		t.Errorf("%+v", page.Events[0])
	}

	// A stream sees each event once, whatever happens to its connections.
	var got []string
	for m, err := range c.Stream(ctx, client.Query{Topics: []string{"orders"}, Start: tandem.Start{Earliest: true}}, client.StreamOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m.Event.ID)
		if len(got)%3 == 0 {
			cut()
		}
		if n := len(got); n >= 5 && n < 20 {
			if _, err := c.Publish(ctx, "orders", placed(fmt.Sprint(n+2), "42")); err != nil {
				t.Fatal(err)
			}
		}
		if len(got) == 20 {
			break
		}
	}
	if want := "1 2 3 4 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21"; strings.Join(got, " ") != want {
		t.Errorf("%v", got)
	}
}

func TestBulkAgainstTheAPI(t *testing.T) {
	c, _, stop := open(t.Fatal)
	defer stop()
	const lines = 5000
	next := 0
	n, err := c.PublishNDJSON(t.Context(), "orders", strings.NewReader(strings.Repeat("{\"n\":1}\n", lines-1)+"{\n"), client.Attributes{"type": "n"}, func(r tandem.Receipt, err error) error {
		next++
		if (err != nil) != (next == lines) {
			t.Errorf("line %d: %+v %v", next, r, err)
		}
		return nil
	})
	if err != nil || n != lines {
		t.Errorf("%d %v", n, err)
	}
}

func TestTopicsAgainstTheAPI(t *testing.T) {
	c, _, stop := open(t.Fatal)
	defer stop()
	ctx := t.Context()
	made, err := c.CreateTopic(ctx, tandem.Topic{Name: "audit", Partitions: 3, Retention: -1})
	if err != nil || made.Partitions != 3 || made.Retention >= 0 || made.ETag == "" || made.Owner != "api" {
		t.Fatalf("%+v %v", made, err)
	}
	if _, err := c.CreateTopic(ctx, tandem.Topic{Name: "audit"}); tandem.CodeOf(err) != tandem.CodePrecondition {
		t.Errorf("%v", err)
	}
	changed := made.Topic
	changed.Type = "noted"
	if _, err := c.PutTopic(ctx, changed, `"other"`); tandem.CodeOf(err) != tandem.CodePrecondition {
		t.Errorf("%v", err)
	}
	if got, err := c.PutTopic(ctx, changed, made.ETag); err != nil || got.Type != "noted" || got.ETag == made.ETag {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := c.Topic(ctx, "audit"); err != nil || got.Status == nil || len(got.Status.Partitions) != 3 {
		t.Errorf("%+v %v", got, err)
	}
	for i := range 120 { // more than a page of the list
		if _, err := c.CreateTopic(ctx, tandem.Topic{Name: fmt.Sprintf("t%03d", i), Partitions: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := c.Topics(ctx); err != nil || len(all) != 122 || all[121].Name != "t119" {
		t.Errorf("%d topics, %v", len(all), err)
	}
	if err := c.DeleteTopic(ctx, "audit"); err != nil {
		t.Error(err)
	}
	if _, err := c.Topic(ctx, "audit"); tandem.CodeOf(err) != tandem.CodeNotFound {
		t.Errorf("%v", err)
	}
}

func TestStreamsAgainstTheAPI(t *testing.T) {
	c, _, stop := open(t.Fatal)
	defer stop()
	ctx := t.Context()
	if _, err := c.Publish(ctx, "orders", placed("1", "42")); err != nil {
		t.Fatal(err)
	}
	for m, err := range c.Stream(ctx, client.Query{Topics: []string{"orders"}, Start: tandem.Start{Earliest: true}}, client.StreamOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.Streams(ctx, tandem.StreamQuery{Topic: "orders", Limit: 10})
		if err != nil || p.Open != 1 || p.Topics["orders"] != 1 || len(p.Streams) != 1 || p.Matching != 1 {
			t.Fatalf("%+v %v", p, err)
		}
		if s := p.Streams[0]; s.Kind != "sse" || s.Address == "" || s.Slow != tandem.SlowCatchUp {
			t.Errorf("%+v after %s", s, m.Cursor)
		}
		for _, q := range []tandem.StreamQuery{{Principal: "nobody", Limit: 10}, {Topic: "elsewhere", Limit: 10}} {
			if p, err := c.Streams(ctx, q); err != nil || p.Open != 1 || p.Matching != 0 || len(p.Streams) != 0 {
				t.Errorf("%+v: %+v %v", q, p, err)
			}
		}
		if p, err := c.Streams(ctx, tandem.StreamQuery{}); err != nil || p.Matching != 1 || len(p.Streams) != 0 {
			t.Errorf("counted only: %+v %v", p, err)
		}
		if _, err := c.Streams(ctx, tandem.StreamQuery{Limit: 1001}); tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%v", err)
		}
		break
	}
}

func Example() {
	c, _, stop := open(func(v ...any) { panic(fmt.Sprint(v...)) })
	defer stop()
	ctx := context.Background()

	// An id of one's own makes it safe to send the event again.
	receipts, err := c.Publish(ctx, "orders", tandem.Event{ID: tandem.NewID(), Source: "/shop", Type: "order.placed", Subject: "42", Data: []byte(`{"total":12}`)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("stored in", receipts[0].Topic)

	for m, err := range c.Stream(ctx, client.Query{Topics: []string{"orders"}, Start: tandem.Start{Earliest: true}}, client.StreamOptions{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(m.Event.Type, m.Event.Subject, string(m.Event.Data))
		break // keep m.Cursor to go on from here
	}
	// Output:
	// stored in orders
	// order.placed 42 {"total":12}
}

func ExampleClient_PublishNDJSON() {
	c, _, stop := open(func(v ...any) { panic(fmt.Sprint(v...)) })
	defer stop()
	var lines io.Reader = bytes.NewBufferString("{\"total\":12}\n{\"total\":7}\n")
	n, err := c.PublishNDJSON(context.Background(), "orders", lines, client.Attributes{"type": "order.placed"}, func(r tandem.Receipt, err error) error {
		return err // the first line that is refused ends it
	})
	fmt.Println(n, err)
	// Output: 2 <nil>
}
