package network_test

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/internal/netlink"
	"github.com/ctorhq/ctor/internal/netns"
	"github.com/ctorhq/ctor/internal/nft/nfttest"
	"github.com/ctorhq/ctor/network"
)

// hostEnv tells a test that this process has a host's network of its own.
const hostEnv = "CTOR_TEST_HOST"

// onOwnHost runs a test again, in a process with a network namespace of its own, which is
// the host there. It is true in that process.
func onOwnHost(t testing.TB) bool {
	t.Helper()
	if os.Getenv(hostEnv) != "" {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("it needs root")
	}
	only := "^" + t.Name() + "$"
	args := []string{"-test.run=" + only, "-test.v", fmt.Sprint("-test.short=", testing.Short())}
	if b, ok := t.(*testing.B); ok {
		if b.N > 1 {
			return false // package testing has called it before
		}
		args = []string{"-test.run=^$", "-test.bench=" + only, "-test.benchtime=" + flag.Lookup("test.benchtime").Value.String()}
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), hostEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
	return false
}

const (
	hostAddr     = "192.0.2.1"
	otherAddr    = "192.0.2.80"
	metadataAddr = "169.254.169.254"
	wire         = 7 // the index of the link on both sides
)

// another is the network of another host, to which ours has a wire, and no more: it has
// no route to anything behind ours.
func another(t testing.TB) *os.File {
	t.Helper()
	there, err := netns.New(func() error {
		return netlink.Do(unix.NETLINK_ROUTE, new(netlink.Batch).Up(netlink.Loopback))
	})
	require.NoError(t, err)
	t.Cleanup(func() { there.Close() })
	var b netlink.Batch
	b.Up(netlink.Loopback).
		Veth(netlink.End{Name: "wire", Index: wire}, netlink.End{Name: "wire", Index: wire}, there, net.HardwareAddr{2, 0, 0, 0, 0, 7}, 1500).
		Address(wire, netip.MustParsePrefix(hostAddr+"/24")).Lead(wire, netip.MustParsePrefix(metadataAddr+"/32"))
	require.NoError(t, netlink.Do(unix.NETLINK_ROUTE, &b))
	require.NoError(t, netns.Within(there, func() error {
		return netlink.Do(unix.NETLINK_ROUTE, new(netlink.Batch).Up(wire).Address(wire, netip.MustParsePrefix(otherAddr+"/24")).Address(wire, netip.MustParsePrefix(metadataAddr+"/32")))
	}))
	return there
}

func passOn(t testing.TB, value string) {
	t.Helper()
	require.NoError(t, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte(value), 0))
}

// What leaves a masqueraded network is the host's, and reaches others and nothing of the
// host; nothing gets in but what the host sends.
func TestMasquerade(t *testing.T) {
	if !onOwnHost(t) {
		return
	}
	there := another(t)
	who, err := netns.Listen(there, "tcp", "0.0.0.0:80")
	require.NoError(t, err)
	defer who.Close()
	go func() {
		for {
			c, err := who.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, c.RemoteAddr().(*net.TCPAddr).IP)
			c.Close()
		}
	}()
	metadata, err := net.Dial("tcp", metadataAddr+":80")
	require.NoError(t, err, "the host may")
	metadata.Close()
	host, err := net.Listen("tcp", ":81")
	require.NoError(t, err)
	defer host.Close()
	go answer(host, "the host")
	resolveTo(t, otherAddr)
	e := containertest.Engine(t)

	passOn(t, "0")
	_, err = network.New(t.Context(), e, network.Config{Masquerade: true})
	require.ErrorIs(t, err, ctor.ErrUnavailable)
	require.ErrorContains(t, err, "sysctl -w net.ipv4.ip_forward=1")
	passOn(t, "1")
	before := outside(t)
	_, err = network.New(t.Context(), e, network.Config{Masquerade: true, Out: egress.Public})
	require.ErrorIs(t, err, ctor.ErrInvalid)
	_, err = network.New(t.Context(), e, network.Config{Masquerade: true, Subnets: []netip.Prefix{netip.MustParsePrefix("fd01::/64")}})
	require.ErrorIs(t, err, ctor.ErrInvalid)
	for _, hosts := range []string{"192.0.2.0/24", "192.0.2.0/25", "192.0.0.0/16"} {
		_, err = network.New(t.Context(), e, network.Config{Masquerade: true, Subnets: []netip.Prefix{netip.MustParsePrefix(hosts)}})
		require.ErrorIs(t, err, ctor.ErrInvalid, "the host would lose its way to a part of it")
	}
	require.Equal(t, before, outside(t), "nothing half made")

	// Another program's network, of which this one knows nothing.
	first := netip.MustParsePrefix("10.208.0.0/22")
	require.NoError(t, netlink.Do(unix.NETLINK_ROUTE, new(netlink.Batch).Lead(wire, first)))
	before = outside(t)
	n, err := network.New(t.Context(), e, network.Config{Masquerade: true})
	require.NoError(t, err)
	require.NotContains(t, n.Info().Subnets, first)
	require.False(t, n.Info().Internal)
	c, peer := idle(t, n.Join(), named("c")), idle(t, n.Join("peer"))
	serve(t, peer, 80, "the peer")
	for script, want := range map[string]string{
		"nc " + otherAddr + " 80 </dev/null":                              hostAddr,
		"nc www.example.org 80 </dev/null":                                hostAddr,
		"nc peer 80 </dev/null":                                           "the peer",
		"nc peer." + n.Name() + " 80 </dev/null":                          "the peer",
		"nc " + hostAddr + " 81 </dev/null 2>&1":                          "nc: can't connect to remote host (" + hostAddr + "): Connection refused\n",
		"nc " + metadataAddr + " 80 </dev/null 2>&1":                      "nc: can't connect to remote host (" + metadataAddr + "): No route to host\n",
		"nc 127.0.0.1 81 </dev/null 2>&1":                                 "nc: can't connect to remote host (127.0.0.1): Connection refused\n",
		"ping -c 1 -W 5 " + otherAddr + " | grep -c '1 packets received'": "1\n",
	} {
		require.Equal(t, want, say(t, c, script), script)
	}
	require.Contains(t, say(t, c, "nc nowhere.example.org 80 </dev/null 2>&1"), "bad address")

	conn, err := n.Join().DialContext(t.Context(), "tcp", "www.example.org:80")
	require.NoError(t, err, "as a container does")
	conn.Close()
	_, err = n.Join().DialContext(t.Context(), "tcp", hostAddr+":81")
	require.ErrorIs(t, err, unix.ECONNREFUSED)

	// From the host, and from beyond it.
	at := n.Info().Containers
	inside := ""
	for _, m := range at {
		if m.ID == peer.ID() {
			inside = m.Addresses[0].String()
		}
	}
	conn, err = net.Dial("tcp", net.JoinHostPort(inside, "80"))
	require.NoError(t, err)
	conn.Close()
	require.NoError(t, netns.Within(there, func() error {
		return netlink.Do(unix.NETLINK_ROUTE, new(netlink.Batch).Lead(wire, n.Info().Subnets[0]))
	}))
	_, err = netns.Dial(t.Context(), there, "tcp", net.JoinHostPort(inside, "80"))
	require.ErrorIs(t, err, unix.EHOSTUNREACH)

	forged(t, n)
	redirected(t, c)
	withoutIPv6(t)
	notWithPolicy(t, n)
	require.NoError(t, c.Close())
	require.NoError(t, peer.Close())
	require.NoError(t, n.Remove(context.Background()))
	require.NoError(t, nfttest.Flush(), "what redirected has added")
	require.Equal(t, before, outside(t))
}

// forged finds that a container which may change its own network gets nothing out from an
// address that is not its own, and has no way in to another network's.
func forged(t *testing.T, n *network.Network) {
	t.Helper()
	apart, err := network.New(t.Context(), containertest.Engine(t), network.Config{Masquerade: true})
	require.NoError(t, err)
	victim := idle(t, apart.Join())
	serve(t, victim, 80, "the victim")
	c := idle(t, n.Join(), mighty)
	for _, from := range []string{"203.0.113.9", hostAddr, otherAddr, "127.8.8.8", apart.Info().Containers[0].Addresses[0].String()} {
		script := "ip addr add " + from + "/32 dev lo 2>/dev/null; nc -w 1 -s " + from + " " + otherAddr + " 80 </dev/null 2>/dev/null; ip addr del " + from + "/32 dev lo 2>/dev/null"
		require.Empty(t, say(t, c, script), from)
	}
	at := apart.Info().Containers[0].Addresses[0].String()
	require.Contains(t, say(t, c, "nc -w 5 "+at+" 80 </dev/null 2>&1"), "No route to host")
	require.Equal(t, hostAddr, say(t, c, "nc "+otherAddr+" 80 </dev/null"), "its own is as before")
	require.NoError(t, c.Close())
	require.NoError(t, victim.Close())
	require.NoError(t, apart.Remove(context.Background()))
}

// redirected finds that a host which redirects connections, to its metadata service or
// from there to another, does not do so for containers.
func redirected(t *testing.T, c *container.Container) {
	t.Helper()
	const service = "198.51.100.1"
	for from, to := range map[string]string{service: metadataAddr, metadataAddr: otherAddr} {
		require.NoError(t, nfttest.Redirect(netip.MustParseAddr(from), netip.MustParseAddr(to)))
		require.Contains(t, say(t, c, "nc -w 5 "+from+" 80 </dev/null 2>&1"), "No route to host", from)
	}
	const plain = "198.51.100.2"
	require.NoError(t, nfttest.Redirect(netip.MustParseAddr(plain), netip.MustParseAddr(otherAddr)))
	require.Equal(t, hostAddr, say(t, c, "nc -w 5 "+plain+" 80 </dev/null 2>&1"), "others are redirected")
}

// withoutIPv6 finds that the host has no address of IPv6 on its links to networks.
func withoutIPv6(t *testing.T) {
	t.Helper()
	addresses, err := os.ReadFile("/proc/self/net/if_inet6")
	require.NoError(t, err)
	require.Contains(t, string(addresses), "wire", "it has some on others")
	require.NotContains(t, string(addresses), " ctor")
}

// notWithPolicy finds that no container has a policy beside a way around it.
func notWithPolicy(t *testing.T, n *network.Network) {
	t.Helper()
	img := busybox(t)
	policed, other := open(t, network.Config{Out: egress.Public}), open(t, network.Config{})
	for _, both := range []container.Network{n.Join().And(container.Out(egress.Public)), n.Join().And(policed.Join())} {
		_, err := img.New(t.Context(), container.Config{Network: both})
		require.ErrorIs(t, err, ctor.ErrInvalid)
	}
	for _, network := range []container.Network{container.Out(egress.Public), policed.Join(), other.Join()} {
		c := idle(t, network)
		require.ErrorIs(t, n.Connect(t.Context(), c), ctor.ErrInvalid)
		require.NoError(t, c.Close())
	}
	c := idle(t, container.Network{})
	require.NoError(t, n.Connect(t.Context(), c))
	require.Equal(t, hostAddr, say(t, c, "nc "+otherAddr+" 80 </dev/null"))
	require.ErrorIs(t, policed.Connect(t.Context(), c), ctor.ErrInvalid)
	require.NoError(t, other.Connect(t.Context(), c))
	require.NoError(t, n.Disconnect(t.Context(), c))
	require.Contains(t, say(t, c, "nc "+otherAddr+" 80 </dev/null 2>&1"), "Network is unreachable")
	require.NoError(t, c.Close())
}

// resolveTo has this program's resolver find www.example.org, and nothing else.
func resolveTo(t *testing.T, address string) {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { server.Close() })
	go func() {
		buf := make([]byte, 1000)
		for {
			size, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:size]) != nil {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Additionals, m.RCode = true, nil, dnsmessage.RCodeNameError
			if q.Name.String() == "www.example.org." {
				m.RCode = dnsmessage.RCodeSuccess
				if q.Type == dnsmessage.TypeA {
					m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}, Body: &dnsmessage.AResource{A: netip.MustParseAddr(address).As4()}}}
				}
			}
			if b, err := m.Pack(); err == nil {
				_, _ = server.WriteTo(b, from)
			}
		}
	}()
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

// A program that is killed leaves nothing of a masqueraded network on the host.
func TestMasqueradeKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("kills take a second each")
	}
	if !onOwnHost(t) {
		return
	}
	another(t)
	passOn(t, "1")
	kill(t, 6, "masquerade")
}
