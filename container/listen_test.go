package container_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"
	"golang.org/x/sync/errgroup"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/fixture"
)

// Both ends of a connection are what package net promises.
func TestConn(t *testing.T) {
	t.Parallel()
	c, err := busybox(t).New(t.Context(), container.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "tcp6": "[::1]:0", "unix": "/tmp/conn.sock"} {
		t.Run(network, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				l, err := c.Listen(t.Context(), network, address)
				if err != nil {
					return nil, nil, nil, err
				}
				if c1, err = c.Dial(t.Context(), network, l.Addr().String()); err != nil {
					return nil, nil, nil, err
				}
				c2, err = l.Accept()
				return c1, c2, func() { c1.Close(); c2.Close(); l.Close() }, err
			})
		})
	}
}

// What runs in the container connects to the program.
func TestListen(t *testing.T) {
	fixture.NeedsUsers(t)
	t.Parallel()
	c, s := serving(t, container.Config{User: "app", Hostname: "db"})
	for _, test := range []struct{ network, address, dial string }{
		{"tcp", "127.0.0.1:0", "tcp"},
		{"tcp", "127.0.0.1:", "tcp"},
		{"tcp", "[::1]:0", "tcp"},
		{"tcp4", ":0", "tcp 127.0.0.1:"},
		{"tcp", ":0", "tcp 127.0.0.1:"},
		{"tcp", "0.0.0.0:0", "tcp 127.0.0.1:"},
		{"tcp", "[::]:0", "tcp [::1]:"},
		{"tcp", "localhost:0", "tcp"},
		{"tcp", "db:0", "tcp"},
		{"tcp6", "localhost:0", "tcp"},
		{"tcp", "127.0.0.1:http", "tcp"},
		{"unix", "/tmp/listen.sock", "unix"},
		{"unix", "tmp/../tmp/relative.sock", "unix /tmp/relative.sock"},
		{"unixpacket", "/tmp/packet.sock", "unixpacket"},
		{"unix", "@listen", "unix"},
		{"unix", "@", "unix"},
	} {
		t.Run(test.network+" "+test.address, func(t *testing.T) {
			l, err := c.Listen(t.Context(), test.network, test.address)
			require.NoError(t, err)
			defer l.Close()
			network, address, _ := strings.Cut(test.dial, " ")
			if address == "" {
				address = l.Addr().String()
			} else if strings.HasSuffix(address, ":") {
				address += portOf(l.Addr().String())
			}
			require.NotContains(t, l.Addr().String(), "proc")
			control, err := c.Dial(t.Context(), "tcp", s.Relay)
			require.NoError(t, err)
			defer control.Close()
			fmt.Fprintln(control, network, address)
			in := bufio.NewReader(control)
			line, err := in.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "connected\n", line)
			conn, err := l.Accept()
			require.NoError(t, err)
			defer conn.Close()
			fmt.Fprintln(control, "from within")
			line, err = bufio.NewReader(conn).ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "from within\n", line)
			fmt.Fprintln(conn, "from the program")
			line, err = in.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "from the program\n", line)
		})
	}
}

func TestListenPacket(t *testing.T) {
	t.Parallel()
	c, err := busybox(t).New(t.Context(), container.Config{})
	require.NoError(t, err)
	defer c.Close()
	p, err := c.ListenPacket(t.Context(), "udp", "localhost:0")
	require.NoError(t, err)
	conn, err := c.Dial(t.Context(), "udp", p.LocalAddr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("packet"))
	require.NoError(t, err)
	b := make([]byte, 100)
	n, from, err := p.ReadFrom(b)
	require.NoError(t, err)
	require.Equal(t, "packet", string(b[:n]))
	_, err = p.WriteTo([]byte("answer"), from)
	require.NoError(t, err)
	n, err = conn.Read(b)
	require.NoError(t, err)
	require.Equal(t, "answer", string(b[:n]))
	require.NoError(t, c.Close())
	_, _, err = p.ReadFrom(b)
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestListenErrors(t *testing.T) {
	t.Parallel()
	c, err := busybox(t).New(t.Context(), container.Config{Name: "listen-errors"})
	require.NoError(t, err)
	defer c.Close()
	for _, test := range []struct {
		network, address string
		want             error
		says             string
	}{
		{"tcp", "192.0.2.1:80", syscall.EADDRNOTAVAIL, `listen tcp 192.0.2.1:80: container "listen-errors": bind: cannot assign requested address`},
		{"tcp", "nowhere:80", nil, "lookup nowhere: not in its /etc/hosts"},
		{"tcp", "80", nil, "missing port in address"},
		{"udp", ":80", net.UnknownNetworkError("udp"), ""},
		{"unixgram", "/tmp/x", net.UnknownNetworkError("unixgram"), ""},
		{"unix", "/nope/x.sock", fs.ErrNotExist, `listen unix /nope/x.sock: container "listen-errors": open: no such file or directory`},
		{"unix", "/etc/passwd", syscall.EADDRINUSE, `listen unix /etc/passwd: container "listen-errors": bind: address already in use`},
		{"unix", "/etc/passwd/x.sock", syscall.ENOTDIR, ""},
		{"unix", "/tmp/", nil, "not the path of a socket"},
		{"unix", "/tmp/..", nil, "not the path of a socket"},
		{"unix", "/tmp/" + strings.Repeat("x", 200), syscall.EINVAL, ""},
		{"unix", "/proc/1/root/tmp/x", syscall.ELOOP, ""},
	} {
		t.Run(test.network+" "+test.address, func(t *testing.T) {
			l, err := c.Listen(t.Context(), test.network, test.address)
			require.Nil(t, l)
			dialError(t, err)
			if test.want != nil {
				require.ErrorIs(t, err, test.want)
			}
			require.ErrorContains(t, err, test.says)
		})
	}
	_, err = c.ListenPacket(t.Context(), "tcp", ":80")
	require.ErrorIs(t, err, net.UnknownNetworkError("tcp"))
}

// The name of a socket is gone with it, and nothing else of that name.
func TestListenUnixClose(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "sock")
	c, err := busybox(t).New(t.Context(), mounts(container.Mount{Source: dir, Target: "/x"}))
	require.NoError(t, err)
	defer c.Close()
	listen := func() net.Listener {
		l, err := c.Listen(t.Context(), "unix", "/x/sock")
		require.NoError(t, err)
		return l
	}
	l := listen()
	st, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.ModeSocket|0o666, st.Mode())
	require.NoError(t, l.Close())
	require.NoFileExists(t, path)

	l = listen()
	require.NoError(t, os.Remove(path))
	require.NoError(t, l.Close(), "its name is gone")

	l = listen()
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, l.Close())
	require.FileExists(t, path, "it is another's")
	require.NoError(t, os.Remove(path))

	l = listen()
	require.NoError(t, c.Close())
	require.NoFileExists(t, path, "with the container")
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

var listeners = []struct{ network, address string }{
	{"unix", "/tmp/host.sock"},
	{"unixpacket", "/tmp/packet.sock"},
	{"unix", "/shared/host.sock"},
	{"unix", "@host"},
	{"tcp", "127.0.0.1:3128"},
}

// What a killed program listened on is free for the next one, and nothing else
// that is there.
func TestListenAgain(t *testing.T) {
	fixture.NeedsHost(t)
	t.Parallel()
	root, _ := prepared(t)
	shared := t.TempDir()
	h := startHelper(t, "listening", root, "CTOR_TEST_SHARED="+shared)
	require.NoError(t, h.Process.Kill())
	_ = h.Wait()
	require.FileExists(t, filepath.Join(shared, "host.sock"))

	c, err := container.Get(t.Context(), reopen(t, root), "listening")
	require.NoError(t, err)
	defer c.Close()
	for _, l := range listeners {
		listener, err := c.Listen(t.Context(), l.network, l.address)
		require.NoError(t, err)
		_, err = c.Listen(t.Context(), l.network, l.address)
		require.ErrorIs(t, err, syscall.EADDRINUSE, "it listens")
		conn, err := c.Dial(t.Context(), l.network, l.address)
		require.NoError(t, err)
		accepted, err := listener.Accept()
		require.NoError(t, err)
		_, err = conn.Write([]byte("x"))
		require.NoError(t, err)
		_, err = accepted.Read(make([]byte, 1))
		require.NoError(t, err, "whoever asked whether it listens was no client")
		require.NoError(t, errors.Join(conn.Close(), accepted.Close(), listener.Close()))
	}
	require.NoFileExists(t, filepath.Join(shared, "host.sock"))

	// Somebody else has bound a socket, and will listen.
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	defer syscall.Close(fd)
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: filepath.Join(shared, "other.sock")}))
	_, err = c.Listen(t.Context(), "unix", "/shared/other.sock")
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	require.NoError(t, syscall.Listen(fd, 1))
	conn, err := c.Dial(t.Context(), "unix", "/shared/other.sock")
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}

// With the container and with the engine its listeners end, and none comes
// after.
func TestListenersEnd(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	detached, err := img.New(t.Context(), container.Config{Name: "detached", Detach: true})
	require.NoError(t, err)
	c, err := img.New(t.Context(), container.Config{})
	require.NoError(t, err)
	var g errgroup.Group
	var listening atomic.Int64
	for range 8 {
		for _, c := range []*container.Container{c, detached} {
			g.Go(func() error {
				for {
					l, err := c.Listen(t.Context(), "tcp", "127.0.0.1:0")
					if errors.Is(err, ctor.ErrClosed) || errors.Is(err, ctor.ErrNotFound) {
						return nil
					}
					if err != nil {
						return err
					}
					listening.Add(1)
					go func() {
						defer listening.Add(-1)
						_, _ = l.Accept()
					}()
					if listening.Load() > 500 {
						l.Close()
					}
				}
			})
		}
	}
	for listening.Load() < 50 {
		_ = info(t, c)
	}
	root := e.Root()
	require.NoError(t, e.Close())
	require.NoError(t, g.Wait())
	require.Eventually(t, func() bool { return listening.Load() == 0 }, 10e9, 1e6)

	e = reopen(t, root)
	detached, err = container.Get(t.Context(), e, "detached")
	require.NoError(t, err)
	require.NoError(t, detached.Close())
}
