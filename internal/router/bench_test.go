package router

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netlink"
	"github.com/ctorhq/ctor/internal/netns"
	"github.com/ctorhq/ctor/internal/netns/netnstest"
)

// A bridge as one makes it by hand, with two namespaces at it: what a router is
// measured by.
func bridge(b *testing.B, mtu uint32) (from, to *os.File, at netip.Addr) {
	var members []*os.File
	ns, err := netns.New(func() error {
		var batch netlink.Batch
		batch.Up(netlink.Loopback)
		batch.Begin("new bridge", unix.RTM_NEWLINK, unix.NLM_F_ACK|unix.NLM_F_CREATE, ifinfo(2, unix.IFF_UP)).
			String(unix.IFLA_IFNAME, "br0").Uint32(unix.IFLA_MTU, mtu).Nest(unix.IFLA_LINKINFO).String(unix.IFLA_INFO_KIND, "bridge").End()
		return netlink.Do(unix.NETLINK_ROUTE, &batch)
	})
	require.NoError(b, err)
	b.Cleanup(func() { ns.Close() })
	for i := range 2 {
		p, _ := netnstest.Process(b)
		members = append(members, p)
		var there *os.File
		require.NoError(b, netns.Within(p, func() (err error) { there, err = netns.Here(); return err }))
		require.NoError(b, netns.Within(ns, func() error {
			var batch netlink.Batch
			batch.Begin("new veth", unix.RTM_NEWLINK, unix.NLM_F_ACK|unix.NLM_F_CREATE, ifinfo(10+i, unix.IFF_UP)).
				String(unix.IFLA_IFNAME, fmt.Sprintf("c%d", i)).Uint32(unix.IFLA_MTU, mtu).Uint32(unix.IFLA_MASTER, 2).
				Nest(unix.IFLA_LINKINFO).String(unix.IFLA_INFO_KIND, "veth").Nest(unix.IFLA_INFO_DATA).Nest(1, ifinfo(10, 0)...).
				String(unix.IFLA_IFNAME, "eth0").Uint32(unix.IFLA_MTU, mtu).Uint32(unix.IFLA_NET_NS_FD, uint32(there.Fd())).End().End().End()
			return netlink.Do(unix.NETLINK_ROUTE, &batch)
		}))
		there.Close()
		a := netip.AddrFrom4([4]byte{10, 9, 0, byte(2 + i)})
		require.NoError(b, netns.Within(p, func() error {
			var batch netlink.Batch
			batch.Up(netlink.Loopback).Up(10).Address(10, netip.PrefixFrom(a, 24))
			return netlink.Do(unix.NETLINK_ROUTE, &batch)
		}))
		at = a
	}
	return members[0], members[1], at
}

func ifinfo(index int, flags uint32) []byte {
	h := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(h[4:], uint32(index))
	binary.NativeEndian.PutUint32(h[8:], flags)
	binary.NativeEndian.PutUint32(h[12:], flags)
	return h
}

// Bytes from one container to another, beside a bridge that one makes by hand, by
// turns: of the same packet size, and of the usual 1500 bytes.
func BenchmarkThroughput(b *testing.B) {
	const size = 64 << 20
	b.SetBytes(size)
	compare(b, func(from, to *os.File, at netip.Addr) func() {
		l, err := netns.Listen(to, "tcp", netip.AddrPortFrom(at, 0).String())
		require.NoError(b, err)
		b.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 128<<10))
					_, _ = c.Write([]byte{1})
				}()
			}
		}()
		chunk := make([]byte, 128<<10)
		return func() {
			c, err := netns.Dial(b.Context(), from, "tcp", l.Addr().String())
			require.NoError(b, err)
			defer c.Close()
			for range size / len(chunk) {
				_, err := c.Write(chunk)
				require.NoError(b, err)
			}
			require.NoError(b, c.(*net.TCPConn).CloseWrite())
			_, err = io.ReadFull(c, chunk[:1])
			require.NoError(b, err)
		}
	})
}

// A connection, and one byte there and back, a hundred times.
func BenchmarkRoundTrip(b *testing.B) {
	compare(b, func(from, to *os.File, at netip.Addr) func() {
		l, err := netns.Listen(to, "tcp", netip.AddrPortFrom(at, 0).String())
		require.NoError(b, err)
		b.Cleanup(func() { l.Close() })
		go echo(l)
		c, err := netns.Dial(b.Context(), from, "tcp", l.Addr().String())
		require.NoError(b, err)
		b.Cleanup(func() { c.Close() })
		one := make([]byte, 1)
		return func() {
			for range 100 {
				_, err := c.Write(one)
				require.NoError(b, err)
				_, err = io.ReadFull(c, one)
				require.NoError(b, err)
			}
		}
	})
}

// compare does the same over a router and over bridges, in an order of its own
// each time, and reports the router's median and how many times the bridges' it is.
func compare(b *testing.B, make func(from, to *os.File, at netip.Addr) func()) {
	r := open(b)
	x, y := join(b, r, 2), join(b, r, 3)
	do := []func(){make(x.process, y.process, y.at[0])}
	for _, mtu := range []uint32{mtu, 1500} {
		from, to, at := bridge(b, mtu)
		do = append(do, make(from, to, at))
	}
	took := [3][]time.Duration{}
	for b.Loop() {
		for _, i := range rand.Perm(3) {
			began := time.Now()
			do[i]()
			took[i] = append(took[i], time.Since(began))
		}
	}
	median := func(i int) float64 {
		slices.Sort(took[i])
		return float64(took[i][len(took[i])/2].Nanoseconds()) / 1e3
	}
	b.ReportMetric(median(0), "µs")
	b.ReportMetric(median(1)/median(0), "of-bridge")
	b.ReportMetric(median(2)/median(0), "of-bridge-1500")
}

// A link, from a container that has none to one that has, and away again.
func BenchmarkJoin(b *testing.B) {
	r := open(b)
	p, _ := netnstest.Process(b)
	at := []netip.Addr{netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("fd00:9::2")}
	for b.Loop() {
		l, err := r.Join(p, "eth0", at)
		require.NoError(b, err)
		b.StopTimer()
		require.NoError(b, l.Cut())
		b.StartTimer()
	}
}

// The end of a link, with its container or without.
func BenchmarkLeave(b *testing.B) {
	for name, leave := range map[string]func(*Link) error{"close": (*Link).Close, "cut": (*Link).Cut} {
		b.Run(name, func(b *testing.B) {
			r := open(b)
			p, _ := netnstest.Process(b)
			at := []netip.Addr{netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("fd00:9::2")}
			for b.Loop() {
				b.StopTimer()
				l, err := r.Join(p, "eth0", at)
				require.NoError(b, err)
				b.StartTimer()
				require.NoError(b, leave(l))
				b.StopTimer()
				require.NoError(b, l.Cut())
				b.StartTimer()
			}
		})
	}
}

// A network, there and away.
func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		r, err := Open(own)
		require.NoError(b, err)
		require.NoError(b, r.Close())
	}
}
