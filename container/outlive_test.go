package container_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/fixture"
)

// prepared is a root that has the image of the tests, and what else there is
// in it.
func prepared(t *testing.T) (root string, before fixture.Remains) {
	t.Helper()
	root = t.TempDir()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	c, err := fixture.Busybox(t, e).New(t.Context(), container.Config{}) // unpacks it
	require.NoError(t, err)
	require.NoError(t, c.Close())
	before = fixture.Count(t, e)
	require.NoError(t, e.Close())
	return root, before
}

// reopen opens the root of a program that is gone.
func reopen(t *testing.T, root string) *ctor.Engine {
	t.Helper()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

// Detached containers are found again by the next program, whatever ended the
// one that made them: running, or ended with exit code and every byte of log.
func TestDetached(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]string{"killed": "X=", "exit": "CTOR_TEST_EXIT=1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "exit" && testing.Short() {
				t.Skip("the other one shows it")
			}
			root, before := prepared(t)
			h := startHelper(t, "detached", root, env)
			if name == "killed" {
				require.NoError(t, h.Process.Kill())
			}
			_ = h.Wait()
			detached(t, root, before)
		})
	}
}

func detached(t *testing.T, root string, before fixture.Remains) {
	e := reopen(t, root)
	list, err := container.List(t.Context(), e)
	require.NoError(t, err)
	require.Len(t, list, 2)
	ended, running := list[0], list[1]
	for _, c := range list {
		i := info(t, c)
		require.True(t, i.Detached)
		require.Equal(t, map[string]string{"kept": "yes"}, i.Labels)
		require.NotZero(t, i.Started)
	}
	require.Equal(t, 4, exitOf(t, ended).Code)
	require.Equal(t, container.Exited, info(t, ended).State)
	require.Equal(t, 4, info(t, ended).ExitCode)
	var want strings.Builder
	for i := range 5000 {
		fmt.Fprintln(&want, "line", i)
	}
	require.Equal(t, want.String(), logs(t, ended))

	require.Equal(t, container.Running, info(t, running).State)
	r := follow(t, running)
	says(t, running, "to stderr")
	// A further engine's end does not end it.
	require.NoError(t, e.Close())
	_, err = io.ReadAll(r)
	require.ErrorIs(t, err, ctor.ErrClosed)
	require.ErrorIs(t, running.Stop(t.Context()), ctor.ErrClosed)
	require.NoError(t, running.Close())

	e = reopen(t, root)
	running, err = container.Get(t.Context(), e, "running")
	require.NoError(t, err)
	r = follow(t, running)
	require.NoError(t, running.Stop(t.Context()))
	require.Equal(t, 9, exitOf(t, running).Code)
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Contains(t, string(b), "to stdout\n")
	require.True(t, strings.HasSuffix(string(b), "stopped\n"))
	ended, err = container.Get(t.Context(), e, "ended")
	require.NoError(t, err)
	require.NoError(t, running.Close())
	require.NoError(t, ended.Close())
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
}

func TestDetachedTTY(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("TestDetached shows it")
	}
	cfg := sh("tty; echo last")
	cfg.TTY, cfg.Detach = true, true
	c, err := busybox(t).Run(t.Context(), cfg)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.Wait(t.Context()))
	require.Equal(t, "/dev/pts/0\r\nlast\r\n", logs(t, c))
}

// Big output, no Close of anything before its end.
func TestDetachedOutput(t *testing.T) {
	t.Parallel()
	cfg := sh("yes 0123456789abcde | head -c 4194304; echo -n end")
	cfg.Detach = true
	c, err := busybox(t).Run(t.Context(), cfg)
	require.NoError(t, err)
	defer c.Close()
	b, err := io.ReadAll(follow(t, c))
	require.NoError(t, err)
	require.Len(t, b, 4194304+3)
	require.Equal(t, "end", string(b[4194304:]))
	require.NoError(t, c.Wait(t.Context()))
}

// The shim of a container, which is its parent, is killed: nobody has seen its
// end, but it can be found, and closed for good.
func TestShimKilled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("two engines")
	}
	for _, detach := range []bool{true, false} {
		e := fixture.Open(t)
		img := fixture.Busybox(t, e)
		cfg := sh("echo ready; sleep 1000")
		cfg.Detach = detach
		c, err := img.Run(t.Context(), cfg)
		require.NoError(t, err)
		says(t, c, "ready")
		shim, err := strconv.Atoi(field(read(t, "/proc/"+itoa(info(t, c).Pid)+"/status"), "PPid"))
		require.NoError(t, err)
		require.NoError(t, syscall.Kill(shim, syscall.SIGKILL))
		require.ErrorIs(t, c.Wait(t.Context()), ctor.ErrUnavailable)
		require.Empty(t, fixture.Count(t, e)["cgroups"], "its end was not seen, but it has ended")
		require.Equal(t, container.Exited, info(t, c).State)
		require.Equal(t, -1, info(t, c).ExitCode)
		list, err := container.List(t.Context(), e)
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, "ready\n", logs(t, c))
		require.NoError(t, c.Close())
		left := fixture.Count(t, e)
		for _, kind := range []string{"containers", "cgroups", "files", "mounts"} {
			require.Empty(t, left[kind], kind)
		}
		// The next one gets a new shim.
		c, err = img.Run(t.Context(), container.Config{Args: []string{"true"}})
		require.NoError(t, err)
		require.NoError(t, c.Wait(t.Context()))
		require.NoError(t, c.Close())
	}
}

// field gives a value of a /proc/…/status.
func field(status, name string) string {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// A killed program's attached containers are gone soon after, without any
// help, and the next engine finds nothing of them.
func TestAttachedKilled(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	root, before := prepared(t)
	h := startHelper(t, "attached", root)
	host := fixture.Host(t, root)
	require.NotEmpty(t, host["cgroups"])
	require.NoError(t, h.Process.Kill())
	_ = h.Wait()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		now := fixture.Host(t, root)
		assert.Empty(c, now["processes"])
		assert.Empty(c, now["mounts"])
		assert.Empty(c, now["cgroups"])
	}, fixture.Patience, 20*time.Millisecond)
	e := reopen(t, root)
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
}

// A program is killed at any moment of New, Start and Close.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a program killed 6 times")
	}
	root, before := prepared(t)
	for range 6 {
		h := startHelper(t, "busy", root)
		time.Sleep(200*time.Millisecond + rand.N(500*time.Millisecond)) // any moment
		require.NoError(t, h.Process.Kill())
		_ = h.Wait()
		e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
		require.NoError(t, err)
		list, err := container.List(t.Context(), e)
		require.NoError(t, err)
		for _, c := range list {
			require.Equal(t, "busy0", c.Name(), "the detached one")
			require.NoError(t, c.Close())
		}
		before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
		require.NoError(t, e.Close())
	}
}
