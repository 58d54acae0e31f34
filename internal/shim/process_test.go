package shim

import (
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A shim that does not end is killed, as is one that was stopped.
func TestProcessHangs(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	require.NoError(t, cmd.Start())
	p, err := adopt(cmd.Process, -1, false)
	require.NoError(t, err)
	require.NoError(t, unix.Kill(p.pid, unix.SIGSTOP))
	require.ErrorContains(t, p.end(10*time.Millisecond), "was killed")
	require.NoError(t, p.end(time.Minute), "it has ended")
	p.release()
}

// Who writes to a shim that reads nothing is not held for ever.
func TestShimReadsNothing(t *testing.T) {
	defer func(d time.Duration) { writeLimit = d }(writeLimit)
	writeLimit = 20 * time.Millisecond
	ours, theirs, err := socketpair("tasks")
	require.NoError(t, err)
	defer theirs.Close()
	c := impatient{ours}
	for err == nil {
		_, err = c.Write(make([]byte, 1<<16))
	}
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	_, err = c.Write([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed)
}
