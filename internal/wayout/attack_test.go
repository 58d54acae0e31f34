package wayout

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/nft/nfttest"
)

// attacks are what a hostile container does. They run in a process of its
// network, so that this program has nothing of their sockets.
var attacks = map[string]func(n int) error{
	"syn": synFlood, "udp": udpFlood, "slow": slowReaders, "names": manyNames, "queries": queryFlood,
	"spoof": spoof, "flush": flush, "mapped": mapped, "stall": stalledQueries, "open": openMany,
}

// kept is what an attack has opened, until the process ends.
var kept []net.Conn

// synFlood sends SYNs from addresses that answer none.
func synFlood(n int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for range n {
		r := rand.Uint64()
		from := netip.AddrFrom4([4]byte{203, byte(r), byte(r >> 8), byte(r>>16) | 1})
		if err := sendSYN(fd, netip.AddrPortFrom(from, uint16(r>>24)|1024), netip.MustParseAddrPort("192.0.2.80:80")); err != nil {
			return err
		}
	}
	return nil
}

// spoof sends SYNs from addresses that mean something else than the container.
func spoof(int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, from := range []string{"127.0.0.1:5", "192.0.2.80:5", "0.0.0.0:5", "169.254.169.254:5", "198.18.0.2:5", "224.0.0.1:5"} {
		for _, to := range []string{"192.0.2.80:80", "127.0.0.1:80", "169.254.169.254:80"} {
			if err := sendSYN(fd, netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)); err != nil && !errors.Is(err, unix.EINVAL) {
				return err
			}
		}
	}
	return nil
}

func sendSYN(fd int, from, to netip.AddrPort) error {
	p := make([]byte, 40)
	p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(p[2:], 40)
	s, d := from.Addr().As4(), to.Addr().As4()
	copy(p[12:], s[:])
	copy(p[16:], d[:])
	t := p[20:]
	binary.BigEndian.PutUint16(t, from.Port())
	binary.BigEndian.PutUint16(t[2:], to.Port())
	binary.BigEndian.PutUint32(t[4:], rand.Uint32())
	t[12], t[13] = 5<<4, 2
	binary.BigEndian.PutUint16(t[14:], 65535)
	sum := uint32(unix.IPPROTO_TCP + 20)
	for i := 12; i < 40; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(t[16:], ^uint16(sum))
	return unix.Sendto(fd, p, 0, &unix.SockaddrInet4{Addr: d})
}

// udpFlood sends datagrams to as many addresses.
func udpFlood(n int) error {
	u, err := net.ListenPacket("udp", "198.18.0.2:0")
	if err != nil {
		return err
	}
	defer u.Close()
	for i := range n {
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), uint16(1024+i>>16))
		if _, err := u.(*net.UDPConn).WriteToUDPAddrPort(make([]byte, 1200), to); err != nil {
			return err
		}
	}
	return nil
}

// slowReaders opens connections, reads nothing, and writes until the other end takes
// any more.
func slowReaders(n int) error {
	var all sync.WaitGroup
	block := make([]byte, 64<<10)
	for range n {
		c, err := net.Dial("tcp", "192.0.2.80:80")
		if err != nil {
			return err
		}
		kept = append(kept, c)
		_ = c.(*net.TCPConn).SetWriteBuffer(32 << 10)
		all.Go(func() {
			for {
				_ = c.SetWriteDeadline(time.Now().Add(2 * time.Second))
				if _, err := c.Write(block); err != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return nil
}

// openMany opens connections.
func openMany(n int) error {
	for range n {
		c, err := net.Dial("tcp", "192.0.2.80:80")
		if err != nil {
			return err
		}
		kept = append(kept, c)
	}
	return nil
}

// manyNames looks up names, all by one connection.
func manyNames(n int) error {
	c, err := net.Dial("tcp", Resolver.String()+":53")
	if err != nil {
		return err
	}
	defer c.Close()
	go func() {
		for i := range n {
			b, err := query(fmt.Sprintf("%d.%s.test.", i, letters)).Pack()
			if err != nil {
				panic(err)
			}
			_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
		}
	}()
	for range n {
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint16(length[:]))); err != nil {
			return err
		}
	}
	return nil
}

// letters make a name long.
const letters = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

func query(name string) *dnsmessage.Message {
	return &dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
}

// queryFlood sends queries and waits for no answer.
func queryFlood(n int) error {
	c, err := net.Dial("udp", Resolver.String()+":53")
	if err != nil {
		return err
	}
	defer c.Close()
	b, err := query("a.test.").Pack()
	if err != nil {
		return err
	}
	for range n {
		_, _ = c.Write(b)
	}
	return nil
}

// mapped connects to a port of this host in all ways of writing it, and fails if
// one of them is more than a listener that hangs up.
func mapped(port int) error {
	for _, host := range []string{"::ffff:127.0.0.1", "::ffff:0.0.0.0", "::", "::1", "::ffff:198.18.0.2", "fd63:746f:7200::2", "::ffff:127.8.8.8"} {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		err = unix.Connect(fd, &unix.SockaddrInet6{Port: port, Addr: netip.MustParseAddr(host).As16()})
		if err == nil {
			_, err = unix.Read(fd, make([]byte, 1))
		}
		unix.Close(fd)
		if !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.ECONNRESET) {
			return fmt.Errorf("%s: %v", host, err)
		}
	}
	return nil
}

// flush takes all rules away, as CAP_NET_ADMIN allows.
func flush(int) error { return nfttest.Flush() }

// stalledQueries opens connections to the resolver and sends the beginning of a
// query.
func stalledQueries(n int) error {
	for range n {
		c, err := net.Dial("tcp", Resolver.String()+":53")
		if err != nil {
			return err
		}
		kept = append(kept, c)
		if _, err := c.Write([]byte{mostQuery >> 8, mostQuery & 0xff, 0}); err != nil {
			return err
		}
	}
	return nil
}
