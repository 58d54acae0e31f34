package netlink

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Loopback is the index of a namespace's loopback.
const Loopback = 1

// linkHeader is a struct ifinfomsg.
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

// DeleteLink deletes a link, and a veth's other end with it.
func (b *Batch) DeleteLink(index int) *Batch {
	return b.Begin(fmt.Sprintf("delete link %d", index), unix.RTM_DELLINK, unix.NLM_F_ACK, linkHeader(index, 0))
}

// An End is one of the two ends of a veth.
type End struct {
	Name  string
	Index int // of no other link in its namespace
}

// Veth makes a pair of links: here, in the socket's namespace and up, and there,
// in another one and down. Both have one hardware address, and ask for none: what
// leaves one end arrives at the other, whatever address it is for.
func (b *Batch) Veth(here, there End, namespace *os.File, address net.HardwareAddr, mtu int) *Batch {
	b.Begin("new veth "+here.Name, unix.RTM_NEWLINK, create, linkHeader(here.Index, unix.IFF_UP|unix.IFF_NOARP))
	b.end(here.Name, address, mtu)
	b.Nest(unix.IFLA_LINKINFO).String(unix.IFLA_INFO_KIND, "veth").Nest(unix.IFLA_INFO_DATA)
	const peer = 1 // VETH_INFO_PEER
	b.Nest(peer, linkHeader(there.Index, unix.IFF_NOARP)...)
	b.end(there.Name, address, mtu).Uint32(unix.IFLA_NET_NS_FD, uint32(namespace.Fd()))
	return b.End().End().End()
}

// end adds what both ends of a veth are told. Unasked the kernel makes a queue for each
// processor, and takes all but one away again, for which it waits until none is in use.
func (b *Batch) end(name string, address net.HardwareAddr, mtu int) *Batch {
	return b.String(unix.IFLA_IFNAME, name).Attr(unix.IFLA_ADDRESS, address).Uint32(unix.IFLA_MTU, uint32(mtu)).
		Uint32(unix.IFLA_NUM_TX_QUEUES, 1).Uint32(unix.IFLA_NUM_RX_QUEUES, 1)
}

// Plain has a link give itself no address of IPv6: with none it looks for no
// router and joins no groups.
func (b *Batch) Plain(index int) *Batch {
	const addrGenMode, none = 8, 1 // IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE
	return b.Begin(fmt.Sprintf("set link %d plain", index), unix.RTM_NEWLINK, unix.NLM_F_ACK, linkHeader(index, 0)).
		Nest(unix.IFLA_AF_SPEC).Nest(unix.AF_INET6).Uint8(addrGenMode, none).End().End()
}

// Running tells whether a link is up in truth: whether the kernel has seen that
// its other end is up, and would not lose what it is given to send. Since Linux
// 6.8 the question itself has the kernel look.
func (s *Socket) Running(index int) (bool, error) {
	var b Batch
	const noStatistics = 1 << 3 // RTEXT_FILTER_SKIP_STATS
	b.Begin("get link", unix.RTM_GETLINK, 0, linkHeader(index, 0)).Uint32(unix.IFLA_EXT_MASK, noStatistics)
	const up = 6 // IF_OPER_UP
	running := false
	err := s.ask(&b, func(m message) error {
		if m.typ == unix.NLMSG_ERROR {
			return m.failure("get link")
		}
		if len(m.body) >= unix.SizeofIfInfomsg {
			for typ, data := range Attrs(m.body[unix.SizeofIfInfomsg:]) {
				running = running || typ == unix.IFLA_OPERSTATE && len(data) == 1 && data[0] == up
			}
		}
		return nil
	})
	return running, err
}
