package network_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/egress"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/internal/netns"
	"github.com/ctorhq/ctor/internal/nft/nfttest"
	"github.com/ctorhq/ctor/network"
)

// What networks have taken of this process is given back, down to the last
// descriptor and goroutine.
func TestFootprint(t *testing.T) {
	life := func() {
		n, err := network.New(t.Context(), containertest.Engine(t), network.Config{})
		require.NoError(t, err)
		var all []*container.Container
		for range 3 {
			c, err := busybox(t).Run(t.Context(), container.Config{Network: n.Join(), Args: []string{"sleep", "1000"}})
			require.NoError(t, err)
			all = append(all, c)
		}
		side, err := busybox(t).Run(t.Context(), container.Config{Network: container.Share(all[0]), Args: []string{"sleep", "1000"}})
		require.NoError(t, err)
		l, err := n.Listen(t.Context(), "tcp", "program:80")
		require.NoError(t, err)
		go answer(l, "hello")
		require.Equal(t, "hello", say(t, all[0], "nc program 80 </dev/null"))
		require.NoError(t, n.Disconnect(t.Context(), all[1]))
		require.NoError(t, n.Connect(t.Context(), all[1]))
		for _, c := range append(all, side) {
			require.NoError(t, c.Close())
		}
		_, err = busybox(t).New(t.Context(), container.Config{Network: n.Join("twice").And(n.Join()), Args: []string{"sleep", "1000"}})
		require.ErrorIs(t, err, ctor.ErrAlreadyExists)
		_, err = busybox(t).New(t.Context(), container.Config{Network: n.Join(), Args: []string{"not there"}})
		require.ErrorIs(t, err, ctor.ErrNotFound)
		_, err = network.New(t.Context(), containertest.Engine(t), network.Config{Name: n.Name()})
		require.ErrorIs(t, err, ctor.ErrAlreadyExists)
		require.NoError(t, n.Remove(t.Context())) // no container is in it
	}
	life()
	before := fixture.Measure(t)
	life()
	before.Same(t)
}

// The end of the engine ends its networks, the containers' links in them, and calls on them.
func TestEngineEnds(t *testing.T) {
	t.Parallel()
	before := outside(t)
	e := fixture.Open(t)
	n, err := network.New(t.Context(), e, network.Config{})
	require.NoError(t, err)
	_, err = fixture.Busybox(t, e).Run(t.Context(), container.Config{Network: n.Join("c"), Args: []string{"sleep", "1000"}})
	require.NoError(t, err)
	l, err := n.Listen(t.Context(), "tcp", ":80")
	require.NoError(t, err)
	_, err = busybox(t).New(t.Context(), container.Config{Network: n.Join()})
	require.ErrorIs(t, err, ctor.ErrInvalid, "another engine's")
	require.NoError(t, e.Close())
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = network.New(t.Context(), e, network.Config{})
	require.ErrorIs(t, err, ctor.ErrClosed)
	_, err = network.Get(t.Context(), e, n.Name())
	require.ErrorIs(t, err, ctor.ErrClosed)
	require.ErrorIs(t, n.Remove(t.Context()), ctor.ErrClosed)
	require.Equal(t, before, outside(t))
}

// A kept container that the next program starts is in no network until it is
// connected.
func TestKept(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	n, err := network.New(t.Context(), e, network.Config{Name: "n"})
	require.NoError(t, err)
	c, err := fixture.Busybox(t, e).Run(t.Context(), container.Config{Name: "kept", Keep: true, Network: n.Join("db"), Args: []string{"sleep", "1000"}})
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.Empty(t, n.Info().Containers)
	require.NoError(t, e.Close())

	e = fixture.Engine(t, ctor.Config{Root: root})
	n, err = network.New(t.Context(), e, network.Config{Name: "n"})
	require.NoError(t, err)
	web, err := fixture.Busybox(t, e).Run(t.Context(), container.Config{Network: n.Join(), Args: []string{"sleep", "1000"}})
	require.NoError(t, err)
	c, err = container.Get(t.Context(), e, "kept")
	require.NoError(t, err)
	require.NoError(t, n.Connect(t.Context(), c, "db"))
	require.NoError(t, c.Start(t.Context()))
	serve(t, c, 80, "kept")
	require.Equal(t, "kept", say(t, web, "nc db 80 </dev/null"))
	serve(t, web, 80, "web")
	require.Equal(t, "web", say(t, c, "nc "+web.ID()+" 80 </dev/null"), "it has kept its resolv.conf")
	require.NoError(t, c.Remove(t.Context()))
}

// mighty lets a container change its own network.
func mighty(cfg *container.Config) {
	cfg.Spec = func(s *specs.Spec) error {
		for _, set := range []*[]string{&s.Process.Capabilities.Bounding, &s.Process.Capabilities.Effective, &s.Process.Capabilities.Permitted} {
			*set = append(*set, "CAP_NET_ADMIN")
		}
		return nil
	}
}

// A container that may change its own network shuts itself off, and gets nowhere.
func TestNetAdmin(t *testing.T) {
	t.Parallel()
	n, other := open(t, network.Config{}), open(t, network.Config{})
	c, victim, peer, far := idle(t, n.Join("c"), mighty), idle(t, n.Join("victim")), idle(t, n.Join("peer")), idle(t, other.Join("far"))
	serve(t, victim, 80, "victim")
	serve(t, peer, 80, "peer")
	serve(t, far, 80, "far")
	at := func(c *container.Container, n *network.Network) string {
		i, err := c.Info(t.Context())
		require.NoError(t, err)
		return i.Addresses[n.Name()][0].String()
	}
	require.Equal(t, "victim", say(t, c, "nc victim 80 </dev/null"))

	// Another's address at its own link, and another network's behind it.
	require.Empty(t, say(t, c, "ip addr add "+at(peer, n)+"/32 dev eth0; ip route add "+at(far, other)+"/32 dev eth0"))
	serve(t, c, 80, "c")
	require.Equal(t, "peer", say(t, victim, "nc peer 80 </dev/null"))
	require.NotEqual(t, "victim", say(t, c, "nc -w 1 -s "+at(peer, n)+" victim 80 </dev/null"))
	require.NotEqual(t, "far", say(t, c, "nc -w 1 "+at(far, other)+" 80 </dev/null"))
	// Its link away.
	require.Empty(t, say(t, c, "ip link del eth0"))
	require.NotEqual(t, "victim", say(t, c, "nc -w 1 "+at(victim, n)+" 80 </dev/null"))
	require.NoError(t, n.Disconnect(t.Context(), c))
	require.NoError(t, n.Connect(t.Context(), c))
	require.Equal(t, "victim", say(t, c, "nc victim 80 </dev/null"))
	require.Equal(t, "peer", say(t, victim, "nc peer 80 </dev/null"))
}

// A container that takes the rules of its way out away, as CAP_NET_ADMIN allows, is
// shut off from the outside and from this host, and gets no nearer to other networks
// or to its neighbours, which notice nothing.
func TestNetAdminFlush(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	outside := func(context.Context, string, string) (net.Conn, error) {
		asked.Add(1)
		return nil, syscall.EHOSTUNREACH
	}
	host, err := net.Listen("tcp", ":0") // what must not be reached
	require.NoError(t, err)
	defer host.Close()
	_, hostPort, _ := net.SplitHostPort(host.Addr().String())
	n, other := open(t, network.Config{Out: outside}), open(t, network.Config{})
	c, victim, peer, far := idle(t, n.Join("c")), idle(t, n.Join("victim")), idle(t, n.Join("peer")), idle(t, other.Join("far"))
	serve(t, victim, 80, "victim")
	serve(t, far, 80, "far")
	at := func(c *container.Container, n *network.Network) string {
		i, err := c.Info(t.Context())
		require.NoError(t, err)
		return i.Addresses[n.Name()][0].String()
	}
	require.Equal(t, "victim", say(t, c, "nc victim 80 </dev/null"))
	require.Contains(t, say(t, c, "nc example.org 80 </dev/null"), "No route to host")
	require.EqualValues(t, 1, asked.Swap(0))

	info, err := c.Info(t.Context())
	require.NoError(t, err)
	pidfd, err := unix.PidfdOpen(info.Pid, 0)
	require.NoError(t, err)
	process := os.NewFile(uintptr(pidfd), "pidfd")
	defer process.Close()
	require.NoError(t, netns.Within(process, nfttest.Flush))

	require.Contains(t, say(t, c, "nc -w 1 victim 80 </dev/null"), "bad address")
	for _, address := range []string{"192.0.2.1 80", "169.254.169.254 80", "10.208.0.1 " + hostPort, at(far, other) + " 80", "127.0.0.1 " + hostPort} {
		require.NotContains(t, say(t, c, "nc -w 1 "+address+" </dev/null && echo reached"), "reached", address)
	}
	require.Empty(t, say(t, c, "nc -w 1 -s 127.0.0.1 "+at(victim, n)+" 80 </dev/null 2>/dev/null"), "by another's address")
	require.Zero(t, asked.Load())
	require.Equal(t, "victim", say(t, peer, "nc victim 80 </dev/null"))
	require.Contains(t, say(t, peer, "nc example.org 80 </dev/null"), "No route to host")
	require.EqualValues(t, 1, asked.Load())
	require.NoError(t, c.Close())
}

// A program that is killed at any step of a network's life leaves nothing of it.
func TestKilled(t *testing.T) {
	t.Parallel()
	kills := 12
	if testing.Short() {
		kills = 2
	}
	kill(t, kills, "out")
}

// kill has a program make networks, with a way out of a kind, and kills it, several
// times.
func kill(t *testing.T, kills int, out string) {
	t.Helper()
	root := t.TempDir()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	fixture.Busybox(t, e)
	require.NoError(t, e.Close())
	before := outside(t)
	for range kills {
		p := fixture.Start(t, fixture.Program("networks", root, out))
		time.Sleep(rand.N(400 * time.Millisecond)) // the moment is the test's input
		p.Kill(t)
		fixture.Remains{}.Same(t, func() fixture.Remains {
			r := fixture.Host(t, root)
			delete(r, "files") // and cgroups, which are swept by the next program
			delete(r, "cgroups")
			return r
		})
		require.Eventually(t, func() bool { return outside(t) == before }, fixture.Patience, 10*time.Millisecond, "the kernel ends a namespace in its own time")
	}
}

// networks is a program that makes networks, with containers in them, in a root, until
// it is killed.
func networks(args []string) error {
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{Root: args[0]})
	if err != nil {
		return err
	}
	img, err := image.Get(ctx, e, "ctor.test/busybox:1")
	if err != nil {
		return err
	}
	ways := map[string]network.Config{"out": {Out: egress.Public}, "masquerade": {Masquerade: true}}
	fmt.Println("ready")
	for {
		n, err := network.New(ctx, e, ways[args[1]])
		if err != nil {
			return err
		}
		var all []*container.Container
		for i := range 3 {
			c, err := img.Run(ctx, container.Config{Network: n.Join(fmt.Sprint("c", i)), Args: []string{"sleep", "1000"}})
			if err != nil {
				return err
			}
			all = append(all, c)
		}
		if err := n.Disconnect(ctx, all[0]); err != nil {
			return err
		}
		if err := n.Connect(ctx, all[0]); err != nil {
			return err
		}
		if err := all[1].Signal(ctx, syscall.SIGKILL); err != nil {
			return err
		}
		_ = all[1].Wait(ctx)
		if err := all[1].Start(ctx); err != nil {
			return err
		}
		for _, c := range all {
			if err := c.Close(); err != nil {
				return err
			}
		}
		if err := n.Remove(ctx); err != nil {
			return err
		}
	}
}
