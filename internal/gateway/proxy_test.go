package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

func TestForwardHeaders(t *testing.T) {
	w := newWorld(t, services{"a": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Tandem-Position", "orders/1/2")
		w.Header().Set("Tandem-Flow", "another")
		w.Header().Set("Keep-Alive", "timeout=5")
		w.Header().Set("X-Kept", "yes")
		echo(w, r)
	})}, `[{"match":"/{path...}","service":"a"}]`)
	a := w.do("GET", "/x/%2Fy?a=1;b=%zz&c", "",
		"Tandem-Flow", "forged", "tandem-principal", "root", "Tandem_Principal", "root", "TANDEM-Operation", "x", "Tandem-Whatever", "x",
		"Connection", "close, X-Hop", "X-Hop", "1", "Te", "trailers", "Proxy-Authorization", "x",
		"X-Forwarded-For", "6.6.6.6", "Forwarded", "for=6.6.6.6", "X-Real", "1", "Host", "shop.example:81",
		"Cookie", "a=1; tandem_session=secret; b=tandem_session")
	h := a.echoed(t)
	for name, want := range map[string]string{
		"Tandem-Principal": "", "Tandem_principal": "", "Tandem_Principal": "", "Tandem-Operation": "", "Tandem-Whatever": "", "X-Hop": "", "Proxy-Authorization": "",
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "shop.example:81", "X-Forwarded-Proto": "http",
		"Forwarded": `for=127.0.0.1;host="shop.example:81";proto=http`, "X-Real": "1", "Te": "trailers",
		"Cookie": "a=1; b=tandem_session",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("the service saw %s: %q, want %q", name, got, want)
		}
	}
	flow := h.Get("Tandem-Flow")
	if len(flow) != 36 || flow == "forged" {
		t.Errorf("the service saw Tandem-Flow: %q", flow)
	}
	if tp := h.Get("Traceparent"); !validTraceParent(tp) || tp[3:35] != strings.ReplaceAll(flow, "-", "") {
		t.Errorf("the service saw traceparent %q in flow %s", tp, flow)
	}
	if got := a.Header.Get("X-Path"); got != "GET /x/%2Fy?a=1;b=%zz&c" {
		t.Errorf("the service saw %s", got)
	}
	if got := a.Header["Tandem-Flow"]; len(got) != 1 || got[0] != flow {
		t.Errorf("the client saw Tandem-Flow: %q", got)
	}
	if a.Header.Get("Tandem-Position") != "" || a.Header.Get("Keep-Alive") != "" || a.Header.Get("X-Kept") != "yes" {
		t.Errorf("the client saw %v", a.Header)
	}
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	h = w.do("GET", "/", "", "Traceparent", parent, "Tracestate", "a=1").echoed(t)
	if h.Get("Traceparent") != parent || h.Get("Tracestate") != "a=1" {
		t.Errorf("a valid trace became %q %q", h.Get("Traceparent"), h.Get("Tracestate"))
	}
	h = w.do("GET", "/", "", "Traceparent", "00-zz", "Tracestate", "a=1").echoed(t)
	if !validTraceParent(h.Get("Traceparent")) || h.Get("Tracestate") != "" {
		t.Errorf("an invalid trace became %q %q", h.Get("Traceparent"), h.Get("Tracestate"))
	}
}

func TestServiceProblems(t *testing.T) {
	release := make(chan struct{})
	w := newWorld(t, services{
		"gone": nil,
		"slow": http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-release }),
		"cut":  http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
		"junk": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, _, _ := http.NewResponseController(w).Hijack()
			io.WriteString(c, "HELLO\r\n\r\n")
			c.Close()
		}),
		"busy": text(503, "come back"),
	}, `[{"match":"/gone","service":"gone"},{"match":"/slow","service":"slow"},{"match":"/cut","service":"cut"},{"match":"/junk","service":"junk"},{"match":"/busy","service":"busy"}]`)
	defer close(release)
	for name, status := range map[string]int{"gone": 502, "slow": 504, "cut": 502, "junk": 502} {
		a := w.do("POST", "/"+name, "body")
		if a.StatusCode != status || !strings.Contains(a.problem(t).Detail, "service "+name) {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
		if strings.Contains(a.body, "127.0.0.1") {
			t.Errorf("%s: the client is told an address: %s", name, a.body)
		}
		if a.Header.Get("Tandem-Flow") == "" {
			t.Errorf("%s: no Tandem-Flow", name)
		}
	}
	if a := w.do("GET", "/busy", ""); a.StatusCode != 503 || a.body != "come back" {
		t.Errorf("a service's own 503: %d %s", a.StatusCode, a.body)
	}
}

// The clock of the service stands still while the client sends, and stops for good at the header of the answer.
func TestTimeoutIsForTheHeader(t *testing.T) {
	got := make(chan string, 1)
	w := newWorld(t, services{"slow": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- string(b)
		w.WriteHeader(200)
		http.NewResponseController(w).Flush()
		<-r.Context().Done() // far longer than the timeout
	})}, `[{"match":"POST /slow","service":"slow"}]`)
	pr, pw := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "POST", w.url+"/slow", pr)
	pw2 := sync.WaitGroup{}
	pw2.Go(func() {
		for range 4 { // takes four times the timeout
			fmt.Fprint(pw, "part ")
			idle(50)
		}
		pw.Close()
	})
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	pw2.Wait()
	if body := <-got; res.StatusCode != 200 || body != "part part part part " {
		t.Fatalf("%d, the service got %q", res.StatusCode, body)
	}
	done := make(chan error, 1)
	go func() { _, err := io.ReadAll(res.Body); done <- err }()
	idle(120)
	select {
	case err := <-done:
		t.Errorf("the body was cut off by the timeout: %v", err)
	default:
	}
	cancel()
	<-done
}

// Both directions flow at the same time: each part of the upload is answered before the next is sent.
func TestStreamsBothWays(t *testing.T) {
	w := newWorld(t, services{"a": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Trailer", "X-Sum")
		rc.Flush()
		lines := bufio.NewScanner(r.Body)
		n := 0
		for lines.Scan() {
			n++
			fmt.Fprintf(w, "got %s\n", lines.Text())
			rc.Flush()
		}
		w.Header().Set("X-Sum", fmt.Sprint(n, r.Trailer.Get("X-Client")+r.Trailer.Get("Tandem-Flow")))
	})}, `[{"match":"POST /a","service":"a"}]`)
	pr, pw := io.Pipe()
	req, _ := http.NewRequestWithContext(t.Context(), "POST", w.url+"/a", pr)
	req.Trailer = http.Header{"X-Client": nil, "Tandem-Flow": nil}
	go fmt.Fprintln(pw, "zero")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for i, s := range []string{"zero", "one", "two"} {
		if i > 0 {
			fmt.Fprintln(pw, s)
		}
		if l, err := lines.ReadString('\n'); l != "got "+s+"\n" {
			t.Fatalf("%q, %v", l, err)
		}
	}
	req.Trailer.Set("X-Client", "mine")
	req.Trailer.Set("Tandem-Flow", "forged")
	pw.Close()
	if rest, err := io.ReadAll(lines); len(rest) > 0 || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	if got := res.Trailer.Get("X-Sum"); got != "3mine" {
		t.Errorf("trailer %q", got)
	}
}

func TestEventStreamIsNotBuffered(t *testing.T) {
	next := make(chan struct{})
	left := make(chan struct{})
	w := newWorld(t, services{"a": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; ; i++ {
			fmt.Fprintf(w, "data: %d\n\n", i)
			http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				close(left)
				return
			}
		}
	})}, `[{"match":"GET /a","service":"a"}]`)
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "GET", w.url+"/a", nil)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for i := range 3 {
		lines.Scan()
		if lines.Text() != fmt.Sprintf("data: %d", i) {
			t.Fatalf("message %d: %q", i, lines.Text())
		}
		lines.Scan()
		next <- struct{}{}
	}
	// A client that leaves takes the service's request with it.
	cancel()
	<-left
}

func TestBodyLimit(t *testing.T) {
	w := newWorld(t, services{"a": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })},
		`[{"match":"POST /a","service":"a","maxBodyBytes":10},{"match":"POST /b","service":"a"}]`)
	if a := w.do("POST", "/a", "0123456789"); a.StatusCode != 200 || a.body != "0123456789" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := w.do("POST", "/a", "0123456789x"); a.StatusCode != 413 || a.problem(t).Status != 413 {
		t.Errorf("known length: %d %s", a.StatusCode, a.body)
	}
	req, _ := http.NewRequestWithContext(t.Context(), "POST", w.url+"/a", io.MultiReader(strings.NewReader(strings.Repeat("x", 11))))
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 413 {
		t.Errorf("unknown length: %d", res.StatusCode)
	}
	big := strings.Repeat("x", 3<<20)
	if a := w.do("POST", "/b", big); a.body != big {
		t.Errorf("%d, %d bytes", a.StatusCode, len(a.body))
	}
}

func TestContinueAndUpgrade(t *testing.T) {
	w := newWorld(t, services{"a": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			http.Error(w, "no", 417) // without reading the body
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		l, _ := rw.ReadString('\n')
		io.WriteString(c, l)
	})}, `[{"match":"/a","service":"a"}]`)
	raw := func(s string) *bufio.ReadWriter {
		c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		io.WriteString(c, s)
		return bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriterSize(c, 0))
	}
	r := raw("POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n")
	if l, _ := r.ReadString('\n'); !strings.Contains(l, "417") {
		t.Errorf("a refused expectation: %q", l)
	}
	r = raw("GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if l, _ := r.ReadString('\n'); !strings.Contains(l, "101") {
		t.Fatalf("an upgrade: %q", l)
	}
	r.WriteString("hello\n")
	r.Flush()
	for {
		l, err := r.ReadString('\n')
		if l == "hello\n" {
			break
		}
		if err != nil {
			t.Fatalf("the upgraded connection does not echo: %v", err)
		}
	}
}

func TestSlowClient(t *testing.T) {
	w := newWorld(t, services{"a": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			return
		}
		idle(60) // far longer than a client may take: that clock has stopped
		io.WriteString(w, "ok")
	})}, `[{"match":"POST /service","service":"a"},{"match":"POST /topic","topic":"orders","type":"t"}]`)
	w.Gateway.bodyTimeout = 30 * time.Millisecond
	for _, path := range []string{"/service", "/topic"} {
		c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != 408 {
			t.Errorf("%s: %d, want 408", path, res.StatusCode)
		}
		res.Body.Close()
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: the connection is still used", path)
		}
	}
	if n := len(w.events("orders")); n != 0 {
		t.Errorf("%d events", n)
	}
	// The deadline for the body does not hang over the service.
	if a := w.do("POST", "/service", "x"); a.body != "ok" {
		t.Errorf("%d %q", a.StatusCode, a.body)
	}
}

// BenchmarkForward measures the gateway against a bare httputil.ReverseProxy with the same transport settings.
func BenchmarkForward(b *testing.B) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"id":"0192f0c1","state":"placed"}`)
	}))
	defer backend.Close()
	g := New(nil, Options{})
	defer g.Stop(context.Background())
	if err := g.Apply([]Route{{Match: "POST /orders/{id}", Service: "a"}}, []tandem.Service{{Name: "a", URL: backend.URL}}); err != nil {
		b.Fatal(err)
	}
	target, _ := url.Parse(backend.URL)
	bare := bareProxy(target)
	for _, c := range []struct {
		name string
		h    http.Handler
	}{{"bare", bare}, {"tandem", g}} {
		b.Run(c.name, func(b *testing.B) {
			srv := httptest.NewServer(c.h)
			defer srv.Close()
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
			defer client.CloseIdleConnections()
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					res, err := client.Post(srv.URL+"/orders/7", "application/json", strings.NewReader(`{"sku":"a","n":1}`))
					if err != nil {
						b.Error(err)
						return
					}
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			})
		})
	}
}
