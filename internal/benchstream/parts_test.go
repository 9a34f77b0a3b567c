package benchstream

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"
)

func isUnsupported(err error) bool { return errors.Is(err, ErrUnsupported) }

func TestHistogram(t *testing.T) {
	var h Histogram
	var all []time.Duration
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		d := time.Duration(rng.Int64N(1 << rng.IntN(40)))
		h.Add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, q := range []float64{.01, .5, .9, .99, 1} {
		want := all[max(int(q*10_000+.5), 1)-1]
		if got := h.Quantile(q); got < want || float64(got) > float64(want)*1.04+1 {
			t.Errorf("quantile %v is %d, want %d", q, got, want)
		}
	}
	if h.Count() != 10_000 || h.Max() != all[len(all)-1] {
		t.Errorf("%d, %s", h.Count(), h.Max())
	}
	if h = (Histogram{}); h.Quantile(.5) != 0 {
		t.Error("an empty one")
	}
	h.Add(-5)
	h.Add(1<<63 - 1)
	if h.Quantile(.5) != 0 || h.Quantile(1) != 1<<63-1 {
		t.Errorf("the ends: %d, %d", h.Quantile(.5), h.Quantile(1))
	}
}

func TestStamp(t *testing.T) {
	m := sse(5)
	n := len(m)
	Stamp(m, 123, 456)
	seq, ok := number(m, seqName, seqDigits)
	at, ok2 := number(m, atName, atDigits)
	if !ok || !ok2 || seq != seqBase+123 || at != atBase+456 || len(m) != n || len(Data(1, 2, 200)) != 200 {
		t.Errorf("%s", m)
	}
}

// TestPieces: however a stream is cut, and with chunks as net/http makes them, the same events come out.
func TestPieces(t *testing.T) {
	body := append(sse(0), ":\n\nid: x\n\n"...)
	body = append(append(body, sse(1)...), sse(2)...)
	answer := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	var chunked []byte
	for i, rest := 1, body; len(rest) > 0; i *= 3 {
		n := min(i, len(rest))
		chunked = append(chunked, []byte{"0123456789abcdef"[n>>8&15], "0123456789abcdef"[n>>4&15], "0123456789abcdef"[n&15], '\r', '\n'}...)
		chunked = append(append(chunked, rest[:n]...), "\r\n"...)
		rest = rest[n:]
	}
	chunked = append(chunked, "0\r\n\r\n"...)
	for step := 1; step < 40; step++ {
		l := newLoad(Options{N: 1, Verify: true}, nil)
		c := l.conns[0]
		c.stage = waiting
		var err error
		for rest := append([]byte(answer), chunked...); len(rest) > 0 && err == nil; {
			n := min(step, len(rest))
			_, err = c.take(append(bytes.Clone(c.part), rest[:n]...))
			rest = rest[n:]
		}
		if !errors.Is(err, errEnd) || c.next != 3 || l.r.Err != "" || l.r.Missing+l.r.Repeated != 0 {
			t.Fatalf("in steps of %d: %d events, %v, %+v", step, c.next, err, l.r)
		}
	}
}

// TestProbe: a message comes back as it was, from net/http and from a bare server.
func TestProbe(t *testing.T) {
	h := &Handler{}
	srv := httptest.NewServer(h)
	defer srv.Close()
	u, _ := url.Parse(srv.URL)
	b, _ := bare(t, true)
	for _, c := range []struct {
		opts Options
		want []byte
		send func([]byte)
	}{
		{Options{Addr: u.Host, Path: "/"}, sse(3), h.Send},
		{Options{Addr: b.Addr(), Path: "/", WebSocket: true}, ws(3), b.Send},
	} {
		stop := make(chan struct{})
		go func() {
			every := time.NewTicker(10 * time.Millisecond) // the client is there some time
			defer every.Stop()
			for {
				select {
				case <-every.C:
					c.send(c.want)
				case <-stop:
					return
				}
			}
		}()
		got, err := Probe(c.opts)
		close(stop)
		if err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// TestServersInProcesses: both floors hold clients in processes of their own and tell what they use.
func TestServersInProcesses(t *testing.T) {
	for role, options := range map[string]any{RoleBare: BareOptions{}, RoleHandler: nil} {
		var ready Ready
		child, err := Start(role, options, &ready)
		if err != nil {
			t.Fatal(err)
		}
		var none, some Usage
		err = child.Ask(Command{GC: true}, &none)
		connect(t, Options{Addr: ready.Addr, Path: "/", N: 500, Resume: true})
		if err = errors.Join(err, child.Ask(Command{GC: true}, &some), child.Close()); err != nil {
			t.Error(err)
		}
		if some.Heap <= none.Heap || (tells && some.RSS <= none.RSS) || some.CPU < none.CPU {
			t.Errorf("%s: %+v with 500 clients, %+v without", role, some, none)
		}
	}
	if _, err := Start("nothing", nil, &http.Request{}); err == nil {
		t.Error("a role that is none")
	}
}
