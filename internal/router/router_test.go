package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/netns"
	"github.com/ctorhq/ctor/internal/netns/netnstest"
)

var own = []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24"), netip.MustParsePrefix("fd00:9::1/64")}

func open(t testing.TB) *Router {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("it needs root")
	}
	r, err := Open(own)
	if errors.Is(err, errdefs.ErrUnavailable) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// member is a process with a link.
type member struct {
	process *os.File
	link    *Link
	at      []netip.Addr
	end     func()
}

func join(t testing.TB, r *Router, n int) member {
	t.Helper()
	p, end := netnstest.Process(t)
	m := member{process: p, end: end, at: []netip.Addr{
		netip.AddrFrom4([4]byte{10, 9, 0, byte(n)}), netip.MustParseAddr(fmt.Sprintf("fd00:9::%x", n)),
	}}
	var err error
	m.link, err = r.Join(p, "eth0", m.at)
	require.NoError(t, err)
	return m
}

// serve has a listener in a member's network say what it is asked.
func (m member) serve(t testing.TB, port string) {
	t.Helper()
	for _, host := range m.at {
		l, err := netns.Listen(m.process, "tcp", net.JoinHostPort(host.String(), port))
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
		go echo(l)
	}
}

func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}()
	}
}

// exchange sends something through a connection and back.
func exchange(t testing.TB, c net.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	_, err := c.Write([]byte("hello"))
	require.NoError(t, err)
	got := make([]byte, 5)
	_, err = io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, "hello", string(got))
}

func TestRouter(t *testing.T) {
	r := open(t)
	a, b := join(t, r, 2), join(t, r, 3)
	b.serve(t, "80")
	for i := range own {
		at := net.JoinHostPort(b.at[i].String(), "80")
		c, err := netns.Dial(t.Context(), a.process, "tcp", at)
		require.NoError(t, err)
		require.Equal(t, a.at[i].String(), c.LocalAddr().(*net.TCPAddr).IP.String())
		exchange(t, c)
		c.Close()
		c, err = r.Dial(t.Context(), "tcp", at)
		require.NoError(t, err)
		exchange(t, c)
		c.Close()
		_, err = netns.Dial(t.Context(), a.process, "tcp", net.JoinHostPort(b.at[i].String(), "81"))
		require.ErrorIs(t, err, unix.ECONNREFUSED)
		_, err = netns.Dial(t.Context(), a.process, "tcp", net.JoinHostPort(b.at[i].Next().String(), "80"))
		require.ErrorIs(t, err, unreachable(at), "no container has the address, and that is known at once")
		l, err := r.Listen("tcp", net.JoinHostPort(own[i].Addr().String(), "80"))
		require.NoError(t, err)
		defer l.Close()
		go echo(l)
		c, err = netns.Dial(t.Context(), a.process, "tcp", l.Addr().String())
		require.NoError(t, err)
		exchange(t, c)
		c.Close()
	}
}

// unreachable is what the kernel says of an address that no container has.
func unreachable(address string) error {
	if address[0] == '[' {
		return unix.ECONNREFUSED
	}
	return unix.EHOSTUNREACH
}

// A link that is gone is unreachable at once, and its address can be given to
// another.
func TestLeave(t *testing.T) {
	r := open(t)
	a, b := join(t, r, 2), join(t, r, 3)
	b.serve(t, "80")
	require.NoError(t, b.link.Close())
	require.NoError(t, b.link.Close())
	c, err := netns.Dial(t.Context(), b.process, "udp", net.JoinHostPort(a.at[0].String(), "80"))
	require.NoError(t, err)
	p, err := netns.ListenPacket(a.process, "udp", c.RemoteAddr().String())
	require.NoError(t, err)
	defer p.Close()
	_, err = c.Write([]byte("late"))
	require.NoError(t, err)
	c.Close()
	require.NoError(t, p.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, _, err = p.ReadFrom(make([]byte, 10))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "nothing is taken from it")
	for _, at := range b.at {
		address := net.JoinHostPort(at.String(), "80")
		_, err := netns.Dial(t.Context(), a.process, "tcp", address)
		require.ErrorIs(t, err, unreachable(address))
	}
	again := join(t, r, 3)
	again.serve(t, "80")
	c, err = netns.Dial(t.Context(), a.process, "tcp", net.JoinHostPort(b.at[0].String(), "80"))
	require.NoError(t, err)
	exchange(t, c)
	c.Close()
	require.NoError(t, b.link.Cut())
	require.NoError(t, b.link.Cut())
	again.end() // and the link with its namespace
	require.NoError(t, r.Close())
	require.NoError(t, again.link.Close())
	_, err = r.Join(a.process, "eth1", a.at)
	require.ErrorIs(t, err, os.ErrClosed)
	require.NoError(t, a.link.Close())
	require.Eventually(t, func() bool { // the kernel takes a namespace apart a little later
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		c, err := netns.Dial(ctx, a.process, "tcp", net.JoinHostPort(b.at[0].String(), "80"))
		if err == nil {
			c.Close()
		}
		return errors.Is(err, unix.ENETUNREACH)
	}, 30*time.Second, time.Millisecond)
}

// Two networks reach nothing of each other.
func TestApart(t *testing.T) {
	r, other := open(t), open(t)
	a, b := join(t, r, 2), join(t, other, 3)
	b.serve(t, "80")
	for _, at := range b.at {
		address := net.JoinHostPort(at.String(), "80")
		_, err := netns.Dial(t.Context(), a.process, "tcp", address)
		require.ErrorIs(t, err, unreachable(address))
	}
}

// No first connection waits for anything.
func TestFirst(t *testing.T) {
	r := open(t)
	server := join(t, r, 2)
	server.serve(t, "80")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for n := 3; n < 20; n++ {
		m := join(t, r, n)
		for _, at := range server.at {
			c, err := netns.Dial(ctx, m.process, "tcp", net.JoinHostPort(at.String(), "80"))
			require.NoError(t, err)
			c.Close()
		}
		require.Zero(t, retransmitted(t, m.process))
	}
}

// retransmitted counts the packets of TCP that were sent twice in a namespace.
func retransmitted(t testing.TB, process *os.File) (n int) {
	t.Helper()
	require.NoError(t, netns.Within(process, func() error {
		b, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		n, err = tcpCounter(string(b), "RetransSegs")
		return err
	}))
	return n
}
