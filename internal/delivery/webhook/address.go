package webhook

import "net/netip"

// network is a range of addresses that are not public, by the registries of special-purpose addresses (RFC 6890 and its updates).
type network struct {
	prefix netip.Prefix
	kind   string
}

// What people call the kinds of addresses.
const (
	kindPrivate   = "private"
	kindLoopback  = "of this machine"
	kindLinkLocal = "link-local, where clouds keep what they tell their machines"
	kindMulticast = "for many receivers"
	kindReserved  = "reserved"
	kindTunnel    = "of a tunnel, which may lead anywhere"
)

// networks4 are not public, with what clouds have put among public ones.
var networks4 = [...]network{
	{netip.MustParsePrefix("0.0.0.0/8"), kindLoopback}, // systems take 0.0.0.0 for themselves
	{netip.MustParsePrefix("127.0.0.0/8"), kindLoopback},
	{netip.MustParsePrefix("10.0.0.0/8"), kindPrivate},
	{netip.MustParsePrefix("172.16.0.0/12"), kindPrivate},
	{netip.MustParsePrefix("192.168.0.0/16"), kindPrivate},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared by the customers of a provider"},
	{netip.MustParsePrefix("169.254.0.0/16"), kindLinkLocal},
	{netip.MustParsePrefix("168.63.129.16/32"), "of the host of a machine at Azure"},
	{netip.MustParsePrefix("192.0.0.0/24"), kindReserved},
	{netip.MustParsePrefix("192.0.2.0/24"), kindReserved},
	{netip.MustParsePrefix("192.88.99.0/24"), kindTunnel},
	{netip.MustParsePrefix("198.18.0.0/15"), kindReserved},
	{netip.MustParsePrefix("198.51.100.0/24"), kindReserved},
	{netip.MustParsePrefix("203.0.113.0/24"), kindReserved},
	{netip.MustParsePrefix("224.0.0.0/4"), kindMulticast},
	{netip.MustParsePrefix("240.0.0.0/4"), kindReserved}, // and 255.255.255.255
}

// networks6 are not public within 2000::/3, beside what has a name outside it. All else outside is reserved.
var networks6 = [...]network{
	{netip.MustParsePrefix("::/127"), kindLoopback},        // :: and ::1
	{netip.MustParsePrefix("::/96"), kindTunnel},           // an IPv4 address within
	{netip.MustParsePrefix("::ffff:0:0:0/96"), kindTunnel}, // the same, translated (RFC 2765)
	{netip.MustParsePrefix("64:ff9b:1::/48"), kindTunnel},  // the network's own translation (RFC 8215)
	{netip.MustParsePrefix("2001::/23"), kindTunnel},       // Teredo, and other assignments of protocols
	{netip.MustParsePrefix("2001:db8::/32"), kindReserved},
	{netip.MustParsePrefix("2002::/16"), kindTunnel}, // 6to4
	{netip.MustParsePrefix("3fff::/20"), kindReserved},
	{netip.MustParsePrefix("fc00::/7"), kindPrivate},
	{netip.MustParsePrefix("fe80::/10"), kindLinkLocal},
	{netip.MustParsePrefix("fec0::/10"), kindPrivate},
	{netip.MustParsePrefix("ff00::/8"), kindMulticast},
}

var (
	public6     = netip.MustParsePrefix("2000::/3")
	nat64Prefix = netip.MustParsePrefix("64:ff9b::/96")
)

// nat64 returns the IPv4 address that an address of RFC 6052 stands for. A network that has only IPv6 reaches public hosts by it.
func nat64(addr netip.Addr) (netip.Addr, bool) {
	if !nat64Prefix.Contains(addr) {
		return netip.Addr{}, false
	}
	b := addr.As16()
	return netip.AddrFrom4([4]byte(b[12:])), true
}

// kindOf returns what an address is if it is not public, else "".
func kindOf(addr netip.Addr) string {
	addr = addr.Unmap()
	if inner, ok := nat64(addr); ok {
		addr = inner
	}
	special := networks6[:]
	if addr.Is4() {
		special = networks4[:]
	}
	for _, n := range special {
		if n.prefix.Contains(addr) {
			return n.kind
		}
	}
	if addr.Is4() || public6.Contains(addr) {
		return ""
	}
	return kindReserved
}
