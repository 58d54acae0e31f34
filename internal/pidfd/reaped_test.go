package pidfd

import (
	"os/exec"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A process that is reaped at the moment has ended, whatever the kernel says of it.
func TestSignalReaped(t *testing.T) {
	processes := 1000
	if testing.Short() {
		processes = 100
	}
	var pid atomic.Int64
	failed := make(chan error, 1)
	go func() {
		for {
			p := int(pid.Load())
			if p < 0 {
				failed <- nil
				return
			}
			if p == 0 {
				continue
			}
			if err := Signal(p, 0, func() bool { return true }); err != nil {
				failed <- err
				return
			}
		}
	}()
	for range processes {
		cmd := exec.Command("/bin/true")
		require.NoError(t, cmd.Start())
		pid.Store(int64(cmd.Process.Pid))
		require.NoError(t, cmd.Wait())
		pid.Store(0)
	}
	pid.Store(-1)
	require.NoError(t, <-failed)
}

var _ = unix.SIGKILL
