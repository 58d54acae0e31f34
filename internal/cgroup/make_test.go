package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A cgroup right below the root, as one that a caller chooses may be, can be joined like
// any: in version 1's cpuset it has processors and memory.
func TestMakeAtTheTop(t *testing.T) {
	path := fmt.Sprintf("/ctor-cgroup-test-%d", os.Getpid())
	f, err := Begin(path)
	require.NoError(t, err)
	defer func() {
		f.Close()
		require.NoError(t, f.Undo())
	}()
	require.NoError(t, f.Complete())
	all, err := mounted()
	require.NoError(t, err)
	for _, h := range all {
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
			text, err := os.ReadFile(filepath.Join(h.dir, path, name))
			if h.two || os.IsNotExist(err) {
				continue
			}
			require.NoError(t, err)
			require.NotEmpty(t, strings.TrimSpace(string(text)), "%s in %s", name, h.dir)
		}
	}
}

// What was there before, and the processes that are in it, or come to be, are not taken
// away with what was made.
func TestUndoSpares(t *testing.T) {
	all, err := mounted()
	require.NoError(t, err)
	path := fmt.Sprintf("/ctor-cgrouptest-undo-%d", os.Getpid())
	t.Cleanup(func() { require.NoError(t, Remove(path)) })
	for _, two := range []bool{true, false} {
		var h hierarchy
		for _, candidate := range all {
			if candidate.two == two && (two || filepath.Base(candidate.dir) == "pids") {
				h = candidate
			}
		}
		if h.dir == "" {
			continue // this host has no such version
		}
		dir := filepath.Join(h.dir, path)
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "below"), 0o755))

		cmd := inhabit(t, []string{filepath.Join(dir, "below")}, "echo; exec sleep 1000")
		f, err := Begin(path)
		if err == nil {
			err = f.Complete()
		}
		require.ErrorIs(t, err, errdefs.ErrAlreadyExists, "there are processes below")
		f.Close()
		require.NoError(t, f.Undo())
		held, err := within(dir)
		require.NoError(t, err)
		require.Equal(t, []int{cmd.Process.Pid}, held, "it lives")
		require.DirExists(t, dir)
		require.NoError(t, Remove(path+"/below"))
		_ = cmd.Wait()

		require.NoError(t, os.MkdirAll(dir, 0o755))
		f, err = Begin(path)
		require.NoError(t, err)
		require.NoError(t, f.Complete())
		cmd = inhabit(t, []string{dir}, "echo; exec sleep 1000") // another's, meanwhile
		f.Close()
		require.NoError(t, f.Undo())
		held, err = within(dir)
		require.NoError(t, err)
		require.Equal(t, []int{cmd.Process.Pid}, held, "it lives")
		require.DirExists(t, dir)
		require.NoError(t, Remove(path))
		require.ErrorContains(t, cmd.Wait(), "killed")

		f, err = Begin(path)
		require.NoError(t, err)
		require.NoError(t, f.Complete())
		f.Close()
		require.NoError(t, f.Undo())
		require.Zero(t, exists(path))
	}
}

// A file that tells of more disks or processors than most hosts have is read to its end.
func TestMeterLong(t *testing.T) {
	long := filepath.Join(t.TempDir(), "long")
	content := make([]byte, 3*usual+1)
	for i := range content {
		content[i] = byte('a' + i%26)
	}
	require.NoError(t, os.WriteFile(long, content, 0o600))
	m := At("").Meter()
	defer m.Close()
	fd, err := unix.Open(long, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	m.files[file{name: "long"}] = fd
	require.Equal(t, content, m.read(file{name: "long"}))
	require.Equal(t, content, m.read(file{name: "long"}), "once more")
}
