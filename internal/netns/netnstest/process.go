// Package netnstest gives tests a process in a network of its own.
package netnstest

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Process starts a process in a network namespace of its own, where nothing is
// up, and gives its pidfd. It ends with the test, or when end is called.
func Process(t testing.TB) (pidfd *os.File, end func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("it needs root")
	}
	cmd := exec.Command("cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	fd, err := unix.PidfdOpen(cmd.Process.Pid, 0) // cmd's own would not wait any more, once this one is not to block
	require.NoError(t, err)
	pidfd = os.NewFile(uintptr(fd), "pidfd")
	end = func() { stdin.Close(); _ = cmd.Wait() }
	t.Cleanup(func() { end(); pidfd.Close() })
	return pidfd, end
}
