package router

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netns"
)

// A forger sends frames of its own making, as a container with CAP_NET_RAW can.
type forger struct {
	t      *testing.T
	member member
	fd     int
}

func forge(t *testing.T, m member) forger {
	t.Helper()
	f := forger{t: t, member: m}
	require.NoError(t, netns.Within(m.process, func() (err error) {
		f.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	t.Cleanup(func() { unix.Close(f.fd) })
	return f
}

// hardware is the address of both ends of a member's link.
func (m member) hardware() net.HardwareAddr {
	return net.HardwareAddr(binary.BigEndian.AppendUint32([]byte{2, 'c'}, uint32(m.link.index)))
}

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// frame sends one.
func (f forger) frame(to, from net.HardwareAddr, protocol uint16, payload []byte) {
	f.t.Helper()
	b := append(append([]byte(nil), to...), from...)
	b = append(binary.BigEndian.AppendUint16(b, protocol), payload...)
	require.NoError(f.t, unix.Sendto(f.fd, b, 0, &unix.SockaddrLinklayer{Ifindex: f.member.link.index, Halen: 6}))
}

// datagram makes a UDP datagram in an IP packet, with the sender that is claimed.
func datagram(from netip.Addr, to netip.AddrPort, text string) (protocol uint16, packet []byte) {
	udp := binary.BigEndian.AppendUint16(nil, 7)
	udp = binary.BigEndian.AppendUint16(udp, to.Port())
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(text)))
	udp = append(append(udp, 0, 0), text...)
	if from.Is4() {
		ip := []byte{0x45, 0, 0, byte(20 + len(udp)), 0, 1, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
		ip = append(append(ip, from.AsSlice()...), to.Addr().AsSlice()...)
		binary.BigEndian.PutUint16(ip[10:], ^sum(0, ip)) // UDP's own may be missing
		return unix.ETH_P_IP, append(ip, udp...)
	}
	pseudo := sum(sum(uint16(unix.IPPROTO_UDP), from.AsSlice()), to.Addr().AsSlice())
	binary.BigEndian.PutUint16(udp[6:], ^sum(sum(pseudo, []byte{0, byte(len(udp))}), udp))
	ip := []byte{0x60, 0, 0, 0, 0, byte(len(udp)), unix.IPPROTO_UDP, 64}
	ip = append(append(ip, from.AsSlice()...), to.Addr().AsSlice()...)
	return unix.ETH_P_IPV6, append(ip, udp...)
}

// sum is the Internet's checksum (RFC 1071), not yet inverted.
func sum(start uint16, b []byte) uint16 {
	all := uint32(start)
	for len(b) > 1 {
		all += uint32(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		all += uint32(b[0]) << 8
	}
	for all > 0xffff {
		all = all>>16 + all&0xffff
	}
	return uint16(all)
}

// A packet whose sender is not who is at the link is lost, whichever frame it
// comes in.
func TestForgedSender(t *testing.T) {
	r := open(t)
	attacker, victim, peer := join(t, r, 2), join(t, r, 3), join(t, r, 4)
	f := forge(t, attacker)
	for i, claims := range [][]string{
		{peer.at[0].String(), victim.at[0].String(), own[0].Addr().String(), "8.8.8.8", "127.0.0.1", "10.9.0.77", "0.0.0.0", "169.254.1.1"},
		{peer.at[1].String(), victim.at[1].String(), own[1].Addr().String(), "2001:db8::1", "::1", "fd00:9::77", "::", "fe80::1"},
	} {
		to := netip.AddrPortFrom(victim.at[i], 99)
		l, err := netns.ListenPacket(victim.process, "udp", to.String())
		require.NoError(t, err)
		defer l.Close()
		for _, claim := range claims {
			protocol, packet := datagram(netip.MustParseAddr(claim), to, "forged")
			f.frame(attacker.hardware(), attacker.hardware(), protocol, packet)
			f.frame(attacker.hardware(), peer.hardware(), protocol, packet)
			f.frame(peer.hardware(), peer.hardware(), protocol, packet)
			f.frame(broadcast, attacker.hardware(), protocol, packet)
		}
		// What is true arrives: had the others been let through, they would be before
		// it.
		protocol, packet := datagram(attacker.at[i], to, "true")
		f.frame(attacker.hardware(), attacker.hardware(), protocol, packet)
		buf := make([]byte, 100)
		require.NoError(t, l.SetReadDeadline(time.Now().Add(30*time.Second)))
		n, from, err := l.ReadFrom(buf)
		require.NoError(t, err)
		require.Equal(t, "true", string(buf[:n]))
		require.Equal(t, attacker.at[i].String(), from.(*net.UDPAddr).IP.String())
		require.NoError(t, l.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
		_, from, err = l.ReadFrom(buf)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "%v", from)
	}
}

// The router's own sockets don't hear of a forged sender either.
func TestForgedSenderToRouter(t *testing.T) {
	r := open(t)
	attacker, peer := join(t, r, 2), join(t, r, 3)
	f := forge(t, attacker)
	for i := range own {
		to := netip.AddrPortFrom(own[i].Addr(), 99)
		l, err := r.ListenPacket("udp", to.String())
		require.NoError(t, err)
		defer l.Close()
		for _, claim := range []netip.Addr{peer.at[i], own[i].Addr(), attacker.at[i]} {
			protocol, packet := datagram(claim, to, claim.String())
			f.frame(attacker.hardware(), attacker.hardware(), protocol, packet)
		}
		buf := make([]byte, 100)
		require.NoError(t, l.SetReadDeadline(time.Now().Add(30*time.Second)))
		n, _, err := l.ReadFrom(buf)
		require.NoError(t, err)
		require.Equal(t, attacker.at[i].String(), string(buf[:n]))
	}
}

// Neither ARP nor neighbour discovery, nor another's hardware address, gets an
// attacker what is meant for another.
func TestForgedNeighbour(t *testing.T) {
	r := open(t)
	attacker, victim, peer := join(t, r, 2), join(t, r, 3), join(t, r, 4)
	peer.serve(t, "80")
	f := forge(t, attacker)
	for _, to := range []net.HardwareAddr{broadcast, attacker.hardware(), victim.hardware(), peer.hardware()} {
		for _, from := range []net.HardwareAddr{attacker.hardware(), victim.hardware(), peer.hardware()} {
			for _, kind := range []byte{1, 2} { // a request, an answer
				arp := append([]byte{0, 1, 8, 0, 6, 4, 0, kind}, attacker.hardware()...)
				arp = append(append(arp, peer.at[0].AsSlice()...), victim.hardware()...)
				f.frame(to, from, unix.ETH_P_ARP, append(arp, victim.at[0].AsSlice()...))
			}
			f.frame(to, from, unix.ETH_P_IPV6, advertisement(peer.at[1], victim.at[1], attacker.hardware()))
		}
	}
	require.NoError(t, netns.Within(attacker.process, func() error { // whatever is for the peer, it would take
		return unix.Bind(f.fd, &unix.SockaddrLinklayer{Protocol: 0x0300 /* all, in network order */, Ifindex: attacker.link.index})
	}))
	for _, at := range peer.at {
		c, err := netns.Dial(t.Context(), victim.process, "tcp", netip.AddrPortFrom(at, 80).String())
		require.NoError(t, err)
		exchange(t, c)
		c.Close()
	}
	buf := make([]byte, 2000)
	for {
		n, from, err := unix.Recvfrom(f.fd, buf, unix.MSG_DONTWAIT)
		if err != nil {
			require.ErrorIs(t, err, unix.EAGAIN)
			return
		}
		if ll := from.(*unix.SockaddrLinklayer); ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		require.NotContains(t, string(buf[:n]), "hello")
	}
}

// advertisement says that an address is at a hardware address (RFC 4861, section
// 4.4).
func advertisement(of, to netip.Addr, at net.HardwareAddr) []byte {
	icmp := append([]byte{136, 0, 0, 0, 0x60, 0, 0, 0}, of.AsSlice()...)
	icmp = append(append(icmp, 2, 1), at...)
	pseudo := sum(sum(uint16(unix.IPPROTO_ICMPV6), of.AsSlice()), to.AsSlice())
	binary.BigEndian.PutUint16(icmp[2:], ^sum(sum(pseudo, []byte{0, byte(len(icmp))}), icmp))
	ip := []byte{0x60, 0, 0, 0, 0, byte(len(icmp)), unix.IPPROTO_ICMPV6, 255}
	return append(append(append(ip, of.AsSlice()...), to.AsSlice()...), icmp...)
}
