package interop

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const proxyConfig = `
topics:
  orders: {partitions: 4}
routes:
  - {match: "GET /events", stream: {topics: [orders]}}
  - {match: "GET /talk", stream: {topics: [orders], publish: {topic: orders, type: said}}}
`

// heartbeat is the silence of a stream that a proxy must bear, with a second for the machine. Nginx bears 60 s (proxy_read_timeout),
// HAProxy as configured on Debian 50 s.
const heartbeat = 16 * time.Second

// proxy is a proxy in front of the public listener, in a process of its own.
type proxy struct {
	t    *testing.T
	addr string
	args []string
	cmd  *exec.Cmd
}

// startProxy writes a configuration and starts a program that reads it.
func startProxy(t *testing.T, name, debianPackage, addr string, files map[string]string, args ...string) *proxy {
	t.Helper()
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} { // not on everybody's path
		if err != nil {
			path, err = exec.LookPath(filepath.Join(dir, name))
		}
	}
	if err != nil {
		t.Skipf("no %s is installed: on Debian, apt-get install %s", name, debianPackage)
	}
	for file, text := range files {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := &proxy{t: t, addr: addr, args: append([]string{path}, args...)}
	p.run()
	t.Cleanup(p.stop)
	return p
}

func (p *proxy) run() {
	p.t.Helper()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	eventually(p.t, "the proxy answers", func() bool {
		resp, err := http.Get(p.url("/events"))
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// stop ends the proxy and cuts its connections.
func (p *proxy) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // at once, for both
	_ = p.cmd.Wait()
}

func (p *proxy) url(path string) string { return "http://" + p.addr + path }

// webSocketLines are those of docs/streams.md.
func webSocketLines(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/streams.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```nginx\n")
	block, _, ok := strings.Cut(block, "```")
	if !ok || !strings.Contains(block, "proxy_pass http://127.0.0.1:8080;") {
		t.Fatal("docs/streams.md has no nginx block")
	}
	return block
}

// startNginx starts nginx with nothing but a location.
func startNginx(t *testing.T, s *tandem, location string) *proxy {
	t.Helper()
	dir, addr := t.TempDir(), freeAddr(t)
	var temp strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temp, "  %s_temp_path %s;\n", kind, filepath.Join(dir, kind))
	}
	file := filepath.Join(dir, "nginx.conf")
	return startProxy(t, "nginx", "nginx-light", addr, map[string]string{file: `
daemon off;
master_process off;
pid ` + filepath.Join(dir, "pid") + `;
error_log stderr;
events {}
http {
  access_log off;
` + temp.String() + `
  server {
    listen ` + addr + `;
` + strings.ReplaceAll(location, "127.0.0.1:8080", s.public) + `
  }
}
`}, "-c", file, "-p", dir, "-e", "stderr")
}

// startHAProxy starts HAProxy with the timeouts of Debian's configuration.
func startHAProxy(t *testing.T, s *tandem) *proxy {
	t.Helper()
	addr, file := freeAddr(t), filepath.Join(t.TempDir(), "haproxy.cfg")
	return startProxy(t, "haproxy", "haproxy", addr, map[string]string{file: `
defaults
  mode http
  timeout connect 5000
  timeout client 50000
  timeout server 50000
frontend public
  bind ` + addr + `
  default_backend tandem
backend tandem
  server tandem ` + s.public + `
`}, "-db", "-f", file)
}

// TestNginx: SSE passes nginx with a bare proxy_pass, WebSocket with the lines that the documentation has.
func TestNginx(t *testing.T) {
	t.Parallel()
	t.Run("bare", func(t *testing.T) {
		t.Parallel()
		s := start(t, proxyConfig)
		p := startNginx(t, s, "location / { proxy_pass http://127.0.0.1:8080; }")
		p.events(s)
		// Without the lines an upgrade is none: the answer is a page.
		w := socket(t, p.url("/talk"), "tandem.v1.json", p.url(""))
		w.says("refused 200 ")
	})
	t.Run("documented", func(t *testing.T) {
		t.Parallel()
		s := start(t, proxyConfig)
		p := startNginx(t, s, webSocketLines(t))
		p.events(s)
		p.sockets(s)
	})
	t.Run("other host", func(t *testing.T) {
		t.Parallel()
		s := start(t, proxyConfig)
		lines := strings.Replace(webSocketLines(t), "$http_host", "$host", 1) // without the port
		p := startNginx(t, s, lines)
		w := socket(t, p.url("/talk"), "tandem.v1.json", p.url(""))
		w.says("refused 403 ")
	})
}

// TestHAProxy: SSE and WebSocket pass HAProxy with timeouts and nothing else.
func TestHAProxy(t *testing.T) {
	t.Parallel()
	s := start(t, proxyConfig)
	p := startHAProxy(t, s)
	p.events(s)
	p.sockets(s)
}

// TestProxiedSilence: through each proxy heartbeats come in time.
func TestProxiedSilence(t *testing.T) {
	t.Parallel()
	for name, startIt := range map[string]func(*testing.T, *tandem) *proxy{
		"nginx":   func(t *testing.T, s *tandem) *proxy { return startNginx(t, s, webSocketLines(t)) },
		"haproxy": startHAProxy,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, proxyConfig)
			p := startIt(t, s)
			w := socket(t, p.url("/talk"), "tandem.v1.json", p.url(""))
			w.says("open")
			lines := p.open("")
			last := time.Now()
			for want := 2; want > 0; want-- {
				for line := ""; !strings.HasPrefix(line, ":") && !strings.HasPrefix(line, "id: "); {
					line = next(t, lines)
				}
				if silence := time.Since(last); silence > heartbeat {
					t.Errorf("SSE was silent for %s", silence)
				}
				last = time.Now()
			}
			w.tell("ping there?")
			for line := ""; line != "ping"; {
				if line = w.next(); line == "pong there?" {
					t.Error("no ping came over the WebSocket while SSE had a heartbeat")
					break
				}
			}
			w.tell("close 1000")
			w.says("pong there?")
			w.says("close 1000")
		})
	}
}

// open reads a stream of server-sent events line by line.
func (p *proxy) open(lastID string) <-chan string {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.url("/events"), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { resp.Body.Close() })
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "text/event-stream" {
		p.t.Fatalf("%s %s", resp.Status, got)
	}
	lines := make(chan string, 1024)
	go func() {
		defer close(lines)
		for said := bufio.NewScanner(resp.Body); said.Scan(); {
			lines <- said.Text()
		}
	}()
	return lines
}

// events follows with a stock EventSource: each event comes while the stream goes on, and the stream goes on over restarts of the proxy and kills of the server.
func (p *proxy) events(s *tandem) {
	t := p.t
	t.Helper()
	const events = 30
	n := 0
	publish := func() {
		s.publish("orders", fmt.Sprint("k", n%3), n)
		n++
	}
	publish()
	source := run(t, "node", "js/events.mjs", p.url("/events?from=earliest"), fmt.Sprint(events+1))
	see := func(n int) {
		t.Helper()
		if line := next(t, source.out); !strings.HasSuffix(line, fmt.Sprint(" ", n)) {
			t.Fatalf("%s where event %d was next", line, n)
		}
	}
	see(0)
	for n < events {
		switch n {
		case 10:
			p.stop()
			publish()
			p.run()
			see(n - 1)
		case 15:
			s.stop(syscall.SIGKILL)
			s.run()
		case 20:
			s.stop(syscall.SIGTERM)
			s.run()
		}
		publish()
		see(n - 1) // before the next is there: nothing is held back
	}
	// The stream of a client that goes away is closed; HAProxy notices when it cannot pass something on.
	_ = source.cmd.Process.Kill()
	eventually(t, "the stream is closed", func() bool {
		publish()
		_, _, body := s.call("GET", s.url("/v1/streams?limit=0"), "")
		return strings.Contains(string(body), `"open":0,`)
	})
}

// sockets talks with the npm package ws, and goes on by cursor after restarts of the proxy and of the server.
func (p *proxy) sockets(s *tandem) {
	t := p.t
	t.Helper()
	n := 1000
	cursor := s.publish("orders", "k", n-1).Cursor
	for _, breaks := range []func(w *program){
		func(w *program) {
			w.tell("ping there?")
			w.says("pong there?")
			w.tell("close 4000 bye")
			w.says("close 4000")
		},
		func(w *program) {
			p.stop()
			w.says("close 1006")
			p.run()
		},
		func(w *program) {
			s.stop(syscall.SIGKILL)
			w.says("close 1006")
			s.run()
		},
		func(w *program) {
			s.stop(syscall.SIGTERM)
			if f := w.frame(); f.Reconnect == nil || f.Reconnect.Reason != "draining" {
				t.Errorf("%+v", f)
			}
			w.says("close 1012 draining")
			s.run()
		},
		func(*program) {},
	} {
		w := socket(t, p.url("/talk?cursor="+cursor), "tandem.v1.json", p.url(""))
		w.says("open tandem.v1.json -")
		w.tell(`send {"publish":{"ref":%d,"event":{"id":"%d","data":{"n":%d}}}}`, n, n, n)
		for range 2 {
			switch f := w.frame(); {
			case f.Event != nil && f.Event.Data.N == n:
				cursor = f.Cursor
			case f.Receipt == nil || f.Receipt.Ref != float64(n):
				t.Fatalf("%+v where event %d was next", f, n)
			}
		}
		breaks(w)
		n += 2
		s.publish("orders", "k", n-1)
		w = socket(t, p.url("/talk?cursor="+cursor), "tandem.v1.json", p.url(""))
		w.says("open")
		cursor = w.follow(n-1, n)
	}
	w := socket(t, p.url("/talk"), "tandem.v1.json", "http://elsewhere.example")
	w.says("refused 403")
}
