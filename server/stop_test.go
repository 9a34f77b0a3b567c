package server_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/server"
)

// TestStopEndsUpgradedConnections: what a service took over has no end of its own, and is gone when Stop returns.
func TestStopEndsUpgradedConnections(t *testing.T) {
	upgraded := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		io.Copy(c, c)
	}))
	defer upgraded.Close()
	before := goleak.IgnoreCurrent()
	s := startServer(t, server.Options{Services: []tandem.Service{{Name: "echo", URL: upgraded.URL}},
		Routes: []gateway.Route{{Match: "GET /echo", Service: "echo"}}})
	c, err := net.Dial("tcp", s.PublicAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	in := bufio.NewReader(c)
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "101") {
		t.Fatalf("%q, %v", line, err)
	}
	stopServer(t, s)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, in); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Error("the connection is still open")
	}
	upgraded.Close()
	goleak.VerifyNone(t, before)
}

// TestStopWithoutTime: a context that is done cuts off what is under way and says so, but nothing runs on.
func TestStopWithoutTime(t *testing.T) {
	came := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(came)
		<-r.Context().Done()
	}))
	before := goleak.IgnoreCurrent()
	s := startServer(t, server.Options{Services: []tandem.Service{{Name: "slow", URL: slow.URL}}, Topics: []tandem.Topic{{Name: "orders"}},
		Routes: []gateway.Route{{Match: "GET /slow", Service: "slow"},
			{Match: "/operations/{id}", Operation: &gateway.Operation{Public: true}},
			{Match: "POST /orders", Topic: "orders", Type: "x", Operation: &gateway.Operation{Spec: tandem.OperationSpec{Topics: []string{"orders"}, Succeed: []string{"y"}}}}}})
	res, err := client.Post("http://"+s.PublicAddr()+"/orders", "application/json", strings.NewReader("{}"))
	if err != nil || res.StatusCode != 202 {
		t.Fatal(res, err)
	}
	res.Body.Close()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if res, err := client.Get("http://" + s.PublicAddr() + "/slow"); err == nil {
			res.Body.Close()
		}
	}()
	<-came
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err = s.Stop(ctx)
	if tandem.CodeOf(err) != tandem.CodeTimeout || strings.Contains(err.Error(), "stop ") {
		t.Errorf("only the request was to be cut off: %v", err)
	}
	<-answered
	client.CloseIdleConnections()
	slow.Close()
	goleak.VerifyNone(t, before)
}

// TestStartOnAFullDisk: a server whose disk filled up starts again as it was declared; otherwise nobody could delete, and
// retention would not run (promise 6).
func TestStartOnAFullDisk(t *testing.T) {
	opts := server.Options{Data: t.TempDir(), Topics: []tandem.Topic{{Name: "orders", Key: "data.id"}, {Name: "kept", Partitions: 2, Retention: -1}},
		Services:      []tandem.Service{{Name: "a", URL: "http://127.0.0.1:1"}},
		Subscriptions: []tandem.Subscription{{Name: "s", Topics: []string{"orders"}, Service: "a"}}}
	stopServer(t, startServer(t, opts))
	opts.FreeBytes = 1 << 60 // more than there is
	s := startServer(t, opts)
	if err := publish("http://"+s.APIAddr(), 0, 0); err == nil {
		t.Error("the disk is not full")
	}
}

// TestStopWithUnusedConnections: a connection without a request, which http.Server would wait five seconds for, holds up
// no stop.
func TestStopWithUnusedConnections(t *testing.T) {
	s := startServer(t, server.Options{})
	for _, addr := range []string{s.PublicAddr(), s.APIAddr()} {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		// The server has accepted it once it has answered one that came later.
		if _, err := client.Get("http://" + addr + "/livez"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}
