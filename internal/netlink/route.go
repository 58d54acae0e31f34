package netlink

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

const create = unix.NLM_F_ACK | unix.NLM_F_CREATE | unix.NLM_F_EXCL

// Loopback is the index of a namespace's loopback.
const Loopback = 1

func linkHeader(index int, flags uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	native.PutUint32(b[4:], uint32(index))
	native.PutUint32(b[8:], flags)
	native.PutUint32(b[12:], flags)
	return b
}

// Up sets a link up.
func (b *Batch) Up(index int) *Batch {
	return b.Begin(fmt.Sprintf("set link %d up", index), unix.RTM_NEWLINK, unix.NLM_F_ACK, linkHeader(index, unix.IFF_UP))
}

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

// Own makes all addresses of p the namespace's own: whatever is sent to them
// arrives here. from is the address it is sent from.
func (b *Batch) Own(p netip.Prefix, from netip.Addr) *Batch {
	header := []byte{family(p.Addr()), byte(p.Bits()), 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, unix.RT_SCOPE_HOST, unix.RTN_LOCAL, 0, 0, 0, 0}
	b.Begin("add route "+p.String(), unix.RTM_NEWROUTE, create, header)
	if p.Bits() > 0 {
		b.Attr(unix.RTA_DST, p.Masked().Addr().AsSlice())
	}
	return b.Attr(unix.RTA_PREFSRC, from.AsSlice()).Uint32(unix.RTA_OIF, Loopback)
}

func family(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
