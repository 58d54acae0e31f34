package host

import (
	"bufio"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A session's leader is killed; its children, and theirs, are ended with it, but
// for one that has gone to a session of its own.
func TestEndSession(t *testing.T) {
	leader := exec.Command("/bin/sh", "-c", `sleep 1000 & echo $!; sh -c 'sleep 1001 & echo $!; wait' & setsid sh -c 'echo $$; exec sleep 1002' & wait`)
	leader.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := leader.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, leader.Start())
	var pidfds []int
	for s := bufio.NewScanner(out); len(pidfds) < 3 && s.Scan(); {
		pid, err := strconv.Atoi(strings.TrimSpace(s.Text()))
		require.NoError(t, err)
		fd, err := unix.PidfdOpen(pid, 0)
		require.NoError(t, err)
		t.Cleanup(func() {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			unix.Close(fd)
		})
		sid, err := unix.Getsid(pid)
		require.NoError(t, err)
		if sid == pid {
			defer func() { // who left lives
				require.NoError(t, unix.PidfdSendSignal(fd, 0, nil, 0))
			}()
			pidfds = append(pidfds, -1)
			continue
		}
		pidfds = append(pidfds, fd)
	}
	require.Len(t, pidfds, 3)
	require.NoError(t, leader.Process.Kill())
	require.NoError(t, unix.Waitid(unix.P_PID, leader.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil))

	EndSession(leader.Process.Pid)
	for _, fd := range pidfds {
		if fd >= 0 {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			require.NoError(t, err)
			require.Equal(t, 1, n, "it lives")
		}
	}
	require.Error(t, leader.Wait())
}
