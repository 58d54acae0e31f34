package container_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/fixture"
)

// shimOf is the process between this program and a container.
func shimOf(t *testing.T, c *container.Container) int {
	t.Helper()
	pid, err := strconv.Atoi(field(read(t, "/proc/"+itoa(info(t, c).Pid)+"/status"), "PPid"))
	require.NoError(t, err)
	return pid
}

// files are the open files of a process, but for pidfds: Go's os.Process has
// one until it is collected, and libcontainer waits for none of its own.
func files(t require.TestingT, pid int) (n int) {
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(t, err)
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && to != "anon_inode:[pidfd]" {
			n++
		}
	}
	return n
}

// Commands leave neither goroutines nor descriptors, here or in the shim, nor
// anything of the instances that were made for them, however they end.
func TestCmdNoLeak(t *testing.T) {
	// Not parallel: it counts those of the process.
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	c, err := img.Run(t.Context(), sh("sleep 1000"))
	require.NoError(t, err)
	defer c.Close()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	life := func(command func(context.Context, string, ...string) *container.Cmd) {
		out, err := command(t.Context(), "sh", "-c", "echo out; echo err >&2").CombinedOutput()
		require.NoError(t, err)
		require.Equal(t, "out\nerr\n", string(out))

		require.Error(t, command(t.Context(), "false").Run())
		require.Error(t, command(t.Context(), "nope").Run())

		cmd := command(t.Context(), "true") // with input that nobody ends
		cmd.Stdin = r
		require.NoError(t, cmd.Run())

		cmd = command(t.Context(), "sh", "-c", "tty; cat")
		cmd.TTY, cmd.Stdin = true, strings.NewReader("hello\n")
		_, err = cmd.Output()
		require.NoError(t, err)

		ctx, cancel := context.WithCancel(t.Context())
		cmd = command(ctx, "sleep", "1000")
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		_, err = cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		_, err = in.Write([]byte("x"))
		require.NoError(t, err)
		cancel()
		require.Error(t, cmd.Wait())
		require.ErrorIs(t, command(ctx, "true").Run(), context.Canceled)

		command(t.Context(), "true") // never started
	}
	all := func() { life(c.Command); life(img.Command) }
	all()
	before := fixture.Count(t, e)
	shim := shimOf(t, c)
	times := 10
	if testing.Short() {
		times = 2
	}
	goroutines, ours, theirs := runtime.NumGoroutine(), files(t, os.Getpid()), files(t, shim)
	for range times {
		all()
	}
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		// Eventually has two goroutines of its own.
		assert.LessOrEqual(c, runtime.NumGoroutine(), goroutines+2)
		assert.LessOrEqual(c, files(c, os.Getpid()), ours)
		assert.LessOrEqual(c, files(c, shim), theirs)
	}, fixture.Patience, 20*time.Millisecond)
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
}

// An instance is gone when its command has ended, before anybody waits.
func TestCmdInstanceGone(t *testing.T) {
	t.Parallel()
	e := fixture.Open(t)
	img := fixture.Busybox(t, e)
	require.NoError(t, img.Command(t.Context(), "true").Run())
	before := fixture.Count(t, e)
	for _, kill := range []bool{false, true} {
		cmd := img.Command(t.Context(), "sh", "-c", "touch /written; echo ready; read x")
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		awaitLine(t, out, "ready")
		list, err := container.List(t.Context(), e)
		require.NoError(t, err)
		require.Len(t, list, 1, "it is a container like others")
		if kill {
			require.NoError(t, cmd.Process.Kill())
		} else {
			require.NoError(t, in.Close())
		}
		before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
		_ = cmd.Wait()
	}
}

// Many at once, in one container and in their own.
func TestCmdParallel(t *testing.T) {
	t.Parallel()
	c := idle(t)
	img := busybox(t)
	n := 100
	if testing.Short() {
		n = 10
	}
	var g errgroup.Group
	g.SetLimit(8)
	for i := range n {
		g.Go(func() error {
			cmd := c.Command(t.Context(), "sh", "-c", fmt.Sprintf("cat; echo %d; exit %d", i, i%7))
			if i%10 == 0 {
				cmd = img.Command(t.Context(), "sh", "-c", fmt.Sprintf("cat; echo %d; exit %d", i, i%7))
			}
			cmd.Stdin = strings.NewReader("in ")
			out, err := cmd.Output()
			if s := fmt.Sprintf("in %d\n", i); string(out) != s {
				return fmt.Errorf("%q for %q: %w", out, s, err)
			}
			if code := cmd.ProcessState.ExitCode(); code != i%7 {
				return fmt.Errorf("exit code %d for %d", code, i%7)
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
}

// The engine's end is that of all commands, in whatever container.
func TestCmdEngineClose(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("an engine of its own")
	}
	root, before := prepared(t)
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	img := fixture.Busybox(t, e)
	attached, err := img.Run(t.Context(), sh("sleep 1000"))
	require.NoError(t, err)
	cfg := sh("sleep 1000")
	cfg.Detach, cfg.Name = true, "detached"
	detached, err := img.Run(t.Context(), cfg)
	require.NoError(t, err)
	waits := make(chan error)
	commands := []func(context.Context, string, ...string) *container.Cmd{attached.Command, detached.Command, img.Command}
	for _, command := range commands {
		cmd := command(t.Context(), "sh", "-c", "trap '' TERM; while true; do sleep 0.1; done")
		require.NoError(t, cmd.Start())
		go func() { waits <- cmd.Wait() }()
	}
	require.NoError(t, e.Close())
	for range commands {
		err := <-waits
		require.ErrorIs(t, err, ctor.ErrClosed)
		require.Equal(t, "signal killed", said(err))
	}
	require.ErrorIs(t, attached.Command(t.Context(), "true").Run(), ctor.ErrClosed)
	require.ErrorIs(t, img.Command(t.Context(), "true").Run(), ctor.ErrClosed)

	e = reopen(t, root)
	detached, err = container.Get(t.Context(), e, "detached")
	require.NoError(t, err)
	out, err := detached.Command(t.Context(), "ps", "-o", "args").Output()
	require.NoError(t, err)
	require.NotContains(t, string(out), "trap", "of the one before")
	cmd := detached.Command(t.Context(), "sleep", "1000")
	require.NoError(t, cmd.Start())
	require.NoError(t, detached.Close())
	err = cmd.Wait()
	require.ErrorContains(t, err, "the container was closed")
	require.Equal(t, "signal killed", said(err))
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
}

// When the shim is killed nobody sees the end of a command, and no wait for it
// lasts.
func TestCmdShimKilled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("an engine of its own")
	}
	e := fixture.Open(t)
	c, err := fixture.Busybox(t, e).Run(t.Context(), sh("sleep 1000"))
	require.NoError(t, err)
	defer c.Close()
	cmd := c.Command(t.Context(), "sleep", "1000")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	require.NoError(t, syscall.Kill(shimOf(t, c), syscall.SIGKILL))
	_, err = io.ReadAll(out)
	require.NoError(t, err)
	require.ErrorIs(t, cmd.Wait(), ctor.ErrUnavailable)
	require.Equal(t, "end not seen", cmd.ProcessState.String())
}
