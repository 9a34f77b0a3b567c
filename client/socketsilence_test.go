package client

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/websocket"
)

// piped is a Socket over a pipe, whose server answers the upgrade and then does as h says, and a bubble's clock.
func piped(t *testing.T, h func(conn net.Conn)) *Socket {
	t.Helper()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			r, err := http.ReadRequest(bufio.NewReader(theirs))
			if err != nil {
				t.Error(err)
				return
			}
			_, response, err := websocket.Accept(r, socketProtocol)
			if err != nil {
				t.Error(err)
				return
			}
			theirs.Write(response)
			h(theirs)
		}()
		return ours, nil
	}}
	c, err := New("http://server", Options{HTTP: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Dial(t.Context(), "orders", Query{}, SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSilenceEndsASocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := piped(t, func(conn net.Conn) {
			time.Sleep(streamSilence - time.Second) // of the bubble
			conn.Write(websocket.AppendFrame(nil, websocket.Ping, nil))
			io.Copy(io.Discard, conn)
		})
		_, err := s.Next(t.Context())
		if tandem.CodeOf(err) != tandem.CodeUnavailable || !strings.Contains(err.Error(), "nothing was heard") {
			t.Errorf("%v", err)
		}
		if took := time.Since(start); took != 2*streamSilence-time.Second {
			t.Errorf("after %s", took)
		}
		s.Close()
	})
}

func TestCloseWaitsForASecond(t *testing.T) {
	for _, reads := range []bool{true, false} {
		t.Run(fmt.Sprint("reads ", reads), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := piped(t, func(conn net.Conn) {
					if reads {
						io.Copy(io.Discard, conn)
					}
					<-t.Context().Done()
				})
				start := time.Now()
				waiting := make(chan error, 1)
				go func() {
					_, err := s.Publish(t.Context(), tandem.Event{ID: "1"})
					waiting <- err
				}()
				synctest.Wait()
				s.Close()
				if took := time.Since(start); took != closeWait {
					t.Errorf("after %s", took)
				}
				if err := <-waiting; tandem.CodeOf(err) != tandem.CodeUnavailable {
					t.Errorf("%v", err)
				}
			})
		})
	}
}
