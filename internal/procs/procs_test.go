package procs

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// A name is what a process likes: it may look like the rest of the line.
func TestOf(t *testing.T) {
	require.NoError(t, os.WriteFile("/proc/self/comm", []byte("x) R 1 (y"), 0))
	cmd := exec.Command("sleep", "1000")
	require.NoError(t, cmd.Start())
	list, err := Of([]int{os.Getpid()})
	require.NoError(t, err)
	require.Len(t, list, 1)
	p := list[0]
	require.Equal(t, os.Getpid(), p.Host)
	require.Equal(t, os.Getppid(), p.Parent)
	require.Equal(t, os.Geteuid(), p.UID)
	require.Equal(t, os.Args, p.Args)
	require.NotZero(t, p.Threads)
	require.NotZero(t, p.Memory)
	pid := cmd.Process.Pid
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	list, err = Of([]int{pid})
	require.NoError(t, err)
	require.Empty(t, list, "it is gone")
}
