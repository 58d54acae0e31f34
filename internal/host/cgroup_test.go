package host

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
)

// makeCgroup makes a cgroup in every hierarchy, and says where.
func makeCgroup(t *testing.T, path string) []string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	found, err := hierarchies()
	require.NoError(t, err)
	var dirs []string
	for _, h := range found {
		dir := filepath.Join(h, path)
		require.NoError(t, os.MkdirAll(dir, 0o755))
		dirs = append(dirs, dir)
	}
	return dirs
}

// inhabit starts a shell in cgroups, which then runs a script.
func inhabit(t *testing.T, dirs []string, script string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "read go; "+script)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for _, d := range dirs {
		// cpuset takes no process before it has processors and memory.
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
			if b, err := os.ReadFile(filepath.Join(filepath.Dir(d), name)); err == nil {
				_ = os.WriteFile(filepath.Join(d, name), b, 0)
			}
		}
		if err := os.WriteFile(filepath.Join(d, "cgroup.procs"), []byte(strconv.Itoa(cmd.Process.Pid)), 0); err != nil {
			require.NotContains(t, d, "pids", "%v", err)
		}
	}
	_, err = in.Write([]byte("go\n"))
	require.NoError(t, err)
	_, err = out.Read(make([]byte, 1)) // the script is under way
	require.NoError(t, err)
	return cmd
}

func gone(t *testing.T, dirs []string) {
	t.Helper()
	for _, d := range dirs {
		require.NoDirExists(t, d)
	}
}

func TestRemoveCgroupTree(t *testing.T) {
	path := fmt.Sprintf("/ctor-hosttest-tree-%d", os.Getpid())
	dirs, below := makeCgroup(t, path), makeCgroup(t, path+"/below/it")
	// Each process leaves before the next list of them is read; and the host is
	// not to suffer if they win.
	for _, d := range append(slices.Clone(dirs), below...) {
		limit := filepath.Join(d, "pids.max")
		if _, err := os.Stat(limit); err == nil {
			require.NoError(t, os.WriteFile(limit, []byte("100"), 0))
		}
	}
	forks := "f() { sleep 0.01; f & f & wait; }; echo; f"
	a, b := inhabit(t, dirs, forks), inhabit(t, below, forks)
	require.NoError(t, RemoveCgroup(path))
	gone(t, dirs)
	// Killed, or ended by itself: RemoveCgroup lets nobody fork, before it kills.
	require.Error(t, a.Wait())
	require.Error(t, b.Wait())
	require.NoError(t, RemoveCgroup(path), "what does not exist is no error")
}

func TestRemoveCgroupFrozen(t *testing.T) {
	path := fmt.Sprintf("/ctor-hosttest-frozen-%d", os.Getpid())
	dirs := makeCgroup(t, path)
	cmd := inhabit(t, dirs, "echo; exec sleep 1000")
	frozen := false
	for _, d := range dirs {
		for name, word := range map[string]string{"freezer.state": "FROZEN", "cgroup.freeze": "1"} {
			if _, err := os.Stat(filepath.Join(d, name)); err == nil {
				frozen = os.WriteFile(filepath.Join(d, name), []byte(word), 0) == nil || frozen
			}
		}
	}
	require.True(t, frozen)
	require.NoError(t, RemoveCgroup(path))
	gone(t, dirs)
	require.ErrorContains(t, cmd.Wait(), "killed")
}

func TestRemoveCgroupKeep(t *testing.T) {
	path := fmt.Sprintf("/ctor-hosttest-keep-%d", os.Getpid())
	kept, other := makeCgroup(t, path+"/kept"), makeCgroup(t, path+"/other")
	cmd := inhabit(t, kept, "echo; exec sleep 1000")
	require.NoError(t, RemoveCgroup(path, "kept"))
	gone(t, other)
	for _, d := range kept {
		require.DirExists(t, d)
	}
	require.NoError(t, cmd.Process.Signal(os.Interrupt), "it lives")
	require.NoError(t, RemoveCgroup(path))
	gone(t, kept)
}

// What holds a process stays, and so does what has a child.
func TestRemoveEmptyCgroup(t *testing.T) {
	path := fmt.Sprintf("/ctor-hosttest-empty-%d", os.Getpid())
	dirs, below := makeCgroup(t, path), makeCgroup(t, path+"/below")
	inhabit(t, below, "echo; exec sleep 1000")
	held := slices.DeleteFunc(slices.Clone(below), func(dir string) bool { // not every hierarchy takes it
		pids, err := members(dir)
		return err != nil || len(pids) == 0
	})
	require.NotEmpty(t, held)
	RemoveEmptyCgroup(path)
	for _, d := range append(held, dirs...) {
		require.DirExists(t, d)
	}
	RemoveEmptyCgroup(path + "/below")
	for _, d := range held {
		require.DirExists(t, d)
	}
	require.NoError(t, RemoveCgroup(path+"/below"))
	RemoveEmptyCgroup(path)
	gone(t, dirs)
	RemoveEmptyCgroup(path)
}

func TestRemoveCgroupRoot(t *testing.T) {
	for _, path := range []string{"", "/", "..", "/a/../.."} {
		require.ErrorIs(t, RemoveCgroup(path), errdefs.ErrInvalidArgument, path)
	}
}

// There may be more processes than are killed at a time.
func TestRemoveCgroupFull(t *testing.T) {
	path := fmt.Sprintf("/ctor-hosttest-full-%d", os.Getpid())
	dirs := makeCgroup(t, path)
	cmd := inhabit(t, dirs, fmt.Sprintf("i=0; while [ $i -lt %d ]; do sleep 1000 & i=$((i+1)); done; echo; wait", batch+10))
	require.NoError(t, RemoveCgroup(path))
	gone(t, dirs)
	require.ErrorContains(t, cmd.Wait(), "killed")
}

func TestParentOf(t *testing.T) {
	parent := CgroupParent("/root", "ns")
	for path, want := range map[string]string{
		parent + "/id": parent, parent[1:] + "/id": parent,
		parent: "", parent + "/id/below": "", "/own/id": "", "/ctor-tasktest-1-2/id": "", "/ctor-/id": "", parent + "00/id": "", "": "", "/": "",
		"system.slice:ctor:id": "",
	} {
		require.Equal(t, want, ParentOf(path), path)
	}
}
