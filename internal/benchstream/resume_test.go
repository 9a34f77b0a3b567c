package benchstream

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"
)

// TestClientsResume: a client whose connection ends comes back at the advised time and says where it was.
func TestClientsResume(t *testing.T) {
	for _, webSocket := range []bool{false, true} {
		var mu sync.Mutex // guards what follows
		var came []string
		refuse := true
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			cursor := r.Header.Get("Last-Event-ID") + r.URL.Query().Get("cursor")
			if cursor != "" && refuse {
				refuse = false
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			came = append(came, cursor)
			last := cursor != ""
			if !webSocket {
				if last {
					w.Write(sse(1))
					w.(http.Flusher).Flush()
					mu.Unlock()
					<-r.Context().Done()
					mu.Lock()
					return
				}
				w.Write(append(sse(0), "event: reconnect\nretry: 300\ndata: {}\n\n"...))
				w.(http.Flusher).Flush()
				return
			}
			s, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(s, "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: "+accepted+"\r\nSec-WebSocket-Protocol: tandem.v1.json\r\n\r\n")
			if last {
				s.Write(ws(1))
				return
			}
			s.Write(append(append(ws(0), frame(opText, `{"reconnect":{"reason":"draining","after":300}}`)...), frame(opClose, "\x03\xf4")...))
			s.SetReadDeadline(time.Now().Add(patience))
			answer, err := io.ReadAll(s)
			if want := "\x88\x82\x00\x00\x00\x00\x03\xf4"; string(answer) != want || err != nil {
				t.Errorf("a close is answered %q, %v", answer, err)
			}
			s.Close()
		}))
		u, _ := url.Parse(srv.URL)
		c := connect(t, Options{Addr: u.Host, Path: "/?from=earliest", N: 1, WebSocket: webSocket, Verify: true, Resume: true})
		if _, err := c.AwaitAll(2, patience); err != nil {
			t.Fatal(err)
		}
		r, err := c.Report()
		if err != nil || r.Missing+r.Repeated != 0 || r.Ended != 1 || r.Advised != 1 || r.Refused != 1 || len(r.Again) != 1 || r.Again[0] < 300 || r.Again[0] > 5000 {
			t.Errorf("webSocket=%t: %+v %v", webSocket, r, err)
		}
		if len(came) != 2 || came[0] != "" || came[1] != "c0" {
			t.Errorf("webSocket=%t: came with %q", webSocket, came)
		}
		srv.CloseClientConnections()
		go srv.Close() // a hijacked connection is the client's to end
	}
}

func TestUnsupported(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotImplemented) }))
	defer srv.Close()
	u, _ := url.Parse(srv.URL)
	if _, err := Connect(Options{Addr: u.Host, Path: "/", N: 2, WebSocket: true}); !isUnsupported(err) {
		t.Errorf("%v", err)
	}
	if _, err := Probe(Options{Addr: u.Host, Path: "/", WebSocket: true}); !isUnsupported(err) {
		t.Errorf("%v", err)
	}
}
