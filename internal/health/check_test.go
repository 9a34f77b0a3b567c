package health

import (
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-hybrid/tandem"
)

// TestSilentPeer: a check of a host that takes the connection and then says nothing leaves neither the connection nor a goroutine behind.
func TestSilentPeer(t *testing.T) {
	before := goleak.IgnoreCurrent()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := New(Options{Logger: slog.New(slog.DiscardHandler)})
	s.Apply([]tandem.Service{{Name: "silent", URL: "https://" + l.Addr().String(), Health: &tandem.Health{
		Path: "/", Interval: tandem.Duration(100 * time.Millisecond), Timeout: tandem.Duration(10 * time.Millisecond)}}})
	accept := func() net.Conn {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		return conn
	}
	first, second := accept(), accept()
	defer first.Close()
	defer second.Close()
	if _, err := io.Copy(io.Discard, first); isTimeout(err) {
		t.Error("the connection of a check that is over is open")
	}
	_ = s.Stop(t.Context())
	if _, err := io.Copy(io.Discard, second); isTimeout(err) {
		t.Error("a connection is open after Stop")
	}
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

// TestCheckURL: the path goes behind that of the base URL as it is written.
func TestCheckURL(t *testing.T) {
	for _, c := range [][3]string{
		{"http://a", "/healthz", "/healthz"},
		{"http://a/", "/healthz?full=1", "/healthz?full=1"},
		{"http://a/base/", "/", "/base/"},
		{"http://a/b%2Fc", "/x%2Fy", "/b%2Fc/x%2Fy"},
		{"http://a", "/x%20y/../z//", "/x%20y/../z//"},
	} {
		if u, err := checkURL(c[0], c[1]); err != nil || u.Host != "a" || u.RequestURI() != c[2] {
			t.Errorf("%s and %s: %s of %s, %v, want %s", c[0], c[1], u.RequestURI(), u.Host, err, c[2])
		}
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}
