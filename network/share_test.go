package network_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/network"
)

// A container that shares another's network has its loopback, its addresses, its
// neighbours and its names.
func TestShare(t *testing.T) {
	t.Parallel()
	before := outside(t)
	n := open(t, network.Config{})
	server, web := idle(t, n.Join("server")), idle(t, n.Join("web"))
	serve(t, web, 80, "web")
	side := idle(t, container.Share(server))
	l, err := server.Listen(t.Context(), "tcp", "127.0.0.1:7000")
	require.NoError(t, err)
	go answer(l, "local")
	require.Equal(t, "local", say(t, side, "nc 127.0.0.1 7000 </dev/null"))
	require.Equal(t, "web", say(t, side, "nc web 80 </dev/null"))
	second := idle(t, container.Share(side))
	serve(t, second, 81, "second")
	require.Equal(t, "second", say(t, web, "nc server 81 </dev/null"))
	require.NotEqual(t, say(t, server, "hostname"), say(t, side, "hostname"))
	require.ErrorIs(t, n.Connect(t.Context(), side), ctor.ErrInvalid)

	_, err = busybox(t).New(t.Context(), container.Config{Network: container.Share(server), Keep: true})
	require.ErrorIs(t, err, ctor.ErrInvalid)
	_, err = busybox(t).New(t.Context(), container.Config{Network: container.Share(server), Detach: true})
	require.ErrorIs(t, err, ctor.ErrInvalid)

	// In its next life it has the network that server then has.
	require.NoError(t, side.Signal(t.Context(), syscall.SIGKILL))
	require.Error(t, side.Wait(t.Context()))
	require.NoError(t, server.Signal(t.Context(), syscall.SIGKILL))
	require.Error(t, server.Wait(t.Context()))
	require.ErrorIs(t, side.Start(t.Context()), ctor.ErrInvalid)
	_, err = busybox(t).New(t.Context(), container.Config{Network: container.Share(server)})
	require.ErrorIs(t, err, ctor.ErrInvalid)
	require.NoError(t, server.Start(t.Context()))
	require.NoError(t, side.Start(t.Context()))
	require.Equal(t, "web", say(t, side, "nc web 80 </dev/null"))
	serve(t, side, 82, "again")
	require.Equal(t, "again", say(t, web, "nc server 82 </dev/null"))
	require.Equal(t, before, outside(t))
}

// Who shares the network of a container with the host's has the host's.
func TestShareHost(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go answer(l, "host")
	side := idle(t, container.Share(idle(t, container.Host())))
	require.Equal(t, "host", say(t, side, fmt.Sprintf("nc 127.0.0.1 %d </dev/null", l.Addr().(*net.TCPAddr).Port)))
}

// Ports of a container in a network are published as any others.
func TestPublish(t *testing.T) {
	t.Parallel()
	n := open(t, network.Config{})
	c := idle(t, n.Join("c"), func(cfg *container.Config) {
		cfg.Publish = []container.Port{{Container: 80}}
	})
	serve(t, c, 80, "published")
	conn, err := net.Dial("tcp", c.Addr(80).String())
	require.NoError(t, err)
	defer conn.Close()
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, "published", string(got))
}

// Sixty containers in one network, of which each is found by name at once.
func TestMany(t *testing.T) {
	t.Parallel()
	n := open(t, network.Config{})
	hub := idle(t, n.Join("hub"))
	serve(t, hub, 80, "hub")
	seen := map[netip.Addr]bool{}
	for i := range 60 {
		c := idle(t, n.Join("c"+strconv.Itoa(i)))
		serve(t, c, 80, strconv.Itoa(i))
		require.Equal(t, strconv.Itoa(i), say(t, hub, fmt.Sprintf("nc c%d 80 </dev/null", i)))
		require.Equal(t, "hub", say(t, c, "nc hub 80 </dev/null"))
	}
	for _, m := range n.Info().Containers {
		for _, a := range m.Addresses {
			require.False(t, seen[a])
			seen[a] = true
		}
	}
}
