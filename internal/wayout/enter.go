package wayout

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netlink"
	"github.com/ctorhq/ctor/internal/nft"
	"github.com/ctorhq/ctor/internal/unwind"
)

// enter sets the namespace up, on a thread that is in it.
func (w *Way) enter(undo *unwind.Stack) error {
	var b netlink.Batch
	caught := all4
	if w.routed {
		caught = reserved
	}
	b.Up(netlink.Loopback).Address(netlink.Loopback, own4).Own(netlink.Loopback, caught, own4.Addr())
	if err := netlink.Do(unix.NETLINK_ROUTE, &b); err != nil {
		return err
	}
	v6 := !w.routed && hasIPv6()
	if v6 {
		b = netlink.Batch{}
		b.Address(netlink.Loopback, own6).Own(netlink.Loopback, all6, own6.Addr())
		if err := netlink.Do(unix.NETLINK_ROUTE, &b); err != nil {
			return err
		}
	}
	tcp, udp, err := w.listen(v6, undo)
	if err != nil {
		return err
	}
	if w.queue, err = openQueue(); err != nil {
		return err
	}
	if w.queue != nil {
		undo.Push(w.queue.Close)
	}
	s, err := netlink.Open(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer s.Close()
	for i := range tcp {
		if err := w.capture(s, tcp[i], udp[i]); err != nil {
			return err
		}
	}
	return nil
}

// hasIPv6 tells whether the namespace of the thread, whose loopback is up, has
// IPv6 at all.
func hasIPv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Bind(fd, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}) == nil
}

// listen makes the transparent listeners, of one family after the other.
func (w *Way) listen(v6 bool, undo *unwind.Stack) (tcp, udp []netip.AddrPort, err error) {
	at := []string{"127.0.0.1:0"}
	if v6 {
		at = append(at, "[::1]:0")
	}
	for _, address := range at {
		lc := net.ListenConfig{Control: transparent}
		lc.SetMultipathTCP(false)
		l, err := lc.Listen(context.Background(), "tcp", address)
		if err != nil {
			return nil, nil, err
		}
		undo.Push(l.Close)
		w.tcp, tcp = append(w.tcp, l.(*net.TCPListener)), append(tcp, l.Addr().(*net.TCPAddr).AddrPort())
		u, err := lc.ListenPacket(context.Background(), "udp", address)
		if err != nil {
			return nil, nil, err
		}
		undo.Push(u.Close)
		w.udp, udp = append(w.udp, u.(*net.UDPConn)), append(udp, u.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	return tcp, udp, nil
}

// transparent makes a socket one that takes, and sends from, addresses that are
// not this host's, and that is told which.
func transparent(network, _ string, c syscall.RawConn) (err error) {
	cerr := c.Control(func(fd uintptr) {
		level, option, tell := unix.SOL_IP, unix.IP_TRANSPARENT, unix.IP_RECVORIGDSTADDR
		if network[len(network)-1] == '6' {
			level, option, tell = unix.SOL_IPV6, unix.IPV6_TRANSPARENT, unix.IPV6_RECVORIGDSTADDR
		}
		err = errors.Join(
			unix.SetsockoptInt(int(fd), level, option, 1),
			unix.SetsockoptInt(int(fd), level, tell, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		)
	})
	return errors.Join(cerr, err)
}

// How a SYN that was held is marked when it is let go.
const (
	markAccept      = 1
	markRefuse      = 2
	markUnreachable = 3
)

const (
	table  = "ctor"
	chain  = "out"
	ownSet = "own" // addresses of the container on other links
)

// capture makes the rules of one family.
func (w *Way) capture(s *netlink.Socket, tcp, udp netip.AddrPort) error {
	family, unreachable := byte(unix.NFPROTO_IPV4), byte(icmpHostUnreachable)
	if tcp.Addr().Is6() {
		family, unreachable = unix.NFPROTO_IPV6, icmp6AddrUnreachable
	}
	t := nft.New(table, family)
	t.Addresses(ownSet)
	t.Prerouting(chain)
	t.Rule(chain, nft.All(nft.NotFrom(netlink.Loopback), []nft.Expression{nft.Accept()})...) // of a neighbour
	t.Rule(chain, nft.All(t.ToOne(ownSet), []nft.Expression{nft.Accept()})...)
	for _, p := range inside {
		if p.Addr().Is6() == tcp.Addr().Is6() {
			t.Rule(chain, nft.All(nft.To(p), []nft.Expression{nft.Accept()})...)
		}
	}
	// What passes a proxy by has come when this program is gone.
	t.Rule(chain, nft.All(nft.Protocol(unix.IPPROTO_UDP), nft.Proxy(udp))...)
	t.Rule(chain, nft.All(nft.NotProtocol(unix.IPPROTO_TCP), []nft.Expression{nft.Unreachable(unreachable)})...)
	if w.queue != nil {
		t.Rule(chain, nft.All(nft.Mark(markRefuse), []nft.Expression{nft.Reset()})...)
		t.Rule(chain, nft.All(nft.Mark(markUnreachable), []nft.Expression{nft.Unreachable(unreachable)})...)
		t.Rule(chain, nft.All(nft.Opening(), nft.Mark(0), []nft.Expression{w.queue.expression})...)
	}
	t.Rule(chain, nft.Proxy(tcp)...)
	t.Rule(chain, nft.Reset())
	if w.names.neighbours != nil {
		for _, a := range w.names.neighbours.Own() {
			if a.Is6() == tcp.Addr().Is6() {
				t.Add(ownSet, a)
			}
		}
	}
	return netlink.Missing(t.Commit(s), "nft_tproxy")
}

// The codes of RFC 792 and of RFC 4443, section 3.1.
const (
	icmpHostUnreachable  = 1
	icmp6AddrUnreachable = 3
)
