package cgroup

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
func TestOfNobody(t *testing.T) {
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
	for name, g := range map[string]Group{
		"a zombie, which version 1 has in the root": Of(cmd.Process.Pid),
		"the shim itself": Of(os.Getpid()),
		"nobody":          Of(1 << 30),
		"none":            nil,
	} {
		require.Empty(t, g, name)
		_, err := g.Pids()
		require.ErrorIs(t, err, errdefs.ErrNotFound, name)
		require.Zero(t, g.OOMKills(), name)
		g.Kill() // nobody
	}
}

func TestDir(t *testing.T) {
	g := Group{"": "/a", "pids": "/a", "memory": "/a"}
	if unified() {
		require.Equal(t, "/sys/fs/cgroup/a", g.Dir("pids"))
	} else {
		require.Equal(t, "/sys/fs/cgroup/pids/a", g.Dir("pids"))
		require.Empty(t, g.Dir("cpu"))
		require.Equal(t, "/sys/fs/cgroup/memory/a", Group{"memory": "/a"}.processes())
	}
}

// Paths from the host's root are found as they are and, in a cgroup namespace
// above, at the end of longer ones; no other container's path passes.
func TestIn(t *testing.T) {
	for groups, want := range map[string]bool{
		"0::/e/c\n": true, "4:pids:/e/c\n0::/\n": true, "0::/e/c/below\n": true, "0::/docker/1/e/c\n": true,
		"0::/e/c2\n": false, "0::/e\n": false, "0::/\n": false, "": false,
	} {
		require.Equal(t, want, contains(groups, "/e/c"), groups)
	}
	in, err := In("/", os.Getpid())
	require.NoError(t, err)
	require.True(t, in)
	_, err = In("/", 1<<30)
	require.ErrorIs(t, err, os.ErrNotExist)
}
