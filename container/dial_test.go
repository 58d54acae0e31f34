package container_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/fixture"
)

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// Every network, and every way to say the container itself.
func TestDial(t *testing.T) {
	t.Parallel()
	c, s := serving(t, container.Config{Hostname: "db"})
	port, port6 := portOf(s.Echo), portOf(s.Echo6)
	for _, test := range []struct{ network, address, remote string }{
		{"tcp", s.Echo, s.Echo},
		{"tcp4", s.Echo, s.Echo},
		{"tcp", s.Echo6, s.Echo6},
		{"tcp6", s.Echo6, s.Echo6},
		{"tcp", ":" + port, s.Echo},
		{"tcp", ":" + port6, s.Echo6},
		{"tcp6", ":" + port6, s.Echo6},
		{"tcp", "0.0.0.0:" + port, s.Echo},
		{"tcp", "[::]:" + port, s.Echo},
		{"tcp", "[::]:" + port6, s.Echo6},
		{"tcp", "[::ffff:127.0.0.1]:" + port, s.Echo},
		{"tcp", "localhost:" + port, s.Echo},
		{"tcp", "LOCALHOST.:" + port6, s.Echo6},
		{"tcp", "db:" + port, s.Echo},
		{"tcp", "ip6-loopback:" + port6, s.Echo6},
		{"udp", s.UDP, s.UDP},
		{"udp4", ":" + portOf(s.UDP), s.UDP},
		{"unix", echoPath, echoPath},
		{"unix", "run/echo.sock", echoPath},
		{"unix", "/run/../../../run/echo.sock", echoPath},
		{"unix", echoAbstract, echoAbstract},
		{"unixpacket", packetPath, packetPath},
	} {
		t.Run(test.network+" "+test.address, func(t *testing.T) {
			conn, err := c.Dial(t.Context(), test.network, test.address)
			require.NoError(t, err)
			defer conn.Close()
			exchange(t, conn)
			require.Equal(t, test.remote, conn.RemoteAddr().String())
		})
	}
	conn, err := c.Dial(t.Context(), "unixgram", gramPath)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("by datagram"))
	require.NoError(t, err)
	says(t, c, "packet by datagram")
}

// What can't work is told at once, in package net's terms.
func TestDialErrors(t *testing.T) {
	t.Parallel()
	c, s := serving(t, container.Config{Name: "dial-errors"})
	for _, test := range []struct {
		network, address string
		want             error
		says             string
	}{
		{"tcp", "127.0.0.1:1", syscall.ECONNREFUSED, `dial tcp 127.0.0.1:1: container "dial-errors": connect: connection refused`},
		{"tcp", ":1", syscall.ECONNREFUSED, `dial tcp 127.0.0.1:1: `},
		{"tcp6", "localhost:1", syscall.ECONNREFUSED, `dial tcp6 [::1]:1: `},
		{"tcp", "192.0.2.1:80", syscall.ENETUNREACH, "network is unreachable"},
		{"tcp4", s.Echo6, nil, "no suitable address found"},
		{"tcp", "80", nil, "missing port in address"},
		{"tcp", ":nope", nil, "unknown port"},
		{"tcp", ":99999", nil, "invalid port"},
		{"tcp", "[fe80::1%lo]:80", nil, "the zone must be the number of an interface"},
		{"tcp", "nowhere:80", nil, `dial tcp: container "dial-errors": lookup nowhere: not in its /etc/hosts`},
		{"nope", s.Echo, net.UnknownNetworkError("nope"), `dial nope: container "dial-errors": unknown network nope`},
		{"", s.Echo, net.UnknownNetworkError(""), "unknown network"},
		{"ip4:1", "127.0.0.1", net.UnknownNetworkError("ip4:1"), "unknown network"},
		{"unix", "/run/nope.sock", fs.ErrNotExist, `dial unix /run/nope.sock: container "dial-errors": open: no such file or directory`},
		{"unix", "/run/nope/x.sock", fs.ErrNotExist, ""},
		{"unix", "/etc/passwd/x.sock", syscall.ENOTDIR, ""},
		{"unix", "/etc/passwd", syscall.ENOTSOCK, ""},
		{"unix", "/dev/null", syscall.ENOTSOCK, ""},
		{"unix", "/run", syscall.ENOTSOCK, ""},
		{"unix", packetPath, syscall.EPROTOTYPE, ""},
		{"unix", "", nil, "missing address"},
		{"unix", "@nope", syscall.ECONNREFUSED, ""},
		{"unix", "/run/\x00", syscall.EINVAL, ""},
	} {
		t.Run(test.network+" "+test.address, func(t *testing.T) {
			conn, err := c.Dial(t.Context(), test.network, test.address)
			require.Nil(t, conn)
			dialError(t, err)
			if test.want != nil {
				require.ErrorIs(t, err, test.want)
			}
			require.ErrorContains(t, err, test.says)
		})
	}
	var dns *net.DNSError
	_, err := c.Dial(t.Context(), "tcp", "nowhere:80")
	require.ErrorAs(t, err, &dns)
	require.True(t, dns.IsNotFound)
}

// dialError is of the type that package net's errors have.
func dialError(t testing.TB, err error) *net.OpError {
	t.Helper()
	require.Error(t, err)
	e, ok := err.(*net.OpError)
	require.True(t, ok, "%T", err)
	return e
}

func TestDialContext(t *testing.T) {
	t.Parallel()
	c, s := serving(t, container.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	conn, err := c.Dial(ctx, "tcp", s.Echo)
	require.NoError(t, err)
	defer conn.Close()
	cancel()
	exchange(t, conn)
	_, err = c.Dial(ctx, "tcp", s.Echo)
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, dialError(t, err).Timeout())

	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	<-ctx.Done()
	_, err = c.Dial(ctx, "tcp", s.Echo)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.True(t, dialError(t, err).Timeout())
}

// From New to the end, and what it is told then.
func TestDialAnyState(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	img := busybox(t)
	c, err := img.New(t.Context(), serverConfig(t, container.Config{Name: "dial-states"}))
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Dial(t.Context(), "tcp", "127.0.0.1:1")
	require.ErrorIs(t, err, syscall.ECONNREFUSED, "created: its loopback is there already")
	l, err := c.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	conn, err := c.Dial(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	conn.Close()

	require.NoError(t, c.Start(t.Context()))
	s := announced(t, follow(t, c))
	require.NoError(t, c.Pause(t.Context()))
	conn, err = c.Dial(t.Context(), "tcp", s.Echo)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, c.Resume(t.Context()))
	exchange(t, conn)

	require.NoError(t, c.Signal(t.Context(), syscall.SIGKILL))
	require.Equal(t, 137, exitOf(t, c).Code)
	_, err = conn.Read(make([]byte, 1))
	require.True(t, err == io.EOF || errors.Is(err, syscall.ECONNRESET), "%v", err)
	for _, network := range []string{"tcp", "udp", "unix"} {
		_, err = c.Dial(t.Context(), network, map[string]string{"unix": echoPath}[network]+strings.TrimPrefix(s.Echo, network))
		require.ErrorIs(t, err, ctor.ErrInvalid)
		require.ErrorContains(t, err, `container "dial-states": it has ended with exit code 137`)
	}
	_, err = c.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.ErrorIs(t, err, ctor.ErrInvalid)
	_, err = l.Accept()
	for err == nil {
		_, err = l.Accept() // the connection from above
	}
	require.ErrorIs(t, err, net.ErrClosed)

	require.NoError(t, c.Close())
	_, err = c.Dial(t.Context(), "tcp", s.Echo)
	require.ErrorIs(t, err, ctor.ErrNotFound)
	dialError(t, err)
	_, err = c.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.ErrorIs(t, err, ctor.ErrNotFound)
}

// A container of another program's making is dialled like one's own.
func TestDialDetached(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	made, err := img.Run(t.Context(), serverConfig(t, container.Config{Name: "served", Detach: true}))
	require.NoError(t, err)
	defer made.Close()
	s := announced(t, follow(t, made))
	c, err := container.Get(t.Context(), e, "served")
	require.NoError(t, err)
	conn, err := c.Dial(t.Context(), "tcp", s.Echo)
	require.NoError(t, err)
	defer conn.Close()
	exchange(t, conn)
	l, err := c.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, made.Close())
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed, "it was closed by another handle")
	_, err = c.Dial(t.Context(), "tcp", s.Echo)
	require.ErrorIs(t, err, ctor.ErrInvalid)
	require.ErrorContains(t, err, "it has ended")
}

func hostNetwork(s *specs.Spec) error {
	s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
	return nil
}

// A container that shares the host's network is dialled there.
func TestDialHostNetwork(t *testing.T) {
	t.Parallel()
	c, s := serving(t, container.Config{Spec: hostNetwork})
	conn, err := c.Dial(t.Context(), "tcp", s.Echo)
	require.NoError(t, err)
	defer conn.Close()
	exchange(t, conn)
	conn, err = net.Dial("tcp", s.Echo)
	require.NoError(t, err)
	defer conn.Close()
	exchange(t, conn)
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	c, err := busybox(t).New(t.Context(), container.Config{})
	require.NoError(t, err)
	defer c.Close()
	l, err := c.Listen(t.Context(), "tcp", ":80")
	require.NoError(t, err)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello ", r.Host) })}
	served := make(chan error)
	go func() { served <- srv.Serve(l) }()
	client := &http.Client{Transport: &http.Transport{DialContext: c.Dial}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://localhost/")
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, "hello localhost", string(body))
	require.NoError(t, srv.Close())
	require.ErrorIs(t, <-served, http.ErrServerClosed)
	_, err = client.Get("http://localhost/")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

// Ten thousand dials, good and bad, lose no thread and no descriptor, and none
// of the program's threads is in another network afterwards.
func TestDialMany(t *testing.T) { // beside no other test
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	life := func(n int) {
		c, err := img.Run(t.Context(), serverConfig(t, container.Config{}))
		require.NoError(t, err)
		defer c.Close()
		r := follow(t, c)
		s := announced(t, r)
		r.Close()
		var g errgroup.Group
		for i := range 40 {
			g.Go(func() error { return dialMany(t.Context(), c, s, i, n/40) })
		}
		require.NoError(t, g.Wait())
		require.NoError(t, c.Close())
	}
	life(400)
	before := descriptors(t)
	life(10000)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		now := descriptors(t)
		assert.LessOrEqual(c, len(now), len(before), "%v, and before %v", now, before)
	}, 10*time.Second, 10*time.Millisecond)
	home := readlink(t, "/proc/self/ns/net")
	tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
	require.NoError(t, err)
	for _, task := range tasks {
		if ns, err := os.Readlink(task); err == nil {
			require.Equal(t, home, ns)
		}
	}
}

func dialMany(ctx context.Context, c *container.Container, s server, i, n int) error {
	for j := range n {
		network, address, want := "tcp", s.Echo, error(nil)
		switch (i + j) % 5 {
		case 0:
			address, want = "localhost:1", syscall.ECONNREFUSED
		case 1:
			network, address = "unix", echoPath
		case 2:
			network, address, want = "unix", "/run/nope", fs.ErrNotExist
		}
		conn, err := c.Dial(ctx, network, address)
		if !errors.Is(err, want) {
			return fmt.Errorf("not %v: %w", want, err)
		}
		if err == nil {
			conn.Close()
		}
	}
	return nil
}

// descriptors are what this program has open.
func descriptors(t testing.TB) (open []string) {
	t.Helper()
	fds, err := filepath.Glob("/proc/self/fd/*")
	require.NoError(t, err)
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil {
			open = append(open, to)
		}
	}
	return open
}
