package network_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/image"
	"github.com/ctorhq/ctor/internal/fixture"
	"github.com/ctorhq/ctor/internal/netns"
	"github.com/ctorhq/ctor/network"
)

// flood is a program with a container that sends packets through a masqueraded network,
// some thousand a second, until it is killed.
func flood(args []string) error {
	ctx := context.Background()
	e, err := ctor.Open(ctx, ctor.Config{Root: args[0]})
	if err != nil {
		return err
	}
	img, err := image.Get(ctx, e, "ctor.test/busybox:1")
	if err != nil {
		return err
	}
	n, err := network.New(ctx, e, network.Config{Masquerade: true})
	if err != nil {
		return err
	}
	if _, err := img.Run(ctx, container.Config{Network: n.Join(), Args: []string{"sh", "-c", "for i in 1 2 3; do ping -q -i 0.001 " + otherAddr + " & done; wait"}}); err != nil {
		return err
	}
	fmt.Println("ready")
	select {}
}

// A program that is killed leaves its network's way out to the kernel, which takes it
// down piece by piece while containers still send: none of that goes out as it is.
func TestMasqueradeLeaksNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("kills take a second each")
	}
	if !onOwnHost(t) {
		return
	}
	there := another(t)
	passOn(t, "1")
	hosts, strangers := packets(t, there, true), packets(t, there, false)

	root := t.TempDir()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	fixture.Busybox(t, e)
	require.NoError(t, e.Close())
	before := outside(t)
	for range 5 {
		p := fixture.Start(t, fixture.Program("flood", root))
		flows := hosts.Load() + 1000
		require.Eventually(t, func() bool { return hosts.Load() > flows }, fixture.Patience, time.Millisecond)
		p.Kill(t)
		require.Eventually(t, func() bool { return outside(t) == before }, fixture.Patience, 10*time.Millisecond)
		require.Zero(t, strangers.Load(), "packets with a container's own address")
	}
}

// packets counts those that arrive in a namespace from the host's address, or from any
// other.
func packets(t *testing.T, there *os.File, fromHost bool) *atomic.Int64 {
	t.Helper()
	host := binary.BigEndian.Uint32(netip.MustParseAddr(hostAddr).AsSlice())
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 12}, // the sender
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: host, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 64},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	if !fromHost {
		filter[1].Jt, filter[1].Jf = filter[1].Jf, filter[1].Jt
	}
	protocol := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP))
	var fd int
	require.NoError(t, netns.Within(there, func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err == nil {
			err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
		}
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol})
		}
		return err
	}))
	f := os.NewFile(uintptr(fd), "packets")
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	var count atomic.Int64
	go func() {
		for b := make([]byte, 64); ; count.Add(1) {
			if _, err := f.Read(b); err != nil {
				return
			}
		}
	}()
	return &count
}
