package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// create makes a cgroup in every hierarchy, and says where.
func create(t *testing.T, path string) []string {
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

func missing(t *testing.T, dirs []string) {
	t.Helper()
	for _, d := range dirs {
		require.NoDirExists(t, d)
	}
}

func TestRemoveTree(t *testing.T) {
	path := fmt.Sprintf("/ctor-cgrouptest-tree-%d", os.Getpid())
	dirs, below := create(t, path), create(t, path+"/below/it")
	// Each process leaves before the next list of them is read; and the host is
	// not to suffer if they win.
	for _, d := range append(slices.Clone(dirs), below...) {
		limit := filepath.Join(d, "pids.max")
		if _, err := os.Stat(limit); err == nil {
			require.NoError(t, os.WriteFile(limit, []byte("100"), 0))
		}
	}
	// A shell whose children could not fork, and ended, may end before it is killed.
	forks := "f() { sleep 0.01; f & f & wait; }; echo; f; exit 1"
	a, b := inhabit(t, dirs, forks), inhabit(t, below, forks)
	require.NoError(t, Remove(path))
	missing(t, dirs)
	// Killed, or ended by itself: Remove lets nobody fork, before it kills.
	require.Error(t, a.Wait())
	require.Error(t, b.Wait())
	require.NoError(t, Remove(path), "what does not exist is no error")
}

// On version 1 the frozen don't even die.
func TestRemoveFrozen(t *testing.T) {
	path := fmt.Sprintf("/ctor-cgrouptest-frozen-%d", os.Getpid())
	dirs := create(t, path)
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
	require.NoError(t, Remove(path))
	missing(t, dirs)
	require.ErrorContains(t, cmd.Wait(), "killed")
}

func TestRemoveKeep(t *testing.T) {
	path := fmt.Sprintf("/ctor-cgrouptest-keep-%d", os.Getpid())
	kept, other := create(t, path+"/kept"), create(t, path+"/other")
	cmd := inhabit(t, kept, "echo; exec sleep 1000")
	require.NoError(t, Remove(path, "kept"))
	missing(t, other)
	for _, d := range kept {
		require.DirExists(t, d)
	}
	require.NoError(t, cmd.Process.Signal(os.Interrupt), "it lives")
	require.NoError(t, Remove(path))
	missing(t, kept)
}

// What holds a process stays, and so does what has a child.
func TestRemoveEmpty(t *testing.T) {
	path := fmt.Sprintf("/ctor-cgrouptest-empty-%d", os.Getpid())
	dirs, below := create(t, path), create(t, path+"/below")
	inhabit(t, below, "echo; exec sleep 1000")
	held := slices.DeleteFunc(slices.Clone(below), func(dir string) bool { // not every hierarchy takes it
		pids, err := members(dir)
		return err != nil || len(pids) == 0
	})
	require.NotEmpty(t, held)
	RemoveEmpty(path)
	for _, d := range append(held, dirs...) {
		require.DirExists(t, d)
	}
	RemoveEmpty(path + "/below")
	for _, d := range held {
		require.DirExists(t, d)
	}
	require.NoError(t, Remove(path+"/below"))
	RemoveEmpty(path)
	missing(t, dirs)
	RemoveEmpty(path)
}

func TestRemoveRoot(t *testing.T) {
	for _, path := range []string{"", "/", "..", "/a/../.."} {
		require.ErrorIs(t, Remove(path), errdefs.ErrInvalidArgument, path)
	}
}

// There may be more processes than are killed at a time.
func TestRemoveFull(t *testing.T) {
	path := fmt.Sprintf("/ctor-cgrouptest-full-%d", os.Getpid())
	dirs := create(t, path)
	cmd := inhabit(t, dirs, fmt.Sprintf("i=0; while [ $i -lt %d ]; do sleep 1000 & i=$((i+1)); done; echo; wait", batch+10))
	require.NoError(t, Remove(path))
	missing(t, dirs)
	require.ErrorContains(t, cmd.Wait(), "killed")
}

// tree makes a tree of cgroups in every hierarchy of this host that takes
// one, with a process in each given child.
func tree(t *testing.T, children ...string) (path string, processes map[string]*exec.Cmd) {
	t.Helper()
	path = Parent(t.TempDir(), t.Name())
	found, err := hierarchies()
	require.NoError(t, err)
	require.NotEmpty(t, found)
	processes = map[string]*exec.Cmd{}
	for _, c := range children {
		// One that forks would find at times that it may not any more, and end by
		// itself.
		p := exec.Command("sleep", "1000")
		require.NoError(t, p.Start())
		processes[c] = p
		t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
		for _, h := range found {
			dir := filepath.Join(h, path, c)
			require.NoError(t, os.MkdirAll(dir, 0o755))
			for _, name := range []string{"cpuset.cpus", "cpuset.mems"} { // v1: empty at first
				for d, from := range map[string]string{filepath.Dir(dir): h, dir: filepath.Dir(dir)} {
					if b, err := os.ReadFile(filepath.Join(from, name)); err == nil && len(strings.TrimSpace(string(b))) > 0 {
						_ = os.WriteFile(filepath.Join(d, name), b, 0)
						_ = os.WriteFile(filepath.Join(dir, name), b, 0)
					}
				}
			}
			require.NoError(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(p.Process.Pid)), 0))
		}
	}
	t.Cleanup(func() { require.NoError(t, Remove(path)) })
	return path, processes
}

func exists(path string) (n int) {
	found, _ := hierarchies()
	for _, h := range found {
		if unix.Access(filepath.Join(h, path), unix.F_OK) == nil {
			n++
		}
	}
	return n
}

func TestRemove(t *testing.T) {
	path, processes := tree(t, "a", "b", "kept", "a/inner")
	require.NoError(t, Remove(path, "kept"))
	require.Zero(t, exists(path+"/a")+exists(path+"/b"))
	require.NotZero(t, exists(path+"/kept"))
	for _, c := range []string{"a", "b", "a/inner"} {
		require.ErrorContains(t, processes[c].Wait(), "killed", c)
	}
	require.NoError(t, unix.Kill(processes["kept"].Process.Pid, 0), "who is kept lives")
	require.NoError(t, Remove(path))
	require.Zero(t, exists(path))
	require.NoError(t, Remove(path), "gone is gone")
}
