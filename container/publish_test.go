package container_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
)

// answer is what a server says.
func answer(t testing.TB, network, address, question string) (string, error) {
	c, err := net.DialTimeout(network, address, fixture.Patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(fixture.Patience))
	if _, err := io.WriteString(c, question); err != nil {
		return "", err
	}
	if network == "udp" {
		buf := make([]byte, 1000)
		n, err := c.Read(buf)
		return string(buf[:n]), err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return "", err
	}
	got, err := io.ReadAll(c)
	return string(got), err
}

// A published port is where Addr says, by IPv4 and IPv6, in every life of the
// container, and is free afterwards.
func TestPublish(t *testing.T) {
	t.Parallel()
	cfg := container.Config{
		Args:    []string{"sh", "-c", "while true; do nc -l -p 80 -e cat; done"},
		Publish: []container.Port{{Host: ":0", Container: 80}, {Container: 80}, {Host: "[::1]:0", Container: 81}},
		Ready:   container.TCP(80),
	}
	c := containertest.Run(t, busybox(t), cfg)
	addr := c.Addr(80).(*net.TCPAddr)
	require.Nil(t, c.Addr(82))
	port := strconv.Itoa(addr.Port)
	for range 2 {
		for _, host := range []string{"127.0.0.1", "::1"} {
			sent := strings.Repeat("hello ", 20_000)
			require.EventuallyWithT(t, func(ct *assert.CollectT) { // nc listens again for each
				got, err := answer(t, "tcp", net.JoinHostPort(host, port), sent)
				assert.NoError(ct, err)
				assert.Equal(ct, sent, got)
			}, fixture.Patience, time.Millisecond)
		}
		require.NoError(t, c.Signal(t.Context(), syscall.SIGKILL))
		require.Error(t, c.Wait(t.Context()))
		_, err := answer(t, "tcp", net.JoinHostPort("127.0.0.1", port), "x")
		// Where the reset comes first, there is no connection to shut down any more.
		require.True(t, errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ENOTCONN), "between two lives: %v", err)
		require.NoError(t, c.Start(t.Context()))
		require.NoError(t, c.WaitReady(t.Context(), container.TCP(80)))
	}
	_, err := answer(t, "tcp", c.Addr(81).String(), "x")
	require.ErrorIs(t, err, syscall.ECONNRESET, "nobody listens in there")

	_, err = busybox(t).New(t.Context(), container.Config{Publish: []container.Port{{Host: "127.0.0.1:" + port, Container: 80}}})
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	require.NoError(t, c.Close())
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	require.NoError(t, err)
	l.Close()
}

func TestPublishUDP(t *testing.T) {
	t.Parallel()
	c := containertest.Run(t, busybox(t), container.Config{
		Args:    []string{"sleep", "1000"},
		Publish: []container.Port{{Container: 53, Protocol: "udp"}},
	})
	p, err := c.ListenPacket(t.Context(), "udp", "127.0.0.1:53") // as a server in there
	require.NoError(t, err)
	go func() {
		buf := make([]byte, 1000)
		for {
			n, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = p.WriteTo([]byte("re: "+string(buf[:n])), from)
		}
	}()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			got, err := answer(t, "udp", c.Addr(53).String(), fmt.Sprint(i))
			if err != nil || got != fmt.Sprintf("re: %d", i) {
				t.Errorf("%d: %q %v", i, got, err)
			}
		})
	}
	wg.Wait()
}

func TestPublishBad(t *testing.T) {
	t.Parallel()
	for _, cfg := range []container.Config{
		{Publish: []container.Port{{}}},
		{Publish: []container.Port{{Container: 65536}}},
		{Publish: []container.Port{{Container: 80, Protocol: "sctp"}}},
		{Publish: []container.Port{{Container: 80, Host: "8080"}}},
		{Publish: []container.Port{{Container: 80}}, Detach: true},
	} {
		_, err := busybox(t).New(t.Context(), cfg)
		require.ErrorIs(t, err, ctor.ErrInvalid)
	}
	// Nothing is left of a container whose second port can't be had.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	at := free.Addr().String()
	free.Close()
	_, err = busybox(t).New(t.Context(), container.Config{Publish: []container.Port{{Host: at, Container: 80}, {Host: taken.Addr().String(), Container: 80}}})
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	again, err := net.Listen("tcp", at)
	require.NoError(t, err)
	again.Close()
}
