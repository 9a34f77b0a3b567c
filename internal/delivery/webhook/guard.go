package webhook

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"github.com/tandem-hybrid/tandem"
)

// Guard says where connections may go for URLs that came from a stranger: to public addresses, and to what it allows. It looks at
// the address that a connection is about to be made to, after names were resolved, so that neither a name nor what a resolver
// says the next time gets around it. It is safe for concurrent use.
type Guard struct {
	prefixes []netip.Prefix
	hosts    map[string]bool
	resolver *net.Resolver // nil means the system's
}

// NewGuard returns a guard that also lets through what allow names: prefixes (10.1.0.0/16), addresses, and hosts, whatever their
// addresses are. Code: Invalid; Fields name the index ("/0").
func NewGuard(allow []string) (*Guard, error) {
	g := &Guard{hosts: map[string]bool{}}
	bad := tandem.Errorf(tandem.CodeInvalid, "the addresses that requests may go to are invalid")
	for i, text := range allow {
		at := "/" + strconv.Itoa(i)
		p, err := netip.ParsePrefix(text)
		if err != nil {
			if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
				p = netip.PrefixFrom(addr, addr.BitLen())
			}
		}
		switch {
		case p.IsValid() && p.Addr().Is4In6():
			bad.WithField(at, "%q must be written as IPv4", text)
		case p.IsValid():
			g.prefixes = append(g.prefixes, p.Masked())
		case !isHostName(text) || isOddAddress(text):
			bad.WithField(at, "%q is not a prefix such as 10.1.0.0/16, an address or the name of a host", text)
		default:
			g.hosts[hostKey(text)] = true
		}
	}
	if len(bad.Fields) > 0 {
		return nil, bad
	}
	return g, nil
}

// CheckHost reports whether all addresses that host has now may be connected to. A name that cannot be resolved now passes: each
// connection is checked when it is made. Code: Invalid.
func (g *Guard) CheckHost(ctx context.Context, host string) error {
	if isOddAddress(host) {
		return errOddAddress(host)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return g.check(host, addr)
	}
	r := g.resolver
	if r == nil {
		r = net.DefaultResolver
	}
	addrs, _ := r.LookupNetIP(ctx, "ip", host)
	for _, addr := range addrs {
		if err := g.check(host, addr); err != nil {
			return err
		}
	}
	return nil
}

// dial connects as d does, if the guard lets it.
func (g *Guard) dial(ctx context.Context, d net.Dialer, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if isOddAddress(host) { // some resolvers take these for addresses
		return nil, &net.OpError{Op: "dial", Net: network, Err: errOddAddress(host)}
	}
	d.Resolver = g.resolver
	d.ControlContext = func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
		addr, err := netip.ParseAddrPort(resolved)
		if err != nil {
			return err
		}
		return g.check(host, addr.Addr())
	}
	return d.DialContext(ctx, network, address)
}

// check says why no connection may be made to an address of host. It does not tell the address of a name: that would show a
// stranger what a resolver behind the guard knows.
func (g *Guard) check(host string, addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	kind := kindOf(addr)
	if kind == "" || g.hosts[hostKey(host)] {
		return nil
	}
	inner, translated := nat64(addr)
	for _, p := range g.prefixes {
		if p.Contains(addr) || translated && p.Contains(inner) {
			return nil
		}
	}
	return tandem.Errorf(tandem.CodeInvalid, "%s is refused: its address is %s", shownHost(host), kind).
		WithHint("whoever runs Tandem can allow the host, or its network, under egress.allow")
}

func errOddAddress(host string) error {
	return tandem.Errorf(tandem.CodeInvalid, "%s is refused: it is neither a name nor an address in its usual form", shownHost(host))
}

func shownHost(host string) string { return strconv.Quote(host[:min(len(host), 253)]) }

func hostKey(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

func isHostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// isOddAddress reports whether a host is one that some take for an IPv4 address and others do not: its last label is a decimal,
// octal or hexadecimal number (2130706433, 0177.0.0.1, 0x7f.1), and it is no address of four decimal numbers.
func isOddAddress(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	label := strings.TrimSuffix(host, ".")
	label = strings.ToLower(label[strings.LastIndexByte(label, '.')+1:])
	digits, base := label, "0123456789"
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		digits, base = hex, "0123456789abcdef"
	}
	return label != "" && strings.Trim(digits, base) == ""
}
