package container_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/container/containertest"
	"github.com/ctorhq/ctor/internal/fixture"
)

// A command that is cancelled ends with what it has started, where that is asked
// for, and without it as with os/exec: children, orphans, and what has left the
// session.
func TestKillTree(t *testing.T) {
	t.Parallel()
	c := containertest.Run(t, busybox(t), sh("while :; do sleep 1 & wait; done"))
	proc := fmt.Sprintf("/proc/%d/root/proc/", info(t, c).Pid)
	alive := func(pid string) bool {
		status, err := os.ReadFile(proc + pid + "/status")
		return err == nil && field(string(status), "State") != "Z (zombie)"
	}
	const script = `
		sleep 1000 >/dev/null & echo $!
		sh -c 'sleep 1001 >/dev/null & echo $!'
		sh -c 'setsid sleep 1002 >/dev/null & echo $!; wait' &
		wait`
	for _, tree := range []bool{false, true} {
		other := c.Command(t.Context(), "sleep", "1003")
		require.NoError(t, other.Start())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		cmd := c.Command(ctx, "sh", "-c", script)
		if tree {
			cmd.Cancel = func() error { return cmd.Process.KillTree() }
		} else {
			cmd.WaitDelay = 100 * time.Millisecond // a shell of it holds the pipe
		}
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		var kin []string
		for s := bufio.NewScanner(out); len(kin) < 3 && s.Scan(); {
			kin = append(kin, s.Text())
		}
		require.Len(t, kin, 3)
		cancel()
		var exit *container.ExitError
		require.ErrorAs(t, cmd.Wait(), &exit)
		require.Equal(t, syscall.SIGKILL, exit.Signal)
		require.ErrorIs(t, cmd.Process.KillTree(), os.ErrProcessDone)
		for _, pid := range kin {
			if tree {
				require.Eventually(t, func() bool { return !alive(pid) }, fixture.Patience, time.Millisecond)
			} else {
				require.True(t, alive(pid), "it goes on")
			}
		}
		require.NoError(t, other.Process.Kill(), "it is no kin")
		require.Error(t, other.Wait())
	}
}

// In a container that is paused, and for the first process of one.
func TestKillTreePaused(t *testing.T) {
	fixture.NeedsCgroups(t)
	t.Parallel()
	img := busybox(t)
	c := containertest.Run(t, img, sh("sleep 1000"))
	for _, cmd := range []*container.Cmd{
		c.Command(t.Context(), "sh", "-c", "sleep 1000 & echo; wait"),
		img.Command(t.Context(), "sh", "-c", "setsid sleep 1000 & echo; wait"),
	} {
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		_, err = out.Read(make([]byte, 1))
		require.NoError(t, err)
		require.NoError(t, c.Pause(t.Context()))
		require.NoError(t, cmd.Process.KillTree())
		_, err = out.Read(make([]byte, 1)) // to its end: no process holds it
		require.Error(t, err)
		require.Error(t, cmd.Wait())
		if info(t, c).State == container.Paused {
			require.NoError(t, c.Resume(t.Context()))
		}
	}
}
