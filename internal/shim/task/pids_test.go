package task

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/cgroup"
)

// pidsCgroup makes a cgroup with a limit of processes.
func pidsCgroup(t *testing.T, limit string) cgroup.Group {
	t.Helper()
	name := fmt.Sprintf("/ctor-pids-%d", os.Getpid())
	g := cgroup.Group{"": name, "pids": name}
	dir := g.Dir("pids")
	require.NoError(t, os.Mkdir(dir, 0o755))
	t.Cleanup(func() { require.NoError(t, os.Remove(dir)) })
	if err := os.WriteFile(filepath.Join(dir, "pids.max"), []byte(limit), 0); err != nil {
		t.Skip(err)
	}
	return g
}

func setLimit(t *testing.T, g cgroup.Group, limit string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(g.Dir("pids"), "pids.max"), []byte(limit), 0))
}

// overflow has the cgroup meet its limit once.
func overflow(t *testing.T, g cgroup.Group) {
	t.Helper()
	script := fmt.Sprintf("echo 0 > %s/cgroup.procs; sleep 9 & sleep 9 & sleep 9 &", g.Dir("pids"))
	leave := children.enter() // the shell is not an orphan: Run waits for it
	require.Error(t, exec.Command("/bin/sh", "-c", script).Run())
	leave()
	g.Kill()
	require.Eventually(t, func() bool {
		children.look() // in a subreaper they are its own
		return g.PidsFile("current") == 0
	}, 10*time.Second, time.Millisecond)
}

func TestRoom(t *testing.T) {
	g := pidsCgroup(t, "2")
	c := &container{group: g}
	first, second := c.makeRoom(), c.makeRoom()
	require.Equal(t, 2+2*startNeeds, g.PidsFile("max"))
	first()
	require.Equal(t, 2+startNeeds, g.PidsFile("max"))
	second()
	require.Equal(t, 2, g.PidsFile("max"))

	done := c.makeRoom()
	setLimit(t, g, "3")
	done()
	require.Equal(t, 3, g.PidsFile("max"), "somebody else has changed it")

	for _, plenty := range []string{"max", "1000"} {
		setLimit(t, g, plenty)
		done := c.makeRoom()
		b, err := os.ReadFile(filepath.Join(g.Dir("pids"), "pids.max"))
		require.NoError(t, err)
		require.Equal(t, plenty+"\n", string(b))
		done()
	}
	(&container{}).makeRoom()() // it has no cgroup
}

func TestAtLimit(t *testing.T) {
	g := pidsCgroup(t, "2")
	c := &container{group: g}
	boom := errors.New("boom")
	require.NoError(t, c.atLimit("true")(nil))
	require.Equal(t, boom, c.atLimit("true")(boom), "the limit was not met")
	why := c.atLimit("true")
	overflow(t, g)
	require.NoError(t, why(nil))
	err := why(boom)
	require.ErrorIs(t, err, errdefs.ErrUnavailable)
	require.ErrorContains(t, err, `"true" can't start at the container's limit of processes, 0 of 2: raise the limit`)
	require.ErrorContains(t, err, "boom")
	require.Equal(t, boom, (&container{}).atLimit("true")(boom), "it has no cgroup")
}
