package libcontainer

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ctorhq/ctor/cmd/containerd-shim-ctor-v2/hook"
	"github.com/ctorhq/ctor/internal/shim/task"
	"github.com/ctorhq/ctor/internal/shim/task/tasktest"
)

// This test binary is a shim: it is executed again as containers' first
// process, and runs sealed.
func TestMain(m *testing.M) {
	if err := hook.Seal(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if run := os.Getenv(victimEnv); run != "" {
		victim(run)
	}
	tasktest.Main(m)
}

// driver does what the shim's service does with an executor.
type driver struct {
	t      testing.TB
	exec   *Executor
	dir    string
	state  string
	rootfs string
	cgroup string
}

var serial atomic.Int64

func newDriver(t testing.TB) *driver {
	t.Helper()
	require.Zero(t, os.Getuid(), "containers are made by root")
	d := &driver{t: t, dir: t.TempDir()}
	d.state = filepath.Join(d.dir, "state")
	d.rootfs = filepath.Join(d.dir, "rootfs")
	d.cgroup = fmt.Sprintf("/ctor-exec-test-%d-%d", os.Getpid(), serial.Add(1))
	busybox(t, d.rootfs)
	var err error
	d.exec, err = New(d.state, "")
	require.NoError(t, err)
	t.Cleanup(func() {
		require.Empty(t, d.remains(), "left behind")
		for _, path := range d.cgroups("") {
			require.NoError(t, os.Remove(path))
		}
		d.exec.Close()
	})
	return d
}

// busybox makes a root file system of Debian's busybox-static.
func busybox(t testing.TB, root string) {
	t.Helper()
	for _, dir := range []string{"bin", "tmp", "dev", "proc", "sys", "etc"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	b, err := os.ReadFile("/bin/busybox")
	require.NoError(t, err, "apt-get install busybox-static")
	require.NoError(t, os.WriteFile(filepath.Join(root, "bin/busybox"), b, 0o755))
	for _, applet := range []string{"cat", "echo", "env", "false", "grep", "id", "kill", "ls", "pwd", "sh", "sleep", "stty", "true", "tty"} {
		require.NoError(t, os.Symlink("busybox", filepath.Join(root, "bin", applet)))
	}
	require.NoError(t, os.WriteFile(filepath.Join(root, "etc/noexec"), []byte("text\n"), 0o644))
}

// spec is containerd's default with its seccomp profile, a cgroup namespace
// and a limit of processes.
func (d *driver) spec(id string, args ...string) *specs.Spec {
	d.t.Helper()
	ctx := namespaces.WithNamespace(d.t.Context(), "test")
	spec, err := oci.GenerateSpec(ctx, nil, &containers.Container{ID: id}, seccomp.WithDefaultProfile(), oci.WithProcessArgs(args...))
	require.NoError(d.t, err)
	spec.Process.Env = []string{"PATH=/bin"}
	spec.Linux.CgroupsPath = d.cgroup + "/" + id
	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	pids := int64(100)
	spec.Linux.Resources.Pids = &specs.LinuxPids{Limit: &pids}
	return spec
}

func (d *driver) bundle(spec *specs.Spec, id string) task.Bundle {
	return task.Bundle{ID: id, Namespace: "test", Dir: d.dir, Rootfs: d.rootfs, Spec: spec}
}

// life makes, starts, awaits and deletes a container, and returns its output
// and exit code.
func (d *driver) life(id string, args ...string) (string, int) {
	d.t.Helper()
	r, w, err := os.Pipe()
	require.NoError(d.t, err)
	defer r.Close()
	c, p, err := d.exec.Create(d.t.Context(), d.bundle(d.spec(id, args...), id), task.Stdio{Out: w, Err: w})
	w.Close()
	require.NoError(d.t, err)
	require.NoError(d.t, c.Start(d.t.Context()))
	out, err := io.ReadAll(r)
	require.NoError(d.t, err)
	code := wait(d.t, p.Pid)
	require.NoError(d.t, c.Delete(d.t.Context()))
	return string(out), code
}

// running is a container that sleeps until the test ends.
func (d *driver) running(id string) (task.Container, task.Process) {
	d.t.Helper()
	c, p, err := d.exec.Create(d.t.Context(), d.bundle(d.spec(id, "sleep", "1000"), id), task.Stdio{})
	require.NoError(d.t, err)
	d.t.Cleanup(func() {
		_ = unix.Kill(p.Pid, unix.SIGKILL)
		_ = c.Resume(context.Background()) // or it does not die, if paused
		wait(d.t, p.Pid)
		require.NoError(d.t, c.Delete(context.Background()))
	})
	require.NoError(d.t, c.Start(d.t.Context()))
	return c, p
}

// run executes a command in c and returns its output and exit code.
func (d *driver) run(c task.Container, p *specs.Process) (string, int) {
	d.t.Helper()
	r, w, err := os.Pipe()
	require.NoError(d.t, err)
	defer r.Close()
	started, err := c.Exec(d.t.Context(), "e", p, task.Stdio{Out: w, Err: w})
	w.Close()
	require.NoError(d.t, err)
	out, err := io.ReadAll(r)
	require.NoError(d.t, err)
	return string(out), wait(d.t, started.Pid)
}

func (d *driver) process(args ...string) *specs.Process {
	return d.spec("p", args...).Process
}

// wait waits for a child through a pidfd, as a shell would tell its end.
func wait(t testing.TB, pid int) int {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Minute/time.Millisecond))
		if err == unix.EINTR {
			continue
		}
		require.NoError(t, err)
		require.Equal(t, 1, n, "process %d still runs", pid)
		break
	}
	var status unix.WaitStatus
	_, err = unix.Wait4(pid, &status, 0, nil)
	require.NoError(t, err)
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// cgroups are the directories of the test's cgroups that match.
func (d *driver) cgroups(pattern string) []string {
	var all []string
	for _, root := range []string{"/sys/fs/cgroup/*", "/sys/fs/cgroup"} {
		found, err := filepath.Glob(filepath.Join(root+d.cgroup, pattern))
		require.NoError(d.t, err)
		all = append(all, found...)
	}
	return all
}

// remains is what there is of the test's containers.
func (d *driver) remains() []string {
	left := d.cgroups("*/cgroup.procs")
	state, err := filepath.Glob(filepath.Join(d.state, "*/*"))
	require.NoError(d.t, err)
	return append(left, state...)
}
