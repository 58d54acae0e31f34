package container_test

import (
	"errors"
	"fmt"
	"github.com/ctorhq/ctor/internal/fixture"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
)

// A link that the container's processes make leads nowhere but into the
// container, and so does a hosts file.
func TestDialHostile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(dir, "s")
	l, err := net.Listen("unix", secret)
	require.NoError(t, err)
	defer l.Close()
	accepted := make(chan struct{}, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			c.Close()
			accepted <- struct{}{}
		}
	}()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer tcp.Close()

	c := start(t, busybox(t), sh(fmt.Sprintf(`
mkdir -p /x && ln -s %[1]s /x/absolute && ln -s ../../../../../../..%[1]s /x/relative
ln -s /proc/1/root%[1]s /x/magic && ln -s /proc/1/cwd/../../../..%[1]s /x/cwd && ln -s loop /x/loop
echo "127.0.0.1 victim" >> /etc/hosts
echo ready; sleep 1000`, secret)))
	for _, name := range []string{"absolute", "relative", "magic", "cwd", "loop"} {
		_, err := c.Dial(t.Context(), "unix", "/x/"+name)
		require.Error(t, err)
		require.True(t, errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP), "%v", err)
	}
	_, err = c.Dial(t.Context(), "tcp", "victim:"+portOf(tcp.Addr().String()))
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.Empty(t, accepted)
}

// A directory that turns into a link while it is asked for leads into the
// container as well.
func TestDialRace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	require.NoError(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("host"))
			c.Close()
		}
	}()
	c := start(t, busybox(t), sh(fmt.Sprintf(`
mkdir -p /a && cd /a && mkdir real && ln -s %s evil
echo ready
while true; do mv real d; mv d real; mv evil d; mv d evil; done`, dir)))
	inside, err := c.Listen(t.Context(), "unix", "/a/real/s")
	for errors.Is(err, fs.ErrNotExist) {
		inside, err = c.Listen(t.Context(), "unix", "/a/real/s")
	}
	require.NoError(t, err)
	defer inside.Close()
	for reached, missed := 0, 0; reached < 100 || missed < 100; {
		conn, err := c.Dial(t.Context(), "unix", "/a/d/s")
		if err != nil {
			require.True(t, errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP), "%v", err)
			missed++
			continue
		}
		reached++
		got, err := inside.Accept()
		require.NoError(t, err)
		_, err = got.Write([]byte("container"))
		require.NoError(t, err)
		got.Close()
		said, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Equal(t, "container", string(said))
		conn.Close()
	}
}

// A pid that means another process is found out.
func TestDialOtherProcess(t *testing.T) {
	fixture.NeedsHost(t)
	t.Parallel()
	c := start(t, busybox(t), sh("echo ready; sleep 1000"))
	dial := func(pid int) error {
		door := container.Mistaken(c, pid)
		defer door.Close()
		_, err := door.Dial(c.Engine().Context(t.Context()), "tcp", ":1")
		return err
	}
	require.ErrorIs(t, dial(info(t, c).Pid), syscall.ECONNREFUSED)
	err := dial(os.Getpid())
	require.ErrorIs(t, err, ctor.ErrUnavailable)
	require.ErrorContains(t, err, "is not in its cgroup")
	require.NoError(t, c.Signal(t.Context(), os.Kill))
	require.Equal(t, 137, exitOf(t, c).Code)
	require.ErrorIs(t, dial(os.Getpid()), syscall.ESRCH)
}
