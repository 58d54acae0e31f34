package task

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// orphan leaves this process a child that it did not start, and that ends.
func orphan(t *testing.T) int {
	t.Helper()
	require.NoError(t, unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
	defer children.enter()() // the shell is not an orphan: Output waits for it
	out, err := exec.Command("/bin/sh", "-c", "sleep 0.05 >/dev/null & echo $!").Output()
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	require.NoError(t, err)
	return pid // it outlives the shell
}

func exists(pid int) bool { return unix.Kill(pid, 0) == nil }

func TestOrphans(t *testing.T) {
	pid := orphan(t)
	leave := children.enter()
	require.Never(t, func() bool { children.look(); return !exists(pid) }, 50*time.Millisecond, 5*time.Millisecond,
		"it may be of the call that is under way")
	leave()
	require.Eventually(t, func() bool { children.look(); return !exists(pid) }, 10*time.Second, time.Millisecond)

	children.adopt()
	next := orphan(t) // the conditions above may still look at the first
	require.Eventually(t, func() bool { return !exists(next) }, 10*time.Second, time.Millisecond)
	children.dismiss()
}

func TestKnownChildren(t *testing.T) {
	leave := children.enter() // conditions of another test may still look
	cmd := exec.Command("/bin/sh", "-c", "exit 3")
	require.NoError(t, cmd.Start())
	pid := cmd.Process.Pid
	children.know(pid)
	leave()
	require.Never(t, func() bool { children.look(); return !exists(pid) }, 50*time.Millisecond, 5*time.Millisecond)
	var how end
	require.Eventually(t, func() bool {
		done, err := children.wait(Process{Pid: pid}, &how)
		return done && err == nil
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, 3, how.ws.ExitStatus())
	require.True(t, how.executed)
	require.Equal(t, progress{executed: true, ended: true}, children.progress(pid, &how))
	done, err := children.wait(Process{Pid: pid}, &how)
	require.True(t, done)
	require.ErrorIs(t, err, unix.ECHILD)
	_ = cmd.Wait()
}
