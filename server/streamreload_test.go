package server_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/benchstream"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/server"
)

// TestReloadsKeepStreams: the streams of a route go on over reloads that change topics and other routes: none ends, none misses
// an event. 10 reloads under 500 streams; with TANDEM_SOAK 100 under 10,000.
func TestReloadsKeepStreams(t *testing.T) {
	for _, webSocket := range []bool{false, true} {
		t.Run(fmt.Sprintf("webSocket=%t", webSocket), func(t *testing.T) { reloadsKeepStreams(t, webSocket) })
	}
}

func reloadsKeepStreams(t *testing.T, webSocket bool) {
	if testing.Short() {
		t.Skip("starts a process of clients: run without -short")
	}
	const most = mostStreams - 10
	reloads, n := sized(10, 100), min(sized(500, 10_000), most, benchstream.Files(most)-500)
	first := server.Options{
		Topics: []tandem.Topic{{Name: loadTopic, Partitions: 1}},
		Routes: []gateway.Route{{Match: "GET /events", Stream: &gateway.Stream{Topics: []string{loadTopic}}}},
	}
	next := first
	first.Load = func(context.Context) (server.Options, error) { return next, nil }
	s := startServer(t, first)
	p := &publisher{url: "http://" + s.APIAddr()}
	clients := connectClients(t, benchstream.Options{Addr: s.PublicAddr(), Path: "/events", N: n, WebSocket: webSocket, Verify: true})
	for i := range reloads {
		name := fmt.Sprintf("extra-%d", i)
		next = first
		next.Topics = append(next.Topics[:1:1], tandem.Topic{Name: name})
		next.Routes = append(next.Routes[:1:1], gateway.Route{Match: "POST /" + name, Topic: name, Type: "extra"})
		resp, err := client.Post("http://"+s.APIAddr()+"/v1/config:reload", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode/100 != 2 {
			t.Fatalf("reload %d: %s", i, resp.Status)
		}
		if resp, err = client.Post("http://"+s.PublicAddr()+"/"+name, "application/json", nil); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusNotFound {
			t.Fatalf("reload %d changed nothing", i)
		}
		p.many(t, 1)
		if _, err := clients.AwaitAll(p.seq, patience); err != nil {
			t.Fatalf("after reload %d: %v", i, err)
		}
	}
	if r, err := clients.Report(); err != nil || r.Open != n || r.Ended != 0 || r.Events != uint64(n*reloads) || r.Missing+r.Repeated+r.Gaps != 0 {
		t.Errorf("%s, %v", summary(r), err)
	}
}
