package netlink_test

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netlink"
	"github.com/ctorhq/ctor/internal/netns"
)

// inNew runs f in a network namespace of its own, with a socket to it. f runs on
// another goroutine: it must not call t.FailNow.
func inNew(t *testing.T, f func(*netlink.Socket) error) *os.File {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("it needs root")
	}
	namespace, err := netns.New(func() error {
		s, err := netlink.Open(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer s.Close()
		return f(s)
	})
	require.NoError(t, err)
	t.Cleanup(func() { namespace.Close() })
	return namespace
}

// What a batch holds is read again as it was written, nested or not.
func TestBatch(t *testing.T) {
	var b netlink.Batch
	b.Begin("one", 7, unix.NLM_F_ACK, []byte{1, 2, 3}).String(1, "abc").Uint8(2, 9)
	b.Begin("two", 8, 0, nil).Nest(3, 0xaa, 0xbb).Big32(4, 0x01020304).Nest(5).Attr(6, nil).End().End().Uint32(7, 1)
	type attr struct {
		typ  uint16
		data string
	}
	walk := func(b []byte) (all []attr) {
		for typ, data := range netlink.Attrs(b) {
			all = append(all, attr{typ, string(data)})
		}
		return all
	}
	var types []uint16
	var bodies [][]byte
	for typ, body := range netlink.Messages(b.Bytes()) {
		types, bodies = append(types, typ), append(bodies, body)
	}
	require.Equal(t, []uint16{7, 8}, types)
	require.Equal(t, []byte{1, 2, 3, 0}, bodies[0][:4])
	require.Equal(t, []attr{{1, "abc\x00"}, {2, "\x09"}}, walk(bodies[0][4:]))
	outer := walk(bodies[1])
	require.Equal(t, []uint16{3, 7}, []uint16{outer[0].typ, outer[1].typ})
	require.Equal(t, "\xaa\xbb\x00\x00", outer[0].data[:4])
	require.Equal(t, []attr{{4, "\x01\x02\x03\x04"}, {5, "\x04\x00\x06\x00"}}, walk([]byte(outer[0].data[4:])))
}

// Bytes that are no messages end the walk, wherever they are cut.
func FuzzMessages(f *testing.F) {
	var b netlink.Batch
	b.Begin("", 7, 0, []byte{1, 2, 3, 4}).Nest(3).String(1, "abc").End()
	f.Add(b.Bytes())
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		for _, body := range netlink.Messages(b) {
			total += unix.NLMSG_HDRLEN + len(body)
			for _, data := range netlink.Attrs(body) {
				require.LessOrEqual(t, len(data), len(body))
			}
		}
		require.LessOrEqual(t, total, len(b))
	})
}

// Links, addresses and routes are as they were said to be, at both ends of a veth.
func TestLinks(t *testing.T) {
	var inner, outer []net.Interface
	var addresses []net.Addr
	var running [2]bool
	at := netip.MustParsePrefix("10.99.0.1/24")
	from, to := netlink.End{Name: "near", Index: 70}, netlink.End{Name: "far", Index: 71}
	hardware := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	there := inNew(t, func(s *netlink.Socket) error { return nil })
	inNew(t, func(s *netlink.Socket) (err error) {
		var b netlink.Batch
		b.Up(netlink.Loopback).Veth(from, to, there, hardware, 1400).Address(from.Index, at).
			Unreachable(netip.MustParsePrefix("10.0.0.0/8")).Route(from.Index, netip.MustParsePrefix("10.98.0.0/16"), at.Addr())
		if err := s.Do(&b); err != nil {
			return err
		}
		if outer, err = net.Interfaces(); err != nil {
			return err
		}
		if addresses, err = net.InterfaceAddrs(); err != nil {
			return err
		}
		running[0], err = s.Running(from.Index)
		if err != nil {
			return err
		}
		if err := netns.Within(there, func() (err error) {
			var b netlink.Batch
			if err := netlink.Do(unix.NETLINK_ROUTE, b.Up(to.Index)); err != nil {
				return err
			}
			inner, err = net.Interfaces()
			return err
		}); err != nil {
			return err
		}
		if running[1], err = s.Running(from.Index); err != nil {
			return err
		}
		b = netlink.Batch{}
		b.DropRoute(from.Index, netip.MustParsePrefix("10.98.0.0/16")).DeleteLink(from.Index)
		return s.Do(&b)
	})
	find := func(all []net.Interface, name string) net.Interface {
		i := slices.IndexFunc(all, func(i net.Interface) bool { return i.Name == name })
		require.GreaterOrEqual(t, i, 0, "%v", all)
		return all[i]
	}
	near, far := find(outer, "near"), find(inner, "far")
	require.Equal(t, []any{70, 1400, hardware}, []any{near.Index, near.MTU, near.HardwareAddr})
	require.Equal(t, []any{71, 1400, hardware}, []any{far.Index, far.MTU, far.HardwareAddr})
	require.NotZero(t, near.Flags&net.FlagUp)
	require.Contains(t, addresses, net.Addr(&net.IPNet{IP: net.IPv4(10, 99, 0, 1), Mask: net.CIDRMask(24, 32)}))
	require.Equal(t, [2]bool{false, true}, running, "only when the other end is up")
	require.NoError(t, netns.Within(there, func() (err error) {
		inner, err = net.Interfaces()
		return err
	}))
	require.Len(t, inner, 1, "the other end is gone with it: %v", inner)
}

// An address alone answers at once: no route of its link refuses it first.
func TestAddressAlone(t *testing.T) {
	for _, p := range []string{"198.18.0.2/32", "2001:db8::2/128"} {
		at := netip.MustParsePrefix(p)
		for range 50 {
			var dialed error
			inNew(t, func(s *netlink.Socket) error {
				var b netlink.Batch
				if err := s.Do(b.Up(netlink.Loopback).Address(netlink.Loopback, at).Own(netlink.Loopback, at, at.Addr())); err != nil {
					return err
				}
				dialed = connect(at.Addr())
				return nil
			})
			require.ErrorIs(t, dialed, unix.ECONNREFUSED, "as nothing listens there")
		}
	}
}

// connect connects to a port that nothing listens on, from the calling thread.
func connect(at netip.Addr) error {
	family, to := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: 9, Addr: [4]byte(at.AsSlice()[:4])})
	if at.Is6() {
		family, to = unix.AF_INET6, &unix.SockaddrInet6{Port: 9, Addr: at.As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, to)
}

// The error is of the request that was refused; what came before it is done, and
// the socket can be used again.
func TestError(t *testing.T) {
	var first, second, missing error
	var addresses []net.Addr
	a, b := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")
	inNew(t, func(s *netlink.Socket) (err error) {
		var batch netlink.Batch
		first = s.Do(batch.Up(netlink.Loopback).Address(netlink.Loopback, a).Address(netlink.Loopback, a).Up(99))
		batch = netlink.Batch{}
		second = s.Do(batch.Address(netlink.Loopback, b))
		batch = netlink.Batch{}
		batch.Begin("new link", unix.RTM_NEWLINK, unix.NLM_F_ACK|unix.NLM_F_CREATE, make([]byte, unix.SizeofIfInfomsg)).
			Nest(unix.IFLA_LINKINFO).String(unix.IFLA_INFO_KIND, "ctor_none").End()
		missing = netlink.Missing(s.Do(&batch), "ctor_none")
		addresses, err = net.InterfaceAddrs()
		return err
	})
	var e *netlink.Error
	require.ErrorAs(t, first, &e)
	require.Equal(t, "add address 192.0.2.1/32", e.Request)
	require.Equal(t, unix.EEXIST, e.Errno)
	require.NoError(t, second)
	require.ErrorIs(t, missing, errdefs.ErrUnavailable)
	require.ErrorContains(t, missing, "load it: modprobe ctor_none")
	for _, p := range []netip.Prefix{a, b} {
		require.True(t, slices.ContainsFunc(addresses, func(a net.Addr) bool { return a.String() == p.String() }), "%v", addresses)
	}
	require.Equal(t, e, netlink.Missing(error(e), "x"), "of another reason")
	require.NoError(t, netlink.Missing(nil, "x"))
}
