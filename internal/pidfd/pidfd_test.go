package pidfd

import (
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestSignal(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	require.NoError(t, cmd.Start())
	pid := cmd.Process.Pid
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	fd, err := unix.PidfdOpen(pid, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	alive := func() bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		require.NoError(t, err)
		return n == 0
	}
	require.NoError(t, Signal(pid, unix.SIGKILL, func() bool { return false }))
	require.NoError(t, Await(fd, time.Now()), "too late is no error")
	require.True(t, alive(), "the number means another")
	require.ErrorIs(t, Signal(pid, 1000, func() bool { return true }), unix.EINVAL)
	require.NoError(t, Signal(pid, unix.SIGKILL, func() bool { return true }))
	require.NoError(t, Await(fd, time.Now().Add(time.Minute)))
	require.False(t, alive())
	require.Error(t, cmd.Wait())
	require.NoError(t, Signal(pid, unix.SIGKILL, func() bool { return true }), "it has ended")
}
