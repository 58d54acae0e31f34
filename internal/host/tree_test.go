package host

import (
	"bufio"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/internal/pidfd"
)

// Children, grandchildren, the orphans of the session, those that have left it
// and those that are born meanwhile are killed. A daemon and a stranger live.
func TestKillDescendants(t *testing.T) {
	const script = `
		sleep 1000 & echo kin $!
		sh -c 'sleep 1001 & echo kin $!; wait' &
		sh -c 'sleep 1002 & echo kin $!' # an orphan
		sh -c 'echo kin $$; setsid sleep 1003 & echo kin $!; wait' &
		sh -c 'setsid sh -c "echo daemon \$\$; exec sleep 1004" &'
		sh -c 'i=0; while [ $i -lt 300 ]; do sleep 1005 & i=$((i+1)); done; wait' & echo kin $!
		wait`
	root := exec.Command("/bin/sh", "-c", script)
	root.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := root.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, root.Start())
	stranger := exec.Command("sleep", "1000")
	require.NoError(t, stranger.Start())
	defer func() {
		require.NoError(t, stranger.Process.Kill(), "it lives")
		_ = stranger.Wait()
	}()
	var kin []int
	daemon := -1
	for s := bufio.NewScanner(out); (len(kin) < 6 || daemon < 0) && s.Scan(); {
		kind, number, _ := strings.Cut(s.Text(), " ")
		pid, err := strconv.Atoi(number)
		require.NoError(t, err)
		fd, err := unix.PidfdOpen(pid, 0)
		require.NoError(t, err)
		t.Cleanup(func() {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			unix.Close(fd)
		})
		if kind == "daemon" {
			daemon = fd
		} else {
			kin = append(kin, fd)
		}
	}
	require.Len(t, kin, 6)
	dead := func(fd int) {
		t.Helper()
		require.NoError(t, pidfd.Await(fd, time.Now().Add(deathLimit)))
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		require.NoError(t, err)
		require.Equal(t, 1, n, "it lives")
	}

	require.NoError(t, root.Process.Signal(syscall.SIGSTOP))
	require.NoError(t, KillDescendants(root.Process.Pid))
	for _, fd := range kin {
		dead(fd)
	}
	require.NoError(t, unix.PidfdSendSignal(daemon, 0, nil, 0))
	require.NoError(t, root.Process.Signal(syscall.Signal(0)), "the root is the caller's")
	require.NoError(t, root.Process.Kill())
	require.Error(t, root.Wait())
	for _, pid := range session(root.Process.Pid) {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			defer unix.Close(fd)
			dead(fd)
		}
	}
}

// No process is taken for a relative because of its name.
func TestRelativesOf(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", `printf ') R 1 1 1' >/proc/self/comm; read x`)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() {
		in.Close()
		_ = cmd.Wait()
	}()
	r, ok := relativesOf(cmd.Process.Pid)
	require.True(t, ok)
	require.Equal(t, unix.Getpid(), r.parent)
	_, ok = relativesOf(1 << 30)
	require.False(t, ok)
}
