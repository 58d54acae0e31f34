package lan

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/containerd/errdefs"
)

// Where the subnets come from that a Config does not choose: a part of the private addresses
// that neither Docker, Podman nor Kubernetes takes by default, with room for 1021
// containers in each of 1024 networks; and of IPv6 the library's own unique local
// addresses, beside those of package wayout.
var (
	pool4 = netip.MustParsePrefix("10.208.0.0/12")
	pool6 = netip.MustParsePrefix("fd63:746f:7200::/48")
)

const (
	bits4 = 22
	bits6 = 64
)

// resolver is what ways out have of their own.
var resolver = netip.MustParsePrefix("198.18.0.0/15")

// subnets checks those of a new network, or chooses them, and none that is in avoid.
func (s *Set) subnets(given, avoid []netip.Prefix) ([]netip.Prefix, error) {
	if len(given) == 0 {
		return s.choose(avoid)
	}
	for i, p := range given {
		if err := usable(p); err != nil {
			return nil, fmt.Errorf("subnet %s: %w: %w", p, err, errdefs.ErrInvalidArgument)
		}
		for _, other := range given[:i] {
			if other.Addr().Is4() == p.Addr().Is4() {
				return nil, fmt.Errorf("subnets %s and %s: there is at most one of IPv4 and one of IPv6: %w", other, p, errdefs.ErrInvalidArgument)
			}
		}
		if n := s.overlapped(p); n != nil {
			return nil, fmt.Errorf("subnet %s overlaps one of network %q: %w", p, n.Name, errdefs.ErrInvalidArgument)
		}
	}
	return given, nil
}

// usable says why a prefix can't be a network's.
func usable(p netip.Prefix) error {
	switch a := p.Addr(); {
	case !p.IsValid():
		return fmt.Errorf("it is none")
	case a.Is4In6():
		return fmt.Errorf("IPv4 is written as such")
	case p != p.Masked():
		return fmt.Errorf("it has bits beyond its length: %s is meant", p.Masked())
	case p.Bits() > a.BitLen()-2:
		return fmt.Errorf("it has no room for a container: at most /%d", a.BitLen()-2)
	case a.Is4() && p.Bits() < 8 || a.Is6() && p.Bits() < 32:
		return fmt.Errorf("it is too large")
	case !a.IsGlobalUnicast():
		return fmt.Errorf("its addresses can't be a container's")
	case a.Is4() && p.Overlaps(resolver):
		return fmt.Errorf("%s stands for the names that containers look up", resolver)
	}
	return nil
}

// overlapped is the network that has addresses of p already.
func (s *Set) overlapped(p netip.Prefix) *Network {
	for _, n := range s.all {
		for _, q := range n.Subnets {
			if p.Overlaps(q) {
				return n
			}
		}
	}
	return nil
}

// choose gives subnets that no other network of the engine has, and that the host
// is not in: what a container reaches in its network, it reaches nowhere else.
func (s *Set) choose(avoid []netip.Prefix) ([]netip.Prefix, error) {
	hosts, _ := net.InterfaceAddrs() // an error: it has none to avoid
	free := func(p netip.Prefix) bool {
		return !holds(p, hosts) && s.overlapped(p) == nil && !slices.ContainsFunc(avoid, p.Overlaps)
	}
	var chosen []netip.Prefix
	for _, of := range []struct {
		pool netip.Prefix
		bits int
	}{{pool4, bits4}, {pool6, bits6}} {
		if of.pool.Addr().Is6() && !hasIPv6() {
			continue
		}
		p, ok := firstFree(of.pool, of.bits, free)
		if !ok {
			return nil, fmt.Errorf("no subnet of %s is left: remove a network, or name the subnets: %w", of.pool, errdefs.ErrUnavailable)
		}
		chosen = append(chosen, p)
	}
	return chosen, nil
}

// holds tells whether one of the host's addresses is in a subnet.
func holds(p netip.Prefix, hosts []net.Addr) bool {
	return slices.ContainsFunc(hosts, func(h net.Addr) bool {
		n, ok := h.(*net.IPNet)
		if !ok {
			return false
		}
		a, ok := netip.AddrFromSlice(n.IP)
		return ok && p.Contains(a.Unmap())
	})
}

// apart refuses subnets that a network which the host routes to would take from the
// host: its own route to them is longer than the one that is there.
func apart(subnets, routes []netip.Prefix) error {
	hosts, _ := net.InterfaceAddrs()
	for _, p := range subnets {
		if p.Addr().Is4() && (holds(p, hosts) || slices.ContainsFunc(routes, p.Overlaps)) {
			return fmt.Errorf("subnet %s: the host has addresses or routes in it, and would lose them: %w", p, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

// firstFree walks the subnets of a pool. The first of IPv6 is package wayout's.
func firstFree(pool netip.Prefix, bits int, free func(netip.Prefix) bool) (netip.Prefix, bool) {
	p := netip.PrefixFrom(pool.Addr(), bits)
	if pool.Addr().Is6() {
		p = following(p)
	}
	for ; pool.Contains(p.Addr()); p = following(p) {
		if free(p) {
			return p, true
		}
	}
	return p, false
}

// following is the subnet behind another of its size.
func following(p netip.Prefix) netip.Prefix {
	b := p.Addr().AsSlice()
	bit := p.Bits() - 1
	for carry := 1 << (7 - bit%8); carry > 0 && bit >= 0; bit -= 8 {
		i := bit / 8
		v := int(b[i]) + carry
		b[i] = byte(v)
		carry = v >> 8
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, p.Bits())
}

// hasIPv6 tells whether this kernel has IPv6.
func hasIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// pool gives out the addresses of a subnet, one after the other: the address of a
// container that has gone is another's as late as can be.
type pool struct {
	subnet netip.Prefix
	last   netip.Addr // that was given out
}

// take gives the next address that is not taken, at last the one that was given out
// last.
func (p *pool) take(taken func(netip.Addr) bool) (netip.Addr, error) {
	router := p.subnet.Addr().Next()
	for a := p.last.Next(); ; a = a.Next() {
		if !p.subnet.Contains(a) || a.Is4() && !p.subnet.Contains(a.Next()) { // beyond, or the broadcast address
			a = router.Next()
		}
		if !taken(a) {
			p.last = a
			return a, nil
		}
		if a == p.last {
			return netip.Addr{}, fmt.Errorf("no address of %s is left: %w", p.subnet, errdefs.ErrUnavailable)
		}
	}
}
