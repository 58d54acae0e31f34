package task

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
)

// What is done to a container's cgroup must not hit anybody else's.
func TestCgroupOfNobody(t *testing.T) {
	cmd := exec.Command("/bin/true")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, _ = out.Read(make([]byte, 1)) // its end
	require.Eventually(t, func() bool {
		st, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		return strings.Contains(string(st), ") Z ")
	}, killPatience, time.Millisecond)
	defer func() { _ = cmd.Wait() }()
	for name, g := range map[string]cgroup{
		"a zombie, which version 1 has in the root": cgroupOf(cmd.Process.Pid),
		"the shim itself": cgroupOf(os.Getpid()),
		"nobody":          cgroupOf(1 << 30),
		"none":            nil,
	} {
		require.Empty(t, g, name)
		_, err := g.pids()
		require.ErrorIs(t, err, errdefs.ErrNotFound, name)
		require.Zero(t, g.oomKills(), name)
		g.kill() // nobody
	}
}

func TestCgroupPath(t *testing.T) {
	g := cgroup{"": "/a", "pids": "/a", "memory": "/a"}
	if unified() {
		require.Equal(t, "/sys/fs/cgroup/a", g.dir("pids"))
	} else {
		require.Equal(t, "/sys/fs/cgroup/pids/a", g.dir("pids"))
		require.Empty(t, g.dir("cpu"))
		require.Equal(t, "/sys/fs/cgroup/memory/a", cgroup{"memory": "/a"}.processes())
	}
}
