package netlink

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

const create = unix.NLM_F_ACK | unix.NLM_F_CREATE | unix.NLM_F_EXCL

// Address gives a link an address, which is good at once: no other host is asked
// whether it has it too. One alone has no route to others of its prefix: the
// loopback's would be one that rejects, and would be found for as long as the
// kernel has not made the address's own, which it does a moment later.
func (b *Batch) Address(index int, p netip.Prefix) *Batch {
	a := p.Addr().AsSlice()
	flags := uint32(unix.IFA_F_NODAD)
	if p.IsSingleIP() {
		flags |= unix.IFA_F_NOPREFIXROUTE
	}
	header := []byte{family(p.Addr()), byte(p.Bits()), byte(flags), 0, 0, 0, 0, 0}
	native.PutUint32(header[4:], uint32(index))
	return b.Begin("add address "+p.String(), unix.RTM_NEWADDR, create, header).
		Attr(unix.IFA_LOCAL, a).Attr(unix.IFA_ADDRESS, a).Uint32(unix.IFA_FLAGS, flags)
}

// Own makes all addresses of p the namespace's own, by way of a link: whatever is
// sent to them arrives here. from is the address it is sent from.
func (b *Batch) Own(index int, p netip.Prefix, from netip.Addr) *Batch {
	b.Begin("add route "+p.String(), unix.RTM_NEWROUTE, create, routeHeader(p, unix.RT_SCOPE_HOST, unix.RTN_LOCAL))
	if p.Bits() > 0 {
		b.Attr(unix.RTA_DST, p.Masked().Addr().AsSlice())
	}
	return b.Attr(unix.RTA_PREFSRC, from.AsSlice()).Uint32(unix.RTA_OIF, uint32(index))
}

// Route sends what goes to p out of a link, with an address of this namespace
// as the sender's; it takes the place of another route to p.
func (b *Batch) Route(index int, p netip.Prefix, from netip.Addr) *Batch {
	const replace = unix.NLM_F_ACK | unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	return b.Begin("add route "+p.String(), unix.RTM_NEWROUTE, replace, routeHeader(p, unix.RT_SCOPE_LINK, unix.RTN_UNICAST)).
		Attr(unix.RTA_DST, p.Addr().AsSlice()).Attr(unix.RTA_PREFSRC, from.AsSlice()).Uint32(unix.RTA_OIF, uint32(index))
}

// Lead sends what goes to p out of a link. There may be no other route to p.
func (b *Batch) Lead(index int, p netip.Prefix) *Batch {
	b.Begin("add route "+p.String(), unix.RTM_NEWROUTE, create, routeHeader(p, unix.RT_SCOPE_LINK, unix.RTN_UNICAST))
	if p.Bits() > 0 {
		b.Attr(unix.RTA_DST, p.Masked().Addr().AsSlice())
	}
	return b.Uint32(unix.RTA_OIF, uint32(index))
}

// LeadIn is Lead in a table of routes that only a Rule leads to.
func (b *Batch) LeadIn(table byte, index int, p netip.Prefix) *Batch {
	b.Lead(index, p)
	b.buf[b.start+unix.NLMSG_HDRLEN+4] = table // rtm_table
	return b
}

// Away sends out of a link what no other route is for, with an address of this
// namespace as the sender's, and in packets of at most mtu bytes. Of several such
// routes the one with the lowest rank counts.
func (b *Batch) Away(index int, from netip.Addr, mtu, rank int) *Batch {
	const mtuMetric = 2 // RTAX_MTU
	all := netip.PrefixFrom(from, 0).Masked()
	return b.Begin("add default route", unix.RTM_NEWROUTE, create, routeHeader(all, unix.RT_SCOPE_LINK, unix.RTN_UNICAST)).
		Attr(unix.RTA_PREFSRC, from.AsSlice()).Uint32(unix.RTA_OIF, uint32(index)).Uint32(unix.RTA_PRIORITY, uint32(rank)).
		Nest(unix.RTA_METRICS).Uint32(mtuMetric, uint32(mtu)).End()
}

// DropRoute takes away what Route has made.
func (b *Batch) DropRoute(index int, p netip.Prefix) *Batch {
	return b.Begin("delete route "+p.String(), unix.RTM_DELROUTE, unix.NLM_F_ACK, routeHeader(p, unix.RT_SCOPE_LINK, unix.RTN_UNICAST)).
		Attr(unix.RTA_DST, p.Addr().AsSlice()).Uint32(unix.RTA_OIF, uint32(index))
}

// Unreachable says of all addresses of p that there is no host, unless a route
// to fewer addresses leads to one.
func (b *Batch) Unreachable(p netip.Prefix) *Batch {
	return b.Begin("add unreachable route "+p.String(), unix.RTM_NEWROUTE, create, routeHeader(p, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNREACHABLE)).
		Attr(unix.RTA_DST, p.Addr().AsSlice())
}

// routeHeader is a struct rtmsg.
func routeHeader(p netip.Prefix, scope, typ byte) []byte {
	return []byte{family(p.Addr()), byte(p.Bits()), 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, scope, typ, 0, 0, 0, 0}
}

func family(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
