package stock_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/internal/shim/link"
	"github.com/ctorhq/ctor/internal/shim/stock"
)

// TestContainerd has stock containerds run containers with the shim: the host's,
// Debian's 1.6 for one, and the one that this module is made of.
func TestContainerd(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	t.Run("installed", func(t *testing.T) { testContainerd(t, newDaemon(t, installed(t))) })
	t.Run("built", func(t *testing.T) {
		d := newDaemon(t, built(t))
		testContainerd(t, d)
		said := d.ctr("plugins", "inspect-runtime", "--runtime", link.Runtime) // not in 1.6
		require.Contains(t, said, `"io.ctor.executor": "runc"`)
		require.Contains(t, said, `"ociVersionMin"`)
		info(t, d)
	})
}

// info has an engine ask a containerd that can tell what runs its containers.
func info(t *testing.T, d *daemon) {
	e, err := ctor.Dial(t.Context(), d.socket, ctor.Config{Root: t.TempDir()})
	require.NoError(t, err)
	i, err := e.Info(t.Context())
	require.NoError(t, err)
	require.NoError(t, e.Close())
	require.Equal(t, "2.4.2", i.Containerd)
	require.Equal(t, "runc", i.Executor)
	require.NotEmpty(t, i.ExecutorVersion)
	require.NotEmpty(t, i.Seccomp)
}

func testContainerd(t *testing.T, d *daemon) {
	t.Run("output and exit code", func(t *testing.T) {
		out, err := d.try("run", "--rm", "--runtime", link.Runtime, image, "short", "sh", "-c", "echo out; grep SigIgn /proc/self/status; touch /file; exit 42")
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, out)
		require.Equal(t, 42, exit.ExitCode())
		// What the shim ignored, its containers would ignore as well. 32 and 33
		// are the C library's own, which whatever started the test may ignore.
		require.Regexp(t, `^out\s+SigIgn:\s0000000[0-3][08]0000000(\n|$)`, out)
	})
	t.Run("failed create", func(t *testing.T) {
		out, err := d.try("run", "--rm", "--runtime", link.Runtime, image, "bad", "nosuch")
		require.Error(t, err)
		require.Contains(t, out, "nosuch")
	})
	t.Run("exec and kill", func(t *testing.T) {
		d.run("long", "sleep", "1000")
		require.Equal(t, "RUNNING", d.status("long"))
		require.Equal(t, "in it", d.ctr("task", "exec", "--exec-id", "one", "long", "echo", "in it"))
		require.Contains(t, d.ctr("task", "metrics", "long"), "memory")
		d.ctr("task", "pause", "long")
		require.Equal(t, "PAUSED", d.status("long"))
		d.ctr("task", "resume", "long")
		d.ctr("task", "kill", "-s", "SIGKILL", "long")
		d.soon("the end", func() bool { return d.status("long") == "STOPPED" })
		d.ctr("task", "delete", "long")
		d.ctr("container", "delete", "long")
	})
	t.Run("restart", func(t *testing.T) {
		d.run("stays", "sleep", "1000")
		d.stop()
		d.start()
		require.Equal(t, "RUNNING", d.status("stays"))
		require.Equal(t, "in it", d.ctr("task", "exec", "--exec-id", "one", "stays", "echo", "in it"))
		// The event reaches the new one: the shim connects to it.
		events := exec.Command(d.release.ctr, "-a", d.socket, "-n", d.namespace, "events")
		var told syncBuffer
		events.Stdout = &told
		require.NoError(t, events.Start())
		defer func() { _ = events.Process.Kill(); _ = events.Wait() }()
		d.soon("an event", func() bool {
			d.ctr("task", "exec", "--exec-id", "e", "stays", "true")
			return strings.Contains(told.String(), "/tasks/exec-started")
		})
		d.ctr("task", "kill", "-s", "SIGKILL", "stays")
		d.soon("the end", func() bool { return strings.Contains(told.String(), `"container_id":"stays","id":"stays"`) })
		d.ctr("task", "delete", "stays")
		d.ctr("container", "delete", "stays")
	})
	t.Run("killed shim", func(t *testing.T) {
		d.run("orphan", "sleep", "1000")
		pids := shims(t, d.path("state", "io.containerd.runtime.v2.task", d.namespace, "orphan"))
		require.Len(t, pids, 1)
		require.Equal(t, score(t, d.cmd.Process.Pid)+1, score(t, pids[0]), "memory is taken from containerd last")
		require.NoError(t, unix.Kill(pids[0], unix.SIGKILL))
		// containerd has the shim's file delete what is left, and forgets the task.
		d.soon("the task's end", func() bool {
			_, err := os.Stat(d.path("state", "io.containerd.runtime.v2.task", d.namespace, "orphan"))
			return d.status("orphan") == "" && os.IsNotExist(err)
		})
		d.ctr("container", "delete", "orphan")
		d.run("orphan", "true") // the name is free
		d.soon("the end", func() bool { return d.status("orphan") == "STOPPED" })
		d.ctr("task", "delete", "orphan")
		d.ctr("container", "delete", "orphan")
	})
	d.soon("the shims' end", func() bool { return len(shims(t, d.dir)) == 0 })
	require.Empty(t, left(t, d))
}

func score(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
	require.NoError(t, err)
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	require.NoError(t, err)
	return n
}

// shims are the shim processes that work in bundles of dir.
func shims(t *testing.T, dir string) []int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var pids []int
	for _, path := range all {
		cmd, _ := os.ReadFile(path)
		cwd, _ := os.Readlink(filepath.Join(filepath.Dir(path), "cwd"))
		if bytes.HasPrefix(cmd, []byte(link.Name+"\x00"+link.Stock)) && strings.HasPrefix(cwd, dir) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			require.NoError(t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

// left is what there is of a daemon's containers.
func left(t *testing.T, d *daemon) []string {
	t.Helper()
	var left []string
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); strings.HasPrefix(f[4], d.dir+"/") && strings.Contains(f[4], "rootfs") {
			left = append(left, "mount "+f[4])
		}
	}
	for _, pattern := range []string{
		"/sys/fs/cgroup/*/" + d.namespace + "/*/cgroup.procs", "/sys/fs/cgroup/" + d.namespace + "/*/cgroup.procs",
		d.path("state", "io.containerd.runtime.v2.task", d.namespace, "*"), "/run/containerd/s/ctor-*",
	} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, path := range found {
			if !slices.Contains(d.others, path) {
				left = append(left, path)
			}
		}
	}
	for _, pattern := range []string{"/sys/fs/cgroup/*/" + d.namespace, "/sys/fs/cgroup/" + d.namespace} {
		found, _ := filepath.Glob(pattern)
		for _, dir := range found {
			require.NoError(t, os.Remove(dir))
		}
	}
	return left
}

func TestNotACall(t *testing.T) {
	for _, args := range [][]string{nil, {link.Stock}, {"a", "b"}} {
		handled, err := stock.Run(args, nil, nil)
		require.False(t, handled)
		require.NoError(t, err)
	}
	_, err := stock.Run([]string{"-nosuch", "start"}, nil, nil)
	require.Error(t, err)
	handled, err := stock.Run([]string{"start"}, nil, nil)
	require.True(t, handled)
	require.ErrorContains(t, err, "namespace")
}
