package webhook

import (
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
)

func TestKindOfAddresses(t *testing.T) {
	for kind, addrs := range map[string][]string{
		"": {"1.1.1.1", "93.184.215.14", "172.32.0.1", "172.15.255.255", "100.128.0.1", "192.0.1.1", "198.20.0.1", "223.255.255.255", "168.63.129.17",
			"2606:4700::1111", "2a00:1450::1", "2001:200::1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"},
		kindLoopback: {"127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "::1", "::", "::ffff:127.0.0.1", "::ffff:7f00:1", "64:ff9b::127.0.0.1", "64:ff9b::7f00:1",
			"::ffff:0.0.0.0"},
		kindPrivate: {"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd00:ec2::254", "fdff::1", "fec0::1",
			"::ffff:10.0.0.1", "::ffff:c0a8:101", "64:ff9b::10.0.0.1"},
		kindLinkLocal: {"169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "febf::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"},
		kindMulticast: {"224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1", "::ffff:224.0.0.1"},
		kindTunnel: {"192.88.99.1", "2002::1", "2002:7f00:1::1", "2002:a9fe:a9fe::1", "2001::1", "2001:0:53aa:64c:0:7fff:80ff:fffe", "64:ff9b:1::1", "::127.0.0.1",
			"::10.0.0.1", "::ffff:0:127.0.0.1", "2001:10::1", "2001:1ff::1"},
		kindReserved: {"192.0.0.192", "192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "240.0.0.1", "255.255.255.255",
			"100::1", "2001:db8::1", "3fff::1", "3fff:fff::1", "5f00::1", "4000::1", "e000::1", "64:ff9b:2::1", "::ffff:255.255.255.255"},
		"shared by the customers of a provider": {"100.64.0.1", "100.100.100.200", "100.127.255.255"},
		"of the host of a machine at Azure":     {"168.63.129.16"},
	} {
		for _, text := range addrs {
			if got := kindOf(netip.MustParseAddr(text).WithZone("")); got != kind {
				t.Errorf("%s: %q, want %q", text, got, kind)
			}
		}
	}
}

func TestOddAddresses(t *testing.T) {
	for _, host := range []string{"2130706433", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "127.1", "127.0.1", "017700000001", "0X7F.1", "1.2.3.4.5", "256.256.256.256",
		"127.0.0.1.", "0x7f.0.0.0x1", "a.0x", "host.1", "0"} {
		if !isOddAddress(host) {
			t.Errorf("%q passes for a name", host)
		}
	}
	for _, host := range []string{"127.0.0.1", "::1", "fe80::1%eth0", "example.com", "example.com.", "1.example", "0x7f.example", "a1", "localhost", "x0x1", ""} {
		if isOddAddress(host) {
			t.Errorf("%q is refused", host)
		}
	}
}

func TestGuardAllows(t *testing.T) {
	g, err := NewGuard([]string{"10.1.2.3/16", "192.168.1.1", "fd00::/8", "Inner.Example.", "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	for text, ok := range map[string]bool{
		"x 10.1.9.9": true, "x 10.2.0.1": false, "x 192.168.1.1": true, "x 192.168.1.2": false, "x fd12::1": true, "x fc00::1": false,
		"x ::ffff:10.1.0.1": true, "x 64:ff9b::10.1.0.1": true, "x 64:ff9b::10.2.0.1": false,
		"inner.example 127.0.0.1": true, "INNER.example. 169.254.169.254": true, "an.inner.example 127.0.0.1": false, "x 1.1.1.1": true,
	} {
		host, addr, _ := strings.Cut(text, " ")
		if err := g.check(host, netip.MustParseAddr(addr)); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
	_, err = NewGuard([]string{"10.0.0.0/8", "10.0.0.0/33", "http://x", "x:80", "::ffff:10.0.0.0/104", "2130706433", "", "*.x", "fe80::1%eth0"})
	p := tandem.ProblemOf(err)
	if tandem.CodeOf(err) != tandem.CodeInvalid || len(p.Errors) != 8 || p.Errors[0].Pointer != "/1" {
		t.Errorf("%v: %+v", err, p.Errors)
	}
}

// names is a name server in memory: each question takes the next answer of its name, and the last one again and again.
type names struct {
	mu    sync.Mutex
	hosts map[string][][]string
	asked int
}

func (n *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe() // no net.PacketConn, so that messages come with their length, as over TCP
		go n.serve(there)
		return here, nil
	}}
}

func (n *names) serve(c net.Conn) {
	defer c.Close()
	for {
		var size [2]byte
		if _, err := c.Read(size[:]); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := c.Read(q); err != nil {
			return
		}
		a := n.answer(q)
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...)); err != nil {
			return
		}
	}
}

func (n *names) answer(q []byte) []byte {
	end, labels := 12, []string{}
	for q[end] != 0 {
		labels = append(labels, string(q[end+1:end+1+int(q[end])]))
		end += 1 + int(q[end])
	}
	kind := q[end+2]
	question := q[12 : end+5]
	var found []byte
	count := 0
	for _, text := range n.next(strings.ToLower(strings.Join(labels, "."))+".", kind) {
		addr := netip.MustParseAddr(text)
		if addr.Is4() != (kind == 1) {
			continue
		}
		count++
		found = append(found, 0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, byte(addr.BitLen()/8))
		found = append(found, addr.AsSlice()...)
	}
	a := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, byte(count), 0, 0, 0, 0}, question...)
	return append(a, found...)
}

// next moves on with the question for IPv4 addresses; that for IPv6 comes with it.
func (n *names) next(name string, kind byte) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.hosts[name]
	if len(all) == 0 {
		return nil
	}
	if kind == 1 {
		n.asked++
		if len(all) > 1 {
			n.hosts[name] = all[1:]
		}
	}
	return all[0]
}

// guarded is a target whose host name leads to a server on loopback, behind a guard.
func guarded(t *testing.T, hosts map[string][][]string, handle http.HandlerFunc, allow ...string) (g *Guard, target func(host string) *Target) {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if g, err = NewGuard(allow); err != nil {
		t.Fatal(err)
	}
	g.resolver = (&names{hosts: hosts}).resolver()
	tr := NewTransport(g, nil)
	t.Cleanup(tr.CloseIdleConnections)
	return g, func(host string) *Target {
		return &Target{URL: &url.URL{Scheme: "http", Host: net.JoinHostPort(host, port), Path: "/"}, Timeout: 5 * time.Second, Transport: tr}
	}
}

// Whatever way leads to an address that is not public, no connection is made, and the reason says why without telling the address.
func TestGuardAtTheConnection(t *testing.T) {
	var reached atomic.Int64
	_, target := guarded(t, map[string][][]string{
		"loop.test.": {{"127.0.0.1"}}, "loop6.test.": {{"::1"}}, "mapped.test.": {{"::ffff:127.0.0.1"}}, "meta.test.": {{"169.254.169.254"}},
		"nat64.test.": {{"64:ff9b::7f00:1"}}, "6to4.test.": {{"2002:7f00:1::1"}}, "many.test.": {{"10.0.0.1", "127.0.0.1", "::1"}}, "zero.test.": {{"0.0.0.0"}},
	}, func(w http.ResponseWriter, r *http.Request) { reached.Add(1) })
	for _, host := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "0.0.0.0", "::", "2130706433", "0177.0.0.1", "0x7f.0.0.1", "127.1",
		"①②⑦.0.0.1", "loop.test", "LOOP.test.", "loop6.test", "mapped.test", "meta.test", "nat64.test", "6to4.test", "many.test", "zero.test"} {
		a := Send(context.Background(), target(host), message())
		if a.Err == nil || !a.Connect || a.Timeout || reached.Load() != 0 {
			t.Fatalf("%s: status %d, %v", host, a.Status, a.Err)
		}
		if why := a.Excerpt(); !strings.Contains(why, " is refused: ") || host == "loop.test" && strings.Contains(why, "127") {
			t.Errorf("%s: %q", host, why)
		}
	}
}

// A name that was public when it was checked and is not when it is dialled leads nowhere.
func TestGuardWhenNamesChange(t *testing.T) {
	var reached atomic.Int64
	g, target := guarded(t, map[string][][]string{"turns.test.": {{"1.1.1.1"}, {"127.0.0.1"}}},
		func(w http.ResponseWriter, r *http.Request) { reached.Add(1) })
	if err := g.CheckHost(context.Background(), "turns.test"); err != nil {
		t.Fatal(err)
	}
	if a := Send(context.Background(), target("turns.test"), message()); a.Err == nil || !a.Connect || reached.Load() != 0 {
		t.Fatalf("status %d, %v", a.Status, a.Err)
	}
	if err := g.CheckHost(context.Background(), "turns.test"); err == nil {
		t.Error("the name passes with an address of this machine")
	}
}

func TestGuardLetsThroughWhatIsAllowed(t *testing.T) {
	for _, allow := range []string{"127.0.0.0/8", "127.0.0.1", "loop.test"} {
		g, target := guarded(t, map[string][][]string{"loop.test.": {{"127.0.0.1"}}}, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }, allow)
		if err := g.CheckHost(context.Background(), "loop.test"); err != nil {
			t.Errorf("%s: %v", allow, err)
		}
		if a := Send(context.Background(), target("loop.test"), message()); a.Status != 204 {
			t.Errorf("%s: %v", allow, a.Err)
		}
	}
}

// An answer that redirects to an address behind the guard is an answer like any other, and nobody goes there.
func TestGuardAndRedirects(t *testing.T) {
	var inner atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inner.Add(1) }))
	defer s.Close()
	_, target := guarded(t, map[string][][]string{"outer.test.": {{"127.0.0.1"}}}, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, s.URL, http.StatusPermanentRedirect)
	}, "outer.test")
	if a := Send(context.Background(), target("outer.test"), message()); a.Status != 308 || inner.Load() != 0 {
		t.Fatalf("status %d, %v, %d requests behind the guard", a.Status, a.Err, inner.Load())
	}
}

func TestGuardChecksHosts(t *testing.T) {
	g, _ := guarded(t, map[string][][]string{"mixed.test.": {{"1.1.1.1", "10.0.0.1"}}, "public.test.": {{"1.1.1.1", "2606:4700::1111"}}}, nil)
	for host, ok := range map[string]bool{"mixed.test": false, "public.test": true, "nowhere.test": true, "10.0.0.1": false, "fe80::1%eth0": false, "0x7f.1": false, "1.1.1.1": true} {
		if err := g.CheckHost(context.Background(), host); (err == nil) != ok {
			t.Errorf("%s: %v", host, err)
		} else if err != nil && tandem.CodeOf(err) != tandem.CodeInvalid {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func FuzzGuard(f *testing.F) {
	f.Add("0x7f.1", []byte{127, 0, 0, 1})
	f.Add("::ffff:1.2.3.4", []byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, host string, ip []byte) {
		g, err := NewGuard([]string{host})
		if err != nil {
			g, _ = NewGuard(nil)
		}
		addr, ok := netip.AddrFromSlice(ip)
		if !ok {
			return
		}
		if std := net.IP(addr.Unmap().AsSlice()); std.IsLoopback() || std.IsPrivate() || std.IsLinkLocalUnicast() || std.IsMulticast() || std.IsUnspecified() {
			if kindOf(addr) == "" {
				t.Fatalf("%s passes", addr)
			}
		}
		_ = g.check(host, addr)
		_ = isOddAddress(host)
	})
}
