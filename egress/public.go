package egress

import (
	"context"
	"net"
	"net/netip"
	"syscall"
)

// Public dials what is on the internet. It refuses, with [ErrRefused], every
// address of the host itself, loopback, unspecified, link-local (where clouds
// have their metadata service), private (RFC 1918, RFC 4193, RFC 6598),
// multicast and reserved ones, and all of these written as IPv6. A name is
// resolved as the program's own are, and each address that it leads to is
// checked when it is connected to.
func Public(ctx context.Context, network, address string) (net.Conn, error) {
	if q := asked(ctx, nil); q != nil {
		q.policy, q.forwards = &policy{Public: true}, true
		return nil, errAsked
	}
	return dial(ctx, network, address, nil)
}

// dial connects where public allows it, or one of opened contains the address.
func dial(ctx context.Context, network, address string, opened []netip.Prefix) (net.Conn, error) {
	d := net.Dialer{ControlContext: func(_ context.Context, _, at string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(at)
		if err != nil {
			return err
		}
		if why := closed(to.Addr(), opened); why != "" {
			return refused(network, address, at+" is "+why)
		}
		return nil
	}}
	return d.DialContext(ctx, network, address)
}

// reserved are addresses that lead to no server on the internet, or to
// one by way of a translator near us.
var reserved = []struct {
	prefix netip.Prefix
	why    string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this host"},
	{netip.MustParsePrefix("100.64.0.0/10"), "a private address"}, // RFC 6598; 100.100.100.200 is a metadata service
	{netip.MustParsePrefix("192.0.0.0/24"), "a reserved address"}, // RFC 6890
	{netip.MustParsePrefix("198.18.0.0/15"), "an address of the container's own resolver"},
	{netip.MustParsePrefix("240.0.0.0/4"), "a reserved address"},    // and the broadcast address
	{netip.MustParsePrefix("64:ff9b::/96"), "a translated address"}, // RFC 6052: an IPv4 address inside
	{netip.MustParsePrefix("64:ff9b:1::/48"), "a translated address"},
	{netip.MustParsePrefix("2002::/16"), "a translated address"}, // 6to4
	{netip.MustParsePrefix("2001::/32"), "a translated address"}, // Teredo
	{netip.MustParsePrefix("fec0::/10"), "a private address"},    // site-local, RFC 3879
	{netip.MustParsePrefix("::/96"), "a translated address"},     // IPv4-compatible, RFC 4291
}

// closed says why a must not be connected to. It is "" where it may be: a is
// public, or private and opened.
func closed(a netip.Addr, opened []netip.Prefix) string {
	a = a.Unmap().WithZone("")
	switch {
	case a.IsUnspecified():
		return "this host"
	case a.IsLoopback():
		return "a loopback address"
	case a.IsLinkLocalUnicast():
		return "a link-local address"
	case a.IsMulticast():
		return "a multicast address"
	case own(a):
		return "an address of this host"
	}
	for _, p := range opened {
		if p.Contains(a) {
			return ""
		}
	}
	if a.IsPrivate() {
		return "a private address"
	}
	for _, r := range reserved {
		if r.prefix.Contains(a) {
			return r.why
		}
	}
	return ""
}

// own tells whether a is one of this host's addresses. It asks each time: they
// come and go. A host that can't be asked has all of them.
func own(a netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	for _, addr := range addrs {
		if p, err := netip.ParsePrefix(addr.String()); err == nil && p.Addr().Unmap() == a {
			return true
		}
	}
	return false
}
